"""The tables of a comparison, computed by hand."""

import pytest

from experiments.quantizers.table import comparison_table, pareto_front


def row(variant: str, seed: int, category: str, psnr: float | None) -> dict:
    return {
        "variant": variant,
        "seed": seed,
        "category": category,
        "dataset": "rendered_ad",
        "shots": 2,
        "steps": 10,
        "reconstruction": {"psnr_good": psnr},
    }


def test_the_table_has_one_line_per_variant():
    rows = [row("lfq:bits=1", 0, "bolt", 10.0), row("none", 0, "bolt", 20.0)]
    text = comparison_table(rows)
    assert "lfq:bits=1" in text and "20.00" in text
    with pytest.raises(ValueError, match="at least one result, got none"):
        comparison_table([])


def test_the_pareto_front_contains_the_points_that_no_other_beats():
    points = [(1.0, 5.0), (2.0, 6.0), (3.0, 4.0), (2.0, 3.0)]
    assert pareto_front(points, lower_x=True) == [0, 1]
    assert pareto_front(points, lower_x=False) == [1, 2]
    assert pareto_front([(1.0, 1.0), (1.0, 1.0)], lower_x=True) == [0, 1]
    assert pareto_front([], lower_x=True) == []
