"""Sequences of arrays that are too large to be in memory together."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

T = TypeVar("T")


class LazyArrays(Sequence[np.ndarray], Generic[T]):
    """One array for each item, computed on every access and never stored."""

    def __init__(self, items: Sequence[T], make: Callable[[T], np.ndarray]) -> None:
        self.items = items
        self.make = make

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return LazyArrays(self.items[i], self.make)
        return self.make(self.items[i])
