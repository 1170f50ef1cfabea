"""Arrays too large to be held all at once."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

T = TypeVar("T")


class Computed(Sequence[np.ndarray], Generic[T]):
    """An array of each item, made whenever it is read; none is held."""

    def __init__(self, items: Sequence[T], make: Callable[[T], np.ndarray]) -> None:
        self.items = items
        self.make = make

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return Computed(self.items[i], self.make)
        return self.make(self.items[i])
