"""Reading a folder in MVTec AD's layout: images, and masks paired by file stem.

<category>/train/good/*.png
<category>/test/good/*.png              optional
<category>/test/<defect>/*.png          optional
<category>/ground_truth/<defect>/<stem>_mask.png
"""

from pathlib import Path

from datasets.builder import GOOD
from datasets.file_names import category_name
from datasets.images import IMAGE_SUFFIXES, image_files, is_hidden
from datasets.photographs import Category, Photograph

MASK_SUFFIX = "_mask"


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
        if (path / "train" / GOOD).is_dir():
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


def _image_files(folder: Path) -> list[Path]:
    """The image files in `folder`, sorted. Raises a ValueError if two share a stem."""
    files = image_files(folder)
    seen: dict[str, Path] = {}
    for path in files:
        if path.stem in seen:
            raise ValueError(
                f"{path} and {seen[path.stem].name} have the same stem: masks are "
                "paired by stem, so it must be unique in its folder"
            )
        seen[path.stem] = path
    return files


def _masks_by_stem(folder: Path) -> dict[str, Path]:
    return {path.stem.removesuffix(MASK_SUFFIX): path for path in _image_files(folder)}


def _defects(root: Path) -> list[str]:
    """Kinds of defect: the sub-folders of test and ground_truth except good."""
    found = {
        path.name
        for part in ("test", "ground_truth")
        if (root / part).is_dir()
        for path in (root / part).iterdir()
        if path.is_dir() and not is_hidden(path, root)
    }
    return sorted(found - {GOOD})


def read_layout(name: str, root: Path) -> Category:
    """List a category's files and pair the masks.

    Raises:
      ValueError: train/good has no image, two files share a stem, or a mask matches no
        image.
    """
    train = [Photograph(p, GOOD, None) for p in _image_files(root / "train" / GOOD)]
    if not train:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise ValueError(f"{root / 'train' / GOOD} holds no image ({kinds})")
    test = [Photograph(p, GOOD, None) for p in _image_files(root / "test" / GOOD)]
    for defect in _defects(root):
        masks = _masks_by_stem(root / "ground_truth" / defect)
        for path in _image_files(root / "test" / defect):
            test.append(Photograph(path, defect, masks.pop(path.stem, None)))
        if masks:
            orphans = ", ".join(str(path) for path in list(masks.values())[:3])
            raise ValueError(
                f"{len(masks)} masks of {root} match no image in test/{defect} by file "
                f"stem: {orphans}"
            )
    return Category(name, root, train, test)
