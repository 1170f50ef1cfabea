"""Folders of random contents: nothing is left out in silence, no traceback."""

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from agm_torch.photographs import photograph_paths, read_photographs
from datasets.errors import is_users_mistake
from datasets.folder.layout import read_layout
from datasets.framing import Framing
from datasets.images import image_shape
from datasets.listing import LeftOut, Listing, is_ignored, list_masks, list_photographs
from datasets.masks import read_mask
from datasets.photographs import Category, read_record
from datasets.remarks import Remarks
from experiments import calibrate
from experiments.evaluate.map_files import (
    MapsAndMasks,
    find_maps,
    list_maps,
    read_map,
)
from experiments.predict.__main__ import _to_score
from experiments.predict.scoring import _load
from experiments.run.image_folder import arriving
from tests.odd_image_files import FORMATS, MODES, encoded, in_mode

_ENDINGS = (
    *(".png", ".PNG", ".jpg", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pfm"),
    *(".bmp", ".tga", ".jp2", ".ico", ".heic", ".dng", ".npy", ".txt", ""),
)
_STEMS = ("000", "001", "000_mask", "001_MASK", "a b", "é", ".hidden", "Thumbs")
_PROPER = ("000", "001", "day/000", "day/002")
_BELOW = ("", "", "day", "000", "day/deep", "masks", ".hidden", "@eaDir")
_TARGETS = ("..", ".", "../..", "day", "../good", "/nowhere", "000.png", "loop")
_LAYOUT = ("train/good", "test/good", "test/crack", "ground_truth/crack")


class _Image(NamedTuple):
    """An image file: how its pixels are drawn, and how it is stored."""

    seed: int
    side: int
    top: int
    mode: str
    format: str
    pages: int
    is_cut: bool

    def data(self) -> bytes:
        """The file, in another format if the mode requires it."""
        image = self._pixels()
        several = {"save_all": True, "append_images": [image]} if self.pages > 1 else {}
        data = encoded(image, self.format, **several)
        return data[: len(data) // 2] if self.is_cut else data

    def _pixels(self) -> Image.Image:
        rng, shape = np.random.default_rng(self.seed), (self.side, self.side)
        dtypes = {"I": np.int32, "I;16": np.uint16, "F": np.float32}
        if self.mode in dtypes:
            values = rng.integers(0, self.top + 1, shape)
            return Image.fromarray(values.astype(dtypes[self.mode]))
        colours = rng.integers(0, min(self.top, 255) + 1, (*shape, 3), np.uint8)
        return in_mode(Image.fromarray(colours), self.mode)


def _images(*, may_be_cut: bool = False) -> st.SearchStrategy[_Image]:
    return st.builds(
        _Image,
        seed=st.integers(0, 99),
        side=st.sampled_from([1, 8, 8, 9]),
        top=st.sampled_from([1, 255, 4095, 65535]),
        mode=st.sampled_from(MODES),
        format=st.sampled_from(FORMATS),
        pages=st.sampled_from([1, 1, 2]),
        is_cut=st.booleans() if may_be_cut else st.just(False),
    )


_Content = _Image | bytes | str
_Files = list[tuple[str, _Content]]


@st.composite
def _odd_files(draw: Any) -> _Files:
    """Names below a folder, with contents of files or targets of links."""
    return [_odd_file(draw) for _ in range(draw(st.integers(1, 6)))]


def _odd_file(draw: Any) -> tuple[str, _Content]:
    name = draw(st.sampled_from(_STEMS)) + draw(st.sampled_from(_ENDINGS))
    path = os.path.join(draw(st.sampled_from(_BELOW)), name)
    kind = draw(st.sampled_from(["image"] * 4 + ["bytes", "link"]))
    if kind == "link":
        return path, draw(st.sampled_from(_TARGETS))
    if kind == "bytes":
        return path, draw(st.sampled_from([b"", b"hello", b"\0\1", b"II*\0\x08\0\0\0"]))
    return path, draw(_images(may_be_cut=True))


@st.composite
def _proper_files(draw: Any, *, masks: bool = False) -> _Files:
    """Images of which many pair: a photograph `000`, a mask `000_mask`, `000/0`."""
    stems = list(_PROPER)  # all photographs, but the masks of some
    if masks:
        stems = draw(st.lists(st.sampled_from(_PROPER), min_size=1, unique=True))
    ends = ("", "_mask", "/0") if masks else ("",)
    names = [f"{stem}{draw(st.sampled_from(ends))}" for stem in sorted(stems)]
    texts = [("day/notes.txt", b"hello")] if draw(st.booleans()) else []
    images = [
        (name + draw(st.sampled_from(_ENDINGS[:7])), draw(_images())) for name in names
    ]
    return [*images, *texts]


_PHOTOGRAPHS = st.one_of(_proper_files(), _proper_files(), _odd_files())
_MASKS = st.one_of(_proper_files(masks=True), _proper_files(masks=True), _odd_files())
_TREES = st.tuples(_PHOTOGRAPHS, _PHOTOGRAPHS, _PHOTOGRAPHS, _MASKS)


def _write(folder: Path, files: _Files) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files:
        path = folder / name
        with contextlib.suppress(OSError):  # a name may be taken by a file or folder
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                path.symlink_to(content)
            elif not os.path.lexists(path):
                data = content.data() if isinstance(content, _Image) else content
                path.write_bytes(data)
    return folder


@contextlib.contextmanager
def _only_mistakes() -> Iterator[None]:
    """Allow errors that a command prints as one line."""
    try:
        yield
    except (ValueError, OSError) as error:
        if not is_users_mistake(error):
            raise


def _check_complete(folder: Path, taken: Iterable[Path], named: Iterable[Path]) -> None:
    """Every file below `folder` is taken, or named itself or by a folder above it."""
    real = {path.resolve() for path in taken}
    named = set(named)
    for above, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_ignored(name)]
        links = [name for name in folders if (Path(above) / name).is_symlink()]
        for name in (*files, *links):
            path = Path(above) / name
            is_named = not named.isdisjoint((path, *path.parents))
            is_listed = path.is_dir()  # its files are checked where they are
            if not is_ignored(name) and not is_named and not is_listed:
                assert path.resolve() in real, f"{path} is neither taken nor named"


def _names(listing: Listing) -> list[Path]:
    return [item.path for item in (*listing.unreadable, *listing.skipped)]


def _check_folder(folder: Path) -> None:
    """The readings of predict, calibrate and agm_torch."""
    listing = list_photographs(folder)
    _check_complete(folder, listing.files, _names(listing))
    for line in listing.notes():
        assert "\n" not in line
    with _only_mistakes():
        items = _to_score(folder)
        taken = [item for item in items if isinstance(item, Path)]
        refused = [item.path for item in items if isinstance(item, LeftOut)]
        skipped = [item.path for item in listing.skipped]
        _check_complete(folder, taken, [*refused, *skipped])
        for item in items:
            _load(item, _Detector(), Remarks(), 0)  # pyright: ignore[reportArgumentType]
    with _only_mistakes():
        read_photographs(photograph_paths([folder]))
    _check_watch(folder, listing)


def _check_watch(folder: Path, listing: Listing) -> None:
    seen: list[Path | LeftOut | None] = []
    stops = lambda: seen.count(None) > 1  # noqa: E731
    for item in arriving(folder, poll_seconds=1e-6, should_stop=stops):
        seen.append(item)
    assert [x for x in seen if isinstance(x, Path)] == listing.files
    refused = sorted(x for x in seen if isinstance(x, LeftOut))
    assert refused == [x for x in listing.unreadable if x.path != folder]


class _Detector:
    """What `_load` needs of a detector."""

    class record:
        wide_bit_depth = 12
        bit_depth = 12

    class predictor:
        framing = Framing((32, 32), 1, is_texture=True)

    @staticmethod
    def rgb(image: np.ndarray) -> np.ndarray:
        return image


def _check_calibrate(good: Path, bad: Path, masks: Path) -> None:
    asked = calibrate.Calibrate(good=good, defective=bad, masks=masks)
    said = io.StringIO()
    with _only_mistakes():
        with contextlib.redirect_stderr(said):
            paths, found = calibrate._defective(asked)
        listings = (list_photographs(bad), list_masks(masks))
        used = [mask for masks_of_one in found for mask in masks_of_one]
        for listing, taken in zip(listings, (paths, used), strict=True):
            _check_complete(listing.folder, taken, _names(listing))
            for line in listing.notes():
                assert line in said.getvalue()
        for path, masks_of_one in zip(paths, found, strict=True):
            with _only_mistakes():
                read_mask(masks_of_one, path, image_shape(path), remarks=Remarks())


def _check_layout(root: Path, maps: Path) -> None:
    """The readings of few_shot and evaluate."""
    with _only_mistakes():
        category = read_layout("part", root)
        taken = [x for p in (*category.train, *category.test) for x in _of(p)]
        _check_complete(root, taken, [item.path for item in category.left_out])
        for photograph in (*category.train, *category.test):
            with _only_mistakes():
                read_record(category, photograph, kind="object", remarks=Remarks())
        category.notes()
        _check_maps(category, maps)


def _of(photograph: Any) -> tuple[Path, ...]:
    return (photograph.path, *photograph.masks)


def _check_maps(category: Category, maps: Path) -> None:
    with _only_mistakes():
        found = find_maps(maps, category)
        listing = list_maps(maps, category)
        _check_complete(listing.folder, found, _names(listing))
        pairs = MapsAndMasks(
            category.test,
            found,
            rule="own-resolution",
            evaluation_px=8,
            remarks=Remarks(),
        )
        for i, path in enumerate(found):
            with _only_mistakes():
                read_map(path)
                pairs.pair(i)


def _check(trees: tuple[_Files, ...]) -> None:
    root = Path(tempfile.mkdtemp())
    try:
        part = root / "data/part"
        good, _, bad, masks = (
            _write(part / below, files)
            for below, files in zip(_LAYOUT, trees, strict=True)
        )
        for folder in (good, bad):
            _check_folder(folder)
        _check_calibrate(good, bad, masks)
        for kind in ("good", "crack"):
            shutil.copytree(
                part / "test" / kind, root / "maps/part" / kind, symlinks=True
            )
        _check_layout(part, root / "maps")
    finally:
        shutil.rmtree(root)


_fuzz = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@given(_TREES)
@settings(_fuzz, max_examples=20)
def test_no_file_is_left_out_in_silence(trees):
    _check(trees)


@pytest.mark.slow
@given(_TREES)
@settings(_fuzz, max_examples=2000, derandomize=False)
def test_no_file_is_left_out_in_silence_at_length(trees):
    _check(trees)
