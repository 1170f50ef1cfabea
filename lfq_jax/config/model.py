"""Shapes of the networks. Standard library only."""

import math
from dataclasses import dataclass, field
from typing import Literal

from lfq_jax.config.checks import check
from lfq_jax.config.memory_bank import MemoryBankConfig
from lfq_jax.quantizers.config import LFQConfig, QuantizerConfig


@dataclass(frozen=True)
class ModelConfig:
    """Shapes of the two networks (paper 3.2 and 3.3; DRAEM's where it is silent)."""

    image_px: int = 256
    """Size of the images that the networks see: the side in pixels of a square with at
    least their area (paper 4.3)."""
    fit: Literal["proportion", "square"] = "proportion"
    """How photographs become these images. `proportion`: their sides keep their
    proportion. `square`: they are squeezed into a square, as in the paper."""
    size_px: tuple[int, int] | None = None
    """Height and width of the training images. Default: computed for every category
    from `image_px`, `fit` and the proportion of the shots."""
    stem: int = 1
    """Space-to-depth factor before the first convolution. 1 is the paper. 2 makes the
    expensive full-resolution layers four times cheaper."""
    reconstructive_widths: tuple[int, ...] = (128, 256, 512, 1024, 1024)
    """Channels of the autoencoder's stages, with a max-pool between two of them."""
    discriminative_widths: tuple[int, ...] = (64, 128, 256, 512, 512, 512)
    """Channels of the discriminator's stages, with a max-pool between two of them."""
    discriminator_input: Literal["both", "residual"] = "both"
    """What the discriminator sees besides the distance maps. `both`: reconstruction and
    image (the paper). `residual`: their difference in every cell of `stem` pixels.
    Fewer numbers a cell leave less to memorise in a short training."""
    quantizer: QuantizerConfig = field(default_factory=LFQConfig)
    """The bottleneck."""
    memory_bank: MemoryBankConfig | None = None
    """Distances to the shots' own patches, which the discriminator and the logistic
    head see. None is the paper."""
    kernels: Literal["draem", "he"] = "draem"
    """Initial kernels: normal with deviation 0.02 (DRAEM) or sqrt(2 / fan-in) (He et
    al. 2015). `he` needs fewer steps in small networks."""
    prior: float = 0.5
    """Probability of an anomaly that the untrained discriminator predicts."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the convolutions. Weights, norms and losses stay in float32."""
    remat: bool = False
    """Recompute activations in the backward pass: less memory, more time."""

    def __post_init__(self) -> None:
        check(self.stem >= 1, "stem", self.stem, "at least 1")
        for name in ("reconstructive_widths", "discriminative_widths"):
            widths = getattr(self, name)
            check(len(widths) >= 2, name, widths, "two stages or more")
            check(min(widths) >= 1, name, widths, "positive")
            divisor = self.stem * 2 ** (len(widths) - 1)
            rule = f"a multiple of {divisor}, since {name} has {len(widths)} stages"
            check(self.image_px % divisor == 0, "image_px", self.image_px, rule)
        check(self.image_px >= 16, "image_px", self.image_px, "at least 16")
        check(0 < self.prior < 1, "prior", self.prior, "in (0, 1)")
        if self.memory_bank:
            divisor = self._filter_px
            levels = self.memory_bank.filter_levels
            rule = f"a multiple of {divisor}, for {levels} levels of the filter bank"
            check(self.image_px % divisor == 0, "image_px", self.image_px, rule)
        if self._patch_px > 1:
            divisor = self.px_divisor
            smaller = max(1, self.image_px // divisor) * divisor
            rule = (
                f"a multiple of {divisor}, since the backbone has patches of "
                f"{self._patch_px} px, such as {smaller} or {smaller + divisor}"
            )
            check(self.image_px % divisor == 0, "image_px", self.image_px, rule)
        if self.size_px:
            self._check_size(self.size_px)

    def _check_size(self, size: tuple[int, int]) -> None:
        divisor, (height, width) = self.px_divisor, size
        is_multiple = not (height % divisor or width % divisor)
        check(is_multiple, "size_px", size, f"multiples of {divisor}")
        check(min(size) >= 16, "size_px", size, "at least 16 each")
        rule = f"of at most {self.image_px} x {self.image_px} px, by image_px"
        check(height * width <= self.image_px**2, "size_px", size, rule)
        is_square = height == width
        rule = "equal sides, since fit is square"
        check(is_square or self.fit != "square", "size_px", size, rule)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the training images; a square until `size_px` is set."""
        return self.size_px or (self.image_px, self.image_px)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the distance maps' cells."""
        height, width = self.size
        return height // self.stem, width // self.stem

    @property
    def px_divisor(self) -> int:
        """What the sides of the images must be multiples of."""
        return math.lcm(self.divisor, self._filter_px, self._patch_px)

    @property
    def _filter_px(self) -> int:
        levels = self.memory_bank.filter_levels if self.memory_bank else 0
        return 2 ** max(levels - 1, 0)

    @property
    def _patch_px(self) -> int:
        has_backbone = self.memory_bank and self.memory_bank.backbone
        return has_backbone.patch_px if has_backbone else 1

    @property
    def divisor(self) -> int:
        """What the sides of a crop must be multiples of."""
        stages = max(len(self.reconstructive_widths), len(self.discriminative_widths))
        return self.stem * 2 ** (stages - 1)

    @property
    def bottleneck(self) -> tuple[int, int]:
        """Rows and columns of code positions."""
        height, width = self.size
        cell = self.stem * 2 ** (len(self.reconstructive_widths) - 1)
        return height // cell, width // cell
