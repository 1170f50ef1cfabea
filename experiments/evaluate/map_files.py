"""Reads anomaly maps from files that any detector may have written.

    <maps>/<category>/<defect>/<stem>.npy
    <maps>/<category>/test/<defect>/<stem>.tiff      layout of MVTec's evaluation code

There is one map for each test image: npy, tiff (float or integer) or png (8 or 16 bit
grey).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image, UnidentifiedImageError

from datasets.images import image_shape
from datasets.listing import Listing, keyed_by_stem, list_files
from datasets.masks import read_mask_levels
from datasets.photographs import Category, Photograph
from datasets.remarks import Remarks, named
from experiments.measure.lazy_arrays import LazyArrays
from lfq_jax.metrics.ground_truth import GroundTruthRule, Pair, under_rule

MAP_SUFFIXES = frozenset({".npy", ".png", ".tif", ".tiff"})


def read_map(path: Path) -> Shaped[np.ndarray, "h w"]:
    """The scores in one file, [h w]; axes of length 1 are dropped.

    Raises:
      ValueError: if the file cannot be read, is an image in colour, holds more than one
        map, or holds a number that is not finite.
    """
    try:
        if path.suffix.lower() == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            with Image.open(path) as image:
                values = np.asarray(image.convert("RGB") if image.palette else image)
    except (
        UnidentifiedImageError,
        Image.DecompressionBombError,
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} cannot be read as a map: {reason}") from error
    if path.suffix.lower() != ".npy" and values.ndim == 3:
        raise ValueError(
            f"{path} is an image in colour; a map holds one score for each pixel"
        )
    if values.ndim > 2:
        values = values.reshape([side for side in values.shape if side != 1] or [1, 1])
    if values.ndim != 2 or not values.size:
        raise ValueError(f"{path} must hold one map [h w], got shape {values.shape}")
    if values.dtype.kind not in "fiu":
        raise ValueError(f"{path} must hold numbers, got {values.dtype}")
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(
            f"{path} must hold finite scores, got {values[row, column]} at row {row}, "
            f"column {column}"
        )
    if values.dtype.kind in "iu" and values.dtype.itemsize > 2:
        return values.astype(np.float64)
    return values


def find_maps(folder: Path, category: Category) -> list[Path]:
    """The map of every test image, in the order of `category.test`.

    Raises:
      ValueError: if the folder holds no map, or maps and images do not pair by defect
        and stem: the message lists the first three of each.
    """
    listing = list_maps(folder, category)
    listing.require_readable()
    root = listing.folder
    maps = {k.as_posix(): p for k, p in keyed_by_stem(listing.files, root).items()}
    if not maps:
        kinds = ", ".join(sorted(MAP_SUFFIXES))
        raise ValueError(f"{root} holds no map: no <defect>/<stem> of {kinds}")
    images = {image.key: image for image in category.test}
    without_map = [str(image.path) for key, image in images.items() if key not in maps]
    without_image = [str(path) for key, path in maps.items() if key not in images]
    problems = [
        f"{len(paths)} {problem}: {named(paths)}"
        for paths, problem in (
            (without_map, f"test images of {category.name} have no map in {root}"),
            (
                without_image,
                f"maps match no test image of {category.name} by defect and stem",
            ),
        )
        if paths
    ]
    if problems:
        raise ValueError("; ".join(problems))
    return [maps[key] for key in images]


def list_maps(folder: Path, category: Category) -> Listing:
    """What lies in the folder with the maps of `category`."""
    return list_files(_category_maps(folder, category), MAP_SUFFIXES)


def _category_maps(folder: Path, category: Category) -> Path:
    """The folder with the maps of a category, named like it or like its folder."""
    if not folder.exists():
        raise ValueError(f"--maps {folder} does not exist")
    if not folder.is_dir():
        raise ValueError(f"--maps {folder} is a file, not a folder")
    if not any(folder.iterdir()):
        raise ValueError(f"--maps {folder} is empty")
    for name in (category.name, category.root.name):
        for root in (folder / name / "test", folder / name):
            if root.is_dir():
                return root
    raise ValueError(f"--maps {folder} has no folder of category {category.name}")


def mask_levels(photograph: Photograph, remarks: Remarks) -> UInt8[np.ndarray, "h w"]:
    """The masks of a test image, 0 to 255; all zero if there is no file.

    Raises:
      ValueError: if the image cannot be read, or `datasets.masks` refuses a mask.
    """
    path = photograph.path
    return read_mask_levels(photograph.masks, path, image_shape(path), remarks=remarks)


class MapsAndMasks:
    """The maps and masks of one category, loaded from their files on every access.

    Args:
      photographs: test images.
      maps: the map file of each test image, in the same order.
      rule: how maps and masks are compared.
      evaluation_px: side of the square in which rules other than own-resolution
        compare.
      remarks: receives what the reader of masks had to decide.
    """

    def __init__(
        self,
        photographs: Sequence[Photograph],
        maps: Sequence[Path],
        *,
        rule: GroundTruthRule,
        evaluation_px: int,
        remarks: Remarks,
    ) -> None:
        self.remarks = remarks
        self.photographs = photographs
        self.paths = maps
        self.rule: GroundTruthRule = rule
        self.evaluation_px = evaluation_px
        self._latest: tuple[int, Pair] | None = None

    @property
    def maps(self) -> LazyArrays[int]:
        """The maps, as the rule compares them."""
        return LazyArrays(range(len(self.paths)), lambda i: self.pair(i).anomaly_map)

    @property
    def masks(self) -> LazyArrays[int]:
        """The masks, as the rule compares them."""
        return LazyArrays(range(len(self.paths)), lambda i: self.pair(i).mask)

    def pair(self, i: int) -> Pair:
        """Map and mask `i`, as the rule compares them."""
        if self._latest is None or self._latest[0] != i:
            mask = mask_levels(self.photographs[i], self.remarks)
            pair = under_rule(
                read_map(self.paths[i]),
                mask,
                rule=self.rule,
                evaluation_px=self.evaluation_px,
                name=f"the mask of {self.photographs[i].path}",
            )
            self._latest = (i, pair)
        return self._latest[1]
