"""The data sets of the fixed evaluation, and the part of each that is tested."""

import contextlib
import functools
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

RENDERED = "rendered_ad"
TILES_TESTED = 200
"""Test images of the magnetic tiles that are scored. The sample is always the same."""
CUT_SHOTS = 4
"""Good parts that are cut from each photograph of a texture to draw shots from."""
_CUT_VERSION = 1
"""Part of the name of the folder of parts: raise it when `cut_textures` cuts others."""
_NAME_BYTES = 100  # of a data set's name in the name of its folder of links


class DataSet(NamedTuple):
    """One data set of the evaluation, in terms of the main job's flags."""

    name: str
    dataset: str
    data_dir: Path | None
    categories: tuple[str, ...]
    kind: Literal["auto", "texture", "object"] = "auto"


class Cut(NamedTuple):
    """What is cut from photographs of DTD."""

    photographs: tuple[str, ...]
    """File names without ending."""
    side_px: int
    proportion: float


class Place(NamedTuple):
    """Where a data set is looked for."""

    name: str
    """Of the data set."""
    flag: str
    folder: Path
    cache_dir: Path
    """Where folders of links and cut parts are kept."""


class Source(NamedTuple):
    """One data set that can be measured."""

    name: str
    setting: str
    """Setting of the command with its folder; empty if it needs none."""
    find: Callable[[Place], DataSet]
    """Find it in the folder that the setting names."""
    without_folder: Callable[[], DataSet | str] | None = None
    """Find it without the setting; a text says what is missing."""


def find_sets(
    folders: Mapping[str, Path | None],
    *,
    cache_dir: Path,
    names: Collection[str] = (),
) -> tuple[list[DataSet], list[str]]:
    """The available data sets, and one line for each data set that is skipped.

    Args:
      folders: the folders that the command line names, by setting.
      cache_dir: where folders of links and cut parts are kept.
      names: data sets to look for, all of which must be there. Default: every one.

    Raises:
      ValueError: if a named folder does not contain its data set, or a data set of
        `names` is not available.
    """
    found, skipped = [], []
    for source in SOURCES:
        if names and source.name not in names:
            continue
        result = _find(source, folders.get(source.setting), cache_dir)
        if isinstance(result, DataSet):
            found.append(result)
        elif names:
            raise ValueError(f"--data-sets {source.name} is not available: {result}")
        else:
            skipped.append(f"{source.name} is skipped: {result}")
    return found, skipped


def _find(source: Source, folder: Path | None, cache_dir: Path) -> DataSet | str:
    """The data set, or what is missing."""
    flag = f"--{source.setting.replace('_', '-')}"
    if folder:
        return source.find(Place(source.name, flag, folder, cache_dir))
    missing = f"{flag} is not given"
    if source.without_folder is None:
        return missing
    found = source.without_folder()
    return f"{missing}, and {found}" if isinstance(found, str) else found


@contextlib.contextmanager
def _errors_name(flag: str, other: str = "--data-dir") -> Iterator[None]:
    """Replace the flag `other` in the message of an error by `flag`."""
    try:
        yield
    except ValueError as error:
        raise ValueError(str(error).replace(other, flag)) from None


def _rendered() -> DataSet:
    from datasets import categories

    return DataSet(RENDERED, RENDERED, None, categories(RENDERED))


def _category(place: Place) -> DataSet:
    """The only category of a data set, which has the data set's name."""
    _category_folder(place)
    return DataSet(place.name, "folder", place.folder, (place.name,))


def _category_folder(place: Place) -> Path:
    """The folder of the category, which is the named folder or inside it."""
    from datasets.folder.layout import category_folders

    with _errors_name(place.flag):
        found = category_folders(place.folder)
    if place.name not in found:
        raise ValueError(
            f"{place.flag} {place.folder} must be or contain a folder {place.name}, "
            f"got {', '.join(list(found)[:3])}"
        )
    return found[place.name]


def _sample_of_category(place: Place, *, count: int) -> DataSet:
    part = sampled(_category_folder(place), count=count, cache_dir=place.cache_dir)
    return DataSet(place.name, "folder", part, (place.name,))


