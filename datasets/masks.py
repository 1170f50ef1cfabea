"""Reading ground-truth masks, by one rule for every way in which masks are saved.

The rule, in this order:

1. *Opacity.* Where it varies, pixels that are wholly transparent are background. If the
   other pixels have one colour, or none of them is black, the opacity is the mask.
2. *Palette.* The colours count. Only if they are all the same, the numbers count.
3. *Colour.* Every colour but the background is a defect. The background is black if
   at least 1 % of the image is black, else the colour of more than half of the image.
4. *Two values*, integers of any depth or floats: the higher one is the defect.
5. *Class numbers and several flat levels*: all but the lowest are defects.
6. *Soft edges, or the noise of JPEG*: what is above the middle between background and
   defect. Several noisy levels: the middle between the lowest two.
7. *One value*: 0 marks nothing; the largest of its type marks the whole image.

Everything else is refused. What is not plainly 0 and 1, or 0 and the largest value of
its type, is remarked on; so is a mask that marks most of its image.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from scipy import ndimage

from datasets.decoding import Stored, decode_file
from datasets.remarks import Remarks

MASK_THRESHOLD = 127
"""A pixel is anomalous if `read_mask_levels` is above this."""
FULL = (1, 255, 65535)
"""Values that mean `defect` beside 0 in masks of bits, bytes, 16 bits and floats."""
_MOST = 0.5  # share of the image from which a mask may be inverted
_LARGEST_NUMBER = 31  # class numbers are small: larger values are grey levels
_SOFT_SHARE = 0.3  # labels have about 0.05, the noise of JPEG 0.4 to 1
_LEAST_CONTRAST = 32  # of 255: less may be the noise of JPEG alone
_FLAT = 16  # of 255: largest difference between neighbours within a noisy level
_GAP = 24  # of 255: least distance between two noisy levels
_LEAST_FLAT = 0.5  # share of pixels that do not differ from their neighbours
_WIDEST = 64  # of 255: all noisy levels together; more is a soft ramp or a photograph
_MOST_BETWEEN = 0.25  # larger share of middle values: a photograph, not a mask
_LEAST_BLACK = 0.01  # share of the image from which black is taken for the background


class Plane(NamedTuple):
    """One number for each pixel; the background has the lowest."""

    values: Shaped[np.ndarray, "h w"]
    remarks: tuple[tuple[str, str], ...] = ()
    """Kind and text of the decisions that led to the plane."""


class Levels(NamedTuple):
    """A mask of 0 to 255."""

    values: UInt8[np.ndarray, "h w"]
    kind: str = ""
    remark: str = ""


def read_mask(
    paths: Sequence[Path],
    photograph: Path,
    shape: tuple[int, ...],
    *,
    remarks: Remarks,
    is_numbered: bool = False,
) -> Bool[np.ndarray, "h w"]:
    """Read the masks of a photograph: True where a defect is.

    See `read_mask_levels` for the arguments and errors.
    """
    levels = read_mask_levels(
        paths, photograph, shape, remarks=remarks, is_numbered=is_numbered
    )
    return levels > MASK_THRESHOLD


def read_mask_levels(
    paths: Sequence[Path],
    photograph: Path,
    shape: tuple[int, ...],
    *,
    remarks: Remarks,
    is_numbered: bool = False,
) -> UInt8[np.ndarray, "h w"]:
    """Read the masks of a photograph as 0 to 255: defects are above `MASK_THRESHOLD`.

    Only soft edges have values other than 0 and 255. The rule is that of this module.

    Args:
      paths: the masks, of which the highest level of each pixel counts. Without a mask
        all levels are 0.
      photograph: the photograph's file, which messages name.
      shape: height and width of the photograph, which the mask must have.
      remarks: receives a remark for every decision that the rule had to make.
      is_numbered: whether the data set is known to number its kinds of defect, so that
        small numbers need no remark.

    Raises:
      ValueError: a file is not a complete image, has another size than the
        photograph, or may be read as a mask in more than one way.
    """
    union = np.zeros(shape[:2], np.uint8)
    for path in paths:
        stored = decode_file(path)
        _check_size(path, photograph, stored.values.shape, shape)
        levels = _read_levels(path, stored, remarks=remarks, is_numbered=is_numbered)
        union = np.maximum(union, levels)
    return union


def _read_levels(
    path: Path, stored: Stored, *, remarks: Remarks, is_numbered: bool
) -> UInt8[np.ndarray, "h w"]:
    """The levels of one file."""
    if not np.isfinite(stored.values).all():
        raise ValueError(f"{path} must hold finite numbers to be a mask")
    plane = _plane(path, stored)
    levels = _levels(path, plane.values, is_lossy=stored.is_lossy)
    for kind, remark in plane.remarks:
        remarks.add(kind, path, remark)
    # What a plane that had to be chosen holds needs no remark, unless it is soft.
    is_known = bool(plane.remarks) or (is_numbered and levels.kind == "numbers")
    if levels.kind and not (is_known and levels.kind != "soft"):
        remarks.add(levels.kind, path, levels.remark)
    share = float((levels.values > MASK_THRESHOLD).mean())
    if share > _MOST:
        what = "the whole image" if share == 1 else f"{int(100 * share)} % of its image"
        text = f"marks {what} as defect: check that the mask is not inverted"
        remarks.add("most", path, text)
    return levels.values


def _check_size(
    path: Path, photograph: Path, got: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    if got[:2] == expected[:2]:
        return
    hint = ""
    if got[:2] == expected[1::-1]:
        hint = "; if the photograph's EXIF data rotate it, rotate the mask likewise"
    raise ValueError(
        f"{path} must have the size of {photograph}, {expected[1]}x{expected[0]}, got "
        f"{got[1]}x{got[0]}{hint}"
    )


def _plane(path: Path, stored: Stored) -> Plane:
    """The plane that holds the mask: opacity, palette numbers, grey, or colour."""
    colours, alpha, numbers = stored.values, stored.alpha, stored.numbers
    seen: tuple[tuple[str, str], ...] = ()
    if alpha is not None and _varies(alpha.ravel()):
        visible = alpha > 0
        if not _varies(colours[visible]) or not _has_black(colours[visible]):
            remark = "varies in opacity and has no black: its opacity is the mask"
            return Plane(alpha, (("opacity", remark),))
        if not visible.all():
            colours = colours.copy()
            colours[~visible] = 0
            remark = "is transparent in part: what is transparent counts as good"
            seen = (("transparent", remark),)
    height, width = colours.shape[:2]
    has_one_colour = not _varies(colours.reshape(height * width, -1))
    if numbers is not None and has_one_colour and _varies(numbers.ravel()):
        remark = "has one colour in its palette: the palette's numbers are the mask"
        return Plane(numbers, (("palette", remark),))
    if colours.ndim == 2:
        return Plane(colours, seen)
    if (colours == colours[..., :1]).all():
        return Plane(colours[..., 0], seen)
    if has_one_colour:
        raise ValueError(
            f"{path} has one colour in every pixel, which may mark nothing or the "
            "whole image: save it with 255 for defects and 0 elsewhere"
        )
    distance = _distance_from_background(path, colours)
    return distance._replace(remarks=seen + distance.remarks)


def _has_black(pixels: Shaped[np.ndarray, "n *c"]) -> bool:
    """Whether enough pixels are black to be the background."""
    return bool((pixels.reshape(len(pixels), -1) == 0).all(-1).mean() >= _LEAST_BLACK)


def _varies(pixels: Shaped[np.ndarray, "n *c"]) -> bool:
    """Whether the pixels differ."""
    return bool((pixels != pixels[0]).any())


def _distance_from_background(
    path: Path, colours: Shaped[np.ndarray, "h w 3"]
) -> Plane:
    """Largest difference of a channel from the background, and which that is."""
    background = _background(path, colours)
    wide = colours.astype(np.int64)
    distance = np.abs(wide - background).max(-1)
    name = ", ".join(str(int(value)) for value in background)
    remark = f"is in colour: every colour but the background ({name}) is a defect"
    return Plane(distance, ((f"colour {name}", remark),))


def _background(
    path: Path, colours: Shaped[np.ndarray, "h w 3"]
) -> Shaped[np.ndarray, "3"]:
    """The colour of the background: black, or the one of more than half the image.

    If no exact colour is, it is black or white to within the noise of JPEG.
    """
    top = 255 if colours.max() <= 255 else 65535
    pixels = colours.reshape(-1, 3).astype(np.int64)
    black, white = np.zeros(3, np.int64), np.full(3, top)
    if _has_black(pixels):
        return black
    keys = (pixels[:, 0] * (top + 1) + pixels[:, 1]) * (top + 1) + pixels[:, 2]
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    if counts.max() > len(pixels) / 2:
        return pixels[first[counts.argmax()]]
    if (pixels <= top // 16).all(-1).mean() >= _LEAST_BLACK:
        return black
    if (pixels >= top - top // 16).all(-1).mean() > 0.5:
        return white
    raise ValueError(
        f"{path} is in colour and has no background: neither black nor one colour on "
        "more than half of the image; save it with 255 for defects and 0 elsewhere"
    )


def _levels(path: Path, plane: Shaped[np.ndarray, "h w"], *, is_lossy: bool) -> Levels:
    """The plane as 0 to 255, defects above 127."""
    low, high = plane.min().item(), plane.max().item()
    if low == high:
        return Levels(np.full(plane.shape, _uniform(path, high), np.uint8))
    scale = 255 if high <= 255 else 65535
    if is_lossy and (high - low) * 255 < _LEAST_CONTRAST * scale:
        raise ValueError(
            f"{path} has values from {low:g} to {high:g}, which the noise of JPEG "
            "hides: save it as PNG, with 255 for defects and 0 elsewhere"
        )
    is_high = plane == high
    if (is_high | (plane == low)).all():
        kind, remark = _two_levels(low, high)
        return Levels(_white(is_high), kind, remark)
    are_integers = plane.dtype.kind in "iu"
    if not is_lossy and are_integers and low >= 0 and high <= _LARGEST_NUMBER:
        remark = f"has numbers from {low} to {high}: all above {low} are defects"
        return Levels(_white(plane > low), "numbers", remark)
    if not is_lossy and _soft_share(plane, low, high) < _SOFT_SHARE:
        remark = f"has levels from {low:g} to {high:g}: all above {low:g} are defects"
        return Levels(_white(plane > low), "levels", remark)
    return _soft(path, plane, low, high)


def _white(mask: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    return mask.astype(np.uint8) * np.uint8(255)


def _uniform(path: Path, value: float) -> int:
    """The level of a mask that has one value alone."""
    if value == 0:
        return 0
    if value in FULL[1:] or (isinstance(value, float) and value == 1):
        return 255
    raise ValueError(
        f"{path} has the value {value:g} in every pixel, which may mark nothing or the "
        "whole image: save it with 255 for defects and 0 elsewhere"
    )


def _two_levels(low: float, high: float) -> tuple[str, str]:
    """Kind and text of the remark on a mask of two values; empty if they are usual."""
    if low == 0 and high in FULL:
        return "", ""
    text = f"has the values {low:g} and {high:g}: {high:g} is the defect"
    is_number = low == 0 and isinstance(high, int) and high <= _LARGEST_NUMBER
    return ("numbers" if is_number else "two values"), text


def _soft_share(plane: Shaped[np.ndarray, "h w"], low: float, high: float) -> float:
    """How far the values between `low` and `high` are those of soft edges or noise.

    A pixel of a soft edge has a lower and a higher neighbour; a pixel of noise has
    that, or no two neighbours of its own value. Hardly any pixel of a flat region or of
    a line does. The share of such pixels is averaged over the values, so that a large
    flat region does not hide the noise around it.
    """
    between = (plane > low) & (plane < high)
    values, number = np.unique(plane[between], return_inverse=True)
    is_edge = ndimage.minimum_filter(plane, 3)[between] < plane[between]
    is_edge &= ndimage.maximum_filter(plane, 3)[between] > plane[between]
    is_soft = is_edge | (_equal_neighbours(plane)[between] < 2)
    soft = np.bincount(number, is_soft, len(values)) / np.bincount(number)
    return float(soft.mean())


def _equal_neighbours(plane: Shaped[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """How many of its eight neighbours have a pixel's value."""
    height, width = plane.shape
    # The border repeats once: a line along it keeps its neighbours.
    padded = np.pad(plane, 1, mode="edge")
    equal = np.zeros(plane.shape, np.uint8)
    for down in range(3):
        for right in range(3):
            moved = padded[down : down + height, right : right + width]
            equal += moved == plane
    return equal - np.uint8(1)


