"""Batches of one size, which is compiled once, from any number of things."""

import itertools
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def filled(items: Iterable[T], size: int) -> Iterator[tuple[list[T], int]]:
    """Lists of `size` items in their order, and how many of each count.

    The last list is filled up with its last item. No more items are taken than the
    list at hand needs.
    """
    rest = iter(items)
    while batch := list(itertools.islice(rest, size)):
        yield batch + batch[-1:] * (size - len(batch)), len(batch)
