"""AUROC, AP, F1-max and PRO against scikit-learn and slow implementations."""

import functools
import itertools
import pickle
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    precision_recall_curve,
    roc_auc_score,
)

from experiments.bench.evaluation import rendered
from lfq_jax.metrics import pixel_metrics as pixel_metrics_module
from lfq_jax.metrics import score_histogram
from lfq_jax.metrics.evaluation import (
    BootstrapConfig,
    ExactPixelMetrics,
    StreamingPixelMetrics,
    evaluate,
    evaluate_images,
    pixel_metrics,
)
from lfq_jax.metrics.score_histogram import ScoreHistogram
from lfq_jax.metrics.values import pixel_figures

Pairs = tuple[list[np.ndarray], list[np.ndarray]]
FIGURES = ("pixel_auroc", "pixel_ap", "pixel_f1_max", "pro@0.3", "pro@0.05")


@pytest.fixture
def always_binned(monkeypatch):
    """Streaming metrics put every pixel into the histogram, even the first ones."""
    monkeypatch.setattr(pixel_metrics_module, "EXACT_PIXELS", 0)


def _pairs(*, seed: int = 0, images: int = 6, px: int = 40) -> Pairs:
    """Noise with a response over one to three defects; the last image has none."""
    rng = np.random.default_rng(seed)
    maps, masks = [], []
    for i in range(images):
        anomaly_map = rng.normal(size=(px, px))
        mask = np.zeros((px, px), bool)
        for _ in range(0 if i == images - 1 else rng.integers(1, 4)):
            top, left = rng.integers(0, px - 8, 2)
            height, width = rng.integers(1, 8, 2)
            mask[top : top + height, left : left + width] = True
            anomaly_map[top : top + 6, left : left + 6] += rng.uniform(0.5, 3)
        maps.append(anomaly_map.astype(np.float32))
        masks.append(mask)
    return maps, masks


def _single_pixel() -> Pairs:
    maps, masks = _pairs(seed=1, images=2)
    masks = [np.zeros_like(m) for m in masks]
    masks[0][3, 5] = masks[0][20, 0] = True
    return maps, masks


def _case(name: str) -> Pairs:
    maps, masks = _pairs()
    if name == "tied":
        maps = [np.round(m) for m in maps]
    elif name == "constant":
        maps = [np.full_like(m, 0.25) for m in maps]
    elif name == "perfect":
        maps = [m.astype(np.float32) for m in masks]
    elif name == "inverted":
        maps = [1 - m.astype(np.float32) for m in masks]
    elif name == "negative":
        maps = [m - 100 for m in maps]
    elif name == "tiny":
        maps = [m * 1e-30 for m in maps]
    elif name == "probabilities":
        maps = [(1 / (1 + np.exp(-4 * m + 8))).astype(np.float32) for m in maps]
    elif name == "single-pixel":
        maps, masks = _single_pixel()
    return maps, masks


CASES = (
    "random",
    "tied",
    "constant",
    "perfect",
    "inverted",
    "negative",
    "tiny",
    "probabilities",
    "single-pixel",
)


def _roc_of_regions(maps, masks) -> tuple[np.ndarray, np.ndarray]:
    """False positive rate and mean covered share of the regions, at every threshold."""
    scores = np.concatenate([m.ravel() for m in maps]).astype(np.float64)
    normal = ~np.concatenate([m.ravel() for m in masks])
    regions = []
    offset = 0
    for mask in masks:
        labels, count = cast(tuple, ndimage.label(mask, np.ones((3, 3))))
        flat = labels.ravel()
        regions += [offset + np.flatnonzero(flat == k + 1) for k in range(count)]
        offset += mask.size
    thresholds = np.unique(scores)[::-1]

    def share_above(chosen: np.ndarray) -> np.ndarray:
        below = np.searchsorted(np.sort(scores[chosen]), thresholds)
        return 1 - below / scores[chosen].size

    overlap = np.mean([share_above(region) for region in regions], axis=0)
    return np.append(0.0, share_above(normal)), np.append(0.0, overlap)


def _area_up_to(limit: float, x: np.ndarray, y: np.ndarray) -> float:
    """The area under the curve up to x = limit, as a share of the limit."""
    area = 0.0
    steps = zip(itertools.pairwise(x), itertools.pairwise(y), strict=True)
    for (x0, x1), (y0, y1) in steps:
        if x0 >= limit:
            break
        end = min(x1, limit)
        y_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0) if x1 > x0 else y1
        area += (end - x0) * (y0 + y_end) / 2
    return area / limit


