"""A run as a function: what it takes, what it gives, and what it refuses."""

import json
import threading
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from PIL import ExifTags, Image

import lfq_jax
from lfq_jax.inference.array_tree import by_path
from lfq_jax.inference.detector import Detector, Prediction
from lfq_jax.inference.detector_files import read_detector
from lfq_jax.inference.predictor import Predictor
from lfq_jax.inference.preprocessing import LONGEST_PX
from lfq_jax.model.scoring import Scorer
from lfq_jax.ops.batches import filled
from tests.tiny_detector import part, tiny, write_run

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "a_run", "plate", "ring")


@pytest.fixture(scope="module")
def detector(run):
    return lfq_jax.load(run, "plate")


def test_what_is_loaded_scores_as_what_was_saved(detector):
    saved, thresholds, images = tiny()
    before = Detector(Predictor(saved), thresholds)
    for image in images[[0, -1]]:
        one, other = before(image), detector(image)
        assert one.score == other.score
        assert np.array_equal(one.heat_map, other.heat_map)


def test_every_array_of_the_variables_is_stored_under_its_path(run):
    saved, _, _ = tiny()
    stored = safetensors.numpy.load_file(run / "plate/detector/weights.safetensors")
    assert stored.keys() == by_path(saved.variables).keys()
    assert "memory_bank/extractor/filters/mean" in stored
    loaded = read_detector(run / "plate" / "detector").variables
    assert jax.tree.structure(loaded) == jax.tree.structure(saved.variables)


def test_a_defect_is_found_and_its_place_is_marked(detector):
    bad, good = detector(part(90, spot=True)), detector(part(91))
    assert bad.is_anomalous
    assert not good.is_anomalous
    assert bad.score > good.score
    assert bad.calibrated > good.calibrated
    # The image is smaller than the filters: all of it may pass the threshold.
    assert bad.heat_map[8:16, 8:16].mean() > 2 * bad.heat_map[20:, 20:].mean()
    pixel_threshold = detector.thresholds.pixel_threshold
    assert np.array_equal(bad.mask, bad.heat_map >= pixel_threshold)
    assert bad.mask[8:16, 8:16].all() and not good.mask.any()


@pytest.mark.parametrize("size", [(32, 32), (47, 91), (1, 1), (200, 60)])
def test_maps_come_back_at_the_images_own_size(detector, size):
    found = detector(np.full((*size, 3), 120, np.uint8))
    assert found.heat_map.shape == found.mask.shape == size
    assert found.heat_map.dtype == np.float32
    assert found.mask.dtype == np.bool_
    assert 0 <= found.heat_map.min() <= found.heat_map.max() <= 1


def test_grey_wide_and_float_images_are_the_same_image(detector):
    grey = part(3)[..., 0]
    expected = detector(np.repeat(grey[..., None], 3, axis=-1)).score
    opaque = np.full_like(grey, 255)
    for same in (
        grey,
        grey[..., None],
        grey.astype(np.uint16) * 256,
        grey.astype(np.float32) / 255,
        np.stack([grey, grey, grey, opaque], axis=-1),
        np.stack([grey, opaque], axis=-1),
    ):
        assert detector(same).score == pytest.approx(expected, abs=1e-6)


def test_a_wide_image_is_read_by_the_bit_depth_of_the_shots():
    saved, thresholds, _ = tiny()
    twelve = Detector(Predictor(saved._replace(bit_depth=12)), thresholds)
    wide = part(3).astype(np.uint16) << 4
    assert np.array_equal(twelve.rgb(wide), part(3))
    with pytest.raises(ValueError, match=r"\[0, 4095\] at bit_depth 12, got \d+ to "):
        twelve.rgb(wide + 4000)


