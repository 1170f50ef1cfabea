"""The paper's table, whose methods do not all have results at every shot number."""

from experiments.report.published_results import TABLE_1, table_1


def test_a_method_without_results_at_a_shot_number_is_left_out():
    assert "RegAD" not in table_1("mvtec_ad", 1)
    assert "RegAD" in table_1("mvtec_ad", 4)
    assert all(table_1(name, 1) for name in TABLE_1)
