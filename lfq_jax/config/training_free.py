"""Choices of the training-free detectors. Standard library only.

Such a detector is fitted to the features of the shots and needs no synthetic anomalies.
That takes seconds: only the method `reconstruction` takes training steps at all.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

from lfq_jax.config.checks import check
from lfq_jax.config.feature_autoencoder import FeatureAutoencoderConfig
from lfq_jax.config.memory_bank import BackboneConfig
from lfq_jax.config.scoring import ScoreConfig

TrainingFreeMethod = Literal["knn", "subspace", "reconstruction"]
Rotated = Literal["objects", "all"]


@dataclass(frozen=True)
class KnnConfig:
    """Cosine distance from the nearest patch of the shots, as in AnomalyDINO (Damm et
    al. 2025) and PatchCore (Roth et al. 2022)."""

    rotations: int = 8
    """Evenly spaced rotations of every shot, including the upright shot. 1: upright
    shots only."""
    rotated: Rotated = "objects"
    """Kinds of categories whose shots are rotated. The grain of a texture has a
    direction, so rotated shots would hide parts whose grain is turned."""
    patches: int = 16384
    """Largest number of patches in the bank. Of more, this number is drawn at random.
    0: no limit."""
    coreset: float = 1.0
    """Share of these patches that the bank keeps: a coreset that covers all of them, as
    in PatchCore. 1: all of them."""

    def __post_init__(self) -> None:
        _check_rotations(self.rotations, least=1)
        check(self.patches >= 0, "knn.patches", self.patches, "at least 0")
        check(0 < self.coreset <= 1, "knn.coreset", self.coreset, "in (0, 1]")


@dataclass(frozen=True)
class SubspaceConfig:
    """Residual outside the principal subspace of the shots' patches, as in SubspaceAD
    (Lendering et al. 2026)."""

    variance: float = 0.99
    """Share of the patches' variance that the subspace keeps."""
    rotations: int = 30
    """Random rotations of every shot that are added to the upright shot."""
    rotated: Rotated = "all"
    """Kinds of categories whose shots are rotated."""

    def __post_init__(self) -> None:
        _check_rotations(self.rotations, least=0)
        check(0 < self.variance < 1, "subspace.variance", self.variance, "in (0, 1)")


@dataclass(frozen=True)
class ReconstructionConfig:
    """Residual of features that an autoencoder with a quantized bottleneck
    reconstructs. It is trained on the features of the shots alone."""

    autoencoder: FeatureAutoencoderConfig = field(
        default_factory=FeatureAutoencoderConfig
    )
    """The autoencoder."""
    rotations: int = 8
    """As `KnnConfig.rotations`."""
    rotated: Rotated = "objects"
    """As `KnnConfig.rotated`."""

    def __post_init__(self) -> None:
        _check_rotations(self.rotations, least=1)


COMPARISONS: dict[TrainingFreeMethod, type] = {
    "knn": KnnConfig,
    "subspace": SubspaceConfig,
    "reconstruction": ReconstructionConfig,
}
"""Class of the comparison's config, by method."""


def _check_rotations(count: int, *, least: int) -> None:
    check(least <= count <= 360, "rotations", count, f"in [{least}, 360]")


@dataclass(frozen=True)
class TrainingFreeConfig:
    """A detector that compares an image's features with those of the shots."""

    image_px: int = 256
    """As `ModelConfig.image_px`: the images have at most the area of a square of this
    side."""
    fit: Literal["proportion", "square"] = "proportion"
    """As `ModelConfig.fit`."""
    size_px: tuple[int, int] | None = None
    """Height and width of the images. None: a square."""
    levels: int = 4
    """Octaves of the filter bank. It is used only without a backbone."""
    backbone: BackboneConfig | None = None
    """The pretrained network whose features are compared. None: those of the filter
    bank."""
    comparison: KnnConfig | SubspaceConfig | ReconstructionConfig = field(
        default_factory=KnnConfig
    )
    """How features are compared."""

    def __post_init__(self) -> None:
        check(self.image_px >= 16, "image_px", self.image_px, "at least 16")
        check(1 <= self.levels <= 6, "levels", self.levels, "in [1, 6]")
        divisor = self.px_divisor
        rule = f"a multiple of {divisor}, for {self.levels} levels"
        if self.backbone is None:
            check(self.image_px % divisor == 0, "image_px", self.image_px, rule)
        if self.size_px:
            is_multiple = not any(side % divisor for side in self.size_px)
            check(is_multiple, "size_px", self.size_px, f"multiples of {divisor}")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images of the shots' proportion."""
        return self.size_px or (self.image_px, self.image_px)

    @property
    def px_divisor(self) -> int:
        """What the sides of the images must be multiples of."""
        patch_px = self.backbone.patch_px if self.backbone else 1
        return math.lcm(2 ** (self.levels - 1), patch_px)

    @property
    def method(self) -> TrainingFreeMethod:
        for method, kind in COMPARISONS.items():
            if isinstance(self.comparison, kind):
                return method
        raise AssertionError(self.comparison)


TRAINING_FREE_SCORE = ScoreConfig(
    image_score="top_k_mean",
    top_k_share=0.01,
    smoothing_sigma=1 / 64,  # 4 px at 256 px
)
"""Default scores of these detectors, as in the papers: the map is smoothed, and the
image score is the mean of the highest 1 % of the map before smoothing."""
