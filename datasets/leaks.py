"""Whether a test split holds images that were trained with."""

import logging
from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from datasets.example import Example
from datasets.examples import Examples

log = logging.getLogger(__name__)
OnLeak = Literal["refuse", "warn", "ignore"]
SIDE_PX = 16
LARGEST_DIFFERENCE = 2.0
MEAN_DIFFERENCE = 0.8
"""Two images are copies where their 16 px versions differ by less, of 255.

Of MVTec AD's leather and the rendered bolts, capsules and boards, a copy of half or one
and a half times the size, or a JPEG of quality 75, differs by at most 1.8 and 0.75;
another photograph by at least 6.9 and 1.6.
"""


class Leak(NamedTuple):
    """A test image that was trained with."""

    train_key: str
    test_key: str
    how: Literal["exact", "resized"]
    """Pixel by pixel, or after both were made small: one is a copy of other size."""


def exact_leaks(train: Examples, test: Examples) -> list[Leak]:
    """Images of one sha256. Nothing is decoded."""
    trained = dict(zip(train.sha256s, train.keys, strict=True))
    return [
        Leak(trained[sha256], key, "exact")
        for sha256, key in zip(test.sha256s, test.keys, strict=True)
        if sha256 in trained
    ]


def find_leaks(train: Iterable[Example], test: Iterable[Example]) -> list[Leak]:
    """Images that are one, exactly or after resizing. Each is decoded once.

    Args:
      train: what was trained with, e.g. `shots(...).examples`.
    """
    known = [(example, small(example.image)) for example in train]
    return [leak for example in test if (leak := _leak(known, example))]


def _leak(
    known: list[tuple[Example, Float32[np.ndarray, "h w 3"]]], test: Example
) -> Leak | None:
    tiny = small(test.image)
    for train, trained in known:
        if train.sha256 == test.sha256:
            return Leak(train.key, test.key, "exact")
        difference = np.abs(trained - tiny)
        if (
            difference.max() <= LARGEST_DIFFERENCE
            and difference.mean() <= MEAN_DIFFERENCE
        ):
            return Leak(train.key, test.key, "resized")
    return None


def small(image: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "16 16 3"]:
    """Averages, in which the size a photograph was saved in hardly shows."""
    size = (SIDE_PX, SIDE_PX)
    channels = (Image.fromarray(image[..., i]).convert("F") for i in range(3))
    resized = [np.asarray(c.resize(size, Image.Resampling.BILINEAR)) for c in channels]
    return np.stack(resized, axis=-1)


def check_leaks(
    train: Iterable[Example], test: Iterable[Example], *, on_leak: OnLeak = "refuse"
) -> list[Leak]:
    """Refuse, or warn of, test images that were trained with, and return them.

    Raises:
      ValueError: for `refuse`, where there is one.
    """
    leaks = [] if on_leak == "ignore" else find_leaks(train, test)
    tell_leaks(leaks, on_leak)
    return leaks


def tell_leaks(leaks: list[Leak], on_leak: OnLeak) -> None:
    """One line about all of them."""
    if not leaks or on_leak == "ignore":
        return
    named = ", ".join(f"{x.test_key} is {x.train_key} ({x.how})" for x in leaks[:3])
    message = f"{len(leaks)} test images were trained with: {named}"
    if on_leak == "refuse":
        raise ValueError(message)
    log.warning("%s", message)
