"""The figures of a category, from maps and masks that are of full size when read."""

import weakref

import numpy as np

from datasets.example import Example
from experiments.computed import Computed
from experiments.curve_file import write_curves
from experiments.measure import METRICS, measure
from experiments.truths import Truth
from lfq_jax.inference.predictor import ImagePrediction
from lfq_jax.metrics.evaluation import BootstrapConfig, evaluate, to_mask_resolution
from tests.fake_run import example, prediction


def scored(count: int) -> tuple[list[Example], list[Truth], list[ImagePrediction]]:
    """`count` images of each of three kinds; one defect has no mask."""
    examples = [
        example("gear", defect, number, px=48 + number)
        for defect in ("crack", "good", "hole")
        for number in range(count)
    ]
    examples[0] = examples[0]._replace(mask=np.zeros_like(examples[0].mask))
    rng = np.random.default_rng(0)
    predictions = [prediction(each, rng.uniform()) for each in examples]
    return examples, [Truth.of(each) for each in examples], predictions


def test_a_mask_comes_back_as_it_was():
    for each in scored(3)[0]:
        mask = Truth.of(each).mask
        assert mask.dtype == bool
        np.testing.assert_array_equal(mask, each.mask)


def test_figures_are_those_of_all_maps_and_masks_at_full_size():
    examples, truths, predictions = scored(3)
    found = measure(truths, predictions, image_score="max")
    maps = [
        to_mask_resolution(of.map, each.mask.shape)
        for of, each in zip(predictions, examples, strict=True)
    ]
    scores = np.array([each.scores["max"] for each in predictions])
    labels = np.array([each.label for each in examples])
    expected = evaluate(
        scores,
        labels,
        maps[1:],  # the first shows a defect whose place is not known
        [each.mask for each in examples[1:]],
        bootstrap=BootstrapConfig(),
    )
    assert found.metrics == {name: getattr(expected, name) for name in METRICS}
    assert found.intervals == expected.intervals
    assert found.per_defect["crack"]["count"] == 3
    holes = slice(3, None)
    masks = [each.mask for each in examples[holes]]
    of_holes = evaluate(scores[holes], labels[holes], maps[holes], masks)
    assert found.per_defect["hole"]["pixel_auroc"] == of_holes.pixel_auroc


def test_few_maps_and_masks_of_full_size_are_alive_at_once(tmp_path, monkeypatch):
    read, most = [], []
    real = Computed.__getitem__

    def noted(self, i):
        array = real(self, i)
        read.append(weakref.ref(array))
        most.append(sum(each() is not None for each in read))
        return array

    monkeypatch.setattr(Computed, "__getitem__", noted)
    _, truths, predictions = scored(8)
    measure(truths, predictions, image_score="max")
    write_curves(tmp_path, truths, predictions)
    assert len(read) >= 2 * 23 * 3, "maps and masks: figures, intervals, curves"
    # Those of an image and of the one before, and what beartype looked at.
    assert max(most) <= 10
