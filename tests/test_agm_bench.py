"""The measurement of the generator runs and compares like with like."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from experiments.bench.agm import _draem_style


def test_the_measurement_prints_every_figure():
    done = subprocess.run(
        [
            *(sys.executable, "-m", "experiments.bench.agm", "--image-px", "48"),
            *("--seconds", "0.05", "--shard-mb", "1"),
        ],
        cwd=Path(__file__).resolve().parent.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )
    figures = json.loads(done.stdout)
    assert figures["image_px"] == 48
    for name, value in figures.items():
        assert value == "object" if name == "kind" else value > 0, name


def test_the_version_to_compare_with_really_makes_anomalies():
    make = _draem_style(64)
    for number in range(5):
        image, mask = make(number)
        assert image.shape == (64, 64, 3) and image.dtype == np.uint8
        assert 0 < mask.mean() < 1
