"""Choices of the memory bank: what is compared with the shots' patches, and how.

Standard library only.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lfq_jax.config.checks import check
from lfq_jax.config.feature_autoencoder import FeatureAutoencoderConfig

Residual = Literal["subspace", "reconstruction"]


@dataclass(frozen=True)
class BackboneConfig:
    """A frozen pretrained network whose features are compared as well."""

    path: Path
    """The file of weights that the run loaded."""
    network: str
    """The network in the file, as `lfq_jax.backbones.network_as_text` writes it."""
    stages: tuple[str, ...]
    """Stages whose features are compared, each with a bank of its own."""
    patches: int = 8192
    """Patches of the shots that the bank keeps for each coarse stage, drawn at
    random."""
    reconstructed: int = 8
    """Principal components of each stage, the widest, that pass through the bottleneck
    with the image. The discriminator sees their reconstruction error. 0: none."""

    @property
    def patch_px(self) -> int:
        """What the sides of an image must be multiples of; 1 for most networks."""
        return json.loads(self.network).get("patch_px", 1)

    def __post_init__(self) -> None:
        check(bool(self.stages), "backbone.stages", self.stages, "one stage or more")
        check(
            1 <= self.patches <= 65536,
            "backbone.patches",
            self.patches,
            "in [1, 65536]",
        )
        check(
            0 <= self.reconstructed <= 1024,
            "backbone.reconstructed",
            self.reconstructed,
            "in [0, 1024]",
        )


@dataclass(frozen=True)
class MemoryBankConfig:
    """How an image is compared, patch by patch, with the shots."""

    levels: int = 4
    """Octaves of the filter bank. Octave l responds to structures of about 2^l px."""
    levels_beside_backbone: int = 1
    """Octaves of the filter bank beside a backbone, which sees all but the finest
    structures itself. 0: none."""
    patches: int = 3072
    """Patches of the shots that the bank keeps, drawn at random."""
    window: int = 3
    """For objects: radius, in cells of `stem` pixels, of the window around a cell's own
    place in which its nearest neighbour is searched. With a backbone, only fine
    features are searched there. 0: no window search."""
    turns_deg: tuple[float, ...] = (-6.0, -3.0, 3.0, 6.0)
    """For objects: rotations of the shots that the window search includes besides the
    upright shots, for parts that are slightly rotated."""
    poses: int = 2
    """For objects, without a backbone: number of further rotations over the full circle
    in which the window search compares an image, for parts at any angle. Only rotations
    that fit about as well as the best one are searched, so parts that are always
    upright cost nothing. 0: none."""
    rotations: int = 8
    """For objects, with a backbone: evenly spaced rotations of every shot, including
    the upright shot, in which coarse features are searched. 1: upright shots only."""
    backbone: BackboneConfig | None = None
    """A pretrained network whose features are compared."""
    orientation_weight: float = 1.0
    """For textures with two shots or more: the largest change, in log-odds, that the
    orientation deviation makes to the map. The orientation deviation compares the
    directions of the grain over about 50 px. The change fades within 16 px of a
    detected defect, and the image score never includes it. 0: off."""
    head_weight: float = 0.8
    """Weight in [0, 1] of the logistic head in the map's log-odds. The discriminator
    has the rest. No head is fitted where this and `score_head_weight` are 0."""
    score_head_weight: float = 1.0
    """Weight in [0, 1] of the logistic head in the log-odds that the image score is
    computed from. The discriminator outlines an anomaly better, but its false alarms
    on good parts cost more."""
    coarse_score_weight: float = 0.75
    """For textures with a backbone and a filter bank: weight in [0, 1], in the log-odds
    that the image score is computed from, of a second logistic head that the filter
    bank has no weight in. A texture's fine features are searched anywhere, and those of
    good parts differ in light and focus. 0: one head for the map and the score."""
    residuals: tuple[Residual, ...] = ()
    """With a backbone: further distances of its coarse stages' features, which the
    logistic head and the discriminator see. `subspace`: outside the principal subspace
    of the shots. `reconstruction`: after the quantized bottleneck of an autoencoder of
    the shots, a distance for each stage."""
    autoencoder: FeatureAutoencoderConfig = field(
        default_factory=FeatureAutoencoderConfig
    )
    """The autoencoder of `residuals`."""
    reconstruction_weight: float = 0.0
    """For objects with a backbone: by how much the map's log-odds rise for each
    standard deviation by which a cell's features are farther from their reconstruction
    than those of varied good shots. The reconstruction is that of `residuals`. No
    anomaly decides about this weight, and the image score does not include it. Of a
    texture, whose defects are often thinner than a coarse cell, the maps lose by it.
    0: off."""
    deepest_weight: float = 2 / 3
    """With a backbone: by how much the image score rises, in log-odds, for each
    standard deviation of varied good shots by which an image's farthest patches are
    farther than theirs, by the deepest stage. Counted from a deviation below their mean
    on. 0: off."""

    @property
    def filter_levels(self) -> int:
        """Octaves of the filter bank that are compared; 0: none."""
        return self.levels if self.backbone is None else self.levels_beside_backbone

    def has_score_head(self, *, is_texture: bool) -> bool:
        """Whether the image score has a logistic head of its own."""
        has_both = self.backbone is not None and self.filter_levels > 0
        return has_both and is_texture and self.coarse_score_weight > 0

    def weighs_reconstruction(self, *, is_texture: bool) -> bool:
        """Whether the map also follows the reconstruction of the features."""
        has_backbone = self.backbone is not None
        return has_backbone and not is_texture and self.reconstruction_weight > 0

    def fitted_residuals(self, *, is_texture: bool) -> set[Residual]:
        """The residuals that the head sees or the map follows."""
        if self.backbone is None:
            return set()
        fitted: set[Residual] = {*self.residuals}
        if self.weighs_reconstruction(is_texture=is_texture):
            fitted.add("reconstruction")
        return fitted

    @property
    def compares_deepest(self) -> bool:
        """Whether the deepest stage, not averaged, is compared for the image score."""
        return self.backbone is not None and self.deepest_weight > 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("levels", 1, 6),
            ("levels_beside_backbone", 0, 6),
            ("patches", 1, 65536),
            ("window", 0, 8),
            ("poses", 0, 8),
            ("rotations", 1, 360),
            ("orientation_weight", 0, 8),
            ("head_weight", 0, 1),
            ("score_head_weight", 0, 1),
            ("coarse_score_weight", 0, 1),
            ("reconstruction_weight", 0, 8),
            ("deepest_weight", 0, 8),
        ):
            value = getattr(self, name)
            check(low <= value <= high, name, value, f"in [{low}, {high}]")
        named = self.residuals
        check(len(set(named)) == len(named), "residuals", named, "different names")
        turns = self.turns_deg
        valid = all(-180 <= turn <= 180 and turn for turn in turns)
        check(valid, "turns_deg", turns, "in [-180, 180] and not 0")
