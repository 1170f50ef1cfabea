"""Thresholds and their guarantees, against simulation and closed forms."""

import math

import numpy as np
import pytest

from lfq_jax.calibration.calibrate import (
    chosen_score,
    image_auroc,
    thresholds_after_training,
    thresholds_from_photographs,
)
from lfq_jax.calibration.rules import (
    MAP_MAX,
    NEW_PARTS,
    Threshold,
    conformal_rank,
    f1_threshold,
    false_alarm_threshold,
    margin_threshold,
    new_parts_threshold,
    realised_bound,
)
from lfq_jax.calibration.score_calibrator import ScoreCalibrator
from lfq_jax.calibration.scores import CalibrationScores
from lfq_jax.calibration.thresholds import Thresholds
from tests.tiny_detector import tiny


def drawn(rng, count):
    """Scores similar to a detector's: log-odds with a heavy upper tail."""
    return 1 / (1 + np.exp(-(rng.gumbel(size=count) - 2)))


@pytest.mark.parametrize(
    ("count", "rate", "rank"),
    [(19, 0.05, 19), (18, 0.05, None), (99, 0.05, 95), (9, 0.1, 9), (2, 0.05, None)],
)
def test_the_conformal_rank_equals_a_hand_calculation(count, rate, rank):
    assert conformal_rank(count, rate) == rank


@pytest.mark.parametrize("count", [19, 30, 59])
def test_the_false_alarm_rate_is_at_most_the_nominal_one_in_the_mean(count):
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(600):
        threshold = false_alarm_threshold(drawn(rng, count), rate=0.05).value
        rates.append(np.mean(drawn(rng, 500) >= threshold))
    # exactly (n + 1 - rank) / (n + 1), which is 5.0, 3.2 and 5.0 %
    rank = conformal_rank(count, 0.05)
    assert rank is not None
    expected = (count + 1 - rank) / (count + 1)
    assert expected <= 0.05 + 1e-9
    assert np.mean(rates) == pytest.approx(expected, abs=0.006)
    bound = realised_bound(count, rank)
    assert np.mean(np.array(rates) <= bound) == pytest.approx(0.9, abs=0.05)


def test_with_few_good_images_the_tail_is_extrapolated_and_the_statement_says_so():
    rng = np.random.default_rng(1)
    rates = []
    for _ in range(600):
        threshold = false_alarm_threshold(drawn(rng, 8), rate=0.05)
        rates.append(np.mean(drawn(rng, 500) >= threshold.value))
    assert 0.02 < np.mean(rates) < 0.08
    said = false_alarm_threshold(drawn(rng, 8), rate=0.05).statement
    assert "8 images guarantee no rate below 11.1%; 19 would guarantee 5.0%" in said


def test_variations_of_few_parts_guarantee_no_rate():
    said = false_alarm_threshold([0.1] * 48, rate=0.05, parts=2).statement
    assert "48 variations of 2 good parts" in said
    assert "without guarantee (2 alone guarantee no rate below 33%)" in said


def test_the_good_score_at_the_conformal_rank_is_below_the_threshold():
    scores = [i / 100 for i in range(1, 20)]
    threshold = false_alarm_threshold(scores, rate=0.05).value
    assert max(scores) < threshold < max(scores) + 1e-6


def test_equal_good_scores_are_all_below_the_threshold():
    assert 0.3 < false_alarm_threshold([0.3] * 30, rate=0.05).value < 0.3 + 1e-6
    assert false_alarm_threshold([0.3], rate=0.05).value > 0.3


@pytest.mark.parametrize(
    ("scores", "rate", "said"),
    [
        ([], 0.05, "at least one|must hold at least one good image"),
        ([0.2], 0.0, r"false_alarm_rate must be in \(0, 1\), got 0"),
        ([0.2], 1.0, r"false_alarm_rate must be in \(0, 1\), got 1"),
        ([0.2, 1.2], 0.05, r"scores must be in \[0, 1\], got 1.2"),
        ([0.2, math.nan], 0.05, r"scores must be in \[0, 1\], got nan"),
    ],
)
def test_invalid_scores_and_rates_are_refused(scores, rate, said):
    with pytest.raises(ValueError, match=said):
        false_alarm_threshold(scores, rate=rate)


