"""`python -m experiments.calibrate`: thresholds set again from photographs."""

import json
import re
import shutil
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lfq_jax
from datasets.copies import look
from datasets.framing import Framing
from experiments import calibrate
from lfq_jax.calibration.calibrate import lowest_chance_auroc
from lfq_jax.inference.detector_files import read_detector, save_detector
from tests.odd_image_files import png16
from tests.refusals import refused
from tests.tiny_detector import part, tiny, write_run


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("LFQUIAD_CACHE", str(tmp_path / "cache"))
    return write_run(tmp_path / "run", "plate")


@pytest.fixture
def photographs(tmp_path):
    """20 good parts and 5 defective ones with masks."""
    for name, count, spot in (("good", 20, False), ("bad", 5, True)):
        (tmp_path / name).mkdir()
        for i in range(count):
            image = part(200 + i, px=40, spot=spot)
            Image.fromarray(image).save(tmp_path / name / f"{i}.png")
    mask = np.zeros((40, 40), np.uint8)
    mask[10:20, 10:20] = 255
    (tmp_path / "masks").mkdir()
    for i in range(4):
        Image.fromarray(mask).save(tmp_path / "masks" / f"{i}_mask.png")
    return tmp_path


def refusal(capsys, *arguments: str) -> str:
    return refused(capsys, calibrate.main, arguments)


def test_good_parts_alone_set_the_false_alarm_rate(run, photographs, capsys):
    before = lfq_jax.load(run).thresholds
    calibrate.main(["--run", str(run), "--good", str(photographs / "good")])
    detector = lfq_jax.load(run)
    after = detector.thresholds
    assert after.rule == "false_alarm_rate"
    assert after.image["max_f1"] == before.image["max_f1"]
    scores = [detector(part(200 + i, px=40)).score for i in range(20)]
    # of 20 scores, at 5 %: the highest is still classified as good
    assert after.image_threshold == pytest.approx(max(scores), abs=1e-5)
    printed = capsys.readouterr().out
    assert "conformal, from 20 good images" in printed
    assert "in force" in printed
    assert "synthetic anomalies of the training" in printed


def test_pixels_of_good_parts_stay_unmarked(run, photographs):
    calibrate.main(["--run", str(run), "--good", str(photographs / "good")])
    detector = lfq_jax.load(run)
    marked = [detector(part(200 + i, px=32)).mask.any() for i in range(20)]
    assert sum(marked) <= 2


def test_defective_parts_set_the_largest_f1_and_the_best_score(
    run, photographs, capsys
):
    calibrate.main(
        [
            *("--run", str(run), "--good", str(photographs / "good")),
            *("--defective", str(photographs / "bad")),
            *("--masks", str(photographs / "masks"), "--image-score", "auto"),
        ]
    )
    thresholds = lfq_jax.load(run).thresholds
    assert thresholds.rule == "labelled"
    assert "5 of 5 anomalies detected, 0 of 20 good" in (
        thresholds.image["labelled"].statement
    )
    assert "over the pixels" in thresholds.pixel["labelled"].statement
    assert "mean 1.000" in thresholds.image_score_reason
    assert "labelled" in capsys.readouterr().out
    calibrate.main(["--run", str(run), "--good", str(photographs / "good")])
    after = lfq_jax.load(run).thresholds
    assert after.rule == "false_alarm_rate"
    assert not {"labelled"} & {*after.image, *after.pixel}


def test_another_image_score_removes_the_previous_scores_thresholds(run, photographs):
    calibrate.main(
        [
            *("--run", str(run), "--good", str(photographs / "good")),
            *("--image-score", "mean", "--tile-px", "32"),
        ]
    )
    thresholds = lfq_jax.load(run).thresholds
    assert thresholds.image_score == "mean"
    assert thresholds.tile_px == 32
    assert set(thresholds.image) == {"false_alarm_rate"}


