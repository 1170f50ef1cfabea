"""The paper's generator through the whole process makes the same bytes every time."""

import dataclasses
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agm_torch.config import GeneratorConfig
from agm_torch.engine.fill import Interrupted
from agm_torch.engine.job import Job
from agm_torch.engine.process import generate
from agm_torch.model_config import DiffusionConfig, GroundedSamConfig, WeightsConfig
from datasets.shards import open_shards
from tests.agm_images import part

pytest.importorskip("torch", reason="the agm extra is not installed")
pytest.importorskip("diffusers", reason="the agm extra is not installed")

from tests import tiny_models

PROJECT = Path(__file__).resolve().parents[3]
COUNT = 9
LIBRARIES = ("numpy", "pillow", "scipy", "torch", "diffusers", "transformers")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    bert = tiny_models.save_bert(folder / "bert")
    tiny_models.save_sam(folder / "sam.pth")
    tiny_models.save_dino(folder / "dino.pth", bert)
    tiny_models.save_stable_diffusion(folder / "sd")
    return folder


def _config(models: Path) -> GeneratorConfig:
    return GeneratorConfig(
        generator="diffusion",
        grounded_sam=GroundedSamConfig(
            sam=str(models / "sam.pth"),
            dino=str(models / "dino.pth"),
            bert=str(models / "bert"),
            box_threshold=0.0,
            text_threshold=0.0,
            detector_px=64,
            max_boxes=2,
        ),
        diffusion=DiffusionConfig(model=str(models / "sd"), steps=3),
        weights=WeightsConfig(folder=models / "weights", offline=True),
        min_contrast=0.0,
        records_per_shard=3,
    )


def _job(models: Path, count: int = COUNT) -> Job:
    images = (part(0), part(1))
    return Job(images, "screw", "object", count, 0, 64, _config(models))


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".")
    }


@pytest.fixture(scope="module")
def unbroken(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(_job(models), tmp_path_factory.mktemp("unbroken"))


def test_the_manifest_says_what_made_the_records(models: Path, unbroken: Path) -> None:
    shards = open_shards(unbroken)
    manifest = shards.manifest
    assert manifest["tally"]["region"] == {"grounded_sam": COUNT}
    assert manifest["tally"]["content"] == {"diffedit": COUNT}
    assert {"torch", "diffusers", "transformers"} <= set(manifest["versions"])
    known = manifest["config"]["models"]
    assert manifest["made_with"] == {
        "device": "cpu",
        "dtype": "float32",
        **{name: manifest["versions"][name] for name in LIBRARIES},
        **known,
    }
    sam = hashlib.sha256((models / "sam.pth").read_bytes()).hexdigest()
    assert known["sam"] == sam and set(known) == {"sam", "dino", "bert", "diffusion"}
    for made in shards.provenance:
        assert made["model"] == known["diffusion"]
        assert made["positive"].endswith(("screw", "screw with defect"))
        assert made["negative"] in ("perfect screw", "clean surface")


def test_nothing_outside_the_masks_was_changed(unbroken: Path) -> None:
    shards = open_shards(unbroken)
    changed = (shards.images != shards.normals[shards.sources]).any(axis=3)
    assert not changed[shards.masks == 0].any()
    assert changed.any(axis=(1, 2)).all()


@pytest.mark.slow  # a process that imports torch; test_process.py kills smaller ones
def test_a_kill_and_a_resume_end_with_the_same_bytes(
    models: Path, unbroken: Path, tmp_path: Path
) -> None:
    cache, photographs = tmp_path / "cache", tmp_path / "photographs"
    photographs.mkdir()
    for seed in range(2):
        Image.fromarray(part(seed)).save(photographs / f"{seed}.png")
    process = subprocess.Popen(
        _command_line(_job(models), photographs, cache),
        cwd=PROJECT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 90
    while not list(cache.glob("*.partial/shard-*")) and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL, errors
    left = list(cache.glob("*.partial/shard-*"))
    assert 0 < len(left) < COUNT // 3 + 1
    resumed = generate(_job(models), cache)
    assert _digests(resumed) == _digests(unbroken)


def _command_line(job: Job, photographs: Path, cache: Path) -> list[str]:
    """The command line of the job."""
    sam, diffusion = job.config.grounded_sam, job.config.diffusion
    flags = {
        "images": photographs,
        "category": job.category,
        "count": job.count,
        "image-px": job.image_px,
        "cache": cache,
        "generator": "diffusion",
        "grounded-sam.sam": sam.sam,
        "grounded-sam.dino": sam.dino,
        "grounded-sam.bert": sam.bert,
        "grounded-sam.box-threshold": sam.box_threshold,
        "grounded-sam.text-threshold": sam.text_threshold,
        "grounded-sam.detector-px": sam.detector_px,
        "grounded-sam.max-boxes": sam.max_boxes,
        "diffusion.model": diffusion.model,
        "diffusion.steps": diffusion.steps,
        "weights.folder": job.config.weights.folder,
        "min-contrast": job.config.min_contrast,
        "records-per-shard": job.config.records_per_shard,
    }
    named = [text for name, value in flags.items() for text in (f"--{name}", value)]
    arguments = [*map(str, named), "--weights.offline", "--json-progress"]
    return [sys.executable, "-m", "agm_torch", "generate", *arguments]


def test_a_stop_between_records_and_a_resume_end_with_the_same_bytes(
    models: Path, unbroken: Path, tmp_path: Path
) -> None:
    made = 0

    def count(done: int) -> None:
        nonlocal made
        made = done

    with pytest.raises(Interrupted):
        generate(
            _job(models), tmp_path, on_progress=count, should_stop=lambda: made >= 4
        )
    assert made == 4
    assert _digests(generate(_job(models), tmp_path)) == _digests(unbroken)


@pytest.mark.slow  # three more processes that import torch and its libraries
def test_three_workers_make_the_same_bytes_as_one(
    models: Path, unbroken: Path, tmp_path: Path
) -> None:
    shared = generate(_job(models), tmp_path, workers=3)
    assert _digests(shared) == _digests(unbroken)


def test_a_removed_folder_is_made_again_bit_for_bit(
    models: Path, unbroken: Path, tmp_path: Path
) -> None:
    first = generate(_job(models, count=3), tmp_path)
    before = _digests(first)
    shutil.rmtree(first)
    assert _digests(generate(_job(models, count=3), tmp_path)) == before
    few, many = open_shards(first), open_shards(unbroken)
    assert np.array_equal(few.images, many.images[:3]), "record i is record i"


def test_the_key_depends_on_the_weights_and_not_on_their_path(
    models: Path, tmp_path: Path
) -> None:
    job = _job(models)
    moved = shutil.copytree(models, tmp_path / "moved")
    same = dataclasses.replace(job, config=_config(Path(moved)))
    assert same.key == job.key
    sam = Path(moved) / "sam.pth"
    sam.unlink()
    tiny_models.save_sam(sam, seed=1)
    other = dataclasses.replace(job, config=_config(Path(moved)))
    assert other.key != job.key
