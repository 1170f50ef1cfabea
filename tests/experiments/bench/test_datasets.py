"""The benchmark of preparing and reading data sets."""

import json
import subprocess
import sys
from pathlib import Path


def test_the_benchmark_prints_every_measurement():
    done = subprocess.run(
        [
            *(sys.executable, "-m", "experiments.bench.datasets", "--image-px", "40"),
            *("--images", "6", "--repetitions", "1"),
        ],
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    figures = json.loads(done.stdout)
    assert (figures["images"], figures["image_px"]) == (6, 40)
    assert all(value > 0 for value in figures.values())
