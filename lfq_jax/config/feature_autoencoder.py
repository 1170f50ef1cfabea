"""Choices of the autoencoder of features. Standard library only."""

from dataclasses import dataclass, field

from lfq_jax.config.checks import check
from lfq_jax.quantizers.config import LFQConfig, QuantizerConfig


@dataclass(frozen=True)
class FeatureAutoencoderConfig:
    """An autoencoder of the features around a cell, with a quantized bottleneck: the
    paper's reconstruction (3.2) where the features are."""

    quantizer: QuantizerConfig = field(
        default_factory=lambda: LFQConfig(
            bits=64, entropy_weight=0.0, commitment_weight=0.02
        )
    )
    """The bottleneck of every cell. Most cells of an image are alike, so nothing asks
    for equal use of all codes."""
    continuous: bool = False
    """Whether the numbers pass the bottleneck as they are, to compare with."""
    continuous_dim: int = 64
    """Numbers that pass where the quantizer is of kind `none`."""
    context: int = 1
    """Side of the square of cells that each cell is encoded from; odd. A backbone's
    features are means over 3 x 3 cells in any case."""
    hidden: int = 256
    """Width of the hidden layers of the encoder and of the decoder."""
    noise: float = 0.5
    """Noise on the encoder's inputs, in standard deviations of each feature."""
    steps: int = 1500
    """Optimisation steps, of 1,024 cells each."""
    learning_rate: float = 3e-3
    """AdamW's learning rate. The last fifth of the steps has a tenth of it."""
    weight_decay: float = 1e-4
    """AdamW's weight decay."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("continuous_dim", 1, 4096),
            ("context", 1, 7),
            ("hidden", 1, 65536),
            ("noise", 0, 10),
            ("steps", 1, 1_000_000),
            ("learning_rate", 0, 1),
            ("weight_decay", 0, 1),
        ):
            value = getattr(self, name)
            check(low <= value <= high, name, value, f"in [{low}, {high}]")
        check(self.context % 2 == 1, "context", self.context, "odd")
