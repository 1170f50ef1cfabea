"""What the shots look like, patch by patch, and how far an image is from that.

A patch memory as in PatchCore (Roth et al. 2022), over the features of `sight`. A
learning detector needs to be told how far two good parts differ: while it learns, every
image is compared with the *other* shots only.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from lfq_jax.memory import Memory, sample
from lfq_jax.nearest import (
    TIE,
    Surroundings,
    from_anywhere,
    from_in_place,
    surroundings,
)
from lfq_jax.orientation import Orientation, remember_orientation, strangeness
from lfq_jax.poses import Poses, find_poses, remember_poses
from lfq_jax.precision import exact_products
from lfq_jax.reference_config import ReferenceConfig
from lfq_jax.sight import (
    Seen,
    Sight,
    reconstructed_sizes,
    see,
    seen,
    seen_by_filters,
    sizes_by_kind,
)
from lfq_jax.turning import inside, turned, turned_photograph

_BORDER_CELLS = 16


class Reference(NamedTuple):
    """What a detector compares an image with. Arrays only."""

    sight: Sight
    filters: Memory
    stages: tuple[Memory, ...] = ()
    """Of every stage of the encoder."""
    poses: Poses | None = None
    """Where images are compared in other turns, too."""
    orientation: Orientation | None = None
    """Of textures: how their grain runs."""
    usual: Float[Array, "r c"] | None = None
    """How much more `compare` finds on good parts near the border of the image, by how
    many cells away it is; the last row, 0, goes for all that lie deeper."""

    @property
    def memories(self) -> tuple[Memory, ...]:
        """One for each kind of feature."""
        return self.filters, *self.stages


def channels(config: ReferenceConfig | None, *, is_texture: bool) -> int:
    """Channels of `compare` that say how far a cell is from the shots."""
    if config is None:
        return 0
    sizes = sizes_by_kind(config)
    searches = 1 if is_texture or not config.window else 2
    of_features = sum(sizes[0]) if config.shows_features else 0
    return searches * sum(len(kind) for kind in sizes) + of_features


def strangeness_channels(config: ReferenceConfig | None, *, is_texture: bool) -> int:
    """Channels of `compare` that say how strangely grain runs: one or none."""
    return int(config is not None and is_texture and config.orientation_weight > 0)


def known_channels(config: ReferenceConfig | None, *, is_texture: bool) -> int:
    """How many channels are prepared of a training image: all that `compare` finds,
    and the features to give back of the image without its anomaly. (Of the grain only
    validation makes use.)"""
    if config is None:
        return 0
    of_grain = strangeness_channels(config, is_texture=is_texture)
    features = sum(reconstructed_sizes(config))
    return channels(config, is_texture=is_texture) + of_grain + 2 * features


@exact_products
def remember(
    sight: Sight,
    images: Sequence[UInt8[np.ndarray, "h w 3"]],
    config: ReferenceConfig,
    *,
    stride: int,
    is_texture: bool,
    seed: int,
) -> Reference:
    """The memory of `images`, normal ones."""

    def described(images: Sequence[np.ndarray]) -> tuple[Array, ...]:
        return seen(sight, images, config, stride=stride)

    kinds = described(images)
    of_stage = config.encoder.patches if config.encoder else 0
    counts = [config.patches, *[of_stage] * (len(kinds) - 1)]
    patches = [
        sample(kind, count, seed=seed)
        for kind, count in zip(kinds, counts, strict=True)
    ]
    places, poses = [kind[:0] for kind in kinds], None
    if config.window > 0 and not is_texture:
        moved = [m for image in images for m in _variants(image, stride, config)]
        places = described(moved)
        if config.poses:
            poses = remember_poses(
                list(images),
                lambda image: seen_by_filters(sight, image, config, stride=stride),
            )
    orientation = None
    if strangeness_channels(config, is_texture=is_texture):
        orientation = remember_orientation(images, seed=seed)
    filters, *stages = [Memory(*both) for both in zip(patches, places, strict=True)]
    return Reference(sight, filters, tuple(stages), poses, orientation)


def _variants(
    image: UInt8[np.ndarray, "h w 3"], stride: int, config: ReferenceConfig
) -> list[np.ndarray]:
    turns = [turned_photograph(image, turn) for turn in config.turns_deg]
    return _moved(image, stride // 2) + turns


def _moved(image: UInt8[np.ndarray, "h w 3"], half: int) -> list[np.ndarray]:
    """The image, and moved by half a cell right, down, and both.

    An edge in the middle of a cell does not look like one on its border.
    """
    if not half:
        return [image]
    wide = np.pad(image, ((half, 0), (half, 0), (0, 0)), mode="edge")
    h, w, _ = image.shape
    return [wide[i : i + h, j : j + w] for i in (half, 0) for j in (half, 0)]


def _depth(rows: int, columns: int) -> np.ndarray:
    """How many cells away the nearest border is, 0 at it. [rows columns]"""
    row, column = np.arange(rows), np.arange(columns)
    row, column = np.minimum(row, row[::-1]), np.minimum(column, column[::-1])
    return np.minimum(row[:, None], column)


def usual_distances(found: Float[np.ndarray, "n h w c"]) -> Float[Array, "r c"]:
    """How much more `compare` finds on good parts near the border than far from it.

    At the border a filter sees half as much, and chance looks like a defect there.
    """
    flat = found.reshape(len(found), -1, found.shape[-1]).astype(np.float64)
    by_cell = flat.mean(0)
    depth = np.minimum(_depth(*found.shape[1:3]).ravel(), _BORDER_CELLS)
    counts = np.bincount(depth)
    sums = np.stack([np.bincount(depth, channel) for channel in by_cell.T], axis=-1)
    means = sums / counts[:, None]
    return jnp.asarray(means - means[-1], jnp.float32)


def _by_group(squared: Float[Array, "*b f"], sizes: tuple[int, ...]) -> Array:
    """Length of a difference in every group of features. [... f] -> [... g]"""
    parts = jnp.split(squared, np.cumsum(sizes)[:-1], axis=-1)
    return jnp.sqrt(jnp.stack([part.sum(-1) for part in parts], axis=-1))


def _window(config: ReferenceConfig, memory: Memory, cells: int) -> int:
    """`config.window` in the cells of a coarser grid, and part of one as a whole."""
    return -(-config.window * memory.places.shape[1] // cells)


class _Comparison:
    """One detector's comparison of one image: what does not change between images."""

    def __init__(
        self, reference: Reference, config: ReferenceConfig, stride: int
    ) -> None:
        self.reference, self.config, self.stride = reference, config, stride
        self.sizes = sizes_by_kind(config)
        self.near: list[Surroundings] = []
        if reference.filters.places.shape[0]:
            cells = reference.filters.places.shape[1]
            self.near = [
                surroundings(memory.places, _window(config, memory, cells))
                for memory in reference.memories
            ]

    def __call__(
        self, image: Float[Array, "H W 3"], queries: tuple[Float[Array, "_ _ _"], ...]
    ) -> Float[Array, "h w c"]:
        memories = self.reference.memories
        found = [
            _by_group(from_anywhere(query, memory.patches), sizes)
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
            _by_group(from_in_place(query, near, first=first, count=count), sizes)
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
        upright = turned(image, -turn_deg)[None]
        seen = see(self.reference.sight, upright, self.config, stride=self.stride)
        found = self._in_place(tuple(kind[0] for kind in seen.kinds), shot)
        return tuple(turned(each, turn_deg, is_map=True) for each in found)


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
def compare(
    reference: Reference,
    images: Float[Array, "b H W 3"],
    config: ReferenceConfig,
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
    seen = see(reference.sight, images, config, stride=stride)
    comparison = _Comparison(reference, config, stride)

    def of_image(each: tuple[Array, Seen]) -> Array:
        image, seen = each
        distances = comparison(image, seen.kinds)
        if reference.usual is not None:
            depth = _depth(*distances.shape[:2]).clip(max=len(reference.usual) - 1)
            distances = distances - reference.usual[depth]
        shown = [seen.kinds[0]] if config.shows_features else []
        if reference.orientation is not None and config.orientation_weight:
            grain = strangeness(reference.orientation, image, distances.shape[:2])
            shown.append(grain[..., None])
        return jnp.concatenate([distances, *shown, seen.widest], axis=-1)

    return jax.lax.map(of_image, (images, seen))