def _soft(
    path: Path, plane: Shaped[np.ndarray, "h w"], low: float, high: float
) -> Levels:
    """A mask with soft edges or noise, stretched so that 127 is the middle."""
    stretched = (plane.astype(np.float64) - low) * (255 / (high - low))
    steepness = ndimage.maximum_filter(stretched, 3)
    steepness -= ndimage.minimum_filter(stretched, 3)
    is_flat = steepness <= _FLAT
    good, bad = _noisy_levels(stretched, is_flat)
    levels = np.clip((stretched - good) * (255 / (bad - good)), 0, 255)
    between = float(((levels > 64) & (levels < 191)).mean())
    if between > _MOST_BETWEEN or is_flat.mean() < _LEAST_FLAT:
        raise ValueError(
            f"{path} looks like a photograph, not a mask: its values from {low:g} to "
            f"{high:g} do not fall into levels of background and defect"
        )
    middle = low + (good + bad) / 2 * (high - low) / 255
    remark = (
        f"has soft edges or noise, with values from {low:g} to {high:g}: what is above "
        f"{middle:.4g} is the defect"
    )
    return Levels(levels.astype(np.uint8), "soft", remark)


def _noisy_levels(
    stretched: Shaped[np.ndarray, "h w"], is_flat: Bool[np.ndarray, "h w"]
) -> tuple[float, float]:
    """The levels of background and defect, of 255; the lowest two if there are more."""
    counts = np.bincount(stretched[is_flat].astype(int), minlength=256)
    common = np.flatnonzero(counts >= max(4, stretched.size // 2000))
    groups = np.split(common, np.flatnonzero(np.diff(common) >= _GAP) + 1)
    if not len(common) or sum(int(np.ptp(group)) for group in groups) > _WIDEST:
        return 0.0, 255.0
    levels = [float(np.average(group, weights=counts[group])) for group in groups]
    if len(levels) == 1:  # the other level covers too little to be flat anywhere
        levels = [levels[0], 255.0] if levels[0] < 128 else [0.0, levels[0]]
    good, bad = levels[:2]
    good = 0.0 if good <= _FLAT else good
    return good, 255.0 if bad >= 255 - _FLAT else bad
