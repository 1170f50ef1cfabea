"""curves.json: the drawn curves have the area of the metric, and few points."""

import json

import numpy as np
import pytest

from experiments.measure.curves_file import thinned, write_curves
from experiments.measure.ground_truths import GroundTruth
from lfq_jax.metrics.curves import Curve, pro
from lfq_jax.metrics.evaluation import StreamingPixelMetrics, to_mask_resolution
from tests.fake_run import example, prediction


def test_the_drawn_pro_curve_has_the_area_of_the_metric(tmp_path):
    examples = [example("gear", "crack", number, px=60) for number in range(3)]
    rng = np.random.default_rng(0)
    predictions = []
    for each in examples:
        of = prediction(each, 0.9)
        noise = rng.uniform(0, 1, of.map.shape).astype(np.float32)
        predictions.append(of._replace(map=np.maximum(of.map, noise)))
    write_curves(tmp_path, [GroundTruth.of(each) for each in examples], predictions)
    x, y = json.loads((tmp_path / "curves.json").read_text())["pro"]
    assert len(x) <= 200
    pixels = StreamingPixelMetrics()
    for each, of in zip(examples, predictions, strict=True):
        pixels.update([to_mask_resolution(of.map, each.mask.shape)], [each.mask])
    grid = np.linspace(0, 0.3, 20_001)
    area = np.trapezoid(np.interp(grid, x, y), grid) / 0.3
    assert area == pytest.approx(pro(pixels.counts()), abs=2e-3)


def test_curves_of_good_parts_alone_are_not_written(tmp_path):
    good = example("gear", "good", 0)
    write_curves(tmp_path, [GroundTruth.of(good)], [prediction(good, 0.2)])
    assert list(tmp_path.iterdir()) == []


def test_thinning_keeps_the_ends_and_the_corners():
    x = np.concatenate([np.zeros(1000), np.linspace(0, 1, 1000)])
    y = np.concatenate([np.linspace(0, 1, 1000), np.ones(1000)])
    thin = thinned(Curve(x, y), points=50)
    assert len(thin[0]) <= 50
    assert (thin[0][0], thin[1][0], thin[0][-1], thin[1][-1]) == (0, 0, 1, 1)
    assert min(np.hypot(thin[0], np.subtract(1, thin[1]))) < 0.05
