"""Choices of the comparison with the shots' own patches. Standard library only."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class BackboneConfig:
    """A frozen, pretrained network whose features are compared as well."""

    path: Path
    """The file of weights, `.npz` or `.safetensors`, that a run read."""
    network: str
    """What the file holds, as `lfq_jax.backbones.network_as_text` writes it."""
    stages: tuple[str, ...]
    """Where features are taken from: each stage is compared on its own."""
    patches: int = 4096
    """Patches of the shots that are kept of every stage, drawn at random."""
    reconstructed: int = 8
    """How many principal components of every stage, the widest, go through the
    bottleneck with the image: what the decoder does not give back is shown to the
    discriminator. 0: none."""

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("encoder.stages must name at least one, got none")
        if not 1 <= self.patches <= 65536:
            raise ValueError(
                f"encoder.patches must be in [1, 65536], got {self.patches}"
            )
        if not 0 <= self.reconstructed <= 1024:
            raise ValueError(
                f"encoder.reconstructed must be in [0, 1024], got {self.reconstructed}"
            )


@dataclass(frozen=True)
class MemoryBankConfig:
    """How an image is compared, patch by patch, with the shots."""

    levels: int = 4
    """Octaves of the filter bank; octave l sees structures of about 2^l pixels."""
    patches: int = 3072
    """Patches of the shots that are kept, drawn at random."""
    window: int = 3
    """For objects: how far from its own place, in cells of `stem` pixels, a patch is
    also looked for. 0: places are not compared."""
    turns_deg: tuple[float, ...] = (-6.0, -3.0, 3.0, 6.0)
    """For objects: turns in which the shots are compared in place as well as upright,
    for parts that lie a little askew."""
    poses: int = 2
    """For objects: in how many other turns of the full circle an image is compared in
    place, for parts that lie at any angle. Only turns that fit about as well as the
    best one count, so that parts that always lie alike cost nothing. 0: none."""
    encoder: BackboneConfig | None = None
    """Compare the features of a pretrained network beside those of the filter bank."""
    orientation_weight: float = 1.0
    """For textures of two shots or more: the most that the way their grain runs, over
    surroundings of some 50 pixels, adds to the log-odds of the map, or takes off; less,
    the more surely something was found within 16 pixels. The image score is read off
    without it. 0: not compared."""
    shows_features: bool = False
    """Whether the discriminator sees the whitened features beside the distances."""
    head_weight: float = 0.8
    """Share in [0, 1] that a logistic regression on the distances, fitted before
    training, has in the log-odds of an anomaly; the discriminator has the rest. Where
    this and `score_head_weight` are 0, none is fitted."""
    score_head_weight: float = 1.0
    """The same in the log-odds that the image score is read off. The discriminator
    draws an anomaly's outline better; alarms it raises on good parts cost more."""

    def __post_init__(self) -> None:
        if not 1 <= self.levels <= 6:
            raise ValueError(f"levels must be in [1, 6], got {self.levels}")
        if not 1 <= self.patches <= 65536:
            raise ValueError(f"patches must be in [1, 65536], got {self.patches}")
        if not all(-180 <= turn <= 180 and turn for turn in self.turns_deg):
            raise ValueError(
                f"turns_deg must be in [-180, 180] and not 0, got {self.turns_deg}"
            )
        if not 0 <= self.poses <= 8:
            raise ValueError(f"poses must be in [0, 8], got {self.poses}")
        for name in ("head_weight", "score_head_weight"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {share}")
        if not 0 <= self.orientation_weight <= 8:
            raise ValueError(
                f"orientation_weight must be in [0, 8], got {self.orientation_weight}"
            )
        if not 0 <= self.window <= 8:
            raise ValueError(f"window must be in [0, 8], got {self.window}")
