"""Scoring a folder: the table, the pictures, the maps, and what is refused."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import lfq_jax
from experiments import predict
from experiments.incoming import arriving
from experiments.lookout import Lookout
from experiments.map_files import read_map
from experiments.scored_image import Box, largest_box, picture_of
from lfq_jax.calibration.rules import Threshold
from tests.tiny_detector import part, write_run

PROJECT = Path(__file__).resolve().parent.parent


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
    with pytest.raises(SystemExit) as stopped:
        predict.main(list(arguments))
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_every_photograph_gets_a_row_that_says_what_the_detector_says(
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


def test_raw_maps_as_npy_are_the_heat_maps_and_pictures_can_be_left_out(
    run, images, tmp_path
):
    out = tmp_path / "out"
    predicted(run, images, out, "--maps", "npy", "--overlays", "none")
    stored = np.load(out / "maps" / "spot.npy")
    expected = lfq_jax.load(run)(np.asarray(Image.open(images / "spot.png"))).heat_map
    assert np.allclose(stored, expected, atol=1e-5)
    assert not (out / "overlays").exists()


def test_two_photographs_of_one_stem_keep_a_picture_each(run, images, tmp_path):
    write(images / "spot.bmp", part(61))
    out = tmp_path / "out"
    predicted(run, images, out)
    names = sorted(path.name for path in (out / "overlays").glob("*.jpg"))
    assert names == ["spot.jpg", "spot.png.jpg"]


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


def test_a_stop_is_told_with_how_far_it_came(
    run, images, tmp_path, capsys, monkeypatch
):
    answers = iter([False, False, True])
    interruption = contextlib.nullcontext(lambda: next(answers))
    monkeypatch.setattr(predict, "interruption", lambda: interruption)
    rows, status = predicted(run, images, tmp_path / "out")
    assert status == 130
    assert len(rows) == 2
    assert "stopped after 2 of 6 photographs" in capsys.readouterr().err
    assert (
        len(json.loads((tmp_path / "out" / "scores.json").read_text())["images"]) == 2
    )


def test_a_photograph_of_too_many_pixels_is_listed(run, images, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    rows, status = predicted(run, images, tmp_path / "out")
    assert status == predict.SOME_UNREADABLE
    (spot,) = (row for row in rows if row["file"] == "spot.png")
    assert "is too large: at most 2000 pixels are read" in spot["error"]


def test_another_rule_decides_where_it_is_asked_for(run, images, tmp_path):
    rows, _ = predicted(run, images, tmp_path / "out", "--rule", "max_f1")
    threshold = lfq_jax.load(run).thresholds.image["max_f1"].value
    assert {float(row["threshold"]) for row in rows} == {threshold}


def test_mistakes_get_one_line_and_leave_nothing(run, images, tmp_path, capsys):
    out = tmp_path / "out"
    usual = ("--run", str(run), "--images", str(images), "--out", str(out))

    def changed(**flags):
        given = dict(zip(usual[::2], usual[1::2], strict=True))
        given |= {f"--{name}": str(value) for name, value in flags.items()}
        return refusal(capsys, *(word for pair in given.items() for word in pair))

    (tmp_path / "bare").mkdir()
    inside = images / "out"
    assert "--run must name" in refusal(capsys, *usual[2:])
    assert "--out must name" in refusal(capsys, *usual[:4])
    assert "--images must name" in refusal(capsys, *usual[:2], *usual[4:])
    assert "nowhere does not exist" in changed(run=tmp_path / "nowhere")
    assert "holds no run" in changed(run=tmp_path)
    assert "nowhere does not exist" in changed(images=tmp_path / "nowhere")
    assert "is a file, not a folder" in changed(images=images / "spot.png")
    assert "bare holds no photograph (.bmp" in changed(images=tmp_path / "bare")
    assert "must lie apart from --images" in changed(out=images)
    assert "must lie apart from --images" in changed(out=inside)
    assert "must lie apart from --images" in changed(out=images.parent)
    assert "already holds something" in changed(out=run)
    assert "--tile-px must be 0 or at least 16, got 5" in changed(**{"tile-px": 5})
    assert "rule must be one of" in changed(rule="labelled")
    assert "category must be one of plate, got ring" in changed(category="ring")
    assert "--imagse" in refusal(capsys, "--imagse", "x")
    assert not out.exists()
    assert not inside.exists()


def test_photographs_of_another_category_are_warned_of(run, tmp_path, capsys):
    for i in range(4):
        write(tmp_path / "like" / f"{i}.png", part(70 + i))
        write(tmp_path / "unlike" / f"{i}.png", np.full((32, 32, 3), 250, np.uint8))
    predicted(run, tmp_path / "like", tmp_path / "one")
    assert "unlike" not in capsys.readouterr().err
    predicted(run, tmp_path / "unlike", tmp_path / "two")
    assert "the photographs look unlike plate" in capsys.readouterr().err
    for i in range(16):  # which are seen, and told, apart
        (tmp_path / "unlike" / f"x{i}.png").write_bytes(b"broken")
    predicted(run, tmp_path / "unlike", tmp_path / "three")
    assert capsys.readouterr().err.count("the photographs look unlike plate") == 1


def test_a_far_larger_photograph_is_warned_of_unless_it_is_tiled(run, tmp_path, capsys):
    write(tmp_path / "images" / "large.png", part(80, px=160))
    predicted(run, tmp_path / "images", tmp_path / "one")
    assert "use --tile-px 32" in capsys.readouterr().err
    predicted(run, tmp_path / "images", tmp_path / "two", "--tile-px", "32")
    said = "the threshold is one of photographs as a whole, and these are photographs "
    said += "in tiles of 32 px: calibrate with --tile-px 32 before you trust a decision"
    assert capsys.readouterr().err.startswith(f"warning: {said}\n")
    scores = json.loads((tmp_path / "two" / "scores.json").read_text())
    assert (scores["statement"], scores["tile_px"]) == (said, 32)


def test_tiles_are_advised_by_the_shots_width(run, capsys):
    detector = lfq_jax.load(run)
    upright = detector.saved._replace(photograph_px=(100, 60))
    standing = SimpleNamespace(saved=upright)
    lookout = Lookout(standing, tile_px=0)  # pyright: ignore[reportArgumentType]
    lookout.see(np.zeros((300, 300, 3), np.uint8))
    assert not capsys.readouterr().err
    lookout.see(np.zeros((400, 300, 3), np.uint8))
    assert "the shots had 60 x 100 px" in (said := capsys.readouterr().err)
    assert said.endswith("use --tile-px 60\n")


def test_a_name_that_is_no_text_is_escaped(run, tmp_path):
    folder = tmp_path / "images"
    write(folder / "a.png", part(40))
    write(tmp_path / "x.png", part(41)).rename(folder / os.fsdecode(b"Schr\xfc.png"))
    rows, status = predicted(run, folder, tmp_path / "out")
    assert [row["file"] for row in rows] == ["Schr\\udcfc.png", "a.png"]
    assert status == 0
    broken = {"decision": "unreadable", "file": "\udcfc.png", "error": "x/\udcfc.png"}
    assert predict._line(broken) == r"unreadable  \udcfc.png: x/\udcfc.png"


def test_a_stop_is_noticed_in_a_backlog(tmp_path):
    for i in range(5):
        write(tmp_path / f"{i}.png", part(i))
    taken = []
    stops = lambda: len(taken) == 2  # noqa: E731
    for path in arriving(tmp_path, poll_seconds=0.001, should_stop=stops):
        taken += [path] if path else []
    assert [path.name for path in taken] == ["0.png", "1.png"]


def test_a_file_that_grows_is_taken_once_it_is_whole(tmp_path):
    folder = tmp_path / "images"
    first = write(folder / "a.png", part(0))
    growing = folder / "b.png"
    growing.write_bytes(b"12")
    found = []

    def should_stop():
        return found.count(None) > 5

    for each in arriving(folder, poll_seconds=0.001, should_stop=should_stop):
        found.append(each)
        if found == [None]:
            growing.write_bytes(b"1234")
    pauses = [i for i, each in enumerate(found) if each is None]
    assert [each for each in found if each] == [first, growing]
    # a.png at the second look; b.png had grown by then
    assert pauses[0] < found.index(first) < pauses[1] < found.index(growing)


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
        said, _ = watching.communicate(timeout=60)
    finally:
        watching.kill()
    assert watching.returncode == 0
    assert "of 7 photographs are anomalous" in said
    content = json.loads((out / "scores.json").read_text())
    assert content["images"][-1]["file"] == "late.png"


def _wait_for_rows(path: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if path.exists() and len(path.read_text().splitlines()) > count:
            return
        time.sleep(0.05)
    raise TimeoutError(f"{path} has not got {count} rows")


def test_the_box_is_about_the_largest_region():
    mask = np.zeros((20, 30), bool)
    assert largest_box(mask) is None
    mask[1, 1] = mask[2, 2] = True  # one region, by the corner
    assert largest_box(mask) == Box(1, 1, 2, 2)
    mask[10:14, 20:29] = True
    assert largest_box(mask) == Box(20, 10, 9, 4)


def test_colours_are_half_way_at_the_pixel_threshold():
    image = np.full((4, 4, 3), 128, np.uint8)
    nothing = np.zeros((4, 4), bool)
    at = [
        picture_of(image, np.full((4, 4), v, np.float32), nothing, pixel_threshold=t)
        for v, t in ((0.1, 0.2), (0.3, 0.6), (0.2, 0.2))
    ]
    assert np.array_equal(at[0], at[1])
    assert not np.array_equal(at[0], at[2])
    marked = nothing.copy()
    marked[1, 1] = True
    zero = np.zeros((4, 4), np.float32)
    outlined = picture_of(image, zero, marked, pixel_threshold=0.5)
    assert (outlined[0, 1] == 255).all()
    assert (outlined[1, 1] == 128).all()


def test_thresholds_say_what_they_rest_on(run):
    for level in ("image", "pixel"):
        for each in getattr(lfq_jax.load(run).thresholds, level).values():
            assert isinstance(each, Threshold)
            assert len(each.statement) > 20
