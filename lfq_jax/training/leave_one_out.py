"""From photographs to what the compiled step draws from, once a run.

Without a reference the photographs are taken as they are and varied in every step. With
one, each is varied once and compared with the shots it was not made from, which is too
dear for every step; what is left to the step are mirrors, quarter turns and crops.
"""

import dataclasses
import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt8

from lfq_jax.backbones import Backbone
from lfq_jax.config import AugmentConfig, ModelConfig
from lfq_jax.memory_bank.bank import MemoryBank, build_memory_bank
from lfq_jax.memory_bank.border_normalizer import fit_border_baseline
from lfq_jax.memory_bank.distances import distance_maps_of
from lfq_jax.memory_bank.features import (
    FeatureExtractor,
    extract,
    fit_feature_extractor,
    reconstructed_sizes,
    sizes_by_kind,
)
from lfq_jax.memory_bank.layout import channels, known_channels
from lfq_jax.memory_bank.logistic_head import LogisticHead, fit_logistic_head
from lfq_jax.memory_bank.orientation import fit_usual_orientation
from lfq_jax.training.augmentation import (
    batched_indices,
    does_flip,
    joined_samples,
    symmetric_copies,
    vary_batch,
)
from lfq_jax.training.data import Photographs, Samples, TrainingData

_COPIES = 3  # of a single shot, to stand for the others that there are not
_USUAL = 16  # good parts that show what is usual at the border


