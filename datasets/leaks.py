"""Finding training images in a test split."""

import logging
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from datasets.copies import How, Look, copy_of, look
from datasets.example import Example
from datasets.examples import Examples

log = logging.getLogger(__name__)
OnLeak = Literal["refuse", "warn", "ignore"]


class Leak(NamedTuple):
    """A test image that is also a training image."""

    train_key: str
    test_key: str
    how: How


def exact_leaks(train: Examples, test: Examples) -> list[Leak]:
    """Test images with the sha256 of a training image. Nothing is decoded."""
    trained = dict(zip(train.sha256s, train.keys, strict=True))
    return [
        Leak(trained[sha256], key, "exact")
        for sha256, key in zip(test.sha256s, test.keys, strict=True)
        if sha256 in trained
    ]


def find_leaks(train: Iterable[Example], test: Iterable[Example]) -> list[Leak]:
    """Test images that are copies of a training image, by `datasets.copies`.

    Each image is decoded once.

    Args:
      train: the training images, e.g. `shots(...).examples`.
    """
    trained = _Trained.of(train)
    return [leak for example in test if (leak := trained.leak(example))]


def checked_for_leaks(
    train: Iterable[Example], test: Iterable[Example], *, on_leak: OnLeak
) -> Iterator[Example]:
    """Yield the test images, and report near copies of `train` after the last one.

    So that no image is decoded again for this check. Exact copies are reported when the
    test split is loaded.

    Raises:
      ValueError: `on_leak` is `refuse` and there was such an image.
    """
    if on_leak == "ignore":
        yield from test
        return
    trained = _Trained.of(train)
    leaks = []
    for example in test:
        leak = trained.leak(example)
        if leak and leak.how == "near":
            leaks.append(leak)
        yield example
    report_leaks(leaks, on_leak)


class _Trained(NamedTuple):
    """Training images, to recognise copies of."""

    keys: list[str]
    looks: list[Look]

    @classmethod
    def of(cls, examples: Iterable[Example]) -> "_Trained":
        trained = cls([], [])
        for example in examples:
            trained.keys.append(example.key)
            trained.looks.append(look(example.image, example.sha256))
        return trained

    def leak(self, test: Example) -> Leak | None:
        match = copy_of(look(test.image, test.sha256), self.looks)
        return match and Leak(self.keys[match[0]], test.key, match[1])


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
