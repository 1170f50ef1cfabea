"""Means, changes and the baseline, computed by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.accuracy.baseline import (
    Result,
    read_baseline,
    summarise,
    write_baseline,
)
from experiments.accuracy.table import (
    ALL,
    candidate_table,
    defect_table,
    set_means,
    spread_table,
    summary,
)


def row(part: str, category: str, seed: int, value: float | None, **more: Any) -> dict:
    metrics = dict.fromkeys(("image_auroc", "pixel_auroc", "pixel_ap", "pro"), value)
    dataset = "rendered_ad" if part == "rendered_ad" else "folder"
    found = {"count": 3, "image_auroc": value, "pixel_auroc": value, "pro": value}
    return {
        "part": part,
        "dataset": dataset,
        "category": category,
        "seed": seed,
        "shots": 2,
        "backbone": "none",
        "metrics": metrics,
        "per_defect": {"hole": found},
        "seconds": {"total": 10.0 * (seed + 1)},
        **more,
    }


ROWS = [
    row("rendered_ad", "gear", 0, 0.5),
    row("rendered_ad", "gear", 1, 0.7),
    row("rendered_ad", "bolt", 0, 0.8),
    row("rendered_ad", "bolt", 1, 1.0),
    row("leather", "leather", 0, 0.95),
    row("leather", "leather", 1, 0.97),
]


def result(rows: list[dict] = ROWS) -> Result:
    return summarise(rows, ["abc"])


def _line(table: str, start: str) -> list[str]:
    return next(x for x in table.splitlines() if x.strip().startswith(start)).split()


def test_every_data_set_has_the_same_weight_in_the_mean():
    means = set_means(result())
    assert means["rendered_ad"]["image_auroc"] == pytest.approx(0.75)
    assert means["leather"]["pro"] == pytest.approx(0.96)
    assert means[ALL]["image_auroc"] == pytest.approx((0.75 + 0.96) / 2)
    assert means["leather"]["seconds"] == pytest.approx(15)


def test_a_mean_ignores_a_metric_that_was_not_computed():
    rows = [row("leather", "leather", 0, None), row("leather", "leather", 1, 0.5)]
    assert set_means(result(rows))["leather"]["pro"] == 0.5
    alone = candidate_table("main", result(rows[:1]), None)
    assert _line(alone, "leather")[1] == "-"


def test_the_mean_over_data_sets_says_which_have_no_pixel_figures():
    images_alone = {"metrics": dict.fromkeys(ROWS[0]["metrics"]) | {"image_auroc": 0.5}}
    rows = [*ROWS, row("elpv", "mono", 0, 0.5) | images_alone]
    rows += [row("elpv", "mono", 1, 0.5) | images_alone]
    table = candidate_table("main", result(rows), None)
    assert _line(table, "elpv")[1:9:2] == ["0.500", "-", "-", "-"]
    assert "mean of P-AUROC, P-AP, PRO: over the data sets that have it" in table
    assert "over the data sets" not in candidate_table("main", result(), None)


def test_changes_are_computed_from_the_same_candidate():
    better = [r | {"metrics": {k: 0.99 for k in r["metrics"]}} for r in ROWS]
    table = candidate_table("main", result(better), result())
    assert _line(table, "gear")[1:3] == ["0.990", "+0.390"]
    assert _line(table, "rendered_ad")[2] == "+0.240"
    assert _line(table, "leather")[2] == "+0.030"
    assert "no change is shown" not in table


def test_means_over_fewer_categories_are_not_compared():
    fewer = [r for r in ROWS if r["category"] != "bolt"]
    table = candidate_table("main", result(fewer), result())
    assert _line(table, "gear")[2] == "+0.000"
    assert _line(table, "rendered_ad")[2] == "-"
    assert _line(table, "leather")[2] == "+0.000"
    assert _line(table, "all")[4] == "-"


def test_other_seeds_are_not_compared_and_the_table_says_so():
    one = result([r for r in ROWS if r["seed"] == 0])
    table = candidate_table("main", one, result())
    assert "the baseline has 2 shots and seeds 0, 1" in table
    assert "+" not in table


def test_the_table_of_defects_contains_photographs_only():
    lines = defect_table(result()).splitlines()
    assert lines[2].split() == ["leather,", "hole", "3", "0.960", "0.960", "0.960"]
    assert len(lines) == 3


def test_the_summary_also_shows_the_baselines_candidates():
    table = summary({"main": result()}, {"draem": result()})
    assert _line(table, "main")[1:6] == ["0.750", "/", "0.750", "/", "0.750"]
    assert _line(table, "draem, baseline")[2:7] == ["0.750", "/", "0.750", "/", "0.750"]
    assert "baseline of draem: seeds 0, 1" in table


def test_one_row_for_each_data_set_backbone_and_method():
    features = {"backbone": "squeezenet1_1", "method": "knn"}
    images_alone = {"metrics": {"image_auroc": 0.75, "pixel_auroc": None, "pro": None}}
    rows = {
        "none-lfquiad": ROWS,
        "squeezenet1_1-knn": [row("leather", "leather", 0, 0.9) | features],
        "draem": [row("elpv", "mono", 0, 0.5) | images_alone | {"method": "lfquiad"}],
    }
    lines = [line.split() for line in spread_table(rows).splitlines()]
    rendered = ["rendered_ad", "none", "lfquiad"]
    assert lines[2] == [*rendered, *(["0.750", "±0.141"] * 3), "15", "±7"]
    assert lines[3] == [
        "leather",
        "none",
        "lfquiad",
        *(["0.960", "±0.014"] * 3),
        *lines[3][-2:],
    ]
    assert lines[4] == [
        "leather",
        "squeezenet1_1",
        "knn",
        "0.900",
        "0.900",
        "0.900",
        "10",
    ]
    assert lines[5] == ["elpv", "none", "draem", "0.750", "-", "-", "10"]


def test_a_baseline_keeps_the_candidates_that_were_not_measured(tmp_path: Path):
    path = tmp_path / "baseline.json"
    write_baseline(path, {"main": result(), "draem": result()})
    write_baseline(path, {"main": result(ROWS[:1])})
    found = read_baseline(path)
    assert found["main"].seeds == [0]
    assert found["draem"].figures == json.loads(json.dumps(result().figures))
    assert read_baseline(tmp_path / "none.json") == {}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{", "is damaged"),
        ("[]", "no baseline of this version"),
        ('{"schema_version": 1, "candidates": {}}', "schema version 1"),
        ('{"schema_version": 2, "candidates": {"main": {}}}', "no baseline of this"),
    ],
)
def test_a_damaged_baseline_is_refused_by_name(tmp_path: Path, text: str, rule: str):
    path = tmp_path / "baseline.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rule) as caught:
        read_baseline(path)
    assert str(path) in str(caught.value)
