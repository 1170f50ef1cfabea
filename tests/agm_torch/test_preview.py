"""The contact sheet shows what the generator makes."""

import subprocess
import sys

import numpy as np
from PIL import Image

from agm_torch.config import GeneratorConfig
from agm_torch.engine.job import Job
from agm_torch.generator import AnomalyGenerator
from agm_torch.preview import contact_sheet, unblended
from tests import generate_command
from tests.agm_images import part


def job(seed: int, *, count: int = 6) -> Job:
    config = GeneratorConfig(records_per_shard=4)
    return Job((part(),), "disc", "object", count, seed, 40, config)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return generate_command.run([sys.executable, "-m", "agm_torch", *arguments])


def test_a_contact_sheet_shows_four_pictures_a_record(tmp_path):
    sheet = contact_sheet(job(0, count=4))
    assert sheet.shape[1] > 3 * 4 * 40 and sheet.shape[0] > 2 * 40
    Image.fromarray(part()).save(tmp_path / "part.png")
    out = tmp_path / "sheet.png"
    done = run(
        *("preview", "--images", str(tmp_path / "part.png"), "--category", "disc"),
        *("--count", "4", "--image-px", "40", "--out", str(out)),
        *("--records-per-shard", "4"),
    )
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.asarray(Image.open(out)), sheet)
    failed = run(
        *("preview", "--images", str(tmp_path / "part.png"), "--category", "disc"),
        *("--out", str(tmp_path / "sheet.gif")),
    )
    assert failed.returncode == 2 and "sheet.gif" in failed.stderr
    failed = run(
        *("preview", "--images", str(tmp_path / "part.png"), "--category", "disc"),
        *("--out", str(tmp_path / "nowhere" / "sheet.png")),
    )
    assert failed.returncode == 2 and "nowhere does not exist" in failed.stderr


def test_the_unblended_content_blends_to_the_same_image():
    generator = AnomalyGenerator(kind="object")
    image = part()
    for seed in range(10):
        rng = np.random.default_rng(seed)
        anomaly = generator(image, category="disc", rng=rng)
        beta = anomaly.provenance["beta"]
        weight = (anomaly.soft_mask * (1 - beta))[:, :, None]
        content = unblended(image, anomaly).astype(np.float32)
        again = image + weight * (content - image)
        firm = (weight[:, :, 0] > 0.3) & (anomaly.mask > 0)
        clipped = (content == 0) | (content == 255)
        error = np.abs(again - anomaly.image)[firm & ~clipped.any(axis=2)]
        assert error.size == 0 or error.max() <= 1
