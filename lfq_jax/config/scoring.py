"""From anomaly maps to image scores. Standard library only."""

from dataclasses import dataclass
from typing import Literal, get_args

from lfq_jax.config.checks import check

ImageScore = Literal["mean", "max", "top_k_mean", "smoothed_max"]


@dataclass(frozen=True)
class ScoreConfig:
    """How a probability map becomes one score per image (paper 3.5)."""

    image_score: ImageScore = "mean"
    """The image score. `mean`, of the whole map, is the paper's (eq. 4)."""
    smoothing_sigma: float = 0.0
    """Standard deviation of the map's Gaussian smoothing, as a share of the side of a
    square of the same area. 0: none."""
    top_k_share: float = 0.01
    """Share of the pixels, the largest, that `top_k_mean` averages."""
    max_sigma: float = 0.016
    """Standard deviation of the smoothing before the maximum in `smoothed_max`, as a
    share of the same side."""
    batch_size: int = 8
    """Images per batch."""

    def __post_init__(self) -> None:
        for name in ("smoothing_sigma", "max_sigma"):
            value = getattr(self, name)
            check(0 <= value < 0.5, name, value, "in [0, 0.5)")
        check(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        share = self.top_k_share
        check(0 < share <= 1, "top_k_share", share, "in (0, 1]")


IMAGE_SCORES: tuple[ImageScore, ...] = get_args(ImageScore)
