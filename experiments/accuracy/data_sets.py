"""The data sets of the fixed evaluation, and the part of each that is tested."""

import contextlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

RENDERED = "rendered_ad"
LEATHER = "leather"
TILES = "magnetic_tile"
TILES_TESTED = 200
"""Test images of the magnetic tiles that are scored. The sample is always the same."""
_NAME_BYTES = 100  # of a data set's name in the name of its folder of links


class DataSet(NamedTuple):
    """One data set of the evaluation, in terms of the main job's flags."""

    name: str
    dataset: str
    data_dir: Path | None
    categories: tuple[str, ...]


def find_sets(
    leather_dir: Path | None, tiles_dir: Path | None, *, cache_dir: Path
) -> tuple[list[DataSet], list[str]]:
    """The available data sets, and one line for each data set that is skipped.

    Raises:
      ValueError: if a named folder does not contain its category.
    """
    from datasets import categories

    found = [DataSet(RENDERED, RENDERED, None, categories(RENDERED))]
    skipped = []
    if leather_dir:
        _category_folder(leather_dir, LEATHER, "--leather-dir")
        found.append(DataSet(LEATHER, "folder", leather_dir, (LEATHER,)))
    else:
        skipped.append(f"{LEATHER} is skipped: --leather-dir is not given")
    if tiles_dir:
        root = _category_folder(tiles_dir, TILES, "--tiles-dir")
        part = sampled(root, count=TILES_TESTED, cache_dir=cache_dir)
        found.append(DataSet(TILES, "folder", part, (TILES,)))
    else:
        skipped.append(f"{TILES} is skipped: --tiles-dir is not given")
    return found, skipped


def _category_folder(data_dir: Path, category: str, flag: str) -> Path:
    """The folder of one category, which is `data_dir` or inside it."""
    from datasets.folder.layout import category_folders

    try:
        found = category_folders(data_dir)
    except ValueError as error:
        raise ValueError(str(error).replace("--data-dir", flag)) from None
    if category not in found:
        raise ValueError(
            f"{flag} {data_dir} must be or contain a folder {category}, got "
            f"{', '.join(list(found)[:3])}"
        )
    return found[category]


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
