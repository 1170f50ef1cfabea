"""Anomaly maps in files, as any detector may have written them.

    <maps>/<category>/<defect>/<stem>.npy
    <maps>/<category>/test/<defect>/<stem>.tiff      as MVTec's evaluation code has them

npy, tiff (float or integer) and png (8 or 16 bit grey), one a test image.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image, UnidentifiedImageError

from datasets.images import image_shape, is_hidden, read_mask_levels
from datasets.photographs import Category, Photograph
from experiments.computed import Computed
from lfq_jax.metrics.ground_truth import (
    THRESHOLD,
    GroundTruthRule,
    Pair,
    is_two_level,
    under_rule,
)

MAP_SUFFIXES = frozenset({".npy", ".png", ".tif", ".tiff"})
_FEW = 3


def read_map(path: Path) -> Shaped[np.ndarray, "h w"]:
    """The scores in one file, [h w]; axes of length 1 are dropped.

    Raises:
      ValueError: where the file cannot be read, is a picture in colour, holds more than
        one map, or a number that is not finite.
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
            f"{path} is a picture in colour; a map holds one score a pixel"
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
      ValueError: where the folder holds no map, or maps and images do not pair by
        defect and stem: it lists the first three of each.
    """
    root = _category_maps(folder, category.name)
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(root.glob("*/*")):
        if path.suffix.lower() not in MAP_SUFFIXES or is_hidden(path, root):
            continue
        key = (path.parent.name, path.stem)
        if key in found:
            raise ValueError(f"{path} and {found[key].name} are maps of one image")
        found[key] = path
    if not found:
        kinds = ", ".join(sorted(MAP_SUFFIXES))
        raise ValueError(f"{root} holds no map: no <defect>/<stem> of {kinds}")
    keys = {(image.defect, image.path.stem): image for image in category.test}
    without = [str(image.path) for key, image in keys.items() if key not in found]
    beyond = [str(path) for key, path in found.items() if key not in keys]
    problems = [
        f"{len(paths)} {what}: {', '.join(paths[:_FEW])}"
        for paths, what in (
            (without, f"test images of {category.name} have no map in {root}"),
            (beyond, f"maps match no test image of {category.name} by defect and stem"),
        )
        if paths
    ]
    if problems:
        raise ValueError("; ".join(problems))
    return [found[key] for key in keys]


def _category_maps(folder: Path, name: str) -> Path:
    """Where the maps of category `name` lie in `folder`."""
    if not folder.exists():
        raise ValueError(f"--maps {folder} does not exist")
    if not folder.is_dir():
        raise ValueError(f"--maps {folder} is a file, not a folder")
    if not any(folder.iterdir()):
        raise ValueError(f"--maps {folder} is empty")
    for root in (folder / name / "test", folder / name):
        if root.is_dir():
            return root
    raise ValueError(f"--maps {folder} has no folder of category {name}")


def marks_something(mask: Path | None) -> bool:
    """Whether there is a mask, and a defect in it: an empty one says nothing of where a
    defect is.

    Raises:
      ValueError: where the file is not a whole image.
    """
    if mask is None:
        return False
    return bool(read_mask_levels(mask).any())


class MapsAndMasks:
    """The pairs of one category, read from their files whenever they are asked for."""

    def __init__(
        self,
        photographs: Sequence[Photograph],
        maps: Sequence[Path],
        *,
        rule: GroundTruthRule,
        evaluation_px: int,
    ) -> None:
        self.photographs = photographs
        self.paths = maps
        self.rule: GroundTruthRule = rule
        self.evaluation_px = evaluation_px
        self._latest: tuple[int, Pair] | None = None
        self._warned = False

    @property
    def maps(self) -> Computed[int]:
        return Computed(range(len(self.paths)), lambda i: self.pair(i).anomaly_map)

    @property
    def masks(self) -> Computed[int]:
        return Computed(range(len(self.paths)), lambda i: self.pair(i).mask)

    def mask_levels(self, i: int) -> UInt8[np.ndarray, "h w"]:
        """Mask `i` as its file has it, 0 to 255; of an image without one, all zero."""
        photograph = self.photographs[i]
        if photograph.mask is not None:
            return read_mask_levels(photograph.mask)
        return np.zeros(image_shape(photograph.path), np.uint8)

    def pair(self, i: int) -> Pair:
        """Map and mask `i` as the rule compares them."""
        if self._latest is None or self._latest[0] != i:
            mask = self.mask_levels(i)
            self._warn_of_levels(mask, i)
            found = under_rule(
                read_map(self.paths[i]),
                mask,
                rule=self.rule,
                evaluation_px=self.evaluation_px,
                name=str(self.photographs[i].mask),
            )
            self._latest = (i, found)
        return self._latest[1]

    def _warn_of_levels(self, mask: UInt8[np.ndarray, "h w"], i: int) -> None:
        if not self._warned and not is_two_level(mask):
            self._warned = True
            warnings.warn(
                f"{self.photographs[i].mask} has values other than 0 and 255; a mask "
                f"is anomalous where it is > {THRESHOLD} of 255",
                stacklevel=3,
            )
