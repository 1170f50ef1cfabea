"""Every photograph compared with the bank of the shots that it was not made from.

In a bank that contains it, a shot has distance 0 everywhere. A detector has to learn
how much good parts differ. So during preparation each photograph is compared with the
other shots only.
"""

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float16, PRNGKeyArray, UInt8

from lfq_jax.config import AugmentConfig, MemoryBankConfig
from lfq_jax.memory_bank.bank import MemoryBank, build_memory_bank
from lfq_jax.memory_bank.border_baseline import (
    fit_border_baseline,
    no_border_baseline,
)
from lfq_jax.memory_bank.distances import DistanceMaps, distance_maps_of, empty_maps
from lfq_jax.memory_bank.features import FeatureExtractor, extract
from lfq_jax.memory_bank.map_channels import are_of_filters
from lfq_jax.memory_bank.orientation import fit_orientation_statistics
from lfq_jax.model.lfquiad import Model
from lfq_jax.ops.copies import copied
from lfq_jax.ops.cores import on_all_cores
from lfq_jax.training.augmentation import (
    batched_indices,
    mirrors_and_turns,
    symmetric_copies,
    vary_in_turn,
)
from lfq_jax.training.data import Samples
from lfq_jax.training.deformation import deformed
from lfq_jax.training.random_streams import RandomStreams

_COPIES = 3  # of a single shot, to stand in for other shots
_NORMALIZER_IMAGES = 16


class Normalizer(NamedTuple):
    """Statistics of a texture's good parts, which correct the distances."""

    border_baseline: Float[Array, "r c"]
    orientation_mean: Float[Array, ""]
    orientation_deviation: Float[Array, ""]

    def apply(self, bank: MemoryBank) -> MemoryBank:
        """The bank with these values."""
        orientation = bank.orientation
        if orientation is not None:
            orientation = orientation._replace(
                mean=self.orientation_mean, deviation=self.orientation_deviation
            )
        return bank._replace(
            border_baseline=self.border_baseline, orientation=orientation
        )

    def applied_to(self, others: "LeaveOneOut") -> "LeaveOneOut":
        """The same photographs, with these values in every bank."""
        banks = tuple(self.apply(bank) for bank in others.banks)
        return dataclasses.replace(others, banks=banks, normalizer=self)


