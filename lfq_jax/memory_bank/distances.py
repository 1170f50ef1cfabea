"""What the shots look like, patch by patch, and how far an image is from that.

A patch memory as in PatchCore (Roth et al. 2022), over the features of `sight`. A
learning detector needs to be told how far two good parts differ: while it learns, every
image is compared with the *other* shots only.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lfq_jax.config import MemoryBankConfig
from lfq_jax.memory_bank.bank import FeatureBank, MemoryBank
from lfq_jax.memory_bank.border_normalizer import cells_from_border
from lfq_jax.memory_bank.features import (
    PatchFeatures,
    extract,
    sizes_by_kind,
)
from lfq_jax.memory_bank.nearest_neighbours import (
    TIE,
    WindowTiles,
    nearest_anywhere,
    nearest_in_window,
    window_tiles,
)
from lfq_jax.memory_bank.orientation import (
    orientation_deviation,
)
from lfq_jax.memory_bank.pose_search import find_poses
from lfq_jax.ops.precision import exact_products
from lfq_jax.ops.rotation import inside, rotate


def _by_group(squared: Float[Array, "*b f"], sizes: tuple[int, ...]) -> Array:
    """Length of a difference in every group of features. [... f] -> [... g]"""
    parts = jnp.split(squared, np.cumsum(sizes)[:-1], axis=-1)
    return jnp.sqrt(jnp.stack([part.sum(-1) for part in parts], axis=-1))


def _window(config: MemoryBankConfig, memory: FeatureBank, cells: int) -> int:
    """`config.window` in the cells of a coarser grid, and part of one as a whole."""
    return -(-config.window * memory.places.shape[1] // cells)


class _Comparison:
    """One detector's comparison of one image: what does not change between images."""

    def __init__(
        self, reference: MemoryBank, config: MemoryBankConfig, stride: int
    ) -> None:
        self.reference, self.config, self.stride = reference, config, stride
        self.sizes = sizes_by_kind(config)
        self.near: list[WindowTiles] = []
        if reference.filters.places.shape[0]:
            cells = reference.filters.places.shape[1]
            self.near = [
                window_tiles(memory.places, _window(config, memory, cells))
                for memory in reference.memories
            ]

    def __call__(
        self, image: Float[Array, "H W 3"], queries: tuple[Float[Array, "_ _ _"], ...]
    ) -> Float[Array, "h w c"]:
        memories = self.reference.memories
        found = [
            _by_group(nearest_anywhere(query, memory.patches), sizes)
            for query, memory, sizes in zip(queries, memories, self.sizes, strict=True)
        ]
        if self.near:
            in_place = self._in_place(queries)
            if self.reference.poses is not None:
                in_place = self._in_other_turns(in_place, image, queries)
            found += in_place
        grid = queries[0].shape[:2]
        found = [jax.image.resize(x, (*grid, x.shape[-1]), "bilinear") for x in found]
        return jnp.log1p(jnp.concatenate(found, axis=-1))

    def _in_place(
        self, queries: tuple[Array, ...], shot: Array | None = None
    ) -> tuple[Float[Array, "_ _ _"], ...]:
        """Distances from the shots, or from one of them, about the same place."""
        first, count = 0, None
        if shot is not None:
            assert self.reference.poses is not None
            shots = self.reference.poses.turned.shape[0]
            count = self.reference.filters.places.shape[0] // shots
            first = shot * count
        return tuple(
            _by_group(nearest_in_window(query, near, first=first, count=count), sizes)
            for query, near, sizes in zip(queries, self.near, self.sizes, strict=True)
        )

    def _in_other_turns(
        self,
        upright: tuple[Float[Array, "_ _ _"], ...],
        image: Float[Array, "H W 3"],
        queries: tuple[Float[Array, "_ _ _"], ...],
    ) -> tuple[Float[Array, "_ _ _"], ...]:
        """In every cell the nearer of upright and of the turns that fit the image."""
        poses = self.reference.poses
        assert poses is not None
        turns, fits = find_poses(poses, queries[0], self.config.poses)
        shots = jnp.repeat(jnp.arange(turns.shape[0]), turns.shape[1])

        def nearer(found: tuple[Array, ...], turn: tuple[Array, ...]):
            fits, shot, turn_deg = turn

            def compared(found: tuple[Array, ...]) -> tuple[Array, ...]:
                back = self._turned_back(image, shot, turn_deg)
                return tuple(
                    _nearer(mine, theirs, turn_deg)
                    for mine, theirs in zip(found, back, strict=True)
                )

            return jax.lax.cond(fits, compared, lambda found: found, found), None

        each = (fits.ravel(), shots, turns.ravel())
        return jax.lax.scan(nearer, upright, each)[0]

    def _turned_back(
        self, image: Float[Array, "H W 3"], shot: Array, turn_deg: Array
    ) -> tuple[Float[Array, "_ _ _"], ...]:
        """Distances in place of the image laid as the shot lies, by its own cells."""
        upright = rotate(image, -turn_deg)[None]
        seen = extract(self.reference.sight, upright, self.config, stride=self.stride)
        found = self._in_place(tuple(kind[0] for kind in seen.kinds), shot)
        return tuple(rotate(each, turn_deg, is_map=True) for each in found)


def _nearer(
    mine: Float[Array, "h w g"], theirs: Float[Array, "h w g"], turn_deg: Array
) -> Float[Array, "h w g"]:
    """Theirs, in the cells where they are nearer in all and were seen in that turn;
    from mine to theirs by degrees where both are about as near."""
    rows, columns, _ = mine.shape
    ours, others = (mine * mine).sum(-1), (theirs * theirs).sum(-1)
    lead = (ours - others) / (2 * TIE * jnp.minimum(ours, others) + 1e-12)
    may = inside(rows, columns, turn_deg)
    share = jnp.where(may, jnp.clip(0.5 + lead, 0.0, 1.0), 0.0)[..., None]
    return mine + share * (theirs - mine)


@exact_products
def distance_maps_of(
    reference: MemoryBank,
    images: Float[Array, "b H W 3"],
    config: MemoryBankConfig,
    *,
    stride: int,
) -> Float[Array, "b h w c"]:
    """How far every cell is from the memory, and what it looks like.

    log(1 + distance), a channel a group of features: from the nearest patch anywhere,
    then, where places are compared, from the nearest in place; less `usual`, where the
    reference has it; then, with `shows_features`, the filters' projected features.
    After these `channels` come, for textures, how strangely their grain runs, and the
    features that the decoder is to give back.
    """
    seen = extract(reference.sight, images, config, stride=stride)
    comparison = _Comparison(reference, config, stride)

    def of_image(each: tuple[Array, PatchFeatures]) -> Array:
        image, seen = each
        distances = comparison(image, seen.kinds)
        if reference.usual is not None:
            depth = cells_from_border(*distances.shape[:2]).clip(
                max=len(reference.usual) - 1
            )
            distances = distances - reference.usual[depth]
        shown = [seen.kinds[0]] if config.shows_features else []
        if reference.orientation is not None and config.orientation_weight:
            grain = orientation_deviation(
                reference.orientation, image, distances.shape[:2]
            )
            shown.append(grain[..., None])
        return jnp.concatenate([distances, *shown, seen.widest], axis=-1)

    return jax.lax.map(of_image, (images, seen))