def test_mistakes_get_one_line_and_change_nothing(run, photographs, capsys):
    path = run / "plate" / "detector" / "thresholds.json"
    before = path.read_text()
    good = ("--run", str(run), "--good", str(photographs / "good"))
    (photographs / "empty").mkdir()
    for arguments, expected in (
        (good[2:], "--run must name"),
        (good[:2], "--good must name a folder"),
        ((*good[:2], "--good", str(photographs / "no")), "does not exist"),
        ((*good[:2], "--good", str(photographs / "empty")), "holds no photograph"),
        (
            (*good, "--false-alarm-rate", "0"),
            "--false-alarm-rate must be in [1e-06, 1), got 0.0",
        ),
        ((*good, "--false-alarm-rate", "5"), "must be in [1e-06, 1), got 5.0"),
        ((*good, "--masks", str(photographs / "masks")), "needs --defective"),
        ((*good, "--defective", str(photographs / "good")), "and in --defective"),
        (
            (
                *good,
                "--defective",
                str(photographs),
                "--masks",
                str(photographs / "masks"),
            ),
            "where its masks would be read as photographs",
        ),
        ((*good, "--tile-px", "3"), "must be 0 or in [16, 32768], got 3"),
        ((*good, "--tile-px", "40000"), "must be 0 or in [16, 32768], got 40000"),
        ((*good, "--false-alarm-rate", "1e-300"), "must be in [1e-06, 1), got 1e-300"),
        ((*good, "--image-score", "median"), "median"),
        ((*good, "--category", "ring"), "category must be one of plate"),
    ):
        message = refusal(capsys, *arguments)
        assert expected in message
    (photographs / "good" / "broken.png").write_bytes(b"none")
    assert "broken.png cannot be read" in refusal(capsys, *good)
    assert path.read_text() == before
    assert json.loads(before)["rule"]


def test_a_mask_of_another_size_or_of_no_photograph_is_named(run, photographs, capsys):
    valid = (
        *("--run", str(run), "--good", str(photographs / "good")),
        *("--defective", str(photographs / "bad")),
        *("--masks", str(photographs / "masks")),
    )
    wrong = photographs / "masks" / "0_mask.png"
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(wrong)
    assert "0_mask.png must have the size of" in refusal(capsys, *valid)
    for path in (photographs / "masks").iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    assert "4 masks of" in refusal(capsys, *valid)


def test_an_empty_mask_does_not_count_for_the_pixels(run, photographs):
    valid = ["--run", str(run), "--good", str(photographs / "good")]
    valid += ["--defective", str(photographs / "bad")]
    valid += ["--masks", str(photographs / "masks")]
    thresholds = []
    Image.new("L", (40, 40)).save(photographs / "masks" / "3_mask.png")
    for _ in range(2):
        calibrate.main(valid)
        thresholds.append(lfq_jax.load(run).thresholds.pixel["labelled"].value)
        (photographs / "masks" / "3_mask.png").unlink(missing_ok=True)
    assert thresholds[0] == thresholds[1]


class Blank:
    """A predictor whose maps are all zero."""

    record = SimpleNamespace(wide_bit_depth=16, bit_depth=8)
    framing = Framing((40, 40), 1, is_texture=True)

    def predict(self, images, *, tile_px):
        for _ in images:
            yield SimpleNamespace(calibration_scores={}, map=np.zeros((40, 40)))


def test_masks_are_read_however_they_were_saved(photographs, capsys):
    paths = sorted((photographs / "bad").iterdir())[:4]
    masks = [(path,) for path in sorted((photographs / "masks").iterdir())]
    blank: Any = Blank()
    for (path,) in masks:
        shape = Image.open(path)
        white = Image.new("RGB", shape.size, "white")
        white.putalpha(shape)
        white.save(path)
    scored = calibrate.score_folder(blank, paths, masks, tile_px=0, what="defective")
    assert scored.pixels.counts().anomalous.sum() == 4 * 100
    warnings = capsys.readouterr().err
    assert warnings.count("its opacity is the mask (3 others likewise: ") == 1


def test_a_doubtful_bit_depth_causes_one_warning(photographs, capsys):
    paths = sorted((photographs / "good").iterdir())[:3]
    for path in paths:
        png16(path, np.asarray(Image.open(path)).astype(np.uint16) << 4)
    blank: Any = Blank()
    calibrate.score_folder(blank, paths, None, tile_px=0, what="good")
    warnings = capsys.readouterr().err
    assert warnings.count("16 times too dark (2 others likewise: ") == 1


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (1, "_mask.png has the value 1 in every pixel, which may mark"),
        (0, "gives no pixel threshold: there is no anomalous pixel"),
    ],
)
def test_masks_that_mark_nothing_are_named(run, photographs, capsys, level, expected):
    stored = (run / "plate" / "detector" / "thresholds.json").read_bytes()
    for path in (photographs / "masks").iterdir():
        Image.fromarray(np.full((40, 40), level, np.uint8)).save(path)
    message = refusal(
        capsys,
        *("--run", str(run), "--good", str(photographs / "good")),
        *("--defective", str(photographs / "bad")),
        *("--masks", str(photographs / "masks")),
    )
    assert expected in message
    assert (run / "plate" / "detector" / "thresholds.json").read_bytes() == stored