@dataclass(frozen=True)
class LeaveOneOut:
    """The shots of one category, and for each of them the bank of the others."""

    shots: UInt8[np.ndarray, "k h w 3"]
    model: Model
    variation: AugmentConfig
    """How good parts may vary. It decides which copies of the shots are in a bank."""
    extractor: FeatureExtractor
    banks: tuple[MemoryBank, ...]
    """banks[i] holds no patch of shots[i]. Of a single object, banks[0] holds deformed
    copies. Of a single texture, banks[0] holds the right half and banks[1] the left
    one."""
    normalizer: Normalizer | None = None
    """None for objects, where distances near the border describe the part itself."""

    @property
    def compares_halves(self) -> bool:
        """Whether each half of an image is compared with the shot's other half."""
        return len(self.banks) > len(self.shots)

    @property
    def has_others(self) -> bool:
        """Whether images are compared with other parts, or the other half of theirs."""
        return len(self.banks) > 1

    @property
    def varied_by(self) -> AugmentConfig:
        """How photographs are varied before they are compared.

        Mirrored or turned, one half of a shot would be compared with itself.
        """
        if not self.compares_halves:
            return self.variation
        return dataclasses.replace(self.variation, flips="none", quarter_turns="never")

    def full_bank(self, seed: int) -> MemoryBank:
        """The bank of all shots, with which a detector compares new images."""
        bank = _bank_of(
            self.extractor, list(self.shots), self.model, self.variation, seed=seed
        )
        if self.normalizer:
            bank = self.normalizer.apply(bank)
        # Training steps donate their state. The extractor's and the normalizer's arrays
        # are used again.
        return copied(bank)

    def measure(
        self, samples: Samples, sources: np.ndarray, *, for_steps: bool
    ) -> Samples:
        """The samples with distance maps, from the bank that leaves their source out.

        Args:
          sources: index of the shot that each sample was made from.
          for_steps: whether the samples get `clean_features`, which only training
            steps need.
        """
        config, stride = _bank_config(self.model), self.model.config.stem
        shape = len(sources), *self.model.config.grid
        channels = self.model.map_channels
        if not for_steps:
            channels = channels._replace(clean_features=0)
        maps = empty_maps(shape, channels, np.float16)
        # numpy selects without compiling a program for every shape.
        images, normals = map(np.asarray, (samples.images, samples.normals))
        batches: list[tuple[MemoryBank, np.ndarray, slice]] = []
        for number, bank in enumerate(self.banks):
            own, columns = np.flatnonzero(sources == number), slice(None)
            if self.compares_halves:
                own, columns = np.arange(len(sources)), _halves(shape[2])[number]
            for batch in batched_indices(len(own)):
                batches.append((bank, own[batch], columns))

        def measure(batch: tuple[MemoryBank, np.ndarray, slice]) -> None:
            bank, chosen, columns = batch
            shared = {"config": config, "stride": stride}
            measured = _measure(bank, images[chosen], **shared)
            if channels.clean_features:
                clean = _clean_features(bank.extractor, normals[chosen], **shared)
                measured = measured._replace(clean_features=clean)
            for field, values in zip(maps, measured, strict=True):
                field[chosen, :, columns] = np.asarray(values)[:, :, columns]

        on_all_cores(measure, batches)
        return samples._replace(distance_maps=jax.device_put(maps))

    def held_out_variations(
        self, count: int, key: PRNGKeyArray, *, for_steps: bool = False
    ) -> Samples:
        """`count` variations of the shots in turn, each measured without its shot."""
        varied = vary_in_turn(
            self.shots,
            count,
            key,
            self.varied_by,
            stride=self.model.config.stem,
            is_texture=self.model.is_texture,
        )
        in_turn = np.arange(count) % len(self.shots)
        return self.measure(varied, in_turn, for_steps=for_steps)


def preparation_variation(model: Model, augment: AugmentConfig) -> AugmentConfig:
    """The variation that is drawn before photographs are compared.

    A texture turned by 90 degrees is as far from the shots as a defect is. So unless
    good parts are always turned, only the step turns them, with their distances.
    """
    if model.config.memory_bank is None or augment.quarter_turns == "always":
        return augment
    return dataclasses.replace(augment, quarter_turns="never")


def leave_one_out(
    extractor: FeatureExtractor,
    shots: UInt8[np.ndarray, "k h w 3"],
    *,
    model: Model,
    augment: AugmentConfig,
    streams: RandomStreams,
) -> LeaveOneOut:
    """Build a bank for each shot from the others, and fit the normalizer to them.

    A single texture is its own other shot: each half is compared with the other half.
    A single object has no such halves, and is compared with deformed copies.
    """
    variation = preparation_variation(model, augment)
    if len(shots) > 1:
        groups = [[s for j, s in enumerate(shots) if j != i] for i in range(len(shots))]
    elif model.is_texture:
        groups = [[half] for half in _other_halves(shots[0], model.config.px_divisor)]
    else:
        copies = vary_in_turn(
            shots,
            _COPIES,
            streams.copies,
            variation,
            stride=model.config.stem,
            is_texture=model.is_texture,
        )
        rng = streams.deformations()
        groups = [[deformed(copy, rng) for copy in np.asarray(copies.images)]]
    banks = tuple(
        _bank_of(extractor, group, model, variation, seed=streams.seed)
        for group in groups
    )
    without = LeaveOneOut(shots, model, variation, extractor, banks)
    if not model.is_texture:
        return without
    # Banks of one structure are compared by one compiled program.
    changes_nothing = Normalizer(
        no_border_baseline(*model.config.grid, model.map_channels.distances),
        jnp.zeros(()),
        jnp.ones(()),
    )
    unnormalized = changes_nothing.applied_to(without)
    return _fit_normalizer(unnormalized, streams.normalizer).applied_to(without)


