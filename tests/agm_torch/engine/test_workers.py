"""The GPUs that the workers share."""

from agm_torch.engine.workers import visible_gpus


def test_the_gpus_of_a_worker_are_those_of_the_process(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert visible_gpus() == ["2", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