def test_copies_count_as_one_part(run, photographs, capsys):
    """Also after compression."""
    good = photographs / "good"
    for i in range(3):
        shutil.copy(good / "0.png", good / f"copy{i}.png")
    grain = Image.fromarray(part(7, px=8)).resize((80, 80), Image.Resampling.BICUBIC)
    grain.save(good / "large.png")
    grain.save(good / "large2.jpg", quality=90)
    calibrate.main(["--run", str(run), "--good", str(good)])
    printed = capsys.readouterr()
    assert "warning: 4 of 25 photographs of --good are copies (" in printed.err
    assert "copy0.png is 0.png (exact)" in printed.err
    assert "each part counts once" in printed.err
    assert "from 21 good images" in printed.out


def test_swapped_folders_are_refused_unless_confirmed(run, photographs, capsys):
    stored = run / "plate" / "detector" / "thresholds.json"
    before = stored.read_text()
    arguments = ["--run", str(run), "--good", str(photographs / "bad")]
    arguments += ["--defective", str(photographs / "good")]
    message = refusal(capsys, *arguments)
    assert "--good scores higher than --defective: the AUROC of smoothed_max" in message
    assert "--yes calibrates nevertheless" in message
    assert stored.read_text() == before
    calibrate.main([*arguments, "--yes"])
    assert lfq_jax.load(run).thresholds.rule == "labelled"


@pytest.mark.parametrize(
    ("good", "anomalous", "least"), [(3, 3, 0.081), (1, 19, 0.0008), (20, 5, 0.2579)]
)
def test_the_lowest_auroc_by_chance_rises_with_the_number_of_images(
    good, anomalous, least
):
    assert lowest_chance_auroc(good, anomalous) == pytest.approx(least, abs=1e-3)
    assert lowest_chance_auroc(2, 2) < 0  # too few: never refused


def test_a_stored_detector_knows_its_shots(run, photographs, capsys):
    folder = run / "plate" / "detector"
    looks = [look(part(0)), look(part(1))]
    record, thresholds, images = tiny()
    record = record._replace(
        shot_sha256s=tuple(each.sha256 for each in looks),
        shot_looks=np.stack([each.grey for each in looks]),
    )
    save_detector(folder, record, thresholds=thresholds, validation=images)
    Image.fromarray(part(1)).save(photographs / "good" / "shot.png")
    arguments = ["--run", str(run), "--good", str(photographs / "good")]
    assert "shot.png is one of its shots" in refusal(capsys, *arguments)


def test_a_detector_of_schema_8_is_read_without_its_shots(run):
    path = run / "plate" / "detector" / "config.json"
    config = json.loads(path.read_text()) | {"schema_version": 8}
    del config["shot_sha256s"]
    path.write_text(json.dumps(config))
    record = read_detector(path.parent)
    assert record.shot_sha256s == ()
    assert record.shot_looks is None


def test_every_file_is_taken_or_named(photographs, capsys):
    good, bad, masks = (photographs / name for name in ("good", "bad", "masks"))
    valid = ["--run", "no_run", "--good", str(good), "--defective", str(bad)]
    valid += ["--masks", str(masks)]  # folders are listed before the run is read
    for odd, message in (
        (good / "20.heic", "1 entry of .*good cannot be used: 20.heic"),
        (bad / "4_mask.png", "4_mask.png .looks like the mask of"),
        (masks / "4_gt.png", "1 mask of .*masks without a photograph .*: 4_gt.png"),
        (masks / "3.png", "are both masks of .*3.png"),
        (bad / "4.bmp", "have the same stem"),
    ):
        Image.new("L", (40, 40)).save(odd, format="BMP")
        error = refusal(capsys, *valid)
        assert re.search(message, error) and error.count("\n") == 1
        odd.unlink()
    (good / "readme.txt").write_text("hello")
    error = refusal(capsys, *valid)
    assert f"warning: {good}/readme.txt is not read: text" in error


def test_the_masks_in_a_folder_are_united(photographs):
    masks = photographs / "masks"
    mark = np.zeros((40, 40), np.uint8)
    for i in range(2):
        mark[:] = 0
        mark[i, 0] = 255
        (masks / "4").mkdir(exist_ok=True)
        Image.fromarray(mark).save(masks / f"4/{i}.png")
    bad = photographs / "bad"
    *_, of_last = calibrate.masks_of(sorted(bad.iterdir()), bad, masks)
    assert of_last == (masks / "4/0.png", masks / "4/1.png")
    blank: Any = Blank()
    scored = calibrate.score_folder(
        blank, [bad / "4.png"], [of_last], tile_px=0, what="defective"
    )
    assert scored.pixels.counts().anomalous.sum() == 2
