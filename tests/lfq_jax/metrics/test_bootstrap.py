"""Confidence intervals and AUPIMO against slow implementations of their definitions."""

import numpy as np
import pytest

from lfq_jax.metrics import aupimo as aupimo_module
from lfq_jax.metrics.aupimo import aupimo
from lfq_jax.metrics.bootstrap import BootstrapConfig, PixelBootstrap, image_intervals
from lfq_jax.metrics.evaluation import ExactPixelMetrics, evaluate, evaluate_images

CONFIG = BootstrapConfig(replicates=200, seed=3)


def _pairs(*, images: int = 10, px: int = 48, seed: int = 0):
    rng = np.random.default_rng(seed)
    maps, masks = [], []
    for i in range(images):
        mask = np.zeros((px, px), bool)
        if i % 2:
            top, left = rng.integers(0, px - 12, 2)
            mask[top : top + 12, left : left + 9] = True
        anomaly_map = rng.normal(size=(px, px)) + rng.uniform(0, 3) * mask
        maps.append(anomaly_map.astype(np.float32))
        masks.append(mask)
    return maps, masks


def _slow_intervals(anomalous, measure) -> dict[str, tuple[float, float]]:
    """Resample with the same random numbers, and measure the resampled images."""
    rng = np.random.default_rng(CONFIG.seed)
    times = np.zeros((CONFIG.replicates, len(anomalous)), int)
    for members in (anomalous, ~anomalous):
        count = members.sum()
        times[:, members] = rng.multinomial(
            count, [1 / count] * count, CONFIG.replicates
        )
    found = [measure(np.repeat(np.arange(len(anomalous)), row)) for row in times]
    return {
        name: tuple(np.quantile([each[name] for each in found], [0.025, 0.975]))
        for name in found[0]
    }


def test_image_intervals_equal_those_of_resampled_images():
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 3 == 0
    scores = np.round(rng.normal(labels, 1.0), 1)
    found = image_intervals(scores, labels, CONFIG).values
    expected = _slow_intervals(
        labels, lambda i: evaluate_images(scores[i], labels[i]).values
    )
    for name, interval in found.items():
        assert tuple(interval) == pytest.approx(expected[name], abs=1e-12), name


def test_pixel_intervals_equal_those_of_resampled_images():
    maps, masks = _pairs()
    whole = ExactPixelMetrics()
    whole.update(maps, masks)
    bootstrap = PixelBootstrap(whole.counts())
    bootstrap.update(maps, masks)
    found = bootstrap.intervals(CONFIG).values
    anomalous = np.array([mask.any() for mask in masks])

    def measure(chosen: np.ndarray) -> dict[str, float]:
        metrics = ExactPixelMetrics()
        metrics.update([maps[i] for i in chosen], [masks[i] for i in chosen])
        return metrics.compute().values

    expected, values = _slow_intervals(anomalous, measure), whole.compute().values
    for name in ("pixel_auroc", "pixel_ap", "pixel_f1_max", "pro@0.3", "pro@0.05"):
        assert tuple(found[name]) == pytest.approx(expected[name], abs=2e-3), name
        assert found[name].low < values[name] < found[name].high


def test_the_seed_determines_the_interval_and_more_images_narrow_it():
    def width(count: int, seed: int = 0) -> float:
        rng = np.random.default_rng(1)
        labels = np.arange(count) % 2 == 0
        found = image_intervals(
            rng.normal(labels, 1.0), labels, BootstrapConfig(300, seed=seed)
        )
        interval = found.values["image_auroc"]
        return interval.high - interval.low

    assert width(40) == width(40) != width(40, seed=1)
    assert width(400) < 0.5 * width(40)


def test_evaluate_computes_an_interval_of_every_metric():
    maps, masks = _pairs()
    labels = np.array([mask.any() for mask in masks])
    scores = np.array([m.max() for m in maps])
    found = evaluate(scores, labels, maps, masks, bootstrap=CONFIG)
    figures = {"image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap"}
    figures |= {"pixel_f1_max", "pro@0.3", "pro@0.05"}
    assert set(found.intervals) == figures
    assert all(0 <= i.low <= i.high <= 1 for i in found.intervals.values())


def test_too_few_images_have_no_interval_with_the_reason():
    maps, masks = _pairs(images=3)
    labels = np.array([mask.any() for mask in masks])
    found = evaluate(np.arange(3.0), labels, maps, masks, bootstrap=CONFIG)
    assert found.intervals == {}
    for level in ("image", "pixel"):
        reason = found.not_computed[f"{level}_intervals"]
        assert "at least 2 anomalous images" in reason and reason.endswith("got 1")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"replicates": 0}, "replicates must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"confidence": 1.0}, r"confidence must be in \(0, 1\), got 1.0"),
    ],
)
def test_invalid_bootstrap_settings_are_refused(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        BootstrapConfig(**settings)


def _slow_aupimo(maps, masks, lower: float, upper: float) -> list[float]:
    """The integral on a fine grid of rates; each threshold by trying all scores."""
    normal = [m for m, mask in zip(maps, masks, strict=True) if not mask.any()]
    candidates = np.unique(np.concatenate([m.ravel() for m in normal]))
    rates = np.array([np.mean([(m > t).mean() for m in normal]) for t in candidates])
    grid = np.geomspace(lower, upper, 4001)
    middles = np.sqrt(grid[1:] * grid[:-1])
    # The lowest threshold, just above a score, whose rate does not exceed the grid's.
    chosen = [candidates[rates <= rate].min() for rate in middles]
    return [
        float(np.mean([(m[mask] > t).mean() for t in chosen]))
        for m, mask in zip(maps, masks, strict=True)
        if mask.any()
    ]


@pytest.mark.parametrize("tied", [False, True])
def test_aupimo_equals_its_definition(tied: bool, monkeypatch):
    maps, masks = _pairs(images=7, px=24)
    if tied:
        maps = [np.round(4 * m) / 4 for m in maps]
    monkeypatch.setattr(aupimo_module, "FPR_BOUNDS", (1e-3, 1e-1))
    found = aupimo(maps, masks)
    expected = _slow_aupimo(maps, masks, 1e-3, 1e-1)
    assert list(found.per_image.values()) == pytest.approx(expected, abs=2e-3)
    assert found.value == pytest.approx(np.mean(expected), abs=2e-3)


def test_aupimo_is_1_for_perfect_maps_and_0_for_inverted_maps():
    _, masks = _pairs(images=4, px=400)
    perfect = aupimo([mask.astype(np.float32) for mask in masks], masks)
    assert perfect.value == 1.0
    blind = aupimo([1 - mask.astype(np.float32) for mask in masks], masks)
    assert blind.value == 0.0


def test_aupimo_that_cannot_be_computed_has_a_reason():
    maps, masks = _pairs(images=4)
    assert "too few pixels" in str(aupimo(maps, masks).not_computed)
    good = [np.zeros_like(mask) for mask in masks]
    assert aupimo(maps, good).not_computed == "there is no anomalous image"
    bad = [np.ones_like(mask) for mask in masks]
    assert aupimo(maps, bad).not_computed == "there is no normal image"
