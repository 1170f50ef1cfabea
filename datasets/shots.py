"""The k normal images that a data set, a category, k and a seed select."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from datasets.example import Example
from datasets.load import load


class Shots(NamedTuple):
    """The chosen normal images, in the order they were drawn."""

    keys: tuple[str, ...]
    sha256s: tuple[str, ...]
    examples: tuple[Example, ...]

    @property
    def by_key(self) -> dict[str, str]:
        """sha256 of every shot by key, as stored in results and checkpoints."""
        return dict(zip(self.keys, self.sha256s, strict=True))


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
    """Draw k training images. The test split is never read.

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
    chosen = tuple(train[i] for i in choose(len(train), number, seed))
    return Shots(
        keys=tuple(example.key for example in chosen),
        sha256s=tuple(example.sha256 for example in chosen),
        examples=chosen,
    )
