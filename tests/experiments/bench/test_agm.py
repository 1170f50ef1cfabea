"""The benchmark of the generator: its measurements and its error messages."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agm_torch.config import GeneratorConfig
from agm_torch.model_config import DiffusionConfig, WeightsConfig
from experiments.bench.agm import _draem_style
from experiments.bench.agm_diffusion import diffusion_figures
from tests.agm_images import part


def bench(*flags: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "experiments.bench.agm", *flags],
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def test_the_benchmark_prints_every_measurement():
    done = bench("--image-px", "48", "--seconds", "0.05", "--shard-mb", "1")
    figures = json.loads(done.stdout)
    assert figures["image_px"] == 48
    for name, value in figures.items():
        assert value == "object" if name == "kind" else value > 0, name


def test_the_papers_generator_is_measured_including_its_memory(tmp_path):
    pytest.importorskip("diffusers", reason="the agm extra is not installed")
    from tests import tiny_models

    config = GeneratorConfig(
        diffusion=DiffusionConfig(
            model=str(tiny_models.save_stable_diffusion(tmp_path / "sd")), steps=3
        ),
        weights=WeightsConfig(folder=tmp_path / "weights", offline=True),
        min_contrast=0.0,
    )
    figures = diffusion_figures(part(), config=config, kind="texture", seconds=0.2)
    assert figures["diffusion_device"] in ("cpu", torch_device_name())
    rate = figures["diffusion_records_per_second"]
    assert 0 < rate <= figures["diffusion_paintings_per_second"]
    assert figures["diffusion_batch"] >= 1
    assert figures["diffusion_peak_memory_mb"] > 1
    assert config.generator == "texture"


@pytest.mark.slow
def test_the_generator_is_measured_with_random_weights_of_the_published_sizes():
    pytest.importorskip("diffusers", reason="the agm extra is not installed")
    quick = ("--seconds", "0.1", "--shard-mb", "1", "--agm.diffusion.steps", "2")
    done = bench("--diffusion", "--random-weights", *quick, timeout=1200)
    figures = json.loads(done.stdout)
    assert figures["diffusion_weights"] == "random"
    assert figures["diffusion_records_per_second"] > 0
    # 860 million weights of the UNet alone, in two bytes or in four
    assert figures["diffusion_peak_memory_mb"] > 1700


def torch_device_name() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def test_missing_weights_print_one_line_and_nothing_else(tmp_path):
    quick = ("--image-px", "48", "--seconds", "0.05", "--shard-mb", "1")
    nowhere = ("--agm.weights.offline", "--agm.weights.folder", str(tmp_path))
    done = bench(*quick, "--diffusion", *nowhere)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_the_draem_style_generator_makes_anomalies():
    make = _draem_style(64)
    for number in range(5):
        image, mask = make(number)
        assert image.shape == (64, 64, 3) and image.dtype == np.uint8
        assert 0 < mask.mean() < 1


def test_numpy_is_not_imported_before_its_threads_are_set():
    code = "import sys, experiments.bench.agm; print('numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "False", done.stderr