@dataclass(frozen=True)
class LeaveOneOut:
    """How the photographs of one category are prepared."""

    model: ModelConfig
    augment: AugmentConfig
    is_texture: bool
    seed: int
    encoder: Backbone | None = None
    """The pretrained network of `model.memory_bank.backbone`."""

    def memory(
        self,
        shots: UInt8[np.ndarray, "k h w 3"],
        *,
        others: list[MemoryBank] | None = None,
    ) -> MemoryBank | None:
        """What a detector compares new images with; None without a reference.

        Args:
          others: what `others` gives of these shots, where that is known.
        """
        if self.model.memory_bank is None:
            return None
        memory = self._remember(self._sight(shots), list(shots))
        # The step donates its state, and the encoder's weights are needed again.
        memory = jax.tree.map(jnp.copy, memory)
        if not self.is_texture:
            return memory
        others = others or self.others(shots)
        return _with_usual_of(others[0], memory)

    @property
    def _where(self) -> dict:
        return {"config": self.model.memory_bank, "stride": self.model.stem}

    @property
    def _reference_shape(self) -> tuple[int, int, int]:
        """Of all that is known of an image."""
        grid = self.model.image_px // self.model.stem
        known = known_channels(self.model.memory_bank, is_texture=self.is_texture)
        return grid, grid, known

    @property
    def _distances(self) -> int:
        assert self.model.memory_bank is not None
        return channels(self.model.memory_bank, is_texture=self.is_texture)

    def _sight(self, shots: UInt8[np.ndarray, "k h w 3"]) -> FeatureExtractor:
        return fit_feature_extractor(shots, **self._where, encoder=self.encoder)

    @property
    def _variation(self) -> AugmentConfig:
        """What is drawn before images are compared. Grain that runs across is as far
        from a memory of grain that runs along as a defect is: where good parts are not
        said to lie so, only the step turns them, with their distances."""
        if self.model.memory_bank is None or self.augment.quarter_turns == "always":
            return self.augment
        return dataclasses.replace(self.augment, quarter_turns="never")

    def _remember(
        self, sight: FeatureExtractor, images: list[np.ndarray]
    ) -> MemoryBank:
        if self.is_texture:
            flips = does_flip(self.augment, is_texture=True)
            turns = self._variation.quarter_turns == "always"
            images = [
                x for image in images for x in symmetric_copies(image, flips, turns)
            ]
        return build_memory_bank(
            sight,
            images,
            **self._where,
            is_texture=self.is_texture,
            seed=self.seed,
        )

    def others(self, shots: UInt8[np.ndarray, "k h w 3"]) -> list[MemoryBank]:
        """For every shot, the memory of the other shots; of one, of varied copies.

        Empty without a reference.
        """
        if self.model.memory_bank is None:
            return []
        sight = self._sight(shots)
        if len(shots) > 1:
            rest = [
                [s for j, s in enumerate(shots) if j != i] for i in range(len(shots))
            ]
        else:
            copies = self.varied(self._plain(np.repeat(shots, _COPIES, 0)), stream=0)
            rest = [list(np.asarray(copies.images))]
        others = [self._remember(sight, images) for images in rest]
        if not self.is_texture:
            return others
        first = self._with_usual(shots, others)
        return [_with_usual_of(first, memory) for memory in others]

    def _with_usual(
        self, shots: UInt8[np.ndarray, "k h w 3"], others: list[MemoryBank]
    ) -> MemoryBank:
        """The first of `others` with what good parts show near the border, and how
        strangely their grain runs. Objects are left alone: there the one says more of
        the part than of the border.

        Of a single shot no grain is strange: it does not show how another part's runs.
        """
        assert self.model.memory_bank is not None
        good = self.strangers(shots, _USUAL, stream=5, others=others)
        groups = sum(len(kind) for kind in sizes_by_kind(self.model.memory_bank))
        usual = fit_border_baseline(np.asarray(good.distance_maps)[..., :groups])
        first = others[0]._replace(usual=usual)
        grain = [x.orientation for x in others if x.orientation is not None]
        if not grain:
            return first
        mean, deviation = jnp.zeros(()), jnp.full((), jnp.inf)
        if len(shots) > 1:
            by_turns = [grain[i % len(shots)] for i in range(_USUAL)]
            mean, deviation = fit_usual_orientation(by_turns, list(good.images))
        orientation = grain[0]._replace(mean=mean, deviation=deviation)
        return first._replace(orientation=orientation)

    def varied(self, samples: Samples, *, stream: int) -> Samples:
        """Every sample varied once. Another `stream`, other variations."""
        key = jax.random.fold_in(jax.random.key(self.seed), 1000 + stream)
        keys = jax.random.split(key, len(samples.images))
        vary = functools.partial(
            vary_batch, config=self._variation, is_texture=self.is_texture
        )
        parts = [
            vary(jax.tree.map(lambda x, c=chunk: x[c], samples), keys[chunk])
            for chunk in batched_indices(len(keys))
        ]
        return joined_samples(parts, len(keys))

    def compared(
        self, samples: Samples, sources: np.ndarray, others: list[MemoryBank]
    ) -> Samples:
        """`samples` with their distances from the shots they were not made from."""
        found = np.zeros((len(sources), *self._reference_shape), np.float16)
        for source, memory in enumerate(others):
            mine = np.flatnonzero(sources == source)
            for chunk in batched_indices(len(mine)):
                chosen = mine[chunk]
                both = samples.images[chosen], samples.normals[chosen]
                found[chosen] = _compared(memory, *both, **self._where)
        return samples._replace(references=jnp.asarray(found))

    def strangers(
        self,
        shots: UInt8[np.ndarray, "k h w 3"],
        count: int,
        *,
        stream: int,
        others: list[MemoryBank] | None = None,
    ) -> Samples:
        """`count` variations of the shots by turns, each compared with the other shots.

        Args:
          others: what `others` gives of these shots, where that is known.
        """
        sources = np.arange(count) % len(shots)
        varied = self.varied(self._plain(shots[sources]), stream=stream)
        if self.model.memory_bank is None:
            return varied
        return self.compared(varied, sources, others or self.others(shots))

    def training(
        self, data: Photographs, *, good: int, others: list[MemoryBank] | None = None
    ) -> TrainingData:
        """What the step draws from; `good` good parts, where they are varied here.

        Args:
          others: what `others` gives of its shots, where that is known.
        """
        if self.model.memory_bank is None:
            return TrainingData(self._anomalous(data), self._plain(data.normals))
        return self._ready(data, good=good, stream=1, others=others)

    def reader(self, training: TrainingData) -> LogisticHead | None:
        """What reads the distances beside the discriminator, fitted on `training`."""
        config = self.model.memory_bank
        if config is None or not (config.head_weight or config.score_head_weight):
            return None
        both = [jax.device_get(each) for each in training]
        known = np.concatenate([each.distance_maps for each in both])
        distances = known[..., : self._distances]
        masks = np.concatenate([each.masks for each in both])
        return fit_logistic_head(distances, masks, seed=self.seed)

    def validation(
        self, data: Photographs, *, others: list[MemoryBank] | None = None
    ) -> TrainingData:
        """Every anomaly once, varied, and as many good parts.

        Args:
          others: what `others` gives of its shots, where that is known.
        """
        return self._ready(data, good=len(data.images), stream=3, others=others)

    def _ready(
        self,
        data: Photographs,
        *,
        good: int,
        stream: int,
        others: list[MemoryBank] | None,
    ) -> TrainingData:
        anomalous = self.varied(self._anomalous(data), stream=stream)
        if self.model.memory_bank is not None:
            others = others or self.others(data.normals)
            anomalous = self.compared(anomalous, data.sources, others)
        normal = self.strangers(data.normals, good, stream=stream + 1, others=others)
        return TrainingData(anomalous, normal)

    def _plain(self, images: UInt8[np.ndarray, "n h w 3"]) -> Samples:
        """Good parts as samples, not compared with anything."""
        n, h, w, _ = images.shape
        grid = (n, h // self.model.stem, w // self.model.stem)
        pixels = jnp.asarray(images)
        masks = jnp.zeros((n, h, w), jnp.uint8)
        return Samples(pixels, pixels, masks, jnp.zeros((*grid, 0), jnp.float16))

    def _anomalous(self, data: Photographs) -> Samples:
        return self._plain(data.images)._replace(
            normals=jnp.asarray(data.normals[data.sources]),
            masks=jnp.asarray(data.masks),
        )


def _with_usual_of(known: MemoryBank, memory: MemoryBank) -> MemoryBank:
    """`memory` with what is known to be usual of good parts."""
    mine, its = memory.orientation, known.orientation
    if mine is not None and its is not None:
        mine = mine._replace(mean=its.mean, deviation=its.deviation)
    return memory._replace(usual=known.usual, orientation=mine)


@functools.partial(jax.jit, static_argnames=("config", "stride"))
def _compared(
    reference: MemoryBank, images: Array, normals: Array, *, config, stride: int
) -> Array:
    """What is known of images whose anomalies were made: see `_reference_shape`."""
    unit = images.astype(jnp.float32) / 255.0
    found = distance_maps_of(reference, unit, config, stride=stride)
    if reconstructed_sizes(config):
        unit = normals.astype(jnp.float32) / 255.0
        of_normal = extract(reference.sight, unit, config, stride=stride).widest
        found = jnp.concatenate([found, of_normal], axis=-1)
    return found.astype(jnp.float16)
