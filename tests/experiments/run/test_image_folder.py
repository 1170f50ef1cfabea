"""Photographs of a folder, yielded once their files are complete."""

from pathlib import Path

import numpy as np
from PIL import Image

from datasets.listing import LeftOut
from experiments.run.image_folder import arriving
from tests.tiny_detector import part


def write(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def test_a_stop_ends_the_arrivals_at_once(tmp_path):
    for i in range(5):
        write(tmp_path / f"{i}.png", part(i))
    taken = []
    stops = lambda: len(taken) == 2  # noqa: E731
    for path in arriving(tmp_path, poll_seconds=0.001, should_stop=stops):
        taken += [path] if path else []
    assert [path.name for path in taken] == ["0.png", "1.png"]


def test_a_growing_file_arrives_once_its_size_is_stable(tmp_path):
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
    # a.png arrives at the second look; b.png had grown by then
    assert pauses[0] < found.index(first) < pauses[1] < found.index(growing)


def test_one_line_says_that_the_folder_is_gone_and_one_that_it_is_back(
    tmp_path, capsys
):
    folder, aside = tmp_path / "watched", tmp_path / "aside"
    write(folder / "a.png", part(0))
    seen, looks = [], 0
    stops = lambda: looks > 12  # noqa: E731
    for path in arriving(folder, poll_seconds=1e-4, should_stop=stops):
        seen.append(path)
        looks += path is None
        if path is None and looks == 3:
            folder.rename(aside)
        if path is None and looks == 8:
            aside.rename(folder)
    assert seen.count(folder / "a.png") == 1
    assert capsys.readouterr().err.splitlines() == [
        f"warning: {folder} is gone or cannot be read: waiting for it",
        f"warning: {folder} is back",
    ]


def test_what_cannot_be_used_arrives_with_its_reason_and_text_is_named(
    tmp_path, capsys
):
    write(tmp_path / "a.png", part(0))
    (tmp_path / "b.png").symlink_to(tmp_path / "missing.png")
    (tmp_path / "notes.txt").write_text("hello")
    found = []
    stops = lambda: found.count(None) > 4  # noqa: E731
    for each in arriving(tmp_path, poll_seconds=0.001, should_stop=stops):
        found.append(each)
        if found.count(None) == 3:  # the photograph itself arrives
            write(tmp_path / "missing.png", part(1))
    photograph, link, *later = (each for each in found if each)
    assert photograph == tmp_path / "a.png"
    assert isinstance(link, LeftOut) and link.reason == "a broken link"
    assert later == [tmp_path / "b.png", tmp_path / "missing.png"]
    assert capsys.readouterr().err.count("notes.txt is not read: text") == 1