def _best_f1(labels: np.ndarray, scores: np.ndarray) -> float:
    """The largest F1 over scikit-learn's precision and recall at every threshold."""
    precision, recall, _ = precision_recall_curve(labels, scores)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, where=total > 0, out=0 * total)
    return float(f1.max())


@functools.cache
def _expected(name: str) -> dict[str, float]:
    maps, masks = _case(name)
    scores = np.concatenate([m.ravel() for m in maps]).astype(np.float64)
    labels = np.concatenate([m.ravel() for m in masks])
    curve = _roc_of_regions(maps, masks)
    return {
        "pixel_auroc": float(roc_auc_score(labels, scores)),
        "pixel_ap": float(average_precision_score(labels, scores)),
        "pixel_f1_max": _best_f1(labels, scores),
        "pro@0.3": _area_up_to(0.3, *curve),
        "pro@0.05": _area_up_to(0.05, *curve),
    }


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", FIGURES)
def test_exact_figures_equal_their_definitions(case: str, name: str):
    exact = ExactPixelMetrics()
    exact.update(*_case(case))
    assert exact.compute().values[name] == pytest.approx(
        _expected(case)[name], abs=1e-9
    )


@pytest.mark.parametrize("case", CASES)
def test_streaming_figures_equal_their_definitions_within_1e_5(case: str):
    streaming = StreamingPixelMetrics()
    streaming.update(*_case(case))
    found = streaming.compute()
    for name in FIGURES:
        assert found.values[name] == pytest.approx(_expected(case)[name], abs=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_a_histogram_of_few_pixels_stays_within_its_error_bound(
    case: str, always_binned
):
    """Few pixels are the hardest case: a single pair in one bin changes the AP."""
    exact, streaming = ExactPixelMetrics(), StreamingPixelMetrics()
    for metrics in (exact, streaming):
        metrics.update(*_case(case))
    expected, found = exact.compute(), streaming.compute()
    for name in FIGURES:
        off = abs(found.values[name] - expected.values[name])
        assert off < 1e-3, name
        assert off <= found.error_bounds.get(name, 0.0) + 1e-9, name


def test_a_histogram_of_many_probabilities_is_within_1e_5():
    pairs = list(rendered(17, 512))
    exact, streaming = ExactPixelMetrics(), StreamingPixelMetrics()
    for metrics in (exact, streaming):
        metrics.update(*zip(*pairs, strict=True))
    assert streaming.pixels > pixel_metrics_module.EXACT_PIXELS
    expected, found = exact.compute(), streaming.compute()
    for name in FIGURES:
        assert found.values[name] == pytest.approx(expected.values[name], abs=1e-5)
        assert found.error_bounds[name] < 2e-5


def test_coarse_bins_stay_within_their_error_bound(always_binned, monkeypatch):
    """Scores in 60 octaves leave few bins to each, so the metrics are not exact."""
    rng = np.random.default_rng(0)
    maps, masks = _pairs(images=12, px=128)
    maps = [
        (m * 2.0 ** rng.integers(-50, 10, m.shape)).astype(np.float32) for m in maps
    ]
    monkeypatch.setattr(score_histogram, "MOST_BINS", 1 << 16)
    exact, streaming = ExactPixelMetrics(), StreamingPixelMetrics()
    for metrics in (exact, streaming):
        metrics.update(maps, masks)
    expected, found = exact.compute(), streaming.compute()
    assert streaming.histogram.dropped_bits > 3
    for name in FIGURES:
        off = abs(found.values[name] - expected.values[name])
        assert 0 < found.error_bounds[name] < 0.05, name
        assert off <= found.error_bounds[name] + 1e-12, name


@pytest.mark.parametrize("mode", ["exact", "streaming"])
def test_pro_of_four_pixels_worked_by_hand(mode):
    """One row of four pixels; the first is a region, the others are normal.

        score  0.9  0.8  0.4  0.1
        mask    1    0    0    0

    At a threshold above 0.9 nothing is detected: FPR 0, overlap 0. At 0.9 the whole
    region is detected: FPR 0, overlap 1. Below, the overlap stays 1 while the FPR rises
    to 1/3, 2/3 and 1. So the area up to 0.3 is 0.3, and PRO is 1.

    With the first two scores exchanged, the overlap is 0 up to an FPR of 1/3, which is
    beyond the limit of 0.3. So PRO is 0. With both scores tied at 0.9, the curve is a
    straight line from (0, 0) to (1/3, 1). The area up to 0.3 is 0.3 * 0.9 / 2, and PRO
    is 0.45.
    """
    mask = np.array([[True, False, False, False]])
    for scores, expected in (
        ([0.9, 0.8, 0.4, 0.1], 1.0),
        ([0.8, 0.9, 0.4, 0.1], 0.0),
        ([0.9, 0.9, 0.4, 0.1], 0.45),
    ):
        metrics = pixel_metrics(mode)
        metrics.update([np.array([scores])], [mask])
        assert metrics.compute().values["pro@0.3"] == pytest.approx(expected, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 2, 3, 1000]),
    st.floats(-1e30, 1e30, allow_nan=False),
    st.floats(0.001, 1.0),
)
def test_every_metric_is_in_0_to_1(seed: int, levels: int, scale: float, limit: float):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 9, 2))
    maps = [
        (rng.integers(0, levels, shape) * scale / levels).astype(np.float32)
        for _ in range(3)
    ]
    masks = [rng.random(shape) < share for share in (0, 0.2, 0.7)]
    for metrics in (ExactPixelMetrics(), StreamingPixelMetrics()):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pixel_metrics_module, "EXACT_PIXELS", 0)
            metrics.update(maps, masks)
            found = metrics.compute(pro_fpr_limits=(limit,))
        for name, value in found.values.items():
            assert name == "pixel_threshold" or 0 <= value <= 1, name
        assert bool(found.values) != bool(found.not_computed)


