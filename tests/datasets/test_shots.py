"""Drawing few shots, and finding them in the test split."""

import hashlib
import itertools

import numpy as np
import pytest
from PIL import Image

import datasets
from datasets.leaks import checked_for_leaks
from datasets.shots import Shots, choose
from tests.dataset_files import mvtec_category, pixels, save

SIDE = 120
KS = (1, 2, 4, 8, 16, "full")


@pytest.fixture
def part(tmp_path):
    return mvtec_category(tmp_path / "data/part", train=20, defects={"crack": 2})


def draw(tmp_path, k, seed=0) -> Shots:
    return datasets.shots(
        "folder",
        "part",
        k,
        seed,
        data_dir=tmp_path / "data",
        cache_dir=tmp_path / "cache",
        progress=False,
    )


def test_fewer_shots_are_the_first_of_more_shots(tmp_path, part):
    drawn = [draw(tmp_path, k).keys for k in KS]
    assert [len(keys) for keys in drawn] == [1, 2, 4, 8, 16, 20]
    for few, more in itertools.pairwise(drawn):
        assert more[: len(few)] == few
    assert len(set(drawn[-1])) == 20


def test_the_seed_determines_the_selection(tmp_path, part):
    assert draw(tmp_path, 4, seed=3).keys == draw(tmp_path, 4, seed=3).keys
    assert len({draw(tmp_path, 4, seed=s).keys for s in range(5)}) == 5


def test_every_image_is_drawn_equally_often():
    first = [choose(5, 1, seed)[0] for seed in range(2000)]
    assert (
        np.bincount(first, minlength=5).min() > 340
    )  # expected: 400, standard deviation 18


def test_the_content_hash_covers_size_and_pixels(tmp_path, part):
    drawn = draw(tmp_path, "full")
    for key, sha256, example in zip(*drawn, strict=True):
        image = np.asarray(Image.open(part / f"train/{key}.png"))
        content = repr(image.shape).encode() + image.tobytes()
        assert sha256 == example.sha256 == hashlib.sha256(content).hexdigest()


def test_only_normal_training_images_are_drawn(tmp_path, part):
    drawn = draw(tmp_path, "full")
    assert {example.label for example in drawn.examples} == {0}
    assert {example.defect for example in drawn.examples} == {"good"}


@pytest.mark.parametrize("k", [0, -1, 21])
def test_an_impossible_number_of_shots_is_refused(tmp_path, part, k):
    with pytest.raises(ValueError, match=rf"--shots must be in \[1, 20\].*got {k}"):
        draw(tmp_path, k)


def smooth(*seed: int) -> np.ndarray:
    """A smooth image, which unlike noise survives a change of size."""
    small = Image.fromarray(pixels(*seed, side=5)).convert("L").convert("RGB")
    return np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


@pytest.fixture
def smooth_part(tmp_path):
    part = mvtec_category(tmp_path / "data/part", train=0, good=0)
    for i in range(5):
        save(part / f"train/good/{i:03d}.png", smooth(0, i))
        save(part / f"test/good/{i:03d}.png", smooth(1, i))
        save(part / f"test/crack/{i:03d}.png", smooth(2, i))
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[:2] = 255
        save(part / f"ground_truth/crack/{i:03d}.png", mask)
    return part


def load_test(tmp_path, **options):
    options = {"data_dir": tmp_path / "data", "cache_dir": tmp_path / "cache"} | options
    return datasets.load("folder", "part", "test", progress=False, **options)


def copied(part, size, **options):
    """Copy a training photograph into the test split, at `size` pixels."""
    image = Image.open(part / "train/good/002.png").resize((size, size))
    path = part / f"test/good/copy{options.pop('ending', '.png')}"
    image.save(path, **options)


def test_distinct_photographs_are_no_leak(tmp_path, smooth_part, caplog):
    test = load_test(tmp_path, on_leak="refuse")
    assert datasets.check_leaks(draw(tmp_path, "full").examples, test) == []
    assert not caplog.messages