def test_a_doubtful_bit_depth_causes_one_warning():
    saved, thresholds, _ = tiny()
    detector = Detector(Predictor(saved), thresholds)
    wide = part(3).astype(np.uint16) << 4
    expected = "an image has values up to .* camera of 12 bits, and is read as 16 bits"
    with pytest.warns(UserWarning, match=expected) as caught:
        detector.rgb(wide)
        detector.rgb(wide)
    assert len(caught) == 1


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.uint32, int])
def test_eight_bits_in_a_wider_type_are_never_read_as_sixteen(dtype):
    saved, thresholds, _ = tiny()
    detector = Detector(Predictor(saved), thresholds)
    said = f"an image of {np.dtype(dtype)} is read as 16 bits .*: cast it to uint8 if"
    with pytest.raises(ValueError, match=said):
        detector.rgb(part(3).astype(dtype))
    black = np.zeros((4, 4), dtype)
    assert not detector.rgb(black).any(), "black in both"
    sixteen = Detector(Predictor(saved._replace(bit_depth=16)), thresholds)
    assert not sixteen.rgb(black + 255).any(), "dark, to a camera of 16 bits"


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((0, 5, 3), np.uint8), "must have pixels"),
        (np.zeros((5, 0), np.uint8), "must have pixels"),
        (np.zeros((4, 4, 5), np.uint8), r"must have shape \[h w\], .* \[h w 2\],"),
        (np.zeros(7, np.uint8), "must have shape"),
        (np.zeros((50_000, 1), np.uint8), f"at most {LONGEST_PX} px a side"),
        (np.full((4, 4), 1.5), r"in \[0, 1\], got 1.5 to 1.5"),
        (np.full((4, 4), np.nan), r"in \[0, 1\], got nan"),
        (np.full((4, 4), -1), "got -1 to -1"),
        (np.full((4, 4), "x"), "must hold numbers"),
    ],
)
def test_what_is_no_image_is_refused_by_name(detector, image, said):
    with pytest.raises(ValueError, match=said):
        detector(image)


class TorchLike:
    """A tensor as numpy sees it; on a GPU it refuses to be read."""

    def __init__(self, pixels: np.ndarray, *, on_gpu: bool = False) -> None:
        self.pixels, self.on_gpu = pixels, on_gpu

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        if self.on_gpu:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        return self.pixels


def test_every_kind_of_image_is_one_image(detector, tmp_path):
    image = part(3)
    Image.fromarray(image).save(tmp_path / "a.png")
    expected = detector(image)
    kinds = [
        jnp.asarray(image),
        TorchLike(image),
        Image.fromarray(image),
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
    ]
    for same in kinds:
        found = detector(same)
        assert isinstance(found, Prediction), type(same)
        assert found.score == expected.score
    together = detector(kinds)
    assert [found.score for found in together] == pytest.approx(
        [expected.score] * 5, abs=1e-5
    )
    assert [found.score for found in detector(iter(kinds[:1]))] == [expected.score]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"])
def test_a_pillow_image_is_read_as_its_file_is(detector, tmp_path, mode):
    image = Image.fromarray(part(3))
    if mode == "I;16":
        image = Image.fromarray(part(3)[..., 0].astype(np.uint16) * 256)
    elif mode == "F":
        image = Image.fromarray(part(3)[..., 0].astype(np.float32) / 255)
    else:
        image = image.convert(mode)
    path = tmp_path / "a.tif"
    image.save(path)
    np.testing.assert_array_equal(detector.rgb(image), detector.rgb(path))


def test_a_pillow_image_is_turned_upright(detector, tmp_path):
    image = Image.fromarray(part(3)[:20])
    exif = image.getexif()
    exif[ExifTags.Base.Orientation] = 6
    image.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as opened:
        assert detector.rgb(opened).shape == (32, 20, 3)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (None, "images must be an array, a Pillow image, a path, or a list"),
        (3, "got int"),
        (np.float32(3), "got float32"),
        ({}, "got dict"),
        (b"a.png", "got bytes"),
        ([None], r"images\[0\] must be .*, got NoneType"),
        ([[[1, 2], [3, 4]]], r"images\[0\] must be .*, got list"),
        (
            TorchLike(part(3), on_gpu=True),
            "image is a TorchLike that .*: can't convert",
        ),
    ],
)
def test_what_is_no_kind_of_image_is_a_type_error(detector, image, said):
    with pytest.raises(TypeError, match=said):
        detector(image)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((3, 32, 32), r"channels last, \[h w c\], got shape \(3, 32, 32\)"),
        ((3, 32, 3), "is ambiguous: .* 3 rows, or .* 3 columns"),
        ((32, 3), "is ambiguous: a grey image 3 px wide, or one row of colour"),
        ((2, 32, 32, 3), "must have shape"),
    ],
)
def test_a_shape_that_can_be_read_in_two_ways_is_refused(detector, shape, said):
    with pytest.raises(ValueError, match=said):
        detector(np.zeros(shape, np.uint8))


def test_the_rows_of_an_image_are_no_list_of_images(detector):
    with pytest.raises(ValueError, match=r"images\[0\] of shape \(32, 3\) is ambig"):
        detector(list(part(3)))


def test_a_file_three_pixels_high_is_no_riddle(detector, tmp_path):
    Image.fromarray(part(3)[:3, :9]).save(tmp_path / "a.png")
    assert detector(tmp_path / "a.png").heat_map.shape == (3, 9)
    with pytest.raises(ValueError, match=r"nowhere\.png cannot be read as an image"):
        detector(tmp_path / "nowhere.png")


