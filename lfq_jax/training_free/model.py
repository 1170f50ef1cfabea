"""A training-free detector: how it is fitted to shots, and how it scores images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from lfq_jax.config import (
    KnnConfig,
    ReconstructionConfig,
    SubspaceConfig,
    TrainingFreeConfig,
)
from lfq_jax.memory_bank.distances import DistanceMaps
from lfq_jax.memory_bank.feature_autoencoder import (
    FeatureAutoencoder,
    fit_feature_autoencoder,
    reconstruction_residuals,
)
from lfq_jax.memory_bank.subspace import (
    Moments,
    Subspace,
    fit_subspace,
    quarter_squared_residual,
    random_turns_deg,
)
from lfq_jax.model.variables import AnomalyMaps
from lfq_jax.training_free.nearest import (
    even_turns_deg,
    fit_patches,
    half_cosine_distance,
)
from lfq_jax.training_free.patch_features import (
    PatchExtractor,
    feature_sizes,
    patch_features,
    rotated_features,
)


class TrainingFreeVariables(NamedTuple):
    """Every array of a training-free detector."""

    extractor: PatchExtractor
    patches: Float[Array, "n f"] | None = None
    """For `knn`: the unit-length features of the shots' patches."""
    subspace: Subspace | None = None
    """For `subspace`: what lies outside the shots' principal subspace."""
    autoencoder: FeatureAutoencoder | None = None
    """For `reconstruction`: the autoencoder of the shots' features."""


ShotSummary = Sequence[Float[Array, "gh gw f"]] | Moments
"""What fitting needs to know of one shot: the features of its rotations, or for
`subspace` their moments, which take less memory."""


@dataclass(frozen=True)
class TrainingFree:
    """A training-free detector without its arrays. Equal ones share compiled code."""

    config: TrainingFreeConfig
    is_texture: bool = True
    """Whether the category is a texture; else an object."""

    def turns_deg(self, *, seed: int, shot: int) -> list[float]:
        """The angles by which a shot is rotated, 0 first.

        Args:
          seed: of the random angles.
          shot: index of the shot.
        """
        comparison = self.config.comparison
        if self.is_texture and comparison.rotated == "objects":
            return [0.0]
        if isinstance(comparison, SubspaceConfig):
            return random_turns_deg(comparison, seed=seed, shot=shot)
        return even_turns_deg(comparison)

    def summarise(
        self,
        extractor: PatchExtractor,
        shot: UInt8[np.ndarray, "h w 3"],
        turns_deg: Sequence[float],
    ) -> ShotSummary:
        """What fitting needs to know of a shot and its rotations."""
        by_rotation = rotated_features(extractor, shot, turns_deg, self.config)
        if not isinstance(self.config.comparison, SubspaceConfig):
            return by_rotation
        return Moments.together([Moments.of(_as_rows(each)) for each in by_rotation])

    def fit(
        self, extractor: PatchExtractor, shots: Sequence[ShotSummary], *, seed: int
    ) -> TrainingFreeVariables:
        """The detector's arrays.

        Args:
          shots: one or more summaries of this detector.
          seed: of the choice of patches, and of the autoencoder's training.
        """
        comparison = self.config.comparison
        parts = [shot for shot in shots if not isinstance(shot, Moments)]
        every = [features for part in parts for features in part]
        if isinstance(comparison, KnnConfig):
            rows = [_as_rows(features) for features in every]
            patches = fit_patches(rows, comparison, seed=seed)
            return TrainingFreeVariables(extractor, patches=patches)
        if isinstance(comparison, ReconstructionConfig):
            autoencoder = fit_feature_autoencoder(
                jax.device_get(every),
                feature_sizes(self.config),
                comparison.autoencoder,
                seed=seed,
            )
            return TrainingFreeVariables(extractor, autoencoder=autoencoder)
        moments = Moments.together([x for x in shots if isinstance(x, Moments)])
        subspace = fit_subspace(moments, comparison.variance)
        return TrainingFreeVariables(extractor, subspace=subspace)

    def anomaly_maps(
        self,
        variables: TrainingFreeVariables,
        images: Float[Array, "b h w 3"],
        distance_maps: DistanceMaps | None = None,
    ) -> AnomalyMaps:
        """Distances or residuals of images in [0, 1], resized to pixels.

        Raises:
          ValueError: if `distance_maps` are given, which this model does not use, or
            the variables are those of another method.
        """
        if distance_maps is not None:
            raise ValueError("a training-free detector takes no distance maps")
        features = patch_features(variables.extractor, images, self.config)
        cells = self._compared(variables, features)
        maps = jax.image.resize(cells, images.shape[:3], "bilinear")
        maps = jnp.clip(maps, 0.0, 1.0)  # rounding may exceed the bounds
        return AnomalyMaps(maps=maps, score_maps=maps)

    def _compared(
        self, variables: TrainingFreeVariables, features: Float[Array, "b h w f"]
    ) -> Float[Array, "b h w"]:
        _, patches, subspace, autoencoder = variables
        comparison = self.config.comparison
        if isinstance(comparison, KnnConfig):
            if patches is None:
                raise ValueError("method knn needs patches, got none")
            return jax.lax.map(lambda x: half_cosine_distance(x, patches), features)
        if isinstance(comparison, ReconstructionConfig):
            if autoencoder is None:
                raise ValueError("method reconstruction needs an autoencoder, got none")
            residuals = reconstruction_residuals(
                autoencoder,
                features,
                feature_sizes(self.config),
                comparison.autoencoder,
            )
            return residuals.mean(-1)
        if subspace is None:
            raise ValueError("method subspace needs a subspace, got none")
        return quarter_squared_residual(subspace, features)


def _as_rows(features: Float[Array, "gh gw f"]) -> Float[Array, "n f"]:
    return features.reshape(-1, features.shape[-1])
