"""The metrics of a category, from maps and masks that have full size when accessed."""

import weakref

import numpy as np

from datasets.example import Example
from experiments.measure.category_metrics import METRICS, measure
from experiments.measure.curves_file import write_curves
from experiments.measure.ground_truths import GroundTruth
from experiments.measure.lazy_arrays import LazyArrays
from lfq_jax.inference.predictor import RawPrediction
from lfq_jax.metrics.evaluation import BootstrapConfig, evaluate, to_mask_resolution
from tests.fake_run import example, prediction


def scored(
    count: int,
) -> tuple[list[Example], list[GroundTruth], list[RawPrediction]]:
    """`count` images of each of three kinds; one defect has no mask."""
    examples = [
        example("gear", defect, number, px=48 + number)
        for defect in ("crack", "good", "hole")
        for number in range(count)
    ]
    examples[0] = examples[0]._replace(mask=np.zeros_like(examples[0].mask))
    rng = np.random.default_rng(0)
    predictions = [prediction(each, rng.uniform()) for each in examples]
    return examples, [GroundTruth.of(each) for each in examples], predictions


def test_a_packed_mask_is_unpacked_unchanged():
    for each in scored(3)[0]:
        mask = GroundTruth.of(each).mask
        assert mask.dtype == bool
        np.testing.assert_array_equal(mask, each.mask)


def test_metrics_are_those_of_all_maps_and_masks_at_full_size():
    examples, truths, predictions = scored(3)
    found = measure(truths, predictions, image_score="max")
    maps = [
        to_mask_resolution(predicted.map, each.mask.shape)
        for predicted, each in zip(predictions, examples, strict=True)
    ]
    scores = np.array([each.scores["max"] for each in predictions])
    labels = np.array([each.label for each in examples])
    expected = evaluate(
        scores,
        labels,
        maps[1:],  # the first shows a defect without a mask
        [each.mask for each in examples[1:]],
        bootstrap=BootstrapConfig(),
    )
    assert found.metrics == {name: getattr(expected, name) for name in METRICS}
    assert found.intervals == expected.intervals
    assert found.per_defect["crack"]["count"] == 3
    holes = slice(3, None)
    masks = [each.mask for each in examples[holes]]
    expected_holes = evaluate(scores[holes], labels[holes], maps[holes], masks)
    assert found.per_defect["hole"]["pixel_auroc"] == expected_holes.pixel_auroc


def test_few_maps_and_masks_have_full_size_at_the_same_time(tmp_path, monkeypatch):
    accessed, alive = [], []
    original = LazyArrays.__getitem__

    def counted(self, i):
        array = original(self, i)
        accessed.append(weakref.ref(array))
        alive.append(sum(reference() is not None for reference in accessed))
        return array

    monkeypatch.setattr(LazyArrays, "__getitem__", counted)
    _, truths, predictions = scored(8)
    measure(truths, predictions, image_score="max")
    write_curves(tmp_path, truths, predictions)
    assert len(accessed) >= 2 * 23 * 3, "maps and masks: metrics, intervals, curves"
    # Those of an image and of the previous one, and what beartype inspected.
    assert max(alive) <= 10


def test_image_labels_alone_leave_the_pixel_metrics_out_with_their_reason():
    examples = [
        example("cell", defect, number)
        for defect in ("defective", "good")
        for number in range(3)
    ]
    examples = [each._replace(mask=np.zeros_like(each.mask)) for each in examples]
    truths = [GroundTruth.of(each) for each in examples]
    predictions = [prediction(each, 0.9 if each.label else 0.1) for each in examples]
    found = measure(truths, predictions, image_score="max")
    assert found.metrics["image_auroc"] == 1.0
    pixel = [name for name in METRICS if not name.startswith("image")]
    assert [found.metrics[name] for name in pixel] == [None] * len(pixel)
    reasons = {found.not_computed[name] for name in pixel}
    assert reasons == {"no defective test image has a mask"}
    assert found.per_defect["defective"]["pixel_auroc"] is None
