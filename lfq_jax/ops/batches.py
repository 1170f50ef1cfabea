"""Batches of one size, so that only one shape is compiled."""

import itertools
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def filled(items: Iterable[T], size: int) -> Iterator[tuple[list[T], int]]:
    """Yield lists of `size` items in order, and the number of valid items in each.

    The last list is padded with its last item. Items are consumed only as the current
    list needs them.
    """
    rest = iter(items)
    while batch := list(itertools.islice(rest, size)):
        yield batch + batch[-1:] * (size - len(batch)), len(batch)