def _halves(columns: int) -> tuple[slice, slice]:
    """The left and the right half of a row of cells."""
    return slice(columns // 2), slice(columns // 2, None)


def _other_halves(
    shot: UInt8[np.ndarray, "h w 3"], divisor: int
) -> tuple[UInt8[np.ndarray, "h _ 3"], UInt8[np.ndarray, "h _ 3"]]:
    """What the left half of an image is compared with, and what the right one is.

    Args:
      divisor: what the halves' width is a multiple of. A strip between them, or in both
        where the shot is narrow, is left out or counts twice.
    """
    width = shot.shape[1]
    half = max(width // 2 // divisor, 1) * divisor
    return shot[:, width - half :], shot[:, :half]


def _fit_normalizer(without: LeaveOneOut, key: PRNGKeyArray) -> Normalizer:
    """Fit the border baseline and the orientation statistics to varied good parts."""
    good = without.held_out_variations(_NORMALIZER_IMAGES, key)
    baseline = fit_border_baseline(np.asarray(good.distance_maps.distances))
    # A backbone's border features are in the bank like all others. Their distances
    # between two shots would hide what is less usual in new parts.
    config = _bank_config(without.model)
    if config.backbone is not None:
        of_filters = are_of_filters(config, is_texture=without.model.is_texture)
        baseline = jnp.where(np.array(of_filters), baseline, 0.0)
    # A single shot does not show how the grain of another part runs.
    mean, deviation = jnp.zeros(()), jnp.full((), jnp.inf)
    fitted = [b.orientation for b in without.banks if b.orientation is not None]
    if fitted and len(without.shots) > 1:
        in_turn = [fitted[i % len(fitted)] for i in range(_NORMALIZER_IMAGES)]
        mean, deviation = fit_orientation_statistics(in_turn, list(good.images))
    return Normalizer(baseline, mean, deviation)


def _bank_config(model: Model) -> MemoryBankConfig:
    assert model.config.memory_bank is not None
    return model.config.memory_bank


def _bank_of(
    extractor: FeatureExtractor,
    images: Sequence[np.ndarray],
    model: Model,
    variation: AugmentConfig,
    *,
    seed: int,
) -> MemoryBank:
    if model.is_texture:
        flips, turns = mirrors_and_turns(variation, is_texture=True)
        images = [x for image in images for x in symmetric_copies(image, flips, turns)]
    return build_memory_bank(
        extractor,
        images,
        _bank_config(model),
        stride=model.config.stem,
        is_texture=model.is_texture,
        seed=seed,
    )


@functools.partial(jax.jit, static_argnames=("config", "stride"))
def _measure(
    bank: MemoryBank,
    images: UInt8[Array, "b h w 3"],
    *,
    config: MemoryBankConfig,
    stride: int,
) -> DistanceMaps:
    """Distance maps of images, in float16, without `clean_features`."""
    unit = images.astype(jnp.float32) / 255.0
    maps = distance_maps_of(bank, unit, config, stride=stride)
    return jax.tree.map(lambda x: x.astype(jnp.float16), maps)


@functools.partial(jax.jit, static_argnames=("config", "stride"))
def _clean_features(
    extractor: FeatureExtractor,
    normals: UInt8[Array, "b h w 3"],
    *,
    config: MemoryBankConfig,
    stride: int,
) -> Float16[Array, "b gh gw f"]:
    """The features that the decoder is to reconstruct, in float16.

    A program of its own: most images that are compared do not need them.
    """
    unit = normals.astype(jnp.float32) / 255.0
    features = extract(extractor, unit, config, stride=stride)
    return features.reconstruction_targets.astype(jnp.float16)
