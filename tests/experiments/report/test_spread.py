"""Mean and deviation over the seeds, computed by hand."""

import math

import pytest

from experiments.report.spread import Spread, cell, spread


def row(seed: int, category: str, value: float | None) -> dict:
    return {"seed": seed, "category": category, "metrics": {"pro": value}}


def test_the_spread_is_over_seeds_of_means_over_categories():
    path = ("metrics", "pro")
    rows = [
        row(0, "bolt", 10.0),
        row(0, "gear", 20.0),
        row(1, "bolt", 12.0),
        row(1, "gear", 22.0),
    ]
    assert spread(rows, path) == pytest.approx((16.0, math.sqrt(2)))
    # an incomplete seed is ignored: its mean would be over other images
    assert spread([*rows, row(2, "bolt", 99.0)], path) == spread(rows, path)
    assert spread(rows[:1], path) == Spread(10.0, None)
    assert spread([row(0, "bolt", None)], path) is None


def test_a_cell_without_a_value_is_a_dash():
    assert cell(Spread(1.234, 0.5), 2) == "1.23 ±0.50"
    assert cell(Spread(1.234, None), 1) == "1.2"
    assert cell(None, 1) == "-"
