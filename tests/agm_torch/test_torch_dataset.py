"""Shards as a torch data set: DRAEM's keys, memory-mapped, equal at every call."""

import pickle
import runpy
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("torch", reason="the agm extra is not installed")

import torch
from torch.utils.data import DataLoader

from agm_torch.config import GeneratorConfig
from agm_torch.engine.job import Job
from agm_torch.engine.process import generate
from agm_torch.torch_dataset import AnomalyDataset
from datasets.shards import open_shards
from tests.agm_images import part

COUNT = 10
EXAMPLES = Path(__file__).resolve().parents[2] / "docs/examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten anomalies of two normal images in three shards."""
    job = Job(
        images=(part(seed=0), part(seed=1)),
        category="disc",
        kind="object",
        count=COUNT,
        seed=0,
        image_px=64,
        config=GeneratorConfig(records_per_shard=4),
    )
    return generate(job, tmp_path_factory.mktemp("cache"))


def test_samples_have_draems_keys_shapes_and_ranges(folder: Path) -> None:
    dataset = AnomalyDataset(folder)
    for sample in (dataset[0], dataset[len(dataset) - 1]):
        assert sample["image"].shape == (3, 64, 64)
        assert sample["augmented_image"].shape == (3, 64, 64)
        assert sample["anomaly_mask"].shape == (1, 64, 64)
        assert sample["has_anomaly"].shape == (1,)
        for name in ("image", "augmented_image", "anomaly_mask", "has_anomaly"):
            assert sample[name].dtype == torch.float32
            assert 0 <= sample[name].min() and sample[name].max() <= 1


def test_every_anomaly_comes_with_its_own_normal_image(folder: Path) -> None:
    shards = open_shards(folder)
    dataset = AnomalyDataset(folder, normal_share=0.0)
    assert len(dataset) == COUNT
    for i in range(COUNT):
        sample = dataset[i]
        stored = torch.from_numpy(shards.images[i].transpose(2, 0, 1) / 255)
        assert torch.allclose(sample["augmented_image"].double(), stored)
        differs = (sample["image"] != sample["augmented_image"]).any(dim=0)
        assert sample["has_anomaly"] == 1
        assert differs.any()
        assert not differs[sample["anomaly_mask"][0] == 0].any()


def test_the_share_of_normal_samples_is_the_wanted_one(folder: Path) -> None:
    for share, expected in ((0.0, 10), (0.5, 20), (0.75, 40)):
        dataset = AnomalyDataset(folder, normal_share=share)
        assert len(dataset) == expected
        anomalies = sum(bool(dataset[i]["has_anomaly"]) for i in range(expected))
        assert anomalies == COUNT
    normal = AnomalyDataset(folder)[COUNT + 1]
    assert torch.equal(normal["image"], normal["augmented_image"])
    assert not normal["anomaly_mask"].any()


def test_reading_a_sample_twice_gives_the_same(folder: Path) -> None:
    dataset = AnomalyDataset(folder)
    for i in (0, 7, 15):
        first, second = dataset[i], dataset[i]
        assert first["idx"] == i
        assert all(torch.equal(first[k], second[k]) for k in first if k != "idx")
    assert dataset[-1]["idx"] == len(dataset) - 1


def test_a_pickled_data_set_contains_the_folder_and_not_the_pixels(
    folder: Path,
) -> None:
    dataset = AnomalyDataset(folder)
    packed = pickle.dumps(dataset)
    assert len(packed) < 1000
    again = pickle.loads(packed)
    assert torch.equal(again[3]["augmented_image"], dataset[3]["augmented_image"])


def test_a_loader_makes_batches(folder: Path) -> None:
    loader = DataLoader(AnomalyDataset(folder), batch_size=4)
    batches = list(loader)
    assert [len(batch["idx"]) for batch in batches] == [4] * 5
    assert batches[0]["image"].shape == (4, 3, 64, 64)
    assert batches[0]["has_anomaly"].shape == (4, 1)


def test_a_damaged_shard_is_refused(folder: Path, tmp_path: Path) -> None:
    import shutil

    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    (copied / ".verified.json").unlink(missing_ok=True)
    path = copied / "shard-00001.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"shard-00001\.safetensors does not match"):
        AnomalyDataset(copied)


def test_arguments_out_of_range_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"normal_share must lie in \[0, 1\), got 1"):
        AnomalyDataset(folder, normal_share=1.0)
    with pytest.raises(IndexError, match="sample 20 of 20"):
        AnomalyDataset(folder)[20]
    with pytest.raises(FileNotFoundError, match="not a finished folder"):
        AnomalyDataset(folder.parent / "nothing")


def test_writing_to_a_sample_changes_no_file_and_no_other_tensor(
    folder: Path,
) -> None:
    before = open_shards(folder).images.copy()
    dataset = AnomalyDataset(folder)
    for i in (0, len(dataset) - 1):
        sample = dataset[i]
        normal = sample["image"].clone()
        sample["augmented_image"][:] = 0
        assert torch.equal(sample["image"], normal)
    assert np.array_equal(open_shards(folder).images, before)


def test_the_draem_example_runs_on_shards_and_learns(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = str(EXAMPLES / "draem_training_step.py")
    options = ["--shards", str(folder), "--steps", "24", "--batch", "4"]
    monkeypatch.setattr(sys, "argv", [example, *options])
    runpy.run_path(example, run_name="__main__")
    output = capsys.readouterr().out
    losses = [float(line.split()[-1]) for line in output.splitlines()]
    assert len(losses) == 24
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])


def test_the_examples_folders_for_anomalib_are_those_of_the_export(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agm_torch.export import export_folders

    root = export_folders(open_shards(folder), tmp_path)
    normals = sorted((root / "train/good").iterdir())
    anomalies = sorted((root / "test/synthetic").iterdir())
    masks = sorted((root / "ground_truth/synthetic").iterdir())
    assert (len(normals), len(anomalies), len(masks)) == (2, COUNT, COUNT)
    # anomalib pairs images and masks by the order of their sorted names
    assert [m.stem for m in masks] == [f"{a.stem}_mask" for a in anomalies]
    monkeypatch.setitem(sys.modules, "anomalib", ModuleType("anomalib"))
    stub = ModuleType("anomalib.data")
    stub.Folder = dict  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "anomalib.data", stub)
    path = EXAMPLES / "anomalib_folder.py"
    example = runpy.run_path(str(path))
    asked = example["data_module"](root, batch=2, seed=0)
    for name in ("normal_dir", "abnormal_dir", "mask_dir"):
        assert any((asked["root"] / asked[name]).iterdir())
