"""The k normal images that a data set, a category, k and a seed select."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from datasets.copies import Look, copies, copy_of, look
from datasets.example import Example
from datasets.load import load

log = logging.getLogger(__name__)


class Shots(NamedTuple):
    """The chosen normal images, in the order they were drawn."""

    keys: tuple[str, ...]
    sha256s: tuple[str, ...]
    examples: tuple[Example, ...]

    @property
    def by_key(self) -> dict[str, str]:
        """sha256 of every shot by key, as stored in results and checkpoints."""
        return dict(zip(self.keys, self.sha256s, strict=True))

    @property
    def looks(self) -> list[Look]:
        """What copies of the shots are recognised by."""
        return [look(example.image, example.sha256) for example in self.examples]

    @property
    def part_count(self) -> int:
        """Number of shots that are no copy of another: they show different parts."""
        return len(self.examples) - len(copies(self.looks))


def choose(count: int, k: int, seed: int) -> list[int]:
    """The first k indices of a seeded permutation, so 2 shots include the 1 shot."""
    return [int(i) for i in np.random.default_rng(seed).permutation(count)[:k]]


def shots(
    dataset: str,
    category: str,
    k: int | Literal["full"],
    seed: int,
    *,
    data_dir: Path | None = None,
    cache_dir: Path,
    kind: str = "auto",
    progress: bool = True,
    allow_partial: bool = False,
) -> Shots:
    """Draw k training images that are no copies. The test split is never read.

    A copy of a drawn image is passed over, with a warning. If all other images are
    copies, some are drawn nevertheless, also with a warning; `full` leaves them out.

    It has nine parameters because it passes most of them on to `load`.

    Raises:
      ValueError: k is not positive, or above the number of training images.
    """
    train: Sequence[Example] = load(
        dataset,
        category,
        "train",
        data_dir=data_dir,
        cache_dir=cache_dir,
        kind=kind,
        progress=progress,
        allow_partial=allow_partial,
    )
    number = len(train) if k == "full" else k
    if not 1 <= number <= len(train):
        raise ValueError(
            f"--shots must be in [1, {len(train)}], the training images of {category}, "
            f"got {k}"
        )
    order = choose(len(train), len(train), seed)
    drawn = _without_copies(train, order, number)
    examples = list(drawn.examples)
    if k != "full":
        examples += drawn.passed_over[: number - len(examples)]
    _warn_of_copies(category, drawn, number=len(examples))
    return Shots(
        keys=tuple(example.key for example in examples),
        sha256s=tuple(example.sha256 for example in examples),
        examples=tuple(examples),
    )


class _Drawn(NamedTuple):
    """Images in the order in which they were drawn."""

    examples: list[Example]
    passed_over: list[Example]
    """Copies of the former."""
    reasons: list[str]
    """For each copy, of which image."""


def _without_copies(
    train: Sequence[Example], order: Sequence[int], number: int
) -> _Drawn:
    """The first `number` images of `order` that are no copies, if there are as many."""
    drawn = _Drawn([], [], [])
    known: list[Look] = []
    for index in order:
        example = train[index]
        seen = look(example.image, example.sha256)
        match = copy_of(seen, known)
        if match is None:
            drawn.examples.append(example)
            known.append(seen)
        else:
            drawn.passed_over.append(example)
            original = drawn.examples[match[0]].key
            drawn.reasons.append(f"{example.key} is {original} ({match[1]})")
        if len(drawn.examples) == number:
            break
    return drawn


def _warn_of_copies(category: str, drawn: _Drawn, *, number: int) -> None:
    """Log one line if there were copies, with the first three of them."""
    if not drawn.reasons:
        return
    parts = len(drawn.examples)
    named = ", ".join(drawn.reasons[:3])
    if parts < number:
        log.warning(
            "%s: %d shots show %d different part%s, since all other training images "
            "are copies: %s",
            *(category, number, parts, "s" * (parts > 1), named),
        )
    else:
        log.warning(
            "%s: %d training images are copies of a shot and were not drawn: %s",
            *(category, len(drawn.reasons), named),
        )
