"""Shards as PNGs in the layout of MVTec AD."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from agm_torch.config import GeneratorConfig
from agm_torch.engine.job import Job
from agm_torch.engine.process import generate
from agm_torch.export import export_folders
from datasets.shards import open_shards
from tests import generate_command
from tests.agm_images import part


def job(seed: int, *, count: int = 6) -> Job:
    config = GeneratorConfig(records_per_shard=4)
    return Job((part(),), "disc", "object", count, seed, 40, config)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return generate_command.run([sys.executable, "-m", "agm_torch", *arguments])


def test_an_export_pairs_images_and_masks_by_stem(tmp_path):
    shards = open_shards(generate(job(0), tmp_path / "cache"))
    left = tmp_path / "out" / "disc.partial" / "test" / "synthetic"
    left.mkdir(parents=True)
    (left / "00099.png").write_bytes(b"what a killed export left")
    folder = export_folders(shards, tmp_path / "out")
    assert folder == tmp_path / "out" / "disc"
    images = sorted((folder / "test" / "synthetic").iterdir())
    assert len(images) == 6
    for number, path in enumerate(images):
        mask = folder / "ground_truth" / "synthetic" / f"{path.stem}_mask.png"
        assert np.array_equal(np.asarray(Image.open(path)), shards.images[number])
        assert np.array_equal(np.asarray(Image.open(mask)), shards.masks[number])
    assert len(list((folder / "train" / "good").iterdir())) == 1
    lines = (folder / "provenance.jsonl").read_text().splitlines()
    assert json.loads(lines[3])["file"] == "00003.png"
    with pytest.raises(FileExistsError, match="exists already"):
        export_folders(shards, tmp_path / "out")
    done = run("export", "--shards", str(shards.folder), "--out", str(tmp_path / "b"))
    assert done.returncode == 0 and (tmp_path / "b" / "disc").is_dir()
