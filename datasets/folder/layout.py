"""Reading a folder in MVTec AD's layout: images, and masks paired by file stem.

<category>/train/good/*.png
<category>/test/good/*.png              optional
<category>/test/<defect>/*.png          optional
<category>/ground_truth/<defect>/<stem>_mask.png    or <stem>/*.png, as in MVTec LOCO AD

Sub-folders at any depth belong to the folder that they lie in.
"""

from collections.abc import Collection
from pathlib import Path, PurePath

from datasets.builder import GOOD
from datasets.file_names import category_name
from datasets.listing import (
    LeftOut,
    Listing,
    contains,
    is_ignored,
    keyed_by_stem,
    list_masks,
    list_photographs,
    stray_entries,
)
from datasets.mask_pairs import pair_masks
from datasets.photographs import Category, Photograph

PARTS = ("train", "test", "ground_truth")


def category_folders(data_dir: Path) -> dict[str, Path]:
    """The categories in `data_dir`: its sub-folders that contain train/good, by name.

    If `data_dir` itself contains train/good, it is the only category.

    Raises:
      ValueError: there is no category. The message suggests the right folder, or says
        what is missing.
    """
    if not data_dir.exists():
        raise ValueError(f"--data-dir {data_dir} does not exist")
    if not data_dir.is_dir():
        raise ValueError(f"--data-dir {data_dir} is a file, not a folder")
    if (data_dir / "train" / GOOD).is_dir():
        return {category_name(data_dir.resolve().name): data_dir}
    found: dict[str, Path] = {}
    for path in sorted(data_dir.iterdir()):
        if not is_ignored(path.name) and (path / "train" / GOOD).is_dir():
            name = category_name(path.name)
            if name in found:
                raise ValueError(
                    f"{path} and {found[name].name} would both be category {name}: "
                    "rename one"
                )
            found[name] = path
    if found:
        return found
    if not any(data_dir.iterdir()):
        raise ValueError(f"--data-dir {data_dir} is empty")
    if data_dir.name in {"train", "test", "ground_truth", GOOD}:
        category = data_dir.parent.parent if data_dir.name == GOOD else data_dir.parent
        raise ValueError(f"--data-dir {data_dir} is too deep: use {category}")
    below = sorted(data_dir.glob("*/*/train/good"))
    if below:
        likely = below[0].parent.parent.parent
        raise ValueError(f"--data-dir {data_dir} is not deep enough: use {likely}")
    raise ValueError(
        f"--data-dir {data_dir} contains no category: none of its sub-folders contains "
        f"train/{GOOD}"
    )


def beside_categories(data_dir: Path) -> list[Path]:
    """What lies in `data_dir` besides its categories, text and ignored files."""
    folders = category_folders(data_dir)
    if data_dir in folders.values():
        return []
    return stray_entries(data_dir, {path.name for path in folders.values()})


def read_layout(name: str, root: Path) -> Category:
    """List a category's files and pair the masks.

    Raises:
      ValueError: train/good has no image, a file cannot be used, two files share a
        stem, or a mask matches no image.
    """
    listings = [_usable(root / "train" / GOOD), _usable(root / "test" / GOOD)]
    train, good = (_photographs(listing, GOOD) for listing in listings)
    if not train:
        raise ValueError(f"{root / 'train' / GOOD} holds no image that Pillow reads")
    test = list(good.values())
    left_out = _beside_parts(root)
    for defect in _defects(root):
        folder = root / "test" / defect
        if contains(folder, root):
            reason = "a link to a folder that contains this one"
            left_out.append(LeftOut(folder, reason))
            continue
        listings += [_usable(folder), list_masks(root / "ground_truth" / defect)]
        photographs = _photographs(listings[-2], defect)
        paths = {key: photograph.path for key, photograph in photographs.items()}
        masks = pair_masks(paths, listings[-1], among=folder)
        test += [
            photograph._replace(masks=masks.get(key, ()))
            for key, photograph in photographs.items()
        ]
    left_out += [item for listing in listings for item in listing.skipped]
    return Category(name, root, list(train.values()), test, left_out=tuple(left_out))


def _usable(folder: Path) -> Listing:
    listing = list_photographs(folder)
    listing.require_readable()
    return listing


def _photographs(listing: Listing, defect: str) -> dict[PurePath, Photograph]:
    """The photographs of a listing by their path in it without ending."""
    return {
        key: Photograph(path, defect, name=key.as_posix())
        for key, path in keyed_by_stem(listing.files, listing.folder).items()
    }


def _defects(root: Path) -> list[str]:
    """Kinds of defect: the sub-folders of test and ground_truth except good."""
    return sorted(_folders(root / "test") | _folders(root / "ground_truth"))


def _folders(folder: Path) -> set[str]:
    """Names of the sub-folders except good."""
    if not folder.is_dir():
        return set()
    found = {path.name for path in folder.iterdir() if path.is_dir()}
    return {name for name in found if not is_ignored(name)} - {GOOD}


def _beside_parts(root: Path) -> list[LeftOut]:
    """What lies in a category's folder but in none of the folders that are read."""
    defects = _defects(root)
    expected: dict[Path, Collection[str]] = {
        root: PARTS,
        root / "train": (GOOD,),
        root / "test": (GOOD, *defects),
        root / "ground_truth": defects,
    }
    return [
        LeftOut(path, "not part of the layout")
        for folder, names in expected.items()
        for path in stray_entries(folder, names)
    ]
