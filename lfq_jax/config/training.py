"""Losses, augmentation and optimization. Standard library only."""

import math
from dataclasses import dataclass, field
from typing import Literal

from lfq_jax.config.checks import check


@dataclass(frozen=True)
class LossConfig:
    """Weights of equations 2 and 3. Each pair sums to 1; the second is derived."""

    mse_weight: float = 0.5
    """a1 of eq. 2: the share of the squared error; SSIM has the rest."""
    dice_weight: float = 0.5
    """a2 of eq. 3: the share of Dice; Focal has the rest."""
    focal_gamma: float = 2.0
    """Exponent of the focal loss (DRAEM)."""
    feature_weight: float = 0.1
    """Of the squared error of a pretrained encoder's features, where there is one."""
    ssim_window_px: int = 11
    """Side of SSIM's Gaussian window, in pixels; odd."""
    ssim_sigma_px: float = 1.5
    """Standard deviation of SSIM's window, in pixels."""

    def __post_init__(self) -> None:
        for name in ("mse_weight", "dice_weight"):
            value = getattr(self, name)
            check(0 <= value <= 1, name, value, "in [0, 1]")
        check(self.focal_gamma >= 0, "focal_gamma", self.focal_gamma, "at least 0")
        weight = self.feature_weight
        check(weight >= 0, "feature_weight", weight, "at least 0")
        odd = self.ssim_window_px % 2 == 1 and self.ssim_window_px >= 3
        check(odd, "ssim_window_px", self.ssim_window_px, "odd and at least 3")
        check(self.ssim_sigma_px > 0, "ssim_sigma_px", self.ssim_sigma_px, "positive")

    @property
    def ssim_weight(self) -> float:
        """b1 of eq. 2."""
        return 1.0 - self.mse_weight

    @property
    def focal_weight(self) -> float:
        """b2 of eq. 3."""
        return 1.0 - self.dice_weight


@dataclass(frozen=True)
class AugmentConfig:
    """How far good parts may differ from the shots, drawn anew for every image."""

    flips: Literal["auto", "none", "both"] = "auto"
    """Mirror images. `auto`: both axes for textures, none for objects."""
    quarter_turns: Literal["auto", "never", "always"] = "auto"
    """Turns by 90 degrees. `auto`: for textures, after they were compared with the
    shots, which are remembered as they lie; `always`: before."""
    brightness: float = 0.0
    """Largest change of brightness, added, where white is 1."""
    contrast: float = 0.0
    """Largest relative change of contrast about the image's mean."""
    colour: float = 0.0
    """Largest relative change of one channel's gain."""
    light_gradient: float = 0.0
    """Largest relative change of light from one side to the other."""
    noise: float = 0.0
    """Largest standard deviation of added sensor noise, where white is 1."""

    def __post_init__(self) -> None:
        for name in ("brightness", "noise"):
            value = getattr(self, name)
            check(value >= 0, name, value, "at least 0")
        for name in ("contrast", "colour", "light_gradient"):
            value = getattr(self, name)
            check(0 <= value < 1, name, value, "in [0, 1)")


@dataclass(frozen=True)
class TrainConfig:
    """The paper's optimisation (4.3), and what it leaves open."""

    epochs: int = 800
    """Passes over the normal images."""
    epoch_images: int = 0
    """Images a pass counts. 0: as many as there are shots."""
    batch_size: int = 1
    """Images a step."""
    crop_px: int = 0
    """Side of the random squares of the images that are learnt from. 0: all of them."""
    good_images: int = 64
    """Varied good parts that are prepared where there is a reference."""
    reconstructive_learning_rate: float = 3e-4
    """AdamW's step for the autoencoder and the quantizer."""
    discriminative_learning_rate: float = 1e-4
    """AdamW's step for the discriminator."""
    warmup: float = 0.0
    """Share of the steps in which the rates rise from 0."""
    decay_at: tuple[float, ...] = (0.8, 0.9)
    """Shares of the steps at which both rates are multiplied by `decay_factor`."""
    decay_factor: float = 0.1
    """What the rates are multiplied with at each of `decay_at`."""
    weight_decay: float = 1e-4
    """AdamW's decay, on convolution kernels only."""
    clip_norm: float = 0.0
    """Largest global norm of the gradient. 0: not clipped."""
    ema_decay: float = 0.0
    """Decay of the running mean of the weights used for scoring. 0: off."""
    anomalous_share: float = 0.5
    """Share of the draws that carry a synthetic anomaly."""
    patience_epochs: int = 50
    """Passes without a better validation AUROC before training stops; at least
    `validate_every_epochs`. 0: never."""
    validate_every_epochs: int = 10
    """Passes between two validations."""
    data_on: Literal["auto", "device", "host"] = "auto"
    """Where the photographs wait. `auto`: on the device, if they take at most half of
    its memory; else on the host, which sends those of the next steps. The same bits."""
    log_every: int = 20
    """Steps between two lines of metrics.jsonl: the length of one compiled scan."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Weights of the losses."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Variation of the images, drawn inside the compiled step."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "validate_every_epochs", "log_every"):
            value = getattr(self, name)
            check(value >= 1, name, value, "at least 1")
        check(self.good_images >= 1, "good_images", self.good_images, "at least 1")
        for name in ("epoch_images", "patience_epochs", "crop_px"):
            value = getattr(self, name)
            check(value >= 0, name, value, "at least 0")
        patience, interval = self.patience_epochs, self.validate_every_epochs
        rule = f"0 or at least validate_every_epochs, which is {interval}"
        waits = patience == 0 or patience >= interval
        check(waits, "patience_epochs", patience, rule)
        for name in ("reconstructive_learning_rate", "discriminative_learning_rate"):
            value = getattr(self, name)
            positive = value > 0 and math.isfinite(value)
            check(positive, name, value, "positive and finite")
        share = self.anomalous_share
        check(0 < share <= 1, "anomalous_share", share, "in (0, 1]")
        rising = list(self.decay_at) == sorted(set(self.decay_at))
        inside = all(0 < at < 1 for at in self.decay_at)
        check(rising and inside, "decay_at", self.decay_at, "rising and in (0, 1)")
        factor = self.decay_factor
        check(0 < factor <= 1, "decay_factor", factor, "in (0, 1]")
        check(0 <= self.warmup < 1, "warmup", self.warmup, "in [0, 1)")
        check(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "in [0, 1)")
        check(self.clip_norm >= 0, "clip_norm", self.clip_norm, "at least 0")
        check(self.weight_decay >= 0, "weight_decay", self.weight_decay, "at least 0")

    def steps(self, shots: int) -> int:
        """Steps of a whole run on `shots` normal images, in full scans."""
        images = self.epochs * (self.epoch_images or shots)
        steps = math.ceil(images / self.batch_size)
        return math.ceil(steps / self.log_every) * self.log_every

    def epoch(self, step: int, shots: int) -> float:
        """Passes completed after `step` steps."""
        return step * self.batch_size / (self.epoch_images or shots)