def test_calibrated_scores_rise_and_are_uniform_over_good_parts():
    rng = np.random.default_rng(2)
    good = ScoreCalibrator.of(drawn(rng, 200))
    grid = [good.share_below(s) for s in np.linspace(0, 1, 400)]
    assert np.all(np.diff(grid) >= 0)
    assert 0 <= grid[0]
    assert grid[-1] <= 1
    fresh = np.array([good.share_below(s) for s in drawn(rng, 2000)])
    for share in (0.25, 0.5, 0.9, 0.99):
        assert np.mean(fresh < share) == pytest.approx(share, abs=0.05)


def test_the_calibration_continues_beyond_the_highest_good_score():
    good = ScoreCalibrator.of(drawn(np.random.default_rng(3), 40))
    top = good.scores[-1]
    assert good.share_below(top) == pytest.approx(40 / 41)
    for share in (0.98, 0.99, 0.999):
        assert good.share_below(good.at_share(share)) == pytest.approx(share)


def test_calibrated_scores_do_not_depend_on_the_scale_of_raw_scores():
    rng = np.random.default_rng(4)
    low = drawn(rng, 100)
    high = 1 / (1 + np.exp(-(2 * np.log(low / (1 - low)) + 3)))  # another category
    ours, theirs = ScoreCalibrator.of(low), ScoreCalibrator.of(high)
    for score, other in zip(low, high, strict=True):
        assert ours.share_below(score) == pytest.approx(theirs.share_below(other))


def test_the_largest_f1_equals_the_best_of_all_thresholds():
    rng = np.random.default_rng(5)
    scores = np.round(rng.random(60), 2)
    labels = rng.random(60) < scores
    found = f1_threshold(scores.tolist(), labels.tolist(), what="these")

    def f1(threshold):
        called = scores >= threshold
        return 2 * (called & labels).sum() / (called.sum() + labels.sum())

    best = max(f1(t) for t in np.unique(scores))
    assert f1(found.value) == best
    assert f"largest F1 ({best:.3f}) on these" in found.statement


def test_the_margin_is_a_quarter_of_the_way_to_the_median_anomaly():
    def score(log_odds: float) -> float:
        return float(1 / (1 + np.exp(-log_odds)))

    good = Threshold(score(-1.0), "")
    anomalous = [score(x) for x in (-9.0, 3.0, 8.0)]
    found = margin_threshold(good, anomalous, parts=2)
    assert found.value == pytest.approx(score(0.0), abs=1e-7)
    assert "threshold of variations of 2 good parts (0.2689)" in found.statement
    assert "median of 3 synthetic anomalies (0.9526)" in found.statement
    assert "no rate is guaranteed" in found.statement
    # Anomalies with lower scores do not lower the threshold.
    found = margin_threshold(good, [score(-2.0)], parts=1)
    assert found.value == good.value
    assert (
        "the median of 1 synthetic anomalies is no higher (0.1192)" in found.statement
    )


def test_new_parts_are_expected_as_far_from_the_shots_as_in_public_data_sets():
    varied = {"max": [0.2, 0.5, 0.8], "mean": [0.5, 0.5]}
    excess = NEW_PARTS["max"]
    found = new_parts_threshold(varied, "max", rate=0.05, parts=2)
    above = excess.mean + 1.6449 * excess.deviation
    assert np.log(found.value / (1 - found.value)) == pytest.approx(above, abs=1e-3)
    assert f"{above:.2f} in log-odds above the mean of 3 variations" in found.statement
    assert "as far as 5.0% of new good parts" in found.statement
    assert "no rate is guaranteed" in found.statement
    rarer = new_parts_threshold(varied, "max", rate=0.01, parts=2)
    assert rarer.value > found.value
    assert new_parts_threshold(varied, "mean", rate=0.05, parts=2).value < found.value


def test_the_rule_of_a_training_that_expects_new_parts_has_that_name():
    _, thresholds, _ = tiny()
    assert thresholds.rule == "new_parts"
    varied = thresholds.calibration_scores["varied"]
    for level, name in (
        (thresholds.image, thresholds.image_score),
        (thresholds.pixel, MAP_MAX),
    ):
        expected = new_parts_threshold(varied, name, rate=0.05, parts=2)
        assert level["new_parts"] == expected


