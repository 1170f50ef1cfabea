"""The benchmark of pixel metrics: all methods compute the same values."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_every_method_computes_the_same_metrics():
    done = subprocess.run(
        [
            *(sys.executable, "-m", "experiments.bench.evaluation", "--maps", "4"),
            *("--map-px", "64", "--streaming-maps", "8"),
        ],
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    rows = json.loads(done.stdout)["rows"]
    found = {(row["method"], row["maps"]): row for row in rows}
    assert len(found) == 5 and ("streaming", 8) in found
    exact = found["exact", 4]
    for (method, maps), row in found.items():
        assert row["seconds"] >= 0 and row["peak_mib"] > 0
        for name in ("pixel_auroc", "pixel_ap", "pixel_f1_max", "pro@0.3", "pro@0.05"):
            if maps == 4 and (method != "sklearn" or name == "pixel_auroc"):
                assert row[name] == pytest.approx(exact[name], abs=2e-7), (method, name)