@pytest.mark.parametrize("parts", [1, 3, 7])
def test_merged_parts_have_the_same_counts_to_the_last_bit(parts: int, always_binned):
    maps, masks = _pairs(images=21)
    whole = StreamingPixelMetrics()
    whole.update(maps, masks)
    merged = StreamingPixelMetrics()
    for part in np.array_split(np.arange(len(maps)), parts)[::-1]:
        other = StreamingPixelMetrics()
        other.update([maps[i] for i in part], [masks[i] for i in part])
        merged.merge(pickle.loads(pickle.dumps(other)))
    for one, two in zip(whole.counts(), merged.counts(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert whole.compute() == merged.compute()
    assert merged.images == len(maps)


def test_exact_metrics_can_be_merged():
    maps, masks = _pairs()
    whole, one, two = (ExactPixelMetrics() for _ in range(3))
    whole.update(maps, masks)
    one.update(maps[:2], masks[:2])
    two.update(maps[2:], masks[2:])
    one.merge(two)
    for name, value in whole.compute().values.items():
        assert one.compute().values[name] == pytest.approx(value, abs=1e-12)


def test_merging_histograms_with_different_columns_is_refused():
    with pytest.raises(ValueError, match="this histogram's 3 columns, got 2"):
        ScoreHistogram(3).merge(ScoreHistogram(2))


def test_streaming_memory_does_not_grow_with_the_number_of_images(always_binned):
    streaming = StreamingPixelMetrics()
    maps, masks = _pairs(images=2, px=512)
    sizes = []
    for _ in range(3):
        for _ in range(20):
            streaming.update(maps, masks)
        streaming.counts()
        sizes.append(len(pickle.dumps(streaming)))
    assert sizes[1] == sizes[2]


def test_regions_that_touch_at_a_corner_are_one_region(always_binned):
    """Of two pixels that touch at a corner, one is half of a region, not a whole."""
    mask = np.zeros((10, 10), bool)
    mask[0, 0] = mask[1, 1] = True
    scores = np.zeros((10, 10))
    scores[0, 0] = 2.0
    for metrics in (ExactPixelMetrics(), StreamingPixelMetrics()):
        metrics.update([scores], [mask])
        assert metrics.counts().covered.sum() == pytest.approx(1.0)


def test_image_metrics_equal_scikit_learn():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 50)
    scores = np.round(rng.normal(labels, 1.0), 1)
    found = evaluate_images(scores, labels).values
    assert found["image_auroc"] == pytest.approx(
        roc_auc_score(labels, scores), abs=1e-9
    )
    assert found["image_ap"] == pytest.approx(
        average_precision_score(labels, scores), abs=1e-9
    )
    best = max(f1_score(labels, scores >= t) for t in np.unique(scores))
    assert found["image_f1_max"] == pytest.approx(best, abs=1e-9)
    at_threshold = f1_score(labels, scores >= found["image_threshold"])
    assert at_threshold == pytest.approx(best, abs=1e-12)


def test_evaluate_computes_all_metrics_of_a_category():
    maps, masks = _pairs()
    scores = [float(m.max()) for m in maps]
    labels = np.array([m.any() for m in masks]).astype(int)
    exact = evaluate(np.array(scores), labels, maps, masks, mode="exact")
    streaming = evaluate(np.array(scores), labels, maps, masks)
    assert exact.pixel_auroc == streaming.pixel_auroc  # few pixels are not binned
    assert exact.pro == exact.pro_by_limit["pro@0.3"]
    assert set(exact.pro_by_limit) == {"pro@0.3", "pro@0.05"}
    other = evaluate(np.array(scores), labels, maps, masks, pro_fpr_limit=0.1)
    assert other.pro == other.pro_by_limit["pro@0.1"]


def test_a_metric_that_cannot_be_computed_is_none_with_its_reason():
    maps, masks = _pairs()
    good = [np.zeros_like(m) for m in masks]
    found = evaluate(np.arange(6.0), np.zeros(6, int), maps, good)
    assert found.image_auroc is None and found.pro is None
    assert found.not_computed["image_auroc"] == "there is no anomalous image"
    assert found.not_computed["pro"] == "there is no anomalous pixel"
    everything = [np.ones_like(m) for m in masks]
    found = evaluate(np.arange(6.0), np.ones(6, int), maps, everything)
    assert found.not_computed["pixel_auroc"] == "there is no normal pixel"
    assert found.not_computed["image_ap"] == "there is no normal image"
    found = evaluate(np.zeros(0), np.zeros(0, int), [], [])
    assert found.not_computed["pro"] == "there is no pixel"


def _nan() -> Pairs:
    maps, masks = _pairs()
    maps[2] = maps[2].copy()
    maps[2][3, 4] = np.nan
    return maps, masks


@pytest.mark.parametrize("mode", ["exact", "streaming"])
def test_a_score_that_is_not_finite_is_named(mode):
    names = [f"crack/{i:03d}" for i in range(6)]
    with pytest.raises(ValueError, match=r"maps\[crack/002\].*nan at row 3, column 4"):
        pixel_metrics(mode).update(*_nan(), names=names)
    with pytest.raises(ValueError, match="inf for image good/1"):
        evaluate_images(
            np.array([0.0, np.inf]), np.array([0, 1]), names=["good/0", "good/1"]
        )


def _beyond_float32(name: str) -> Pairs:
    """Maps whose order float32 does not hold, with one that it holds beside them."""
    maps, masks = _pairs()
    maps = [m.astype(np.float64) for m in maps]
    change = {
        "1e-300": lambda m: m * 1e-300,
        "1e300": lambda m: m * 1e300,
        "offset": lambda m: m + 1e9,
        "negative offset": lambda m: m - 1e9,
        "float32 denormals": lambda m: (m * 1e-42).astype(np.float32),
        "integers": lambda m: (m * 1000).astype(np.int64) + (1 << 40),
    }
    if name == "mixed":
        shrunk = [m * 1e-300 for m in maps]
        offset = [m.astype(np.float32) for m in maps]
        return [*shrunk[:3], *offset[3:]], masks
    return [change[name](m) for m in maps], masks


BEYOND_FLOAT32 = (
    "1e-300",
    "1e300",
    "offset",
    "negative offset",
    "float32 denormals",
    "integers",
    "mixed",
)


@pytest.mark.parametrize("name", BEYOND_FLOAT32)
@pytest.mark.parametrize("exact_pixels", [1 << 22, 0])
def test_streaming_keeps_an_order_that_float32_does_not(
    name, exact_pixels, monkeypatch
):
    monkeypatch.setattr(pixel_metrics_module, "EXACT_PIXELS", exact_pixels)
    exact, streaming = ExactPixelMetrics(), StreamingPixelMetrics()
    for metrics in (exact, streaming):
        metrics.update(*_beyond_float32(name))
    expected, found = exact.compute(), streaming.compute()
    assert expected.values["pixel_auroc"] > 0.6
    for figure, value in expected.values.items():
        off = abs(found.values[figure] - value)
        if exact_pixels:
            assert off == 0, figure
        elif figure in FIGURES:
            assert off <= found.error_bounds.get(figure, 0.0) + 1e-9, figure


def test_few_bins_of_float64_scores_stay_within_their_error_bound(
    always_binned, monkeypatch
):
    monkeypatch.setattr(score_histogram, "MOST_BINS", 1 << 10)
    maps, masks = _beyond_float32("offset")
    exact, streaming = ExactPixelMetrics(), StreamingPixelMetrics()
    for metrics in (exact, streaming):
        metrics.update(maps, masks)
    expected, found = exact.compute(), streaming.compute()
    assert streaming.wide_histogram.dropped_bits
    for name in FIGURES:
        off = abs(found.values[name] - expected.values[name])
        assert 0 < found.error_bounds[name] < 0.1, name
        assert off <= found.error_bounds[name] + 1e-12, name


@pytest.mark.parametrize("name", ["offset", "mixed"])
def test_merged_parts_of_float64_maps_have_the_same_counts(
    name, always_binned, monkeypatch
):
    monkeypatch.setattr(score_histogram, "MOST_BINS", 1 << 11)
    maps, masks = _beyond_float32(name)
    whole, merged = StreamingPixelMetrics(), StreamingPixelMetrics()
    whole.update(maps, masks)
    for i in reversed(range(len(maps))):
        part = StreamingPixelMetrics()
        part.update(maps[i : i + 1], masks[i : i + 1])
        merged.merge(pickle.loads(pickle.dumps(part)))
    for one, two in zip(whole.counts(), merged.counts(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_intervals_of_an_offset_equal_those_without():
    maps, masks = _pairs(images=12)
    maps = [np.round(m.astype(np.float64) * 64) / 64 for m in maps]  # exact beside 1e9
    labels = np.array([m.any() for m in masks])
    labels[-3:], masks[-3:] = False, [np.zeros_like(m) for m in masks[-3:]]
    scores, config = np.arange(12.0), BootstrapConfig(50)
    plain = evaluate(scores, labels, maps, masks, bootstrap=config)
    moved = [m + 1e9 for m in maps]
    assert evaluate(scores, labels, moved, masks, bootstrap=config).intervals == (
        plain.intervals
    )


@pytest.mark.parametrize("mode", ["exact", "streaming"])
def test_numbers_that_float64_does_not_hold_are_refused(mode):
    mask = np.array([[True, False]])
    with pytest.raises(
        ValueError, match=r"integers in \[-2\^53, 2\^53\].*got 0 to 9007"
    ):
        pixel_metrics(mode).update([np.array([[0, (1 << 53) + 1]])], [mask])
    with pytest.raises(ValueError, match=r"maps\[0\] must be numbers of at most 64"):
        pixel_metrics(mode).update([np.zeros((1, 2), np.longdouble)], [mask])


def test_different_shapes_are_refused():
    maps, masks = _pairs()
    with pytest.raises(ValueError, match=r"maps\[0\].*\(40, 40\), got \(20, 40\)"):
        ExactPixelMetrics().update([maps[0][:20]], masks[:1])
    with pytest.raises(ValueError, match="maps and masks must have one length"):
        evaluate(np.zeros(6), np.zeros(6, int), maps[:5], masks)
    with pytest.raises(ValueError, match="labels must be 0 or 1"):
        evaluate_images(np.zeros(2), np.array([0, 2]))


def test_a_mask_of_several_levels_causes_one_warning():
    scores = [np.zeros((2, 2))] * 2
    mask = np.array([[0, 128], [127, 255]], np.uint8)
    metrics = ExactPixelMetrics()
    with pytest.warns(UserWarning, match=r"masks\[0\].*> 127 of 255") as caught:
        metrics.update(scores, [mask, mask])
    assert len(caught) == 1
    assert metrics.counts().anomalous.sum() == 4


def test_a_mask_of_0_and_1_is_refused_with_the_rule():
    mask = np.array([[0, 1]], np.uint8)
    with (
        pytest.warns(UserWarning),
        pytest.raises(ValueError, match="values up to 1 and none above 127"),
    ):
        ExactPixelMetrics().update([np.zeros((1, 2))], [mask])


@pytest.mark.parametrize("limit", [0.0, -0.1, 1.5, float("nan")])
def test_a_limit_outside_0_to_1_is_refused(limit: float):
    counts = ExactPixelMetrics().counts()
    with pytest.raises(ValueError, match=r"limit must be in \(0, 1\]"):
        pixel_figures(counts, pro_fpr_limits=(limit,))