def test_a_batch_gives_what_one_by_one_gives(detector):
    images = [part(i, px=30 + i, spot=i % 2 == 0) for i in range(7)]
    together = detector(images)
    for image, found in zip(images, together, strict=True):
        alone = detector(image)
        assert found.score == pytest.approx(alone.score, abs=1e-5)
        assert np.allclose(found.heat_map, alone.heat_map, atol=1e-5)
    assert detector([]) == []
    with pytest.raises(ValueError, match="images must be one or more, got none"):
        detector.predictor.reconstruct(np.zeros((0, 32, 32, 3), np.uint8))


def test_batches_are_filled_up_with_their_last_item_and_take_no_more_than_they_need():
    assert list(filled(range(5), 2)) == [([0, 1], 2), ([2, 3], 2), ([4, 4], 1)]
    assert list(filled([], 2)) == []
    source = iter(range(9))
    assert next(filled(source, 3)) == ([0, 1, 2], 3)
    assert next(source) == 3


def test_every_batch_size_is_compiled_once_also_by_many_threads():
    saved, thresholds, _ = tiny()
    detector = Detector(Predictor(saved), thresholds)
    images = [part(i) for i in range(9)]

    def scores(detector):
        """Of two full batches, and of one image alone."""
        return [found.score for found in detector(images)]

    expected = scores(detector)
    assert {program[0] for program in detector.predictor._compiled} == {1, 4}
    program: Any = Scorer.__call__
    compiled = program._cache_size()
    fresh = Detector(Predictor(saved), thresholds)
    found = {}

    def work(name):
        found[name] = scores(fresh)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(found.values()) == [expected] * 4
    assert program._cache_size() == compiled, "equal detectors share it"


@pytest.mark.parametrize("pads", [False, True])
@pytest.mark.parametrize("count", [2, 3, 9])
def test_one_or_two_photographs_are_scored_one_by_one_unless_padded(count, pads):
    predictor = Predictor(tiny()[0])
    images = [part(i) for i in range(count)]
    assert len(list(predictor.predict(images, pads=pads))) == count
    expected = {2: {1}, 3: {4}, 9: {1, 4}}[count]
    batches = {program[0] for program in predictor._compiled}
    assert batches == ({4} if pads else expected)


def test_a_run_of_one_category_needs_no_name(tmp_path):
    run = write_run(tmp_path / "run", "plate")
    assert lfq_jax.load(run).category == "plate"
    assert lfq_jax.load(str(run / "plate")).category == "plate"


def test_a_run_that_cannot_be_loaded_says_why(run, tmp_path):
    def said(folder, category=None):
        with pytest.raises(ValueError) as refused:
            lfq_jax.load(folder, category)
        return str(refused.value)

    assert "does not exist" in said(tmp_path / "nowhere")
    assert "holds no run" in said(tmp_path)
    assert "several categories: name one of plate, ring" in said(run)
    assert "did you mean plate?" in said(run, "plat")
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "config.json").write_text("{}")
    assert f"few_shot --resume {unfinished}" in said(unfinished)
    (unfinished / "results.jsonl").write_text('{"category": "plate"}\n')
    assert "was written by an older version" in said(unfinished)


def test_a_category_that_did_not_finish_is_told_from_one_that_is_unknown(tmp_path):
    run = write_run(tmp_path / "run", "plate")
    (run / "ring" / "checkpoints").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"category ring of .* has not finished"):
        lfq_jax.load(run, "ring")


def test_a_detector_of_another_version_or_damaged_is_refused(tmp_path):
    run = write_run(tmp_path / "run", "plate")
    folder = run / "plate" / "detector"
    config = folder / "config.json"
    whole = config.read_text()
    config.write_text(whole.replace('"schema_version": ', '"schema_version": 9'))
    with pytest.raises(ValueError, match="has schema version 9"):
        lfq_jax.load(run)
    changed = json.loads(whole)
    changed["model"]["depth"] = 3
    config.write_text(json.dumps(changed))
    with pytest.raises(ValueError, match=r"another version .*no field depth"):
        lfq_jax.load(run)
    changed = json.loads(whole)
    changed["model"]["discriminative_widths"] = [8, 8]
    config.write_text(json.dumps(changed))
    with pytest.raises(ValueError, match="must have shape"):
        lfq_jax.load(run)
    config.write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        lfq_jax.load(run)
    config.write_text(whole)
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"weights\.safetensors is missing or damaged"):
        lfq_jax.load(run)
    (folder / "thresholds.json").write_text('{"schema_version": 1}')
    with pytest.raises(ValueError, match="missing or damaged"):
        lfq_jax.load(run)
