"""A backbone: the arrays of a frozen network, and its architecture.

An architecture is a frozen dataclass of plain values, so it can be compared, hashed and
stored as JSON. It is static under jit. The arrays are a flat dictionary, traced by jit.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

MEAN = "input/mean"
DEVIATION = "input/deviation"


class Stage(NamedTuple):
    """A layer of a network whose output can be used as features."""

    name: str
    stride: int
    """Pixels of the image per cell. A map covers the whole image. It may have one cell
    more or less than side / stride, since SqueezeNet has no padding."""
    channels: int


@runtime_checkable
class Network(Protocol):
    """The architecture of a backbone: its stages, and how it uses its arrays."""

    @property
    def name(self) -> str:
        """The name in result rows."""
        ...

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages, from the first to the last."""
        ...

    @property
    def default_stages(self) -> tuple[str, ...]:
        """Names of the stages that a training-free detector compares.

        Of a pyramid, strides 8 and 16, as in PatchCore.
        """
        ...

    @property
    def detector_stages(self) -> tuple[str, ...]:
        """Names of the stages that LFQUIAD compares unless its config names others.

        Of a pyramid, one of stride 4 as well, which is compared in place. Coarser
        stages than stride 16 do not locate a defect.
        """
        ...

    def maps(
        self, arrays: Mapping[str, Array], images: Float[Array, "b H W 3"]
    ) -> Iterator[Float[Array, "b h w c"]]:
        """The map of every stage, in order. `images` must be normalised."""
        ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Backbone:
    """A network that maps images to features. A pytree of arrays, for use with jit."""

    arrays: dict[str, Array]
    network: Network = dataclasses.field(metadata={"static": True})

    @property
    def name(self) -> str:
        """The name in result rows."""
        return self.network.name

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages, from the first to the last."""
        return self.network.stages

    def features(
        self, images: Shaped[Array, "..."], stages: Sequence[str]
    ) -> tuple[Float[Array, "b _ _ _"], ...]:
        """The maps of the named stages, in the order of `stages`.

        Args:
          images: RGB in [0, 1], large enough for one cell at the last stage.
          stages: names from `self.stages`. Layers after the last named stage are not
            computed.

        Raises:
          ValueError: if a name is not a stage, no name is given, or `images` has
            another shape or dtype.
        """
        self.check_stages(stages)
        if images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"images must be [b H W 3], got shape {images.shape}")
        if not jnp.issubdtype(images.dtype, jnp.floating):
            raise ValueError(
                f"images must hold floats in [0, 1], got dtype {images.dtype}: divide "
                "by 255"
            )
        names = [stage.name for stage in self.stages]
        order = [names.index(name) for name in stages]
        normalised = (images - self.arrays[MEAN]) / self.arrays[DEVIATION]
        maps = []
        for stage_map in self.network.maps(self.arrays, normalised):
            maps.append(stage_map)
            if len(maps) > max(order):
                break
        return tuple(maps[position] for position in order)

    def check_stages(self, stages: Sequence[str]) -> None:
        """Raise ValueError if a name is not a stage, or no name is given."""
        names = [stage.name for stage in self.stages]
        unknown = [name for name in stages if name not in names]
        if unknown or not stages:
            raise ValueError(
                f"stages must be some of {', '.join(names)} of {self.name}, got "
                f"{', '.join(unknown) or 'none'}"
            )
