"""Finding training images in a test split."""

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
"""Two images are copies if their 16 px versions differ by at most these, of 255.

`LARGEST_DIFFERENCE` bounds the maximum over all values, `MEAN_DIFFERENCE` the mean.
Measured on MVTec AD's leather and the rendered bolts, capsules and boards: copies (0.5
or 1.5 times the size, or JPEG of quality 75) differ by at most 1.8 and 0.75. Different
photographs differ by at least 6.9 and 1.6.
"""


class Leak(NamedTuple):
    """A test image that is also a training image."""

    train_key: str
    test_key: str
    how: Literal["exact", "resized"]
    """`exact`: the pixels are equal. `resized`: only the 16 px versions match."""


def exact_leaks(train: Examples, test: Examples) -> list[Leak]:
    """Test images with the sha256 of a training image. Nothing is decoded."""
    trained = dict(zip(train.sha256s, train.keys, strict=True))
    return [
        Leak(trained[sha256], key, "exact")
        for sha256, key in zip(test.sha256s, test.keys, strict=True)
        if sha256 in trained
    ]


def find_leaks(train: Iterable[Example], test: Iterable[Example]) -> list[Leak]:
    """Test images that equal a training image, exactly or after resizing.

    Each image is decoded once.

    Args:
      train: the training images, e.g. `shots(...).examples`.
    """
    trained = [(example, thumbnail(example.image)) for example in train]
    return [leak for example in test if (leak := _find_copy(trained, example))]


def _find_copy(
    trained: list[tuple[Example, Float32[np.ndarray, "16 16 3"]]], test: Example
) -> Leak | None:
    test_thumbnail = thumbnail(test.image)
    for train, train_thumbnail in trained:
        if train.sha256 == test.sha256:
            return Leak(train.key, test.key, "exact")
        difference = np.abs(train_thumbnail - test_thumbnail)
        if (
            difference.max() <= LARGEST_DIFFERENCE
            and difference.mean() <= MEAN_DIFFERENCE
        ):
            return Leak(train.key, test.key, "resized")
    return None


def thumbnail(image: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "16 16 3"]:
    """A 16 px version, which hardly depends on the size a photograph was saved in."""
    size = (SIDE_PX, SIDE_PX)
    channels = (Image.fromarray(image[..., i]).convert("F") for i in range(3))
    resized = [np.asarray(c.resize(size, Image.Resampling.BILINEAR)) for c in channels]
    return np.stack(resized, axis=-1)


def check_leaks(
    train: Iterable[Example], test: Iterable[Example], *, on_leak: OnLeak = "refuse"
) -> list[Leak]:
    """Find test images that are training images; raise, warn, or skip the search.

    Raises:
      ValueError: `on_leak` is `refuse` and there is such an image.
    """
    leaks = [] if on_leak == "ignore" else find_leaks(train, test)
    report_leaks(leaks, on_leak)
    return leaks


def report_leaks(leaks: list[Leak], on_leak: OnLeak) -> None:
    """Raise or log one line about all leaks, as `on_leak` says."""
    if not leaks or on_leak == "ignore":
        return
    named = ", ".join(f"{x.test_key} is {x.train_key} ({x.how})" for x in leaks[:3])
    message = f"{len(leaks)} test images are also training images: {named}"
    if on_leak == "refuse":
        raise ValueError(message)
    log.warning("%s", message)
