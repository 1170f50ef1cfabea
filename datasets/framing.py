"""The size at which photographs are seen: their own proportions, with a bounded area.

The networks see images of one height and width. A photograph of about the same
proportion is resized to it. A photograph of another proportion is scaled in proportion
and the rest of the image is filled, or, for textures, it gets a size of its own. No
side is squeezed, unless `fit` is `square`.
"""

import math
from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from datasets.images import to_size

Fit = Literal["proportion", "square"]
Size = tuple[int, int]
"""Height and width in pixels."""
LEAST_PX = 32
"""Least side of a fitted size: in shorter ones the coarsest filters do not fit."""
MOST_ROUNDING = 0.2
"""Largest relative difference in proportion that counts as rounding."""
STEP = 1.3
"""Ratio of the proportions of two neighbouring sizes of a texture."""
MOST_STEPS = 3
"""Number of sizes of a texture that are wider than the shots', and that are higher."""


def fitted_size(
    shape: tuple[float, float], image_px: int, divisor: int = 1
) -> tuple[int, int]:
    """The height and width for photographs of one proportion.

    Both are multiples of `divisor`, and the area is at most `image_px` squared. Among
    the sizes next to the largest one of exactly that proportion, the one is taken that
    loses least in proportion and in resolution together. Transposing a photograph
    transposes the result. A square gives a square of side `image_px`.

    Args:
      shape: height and width of a photograph.
      image_px: side of a square with the largest area, a multiple of `divisor`.
      divisor: what both sides must be multiples of.

    Raises:
      ValueError: a side would be too short. The message gives the proportions that fit.
    """
    size = _nearest_size(shape, (image_px // divisor) ** 2, divisor)
    if not in_proportion(shape, size, divisor):
        longest = max(size) / min(size)
        raise ValueError(
            f"a photograph of {_text(shape)} is too elongated: with the area of "
            f"{image_px} x {image_px} px and sides of at least {min(size)} px, "
            f"proportions up to 1:{longest:.3g} fit"
        )
    return size


def _nearest_size(shape: tuple[float, float], area: int, divisor: int) -> Size:
    """As `fitted_size`, with an area in squares of side `divisor`; refuses nothing."""
    height, width = shape
    if height > width:
        across, down = _nearest_size((width, height), area, divisor)
        return down, across
    ratio, side = width / height, math.isqrt(area)
    least = min(-(-LEAST_PX // divisor), side)
    rows, columns = math.sqrt(area / ratio), math.sqrt(area * ratio)
    sizes = []
    for row in {math.floor(rows), math.ceil(rows)}:
        row = min(max(row, least), side)
        for column in {math.floor(columns), math.ceil(columns), round(row * ratio)}:
            sizes.append((row, min(column, area // row)))
    near = [size for size in sizes if in_proportion(shape, size, 1)] or sizes
    down, across = min(near, key=lambda size: _loss(shape, size))
    return down * divisor, across * divisor


def _loss(shape: tuple[float, float], size: Size) -> float:
    """Relative error in proportion of a size, less its relative length of a side."""
    return abs(_log_ratio(shape, size)) - math.log(size[0] * size[1]) / 2


def _log_ratio(shape: tuple[float, float], other: tuple[float, float]) -> float:
    """Logarithm of the first proportion relative to the other; 0 if they are equal."""
    return math.log(shape[0] * other[1] / (shape[1] * other[0]))


def in_proportion(shape: tuple[float, float], size: Size, divisor: int) -> bool:
    """Whether a photograph's proportion differs from that of `size` by rounding alone:
    by one step of `divisor` in the shorter side, and by `MOST_ROUNDING` at most."""
    return abs(_log_ratio(shape, size)) <= _rounding(size, divisor)


def _rounding(size: Size, divisor: int) -> float:
    return min(divisor / min(size), MOST_ROUNDING)


def median_shape(shapes: Iterable[tuple[int, ...]]) -> tuple[float, float]:
    """A height and width with the median proportion of several photographs.

    Of an even number of photographs, the geometric mean of the middle two.
    """
    by_ratio = sorted(shapes, key=lambda shape: shape[0] / shape[1])
    low, high = by_ratio[(len(by_ratio) - 1) // 2], by_ratio[len(by_ratio) // 2]
    return math.sqrt(low[0] * high[0]), math.sqrt(low[1] * high[1])


def _text(shape: tuple[float, float]) -> str:
    return f"{shape[1]:.0f} x {shape[0]:.0f} px"


class Frame(NamedTuple):
    """Where a photograph lies in an image of the networks' size."""

    size: Size
    top: int
    left: int
    height: int
    width: int

    @property
    def is_whole(self) -> bool:
        """Whether the photograph fills the whole image."""
        return (self.height, self.width) == self.size

    @property
    def place(self) -> tuple[slice, slice]:
        """Row and column slices of the photograph."""
        rows = slice(self.top, self.top + self.height)
        return rows, slice(self.left, self.left + self.width)

    @property
    def inside(self) -> Bool[np.ndarray, "h w"]:
        """True for the photograph's pixels."""
        inside = np.zeros(self.size, bool)
        inside[self.place] = True
        return inside

    def cut(self, image: Shaped[np.ndarray, "h w *c"]) -> Shaped[np.ndarray, "_ _ *c"]:
        """The photograph's part of a map or an image of the networks' size."""
        return image if self.is_whole else image[self.place]

    def margins(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Pixels above and below the photograph, and to its left and right."""
        height, width = self.size
        down, across = height - self.height, width - self.width
        return (self.top, down - self.top), (self.left, across - self.left)


class Framing(NamedTuple):
    """How photographs of any size become images of the networks' size."""

    size: Size
    """Height and width of the training images."""
    divisor: int
    """What the sides of every size are multiples of."""
    is_texture: bool
    """Textures may have a size of their own, and are continued by mirroring. Objects
    are compared in place, so they keep the training images' size, and are continued by
    repeating the edge."""
    fit: Fit = "proportion"
    """`square`: every photograph is squeezed into `size`."""

    @property
    def largest_stretch(self) -> float | None:
        """Largest factor between a photograph's proportion and that of `size` at which
        the photograph is resized and not filled. None: there is none."""
        if self.fit == "square":
            return None
        return math.exp(self._tolerance(self.size))

    def _tolerance(self, size: Size) -> float:
        """The logarithm of that factor, for any size."""
        return _rounding(size, self.divisor) + self.is_texture * math.log(STEP) / 2

    def frame(self, shape: tuple[int, ...], *, name: str = "a photograph") -> Frame:
        """Where a photograph of `shape` is scored.

        Args:
          name: of the photograph, for the message.

        Raises:
          ValueError: the photograph is too elongated.
        """
        size = self.size
        if self.is_texture and self.fit == "proportion":
            size = _size_of_texture((shape[0], shape[1]), size, self.divisor)
        return self._in(size, shape, name)

    def training_frame(self, shape: tuple[int, ...]) -> Frame:
        """Where a photograph of `shape` lies in an image of the training size.

        Raises:
          ValueError: the photograph is too elongated.
        """
        return self._in(self.size, shape, "a photograph")

    def _in(self, size: Size, shape: tuple[int, ...], name: str) -> Frame:
        photograph = shape[0], shape[1]
        difference = abs(_log_ratio(photograph, size))
        if self.fit == "square" or difference <= self._tolerance(size):
            return Frame(size, 0, 0, *size)
        scale = min(side / own for side, own in zip(size, photograph, strict=True))
        height, width = (
            min(side, round(own * scale))
            for side, own in zip(size, photograph, strict=True)
        )
        least = min(self.divisor, *size)
        if min(height, width) < least:
            longest = max(size) / least
            raise ValueError(
                f"{name} of {_text(photograph)} is too elongated: in "
                f"{_text(size)} its shorter side has {min(height, width)} px, and "
                f"needs {least}: proportions up to 1:{longest:.3g} fit"
            )
        return Frame(
            size, (size[0] - height) // 2, (size[1] - width) // 2, height, width
        )

    def put(
        self, image: UInt8[np.ndarray, "H W 3"], frame: Frame
    ) -> UInt8[np.ndarray, "h w 3"]:
        """The photograph in its frame, continued beyond its edges."""
        resized = to_size(image, (frame.height, frame.width))
        if frame.is_whole:
            return resized
        mode = "symmetric" if self.is_texture else "edge"
        return np.pad(resized, (*frame.margins(), (0, 0)), mode=mode)

    def training_image(
        self, image: UInt8[np.ndarray, "H W 3"]
    ) -> UInt8[np.ndarray, "h w 3"]:
        """The photograph as an image of the training size."""
        return self.put(image, self.training_frame(image.shape))


def _size_of_texture(shape: tuple[int, int], size: Size, divisor: int) -> Size:
    """The nearest of the sizes that a texture is scored at, all of about one area.

    Neighbouring sizes differ by the factor `STEP` in proportion.
    """
    steps = round(_log_ratio(shape, size) / math.log(STEP))
    steps = min(max(steps, -MOST_STEPS), MOST_STEPS)
    if not steps:
        return size
    height, width = size
    stretched = height * STEP ** (steps / 2), width / STEP ** (steps / 2)
    return _nearest_size(stretched, height * width // divisor**2, divisor)
