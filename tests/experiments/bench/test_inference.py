"""The inference benchmark's PyTorch detector computes what ours computes."""

import numpy as np
import pytest

from lfq_jax.config import ModelConfig
from lfq_jax.model.lfquiad import Model
from lfq_jax.model.scoring import Scorer
from tests.tiny_detector import tiny


@pytest.mark.parametrize("kind", ["object", "texture"])
def test_pytorch_computes_the_same_maps_and_scores(kind):
    pytest.importorskip("torch", reason="the agm extra is not installed")
    from experiments.bench.torch_detector import TorchDetector

    saved, _, images = tiny(kind=kind)
    bank = saved.variables.memory_bank
    assert bank is not None
    assert (bank.border_baseline is None) == (kind == "object")
    assert isinstance(saved.model, ModelConfig)
    scorer = Scorer(Model(saved.model, is_texture=kind == "texture"), saved.score)
    ours = scorer(saved.variables, images)
    maps, scores = TorchDetector(saved)(images)
    np.testing.assert_allclose(maps, np.asarray(ours.maps), atol=1e-4)
    np.testing.assert_allclose(scores, ours.scores["smoothed_max"], atol=1e-4)
    assert np.ptp(maps) > 0.1
