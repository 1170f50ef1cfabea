"""A frozen network: its arrays, which jit sees, and what they are, which it does not.

A network is a frozen dataclass of plain values, so that it can be compared, hashed and
written down as JSON; its arrays are a flat dictionary.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float

MEAN = "input/mean"
DEVIATION = "input/deviation"


class Stage(NamedTuple):
    """A place in a network that features can be taken from."""

    name: str
    stride: int
    """Pixels of the image a cell stands for. A map covers the whole image, and may
    have a cell more or less than side / stride: SqueezeNet pads nothing."""
    channels: int


@runtime_checkable
class Network(Protocol):
    """What a kind of network says of itself and does with its arrays."""

    @property
    def name(self) -> str:
        """The name that result rows carry."""
        ...

    @property
    def stages(self) -> tuple[Stage, ...]:
        """From the first to the last."""
        ...

    def maps(
        self, arrays: Mapping[str, Array], images: Float[Array, "b H W 3"]
    ) -> Iterator[Float[Array, "b h w c"]]:
        """The map of every stage, in order; `images` are normalised."""
        ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Backbone:
    """Images in, maps of features out. Passes through jit as any tree of arrays."""

    arrays: dict[str, Array]
    network: Network = dataclasses.field(metadata={"static": True})

    @property
    def name(self) -> str:
        """The name that result rows carry."""
        return self.network.name

    @property
    def stages(self) -> tuple[Stage, ...]:
        """From the first to the last."""
        return self.network.stages

    def features(
        self, images: Float[Array, "b H W 3"], stages: Sequence[str]
    ) -> tuple[Float[Array, "b _ _ _"], ...]:
        """The maps of the named stages, in the order they are named.

        Args:
          images: RGB in [0, 1], of any size that leaves a cell at the last stage.
          stages: names out of `self.stages`. What lies behind the last one is not
            computed.

        Raises:
          ValueError: for a name that is no stage, or for none.
        """
        self.check_stages(stages)
        names = [stage.name for stage in self.stages]
        order = [names.index(name) for name in stages]
        normalised = (images - self.arrays[MEAN]) / self.arrays[DEVIATION]
        found = []
        for stage_map in self.network.maps(self.arrays, normalised):
            found.append(stage_map)
            if len(found) > max(order):
                break
        return tuple(found[position] for position in order)

    def check_stages(self, stages: Sequence[str]) -> None:
        """Raise ValueError for a name that is no stage, or for none."""
        names = [stage.name for stage in self.stages]
        unknown = [name for name in stages if name not in names]
        if unknown or not stages:
            raise ValueError(
                f"stages must be some of {', '.join(names)} of {self.name}, got "
                f"{', '.join(unknown) or 'none'}"
            )