def test_an_exact_copy_is_a_warning_or_an_error_as_requested(
    tmp_path, smooth_part, caplog
):
    copied(smooth_part, SIDE)
    test = load_test(tmp_path)
    expected = "1 test images are also training images: good/copy is good/002 (exact)"
    assert caplog.messages == [expected]
    with pytest.raises(ValueError, match="good/copy is good/002"):
        load_test(tmp_path, on_leak="refuse")
    assert len(load_test(tmp_path, on_leak="ignore")) == len(test)
    assert caplog.messages == [expected]


@pytest.mark.parametrize("size", [60, 120, 180])
def test_a_copy_of_another_size_or_format_is_found(tmp_path, smooth_part, size, caplog):
    copied(smooth_part, size, ending=".jpg", quality=90)
    test = load_test(tmp_path)
    trained = draw(tmp_path, "full").examples
    with pytest.raises(ValueError, match=r"good/copy is good/002 \(near\)"):
        datasets.check_leaks(trained, test)
    leak = datasets.Leak("good/002", "good/copy", "near")
    assert datasets.check_leaks(trained, test, on_leak="warn") == [leak]
    assert "1 test images are also training images" in caplog.text
    assert datasets.check_leaks(trained, test, on_leak="ignore") == []


def test_only_copies_of_the_drawn_shots_are_leaks(tmp_path, smooth_part):
    copied(smooth_part, SIDE)
    others = [x for x in draw(tmp_path, "full").examples if x.key != "good/002"]
    assert datasets.check_leaks(others, load_test(tmp_path, on_leak="ignore")) == []


def with_copies(tmp_path, *numbers: int):
    """Five different photographs, and copies of the first under other numbers."""
    part = mvtec_category(tmp_path / "data/part", train=0)
    for i in range(5):
        save(part / f"train/good/{i:03d}.png", smooth(0, i))
    for i in numbers:
        save(part / f"train/good/{i:03d}.png", smooth(0, 0))
    return part


def test_a_copy_of_a_shot_is_passed_over(tmp_path, caplog):
    with_copies(tmp_path, *range(5, 12))
    for k in (2, 4, 5):
        drawn = draw(tmp_path, k)
        assert len(set(drawn.sha256s)) == drawn.part_count == len(drawn.keys) == k
        assert drawn.keys[:2] == draw(tmp_path, 2).keys
    assert "training images are copies of a shot and were not drawn" in caplog.text
    assert len(draw(tmp_path, "full").keys) == 5


def test_a_compressed_copy_of_a_shot_is_passed_over(tmp_path):
    part = with_copies(tmp_path)
    for i in range(8):
        name = part / f"train/good/copy{i}.jpg"
        Image.fromarray(smooth(0, 0)).save(name, quality=80 + i)
    assert draw(tmp_path, 5).part_count == 5


def test_shots_of_one_part_alone_are_named(tmp_path, caplog):
    part = with_copies(tmp_path, 1, 2, 3, 4)
    assert len(list((part / "train/good").iterdir())) == 5
    drawn = draw(tmp_path, 2)
    assert len(drawn.keys) == 2
    assert drawn.part_count == 1
    assert len(caplog.messages) == 1
    assert "part: 2 shots show 1 different part, since" in caplog.text


def test_training_images_without_copies_are_drawn_without_a_warning(tmp_path, caplog):
    with_copies(tmp_path)
    assert draw(tmp_path, 5).part_count == 5
    assert not caplog.messages


def test_near_copies_of_shots_are_reported_while_the_test_images_are_scored(
    tmp_path, smooth_part, caplog
):
    copied(smooth_part, 60)
    test = load_test(tmp_path)
    trained = draw(tmp_path, "full").examples
    for on_leak in ("warn", "ignore"):
        seen = list(checked_for_leaks(trained, test, on_leak=on_leak))
        assert [example.key for example in seen] == list(test.keys)
    expected = "1 test images are also training images: good/copy is good/002 (near)"
    assert caplog.messages == [expected]
    scored = []
    with pytest.raises(ValueError, match="good/copy is good/002"):
        for example in checked_for_leaks(trained, test, on_leak="refuse"):
            scored.append(example)
    assert len(scored) == len(test)
