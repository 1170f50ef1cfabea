"""The table of results that a run prints."""

import pytest

from experiments.report.results_table import COLUMNS, results_table
from tests.fake_run import result_line


def line(category="gear", **changes):
    metrics = changes.pop("metrics", {})
    row = result_line(category, {"good": [0.1], "crack": [0.9]}) | changes
    return row | {"metrics": row["metrics"] | metrics}


def cells(table, name):
    """The words of the row that starts with `name`."""
    return next(row.split() for row in table.splitlines() if row.startswith(name))


def test_each_category_is_a_row_and_the_mean_is_the_last():
    table = results_table(
        [
            line("gear", metrics={"pro": 0.5, "image_auroc": 1.0}),
            line("bolt", metrics={"pro": 0.25, "image_auroc": 0.5}),
        ]
    )
    header = cells(table, "category")
    assert header[1:] == [*(column.short for column in COLUMNS), "time"]
    pro, auroc = header.index("PRO"), header.index("I-AUROC")
    assert cells(table, "gear")[pro] == "0.500"
    assert cells(table, "bolt")[auroc] == "0.500"
    assert cells(table, "mean")[pro] == "0.375"
    assert cells(table, "mean")[auroc] == "0.750"


def test_every_metric_is_named_in_full():
    words = " ".join(results_table([line()]).split())
    for column in COLUMNS:
        assert f"{column.short} {column.full}" in words


def test_a_missing_metric_is_a_dash_with_its_reason():
    reasons = {"pro": "there is no anomalous pixel"}
    rows = [
        line("gear", metrics={"pro": None}, not_computed=reasons),
        line("bolt", metrics={"pro": 0.25}),
    ]
    table = results_table(rows)
    assert cells(table, "gear")[cells(table, "category").index("PRO")] == "-"
    assert "gear: PRO not computed: there is no anomalous pixel." in table
    assert cells(table, "mean")[cells(table, "category").index("PRO")] == "0.250"
    assert "mean of PRO: over the rows that have it." in table


def test_a_metric_that_no_row_has_gets_no_mean():
    table = results_table([line("gear", metrics={"pro": None})])
    assert cells(table, "mean")[cells(table, "category").index("PRO")] == "-"
    assert "mean of PRO" not in table


def test_nan_counts_as_not_computed():
    table = results_table([line(metrics={"pro": float("nan")})])
    assert "nan" not in table
    assert "PRO not computed: no reason was recorded" in table


def test_settings_that_all_rows_share_are_the_first_line():
    table = results_table([line("gear"), line("bolt")])
    assert table.startswith("rendered_ad, 2-shot, seed 0, method lfquiad, preset cpu, ")


def test_settings_that_differ_are_named_in_the_rows():
    table = results_table([line(seed=0), line(seed=1)])
    assert "seed 0" not in table.splitlines()[0]
    assert any(row.startswith("gear, seed 1 ") for row in table.splitlines())


def test_no_row_is_wider_than_a_hundred_columns():
    rows = [
        line(
            f"a_category_with_a_very_long_name_{number}",
            seed=number,
            preset="paper" * number,
            not_computed={"pro": "a reason that needs many words to explain " * 4},
            metrics={"pro": None},
        )
        for number in (1, 2)
    ]
    assert max(map(len, results_table(rows).splitlines())) <= 100


def test_the_times_are_summed():
    rows = [line(seconds={"total": 65.0}), line("bolt", seconds={"total": 115.4})]
    table = results_table(rows)
    assert cells(table, "gear")[-1] == "1:05"
    assert cells(table, "mean")[-1] == "3:00"


def test_a_table_without_rows_is_refused():
    with pytest.raises(ValueError, match="rows must hold at least one result"):
        results_table([])


def test_rows_without_a_method_are_of_lfquiad():
    old, new = line("gear"), line("gear", method="knn")
    del old["quantizer"], new["quantizer"]
    assert "method lfquiad" in results_table([old])
    both = results_table([old, new])
    assert "gear, method lfquiad " in both
    assert "gear, method knn " in both