def sampled(root: Path, *, count: int, cache_dir: Path) -> Path:
    """A folder with the category `root`, reduced to `count` of its test images.

    Every call chooses the same images: they are drawn with seed 0 from the sorted keys.
    The folder contains links to the photographs, which are only read.
    """
    from datasets.file_names import shortened_name
    from datasets.files import filled_atomically
    from datasets.folder.layout import read_layout

    root = root.resolve()
    category = read_layout(root.name, root)
    test = sorted(category.test, key=lambda photograph: photograph.key)
    chosen = np.random.default_rng(0).permutation(len(test))[:count]
    name = shortened_name(root.name, _NAME_BYTES)
    folder = cache_dir / f"{name}-{count}-{category.fingerprint()}"
    if folder.exists():
        return folder
    files = [photograph.path for photograph in category.train]
    for photograph in (test[int(i)] for i in chosen):
        files += [photograph.path, *photograph.masks]
    with (
        contextlib.suppress(FileExistsError),  # another process has just made it
        filled_atomically(folder) as partial,
    ):
        for path in files:
            link = partial / root.name / path.relative_to(root)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    return folder


def cut_from_dtd(place: Place, *, what: Cut) -> DataSet:
    """Parts that are cut from photographs of DTD, one category per photograph.

    Every call cuts the same parts.
    """
    from experiments.cut_textures import CutTextures, cut

    paths = _dtd_photographs(place, what.photographs)
    digest = hashlib.sha256(repr((what, CUT_SHOTS, _CUT_VERSION)).encode())
    for path in paths:
        digest.update(path.read_bytes())
    folder = place.cache_dir / f"{place.name}-{digest.hexdigest()[:16]}"
    settings = CutTextures(
        photographs=tuple(paths),
        out=folder,
        side_px=what.side_px,
        proportion=what.proportion,
        shots=CUT_SHOTS,
    )
    if not folder.exists():
        with (
            contextlib.suppress(FileExistsError),  # another process has just made it
            _errors_name(place.flag, "--photographs"),
        ):
            cut(settings)
    return DataSet(place.name, "folder", folder, what.photographs, kind="texture")


def _dtd_photographs(place: Place, names: Collection[str]) -> list[Path]:
    """The photographs with these names, such as `cracked_0047`.

    Raises:
      ValueError: if the folder is not that of DTD, or lacks one of them.
    """
    from datasets.dtd.builder import OFFICIAL
    from datasets.source import locate

    paths = []
    for name in names:
        texture = name.rpartition("_")[0]
        with _errors_name(place.flag):
            root = locate(OFFICIAL, texture, place.folder, scratch=place.cache_dir)
        path = root / texture / f"{name}.jpg"
        if not path.is_file():
            raise ValueError(
                f"{place.flag} {place.folder} lacks {texture}/{path.name}, which "
                f"{place.name} is cut from"
            )
        paths.append(path)
    return paths


def _elpv(place: Place) -> DataSet:
    from datasets.elpv.package import labels_folder

    with _errors_name(place.flag):
        labels_folder(place.folder)
    return _elpv_in(place.folder)


def _installed_elpv() -> DataSet | str:
    from datasets.elpv.package import PACKAGE, PACKAGE_VERSION, find_installed

    if find_installed():
        return _elpv_in(None)
    return f"the package is not installed (pip install {PACKAGE}=={PACKAGE_VERSION})"


def _elpv_in(folder: Path | None) -> DataSet:
    from datasets import categories

    return DataSet("elpv", "elpv", folder, categories("elpv"))


SQUARE = Cut(
    photographs=(
        *("cracked_0047", "cracked_0052", "cracked_0058"),
        *("crosshatched_0033", "crosshatched_0050", "crosshatched_0053"),
    ),
    side_px=200,
    proportion=1.0,
)
TALL = Cut(
    photographs=(
        *("cracked_0051", "crosshatched_0044"),
        *("chequered_0053", "chequered_0064"),
    ),
    side_px=128,
    proportion=2.5,
)
SOURCES = (
    Source(RENDERED, "", lambda _: _rendered(), _rendered),
    Source("leather", "leather_dir", _category),
    Source(
        "magnetic_tile",
        "tiles_dir",
        functools.partial(_sample_of_category, count=TILES_TESTED),
    ),
    Source("cookie", "cookies_dir", _category),
    Source("cut_textures", "dtd_dir", functools.partial(cut_from_dtd, what=SQUARE)),
    Source("tall_textures", "dtd_dir", functools.partial(cut_from_dtd, what=TALL)),
    Source("elpv", "elpv_dir", _elpv, _installed_elpv),
)
"""The data sets in the order of the tables. A new one is one more line."""
SET_NAMES = tuple(source.name for source in SOURCES)
FOLDER_SETTINGS = tuple(
    dict.fromkeys(source.setting for source in SOURCES if source.setting)
)
