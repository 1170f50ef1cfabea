"""Scoring a folder: the table, the overlays, the maps, and refused inputs."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lfq_jax
from datasets import stopping
from datasets.lock import locked_file
from experiments.evaluate.map_files import read_map
from experiments.predict import __main__ as predict
from experiments.predict.outputs import unreadable_row
from lfq_jax.calibration.rules import Threshold
from tests.refusals import refused
from tests.tiny_detector import part, write_run

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "a_run", "plate")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LFQUIAD_CACHE", str(tmp_path / "cache"))


def write(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    for i in range(5):
        write(folder / "good" / f"{i}.png", part(40 + i, px=40))
    write(folder / "spot.png", part(50, px=64, spot=True))
    return folder


def predicted(run, images, out, *arguments):
    """The rows of scores.csv, and the exit status."""
    status = 0
    try:
        predict.main(
            ["--run", str(run), "--images", str(images), "--out", str(out), *arguments]
        )
    except SystemExit as stopped:
        status = stopped.code
    with (out / "scores.csv").open() as file:
        return list(csv.DictReader(file)), status


def refusal(capsys, *arguments: str) -> str:
    return refused(capsys, predict.main, arguments)


def test_every_photograph_gets_a_row_with_the_detectors_prediction(
    run, images, tmp_path, capsys
):
    out = tmp_path / "out"
    rows, status = predicted(run, images, out)
    assert status == 0
    assert [row["file"] for row in rows] == [
        *(f"good/{i}.png" for i in range(5)),
        "spot.png",
    ]
    detector = lfq_jax.load(run)
    for row in rows:
        found = detector(np.asarray(Image.open(images / row["file"])))
        assert float(row["score"]) == pytest.approx(found.score, abs=1e-5)
        assert row["decision"] == ("anomalous" if found.is_anomalous else "good")
        assert float(row["threshold"]) == detector.thresholds.image_threshold
    (spot,) = (row for row in rows if row["file"] == "spot.png")
    assert spot["decision"] == "anomalous"
    left, top = float(spot["box_left"]), float(spot["box_top"])
    assert left < 24 < left + float(spot["box_width"])
    assert top < 24 < top + float(spot["box_height"])
    content = json.loads((out / "scores.json").read_text())
    assert [image["file"] for image in content["images"]] == [r["file"] for r in rows]
    assert content["unreadable"] == []
    assert content["statement"] == detector.thresholds.image[content["rule"]].statement
    assert "of 6 photographs are anomalous" in capsys.readouterr().out


def test_overlays_and_maps_have_the_photographs_size(run, images, tmp_path):
    write(images / "wide.jpg", part(60, px=64)[:30])
    out = tmp_path / "out"
    predicted(run, images, out, "--overlays", "png", "--maps", "tiff")
    detector = lfq_jax.load(run)
    for name in ("good/0", "spot", "wide"):
        source = next(images.glob(f"{name}.*"))
        image = np.asarray(Image.open(source))
        with Image.open(out / "overlays" / f"{name}.png") as overlay:
            assert overlay.size == (image.shape[1], image.shape[0])
        stored = read_map(out / "maps" / f"{name}.tiff")
        assert stored.dtype == np.uint16
        expected = detector(image).heat_map
        assert np.abs(stored / 65535 - expected).max() < 1e-5


def test_npy_maps_are_the_heat_maps_and_overlays_can_be_left_out(run, images, tmp_path):
    out = tmp_path / "out"
    predicted(run, images, out, "--maps", "npy", "--overlays", "none")
    stored = np.load(out / "maps" / "spot.npy")
    expected = lfq_jax.load(run)(np.asarray(Image.open(images / "spot.png"))).heat_map
    assert np.allclose(stored, expected, atol=1e-5)
    assert not (out / "overlays").exists()


def test_two_photographs_with_one_stem_get_an_overlay_each(run, images, tmp_path):
    write(images / "spot.bmp", part(61))
    write(images / "spot.png.tif", part(62))
    out = tmp_path / "out"
    predicted(run, images, out, "--maps", "npy")
    assert files_in(out / "overlays") == [
        *("spot.jpg", "spot.png.jpg", "spot.png.tif.jpg")
    ]
    assert files_in(out / "maps") == ["spot.npy", "spot.png.npy", "spot.png.tif.npy"]
    whole, bright = (np.load(out / f"maps/{n}.npy") for n in ("spot", "spot.png"))
    assert bright.shape == (64, 64) and bright.max() > whole.max()


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_unreadable_photographs_are_listed_and_the_others_scored(
    run, images, tmp_path, capsys
):
    whole = (images / "good" / "0.png").read_bytes()
    (images / "cut.png").write_bytes(whole[:300])
    (images / "empty.png").write_bytes(b"")
    (images / "text.jpg").write_text("no image")
    write(images / "long.png", np.zeros((2, 50_000), np.uint8))
    rows, status = predicted(run, images, tmp_path / "out")
    assert status == predict.SOME_UNREADABLE
    bad = {r["file"]: r["error"] for r in rows if r["decision"] == "unreadable"}
    assert set(bad) == {"cut.png", "empty.png", "text.jpg", "long.png"}
    assert "at most 32768 px a side, got 50000 x 2" in bad["long.png"]
    assert len(rows) == 10
    assert "cut.png cannot be read as an image" in capsys.readouterr().err
    content = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert {each["file"] for each in content["unreadable"]} == set(bad)


def test_a_stopped_command_prints_how_many_were_scored(
    run, images, tmp_path, capsys, monkeypatch
):
    answers = iter([False, False, True])
    interruption = contextlib.nullcontext(lambda: next(answers))
    monkeypatch.setattr(stopping, "noted_signals", lambda: interruption)
    rows, status = predicted(run, images, tmp_path / "out")
    assert status == 130
    assert len(rows) == 2
    assert "stopped after 2 of 6 photographs" in capsys.readouterr().err
    assert (
        len(json.loads((tmp_path / "out" / "scores.json").read_text())["images"]) == 2
    )


def test_a_stopped_command_resumes_with_what_is_left_and_the_same_bytes(
    run, images, tmp_path, capsys, monkeypatch
):
    write(images / "spot.jpg", part(51))  # two photographs with one stem
    (images / "cut.png").write_bytes(b"")
    for suffix in ("bmp", "png"):  # the fourth and the fifth, in Latin-1
        name = f"good/1\udcfc.{suffix}"
        write(images / f"x.{suffix}", part(52)).rename(images / name)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    predicted(run, images, whole, "--maps", "png")
    with monkeypatch.context() as patched:
        answers = iter([False] * 4 + [True] * 9)
        interruption = contextlib.nullcontext(lambda: next(answers))
        patched.setattr(stopping, "noted_signals", lambda: interruption)
        assert predicted(run, images, cut, "--maps", "png")[1] == 130
    with (cut / "scores.csv").open("a") as file:
        file.write("half a li")  # of a killed process
    refused = refusal(capsys, *_flags(run, images, cut))
    assert "must name a new or an empty folder; the same command with" in refused
    other = refusal(capsys, *_flags(run, images, cut), "--resume", "--rule", "max_f1")
    assert "--resume needs the settings of --out" in other
    predicted(run, images, cut, "--maps", "png", "--resume")
    assert contents(cut) == contents(whole)


def contents(out: Path) -> dict[str, object]:
    """Every file that was written, without times."""
    found: dict[str, object] = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if path.name == "scores.csv":
            rows = list(csv.DictReader(path.read_text().splitlines()))
            found[name] = [row | {"seconds": ""} for row in rows]
        elif path.name == "scores.json":
            content = json.loads(path.read_text())
            found[name] = [row | {"seconds": 0} for row in content.pop("images")]
            found["about"] = content
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def _flags(run, images, out):
    return ("--run", str(run), "--images", str(images), "--out", str(out))


@pytest.mark.parametrize("existed", [False, True])
def test_a_command_that_fails_before_the_first_row_leaves_out_as_it_was(
    run, images, tmp_path, capsys, monkeypatch, existed
):
    out = tmp_path / "out"
    if existed:
        out.mkdir()

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        said = refusal(capsys, *_flags(run, images, out))
    assert said.startswith(f"error: {out}") and said.count("\n") == 1
    assert said.endswith("cannot be written: No space left on device\n")
    assert not out.exists()
    assert predicted(run, images, out)[1] == 0


def test_a_second_process_does_not_write_into_the_same_folder(
    run, images, tmp_path, capsys
):
    out = tmp_path / "out"
    with locked_file(out / ".lock"):
        (out / "scores.csv").write_text("")
        assert "must name a new or" in refusal(capsys, *_flags(run, images, out))


def test_a_photograph_with_too_many_pixels_is_listed(
    run, images, tmp_path, monkeypatch
):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    rows, status = predicted(run, images, tmp_path / "out")
    assert status == predict.SOME_UNREADABLE
    (spot,) = (row for row in rows if row["file"] == "spot.png")
    assert "is too large: at most 2000 pixels are read" in spot["error"]


def test_a_requested_rule_decides(run, images, tmp_path):
    rows, _ = predicted(run, images, tmp_path / "out", "--rule", "max_f1")
    threshold = lfq_jax.load(run).thresholds.image["max_f1"].value
    assert {float(row["threshold"]) for row in rows} == {threshold}


def test_what_may_hide_a_part_gets_a_row_and_links_are_followed(
    run, images, tmp_path, capsys
):
    write(tmp_path / "camera/a.WEBP", part(60, px=40))
    (images / "today").symlink_to(tmp_path / "camera")
    (images / "back").symlink_to(images / "good")
    (images / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (images / "b.heic").write_bytes(b"")
    (images / "readme.txt").write_text("hello")
    write(images / "spot_mask.png", part(50, px=64))
    pages = Image.fromarray(part(51, px=40))
    pages.save(images / "c.tif", save_all=True, append_images=[pages])
    rows, status = predicted(run, images, tmp_path / "out")
    assert status == 1
    unreadable = {r["file"]: r["error"] for r in rows if r["decision"] == "unreadable"}
    assert list(unreadable) == ["b.heic", "gone.png", "spot_mask.png"]
    assert ".heic is not read by Pillow" in unreadable["b.heic"]
    assert "looks like the mask of" in unreadable["spot_mask.png"]
    names = [row["file"] for row in rows]
    assert len(names) == 11 and {"today/a.WEBP", "c.tif"} <= set(names)
    lines = capsys.readouterr().err.splitlines()
    assert f"warning: {images}/readme.txt is not read: text" in lines
    assert any(f"{images}/back is not read: a link to" in x for x in lines)
    assert any(x.startswith(f"warning: {images}/c.tif has 2 pages") for x in lines)


def test_mistakes_get_one_line_and_write_nothing(run, images, tmp_path, capsys):
    out = tmp_path / "out"
    valid = ("--run", str(run), "--images", str(images), "--out", str(out))

    def changed(**flags):
        given = dict(zip(valid[::2], valid[1::2], strict=True))
        given |= {f"--{name}": str(value) for name, value in flags.items()}
        return refusal(capsys, *(word for pair in given.items() for word in pair))

    (tmp_path / "bare").mkdir()
    inside = images / "out"
    assert "--run must name" in refusal(capsys, *valid[2:])
    assert "--out must name" in refusal(capsys, *valid[:4])
    assert "--images must name" in refusal(capsys, *valid[:2], *valid[4:])
    assert "nowhere does not exist" in changed(run=tmp_path / "nowhere")
    assert "holds no run" in changed(run=tmp_path)
    assert "nowhere does not exist" in changed(images=tmp_path / "nowhere")
    assert "is a file, not a folder" in changed(images=images / "spot.png")
    bare = "bare holds no photograph that Pillow reads"
    assert bare in changed(images=tmp_path / "bare")
    (tmp_path / "bare/a.heic").write_bytes(b"")
    assert "; 1 entry cannot be used: a.heic" in changed(images=tmp_path / "bare")
    assert "must lie apart from --images" in changed(out=images)
    assert "must lie apart from --images" in changed(out=inside)
    assert "must lie apart from --images" in changed(out=images.parent)
    assert "must name a new or an empty folder" in changed(out=run)
    for wrong in (5, 99_999_999):
        said = f"--tile-px must be 0 or in [16, 32768], got {wrong}"
        assert said in changed(**{"tile-px": wrong})
    assert "at most 86400, got inf" in changed(**{"poll-seconds": "inf"})
    assert "rule must be one of" in changed(rule="labelled")
    assert "category must be one of plate, got ring" in changed(category="ring")
    assert "--imagse" in refusal(capsys, "--imagse", "x")
    assert not out.exists()
    assert not inside.exists()


def test_photographs_of_another_category_get_a_warning(run, tmp_path, capsys):
    for i in range(4):
        write(tmp_path / "like" / f"{i}.png", part(70 + i))
        write(tmp_path / "unlike" / f"{i}.png", np.full((32, 32, 3), 250, np.uint8))
    predicted(run, tmp_path / "like", tmp_path / "one")
    assert "unlike" not in capsys.readouterr().err
    predicted(run, tmp_path / "unlike", tmp_path / "two")
    assert (
        "the photographs look unlike the training images of plate"
        in capsys.readouterr().err
    )
    for i in range(16):  # listed as unreadable, and not compared
        (tmp_path / "unlike" / f"x{i}.png").write_bytes(b"broken")
    predicted(run, tmp_path / "unlike", tmp_path / "three")
    assert capsys.readouterr().err.count("look unlike the training images") == 1


def test_a_far_larger_photograph_gets_a_warning_unless_it_is_tiled(
    run, tmp_path, capsys
):
    write(tmp_path / "images" / "large.png", part(80, px=160))
    predicted(run, tmp_path / "images", tmp_path / "one")
    assert "use --tile-px 32" in capsys.readouterr().err
    predicted(run, tmp_path / "images", tmp_path / "two", "--tile-px", "32")
    statement = (
        "the threshold was set on photographs scored as a whole, but these are scored "
        "in tiles of 32 px: calibrate with --tile-px 32 before you trust a decision"
    )
    assert capsys.readouterr().err.startswith(f"warning: {statement}\n")
    scores = json.loads((tmp_path / "two" / "scores.json").read_text())
    assert (scores["statement"], scores["tile_px"]) == (statement, 32)


def test_a_file_name_that_is_not_text_is_escaped(run, tmp_path):
    folder = tmp_path / "images"
    write(folder / "a.png", part(40))
    write(tmp_path / "x.png", part(41)).rename(folder / os.fsdecode(b"Schr\xfc.png"))
    rows, status = predicted(run, folder, tmp_path / "out")
    assert [row["file"] for row in rows] == [r"Schr\xfc.png", "a.png"]
    assert status == 0
    broken = unreadable_row("\udcfc\n.png", "x/\udcfc\n.png")
    assert predict._line(broken) == r"unreadable  \xfc\n.png: x/\xfc\n.png"


def test_a_watched_folder_is_scored_as_photographs_arrive(run, images, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "experiments.predict", "--watch"]
    command += ["--run", str(run), "--images", str(images), "--out", str(out)]
    watching = subprocess.Popen(
        [*command, "--poll-seconds", "0.05"],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _wait_for_rows(out / "scores.csv", 6)
        write(tmp_path / "late.png", part(77)).rename(images / "late.png")
        _wait_for_rows(out / "scores.csv", 7)
        watching.send_signal(signal.SIGINT)
        output, _ = watching.communicate(timeout=60)
    finally:
        watching.kill()
    assert watching.returncode == 0
    assert "of 7 photographs are anomalous" in output
    content = json.loads((out / "scores.json").read_text())
    assert content["images"][-1]["file"] == "late.png"


def _wait_for_rows(path: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if path.exists() and len(path.read_text().splitlines()) > count:
            return
        time.sleep(0.05)
    raise TimeoutError(f"{path} has fewer than {count} rows")


def test_every_threshold_has_a_statement(run):
    for level in ("image", "pixel"):
        for each in getattr(lfq_jax.load(run).thresholds, level).values():
            assert isinstance(each, Threshold)
            assert len(each.statement) > 20