def test_the_rule_of_a_training_that_expects_no_new_parts_is_margin():
    _, thresholds, _ = tiny()
    scores = CalibrationScores(**thresholds.calibration_scores)
    thresholds = thresholds_after_training(
        scores,
        shots=2,
        image_score="smoothed_max",
        pixel_f1_threshold=None,
        expects_new_parts=False,
    )
    assert thresholds.rule == "margin" and "new_parts" not in thresholds.image
    for level, name in (
        (thresholds.image, thresholds.image_score),
        (thresholds.pixel, MAP_MAX),
    ):
        odds = [
            np.log(x / (1 - x))
            for x in (
                level["false_alarm_rate"].value,
                level["margin"].value,
                np.median(thresholds.calibration_scores["synthetic_anomalous"][name]),
            )
        ]
        assert odds[0] < odds[1] < odds[2]
    empty = {key: [] for key in thresholds.calibration_scores["varied"]}
    scores = CalibrationScores(
        **(thresholds.calibration_scores | {"synthetic_anomalous": empty})
    )
    without = thresholds_after_training(
        scores,
        shots=2,
        image_score="max",
        pixel_f1_threshold=None,
        expects_new_parts=False,
    )
    assert without.rule == "false_alarm_rate" and "margin" not in without.image


def test_the_largest_f1_needs_good_and_defective_images():
    with pytest.raises(ValueError, match="needs good and defective images"):
        f1_threshold([0.1, 0.2], [True, True], what="these")


def test_thresholds_are_equal_after_writing_and_reading_json():
    _, thresholds, _ = tiny()
    assert Thresholds.from_json(thresholds.as_json()) == thresholds
    content = thresholds.as_json()
    for wrong in (
        content | {"schema_version": 1},
        {k: v for k, v in content.items() if k != "good"},
        content | {"unknown": 1},
        content | {"image": 3},
    ):
        with pytest.raises(ValueError, match="version"):
            Thresholds.from_json(wrong)


def test_a_rule_that_is_not_stored_is_refused():
    _, thresholds, _ = tiny()
    other = thresholds.ruled_by("max_f1")
    assert other.image_threshold == thresholds.image["max_f1"].value
    with pytest.raises(ValueError, match=r"rule must be one of .*, got labelled"):
        thresholds.ruled_by("labelled")


def test_the_score_of_the_highest_auroc_is_chosen_if_it_leads():
    names = ("mean", "max", "top_k_mean", "smoothed_max")
    good = {name: [0.1, 0.2, 0.3] for name in names}
    bad = {name: [0.15, 0.4, 0.5] for name in names}
    assert chosen_score(good, bad, preferred="mean", what="x")[0] == "mean"
    bad["max"] = [0.4, 0.5, 0.6]
    name, reason = chosen_score(good, bad, preferred="mean", what="these")
    assert name == "max"
    assert reason.startswith("highest AUROC on these: mean 0.778, max 1.000")
    assert image_auroc([0.1, 0.3], [0.2, 0.4]) == 0.75
    with pytest.raises(ValueError, match="got 1 good and 0 anomalous ones"):
        image_auroc([0.1], [])
    with pytest.raises(ValueError, match="got 0 good and 1 anomalous ones"):
        image_auroc([], [0.1])


def test_calibrating_with_good_images_replaces_the_shots_scores():
    _, before, _ = tiny()
    rng = np.random.default_rng(6)
    names = ("mean", "max", "top_k_mean", "smoothed_max", "map_max")
    good = {name: drawn(rng, 40).tolist() for name in names}
    after = thresholds_from_photographs(
        before, good, image_score="max", reason="why", rate=0.1, tile_px=64
    )
    assert (after.image_score, after.tile_px, after.rule) == (
        *("max", 64, "false_alarm_rate"),
    )
    called = np.mean(np.array(good["max"]) >= after.image_threshold)
    assert called == pytest.approx(3 / 40)  # the 37th of 40 is the highest good score
    assert after.calibration_scores == before.calibration_scores
    assert isinstance(after.pixel["false_alarm_rate"], Threshold)
