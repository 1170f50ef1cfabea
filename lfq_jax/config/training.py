"""Losses, augmentation and optimization. Standard library only."""

import math
from dataclasses import dataclass, field
from typing import Literal

from lfq_jax.config.checks import check, check_finite


@dataclass(frozen=True)
class LossConfig:
    """Weights of equations 2 and 3. Each pair sums to 1; the second is derived."""

    mse_weight: float = 0.5
    """a1 of eq. 2: weight of the squared error. SSIM has the rest."""
    dice_weight: float = 0.5
    """a2 of eq. 3: weight of the Dice loss. The focal loss has the rest."""
    focal_gamma: float = 2.0
    """Exponent of the focal loss (DRAEM)."""
    feature_weight: float = 0.1
    """Weight of the squared error of the backbone's features, if there are any."""
    ssim_window_px: int = 11
    """Side of SSIM's Gaussian window, in pixels; odd."""
    ssim_sigma_px: float = 1.5
    """Standard deviation of SSIM's window, in pixels."""

    def __post_init__(self) -> None:
        for name in ("mse_weight", "dice_weight"):
            value = getattr(self, name)
            check(0 <= value <= 1, name, value, "in [0, 1]")
        check_finite("focal_gamma", self.focal_gamma)
        check_finite("feature_weight", self.feature_weight)
        odd = self.ssim_window_px % 2 == 1 and self.ssim_window_px >= 3
        check(odd, "ssim_window_px", self.ssim_window_px, "odd and at least 3")
        check_finite("ssim_sigma_px", self.ssim_sigma_px)
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
    """Largest variation of good parts, drawn separately for every image."""

    flips: Literal["auto", "none", "both"] = "auto"
    """Mirror images. `auto`: both axes for textures, none for objects."""
    quarter_turns: Literal["auto", "never", "always"] = "auto"
    """Rotations by 90 degrees. `auto`: for textures only, and after the comparison with
    the shots, because the bank has only upright shots. `always`: before it. A whole
    image that is not square is turned by 180 degrees only."""
    brightness: float = 0.0
    """Largest brightness that is added or subtracted, where white is 1."""
    contrast: float = 0.0
    """Largest relative change of contrast about the image's mean."""
    colour: float = 0.0
    """Largest relative change of one channel's gain."""
    light_gradient: float = 0.0
    """Largest relative change of brightness from one side of the image to the other."""
    noise: float = 0.0
    """Largest standard deviation of added sensor noise, where white is 1."""

    def __post_init__(self) -> None:
        for name in ("brightness", "noise"):
            value = getattr(self, name)
            check_finite(name, value)
        for name in ("contrast", "colour", "light_gradient"):
            value = getattr(self, name)
            check(0 <= value < 1, name, value, "in [0, 1)")


@dataclass(frozen=True)
class TrainConfig:
    """The paper's optimisation (4.3), and the choices that the paper leaves open."""

    epochs: int = 800
    """Passes over the normal images."""
    epoch_images: int = 0
    """Number of images that count as one pass. 0: the number of shots."""
    batch_size: int = 1
    """Images per step."""
    crop_px: int = 0
    """Side in pixels of the random square crops to train on. 0: whole images."""
    good_images: int = 48
    """Number of varied good parts to prepare, if there is a memory bank."""
    reconstructive_learning_rate: float = 3e-4
    """AdamW's learning rate for the autoencoder and the quantizer."""
    discriminative_learning_rate: float = 1e-4
    """AdamW's learning rate for the discriminator."""
    warmup: float = 0.0
    """Share of the steps in which both learning rates rise from 0."""
    decay_at: tuple[float, ...] = (0.8, 0.9)
    """Shares of the steps after which `decay_factor` multiplies both learning rates."""
    decay_factor: float = 0.1
    """Factor of both learning rates at each of `decay_at`."""
    weight_decay: float = 1e-4
    """AdamW's weight decay, of convolution kernels only."""
    clip_norm: float = 0.0
    """Largest global norm of the gradient. 0: no clipping."""
    ema_decay: float = 0.0
    """Decay of the running mean of the weights, which scores images. 0: off."""
    anomalous_share: float = 0.5
    """Share of the drawn images that have a synthetic anomaly."""
    patience_epochs: int = 50
    """Training stops after this many passes without a better validation AUROC. At least
    `validate_every_epochs`. 0: never."""
    validate_every_epochs: int = 10
    """Passes between two validations."""
    data_on: Literal["auto", "device", "host"] = "auto"
    """Where the photographs are stored. `host`: the host sends those of the next steps.
    `auto`: on the device, if they need at most half of its memory, else on the host.
    Results are the same to the bit."""
    log_every: int = 20
    """Steps per line of metrics.jsonl, and the length of one compiled scan."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Weights of the losses."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Random variation of the images."""

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
        check_finite("clip_norm", self.clip_norm)
        check_finite("weight_decay", self.weight_decay)

    def steps(self, shots: int) -> int:
        """Steps of a whole run on `shots` normal images, rounded up to full scans."""
        images = self.epochs * (self.epoch_images or shots)
        steps = math.ceil(images / self.batch_size)
        return math.ceil(steps / self.log_every) * self.log_every

    def epoch(self, step: int, shots: int) -> float:
        """Passes completed after `step` steps."""
        return step * self.batch_size / (self.epoch_images or shots)
