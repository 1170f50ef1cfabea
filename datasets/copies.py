"""Finding photographs that are copies of another, also after compression or resizing.

Two copies show one part. Counted as two, they break what a threshold promises about the
rate of false alarms.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from datasets.images import image_sha256
from datasets.remarks import named

How = Literal["exact", "near"]
"""`exact`: the pixels are equal. `near`: the small versions hardly differ."""
SIDE_PX = 64
COARSE_PX = 8
COARSE_DIFFERENCE = 0.25
"""Two photographs are copies if their 8 px versions differ by at most this, of 255.

It is the standard deviation of the difference, so that brightness as a whole does not
count. Measured on real and rendered parts, see docs/how_to/add_data_set.md. Copies
(JPEG of quality 75, half or one and a half times the size) differ by at most 0.17. The
closest two different photographs, of one part that nobody moved, differ by 0.30.
"""
FINE_CORRELATION = 0.9
"""The details of two copies, at 64 px, also correlate at least like this.

So evenly lit parts without coarse structure, whose 8 px versions are all alike, are
copies only if the noise is equal too.
"""


class Look(NamedTuple):
    """What is kept of a photograph to recognise its copies."""

    sha256: str
    """Hash of the size and the pixels."""
    grey: Float32[np.ndarray, "64 64"]
    """Brightness at `SIDE_PX`, of 255. Hardly depends on the size of the photograph."""


def look(image: UInt8[np.ndarray, "h w 3"], sha256: str | None = None) -> Look:
    """The look of a photograph.

    Args:
      sha256: the image's hash, if it is known.
    """
    grey = Image.fromarray(image).convert("L").convert("F")
    small = grey.resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR)
    return Look(sha256 or image_sha256(image), np.asarray(small))


def copy_of(
    photograph: Look, known: Sequence[Look], *, near: bool = True
) -> tuple[int, How] | None:
    """The index of the photograph in `known` that this one is a copy of, and how.

    Args:
      near: also find near copies.
    """
    for index, other in enumerate(known):
        if other.sha256 == photograph.sha256:
            return index, "exact"
    if not (near and known):
        return None
    coarse = _coarse(np.stack([other.grey for other in known]))
    differences = (coarse - _coarse(photograph.grey[None])).reshape(len(known), -1)
    is_close = differences.std(axis=1) <= COARSE_DIFFERENCE
    for index in np.flatnonzero(is_close).tolist():
        if _correlation(photograph.grey, known[index].grey) >= FINE_CORRELATION:
            return index, "near"
    return None


def copies(looks: Iterable[Look], *, near: bool = True) -> dict[int, tuple[int, How]]:
    """The photographs that are copies of an earlier one: its index and how, by index.

    The earlier one is itself no copy, so all copies of a photograph name the same one.
    """
    firsts: list[int] = []
    known: list[Look] = []
    found: dict[int, tuple[int, How]] = {}
    for index, photograph in enumerate(looks):
        match = copy_of(photograph, known, near=near)
        if match is None:
            firsts.append(index)
            known.append(photograph)
        else:
            found[index] = (firsts[match[0]], match[1])
    return found


def named_copies(
    found: dict[int, tuple[int, How]], names: Sequence[str], *, shown: int = 3
) -> str:
    """The first few copies in words, e.g. `b.png is a.png (exact), ...`."""
    words = [f"{names[i]} is {names[of]} ({how})" for i, (of, how) in found.items()]
    return named(words, most=shown)


def _coarse(grey: Float32[np.ndarray, "n 64 64"]) -> Float32[np.ndarray, "n 8 8"]:
    block = SIDE_PX // COARSE_PX
    blocks = grey.reshape(len(grey), COARSE_PX, block, COARSE_PX, block)
    return blocks.mean(axis=(2, 4))


def _correlation(
    one: Float32[np.ndarray, "64 64"], other: Float32[np.ndarray, "64 64"]
) -> float:
    """Correlation of what remains of two photographs without their 8 px versions."""
    block = SIDE_PX // COARSE_PX
    details = [
        (grey - np.kron(_coarse(grey[None])[0], np.ones((block, block)))).ravel()
        for grey in (one, other)
    ]
    lengths = [float(np.linalg.norm(detail)) for detail in details]
    if not all(lengths):
        return 0.0
    return float(details[0] @ details[1]) / (lengths[0] * lengths[1])
