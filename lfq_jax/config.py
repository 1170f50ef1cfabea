"""Every choice of the learning side, as frozen dataclasses. Standard library only."""

import dataclasses
import math
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from lfq_jax.quantizers.config import LFQConfig, QuantizerConfig
from lfq_jax.reference_config import ReferenceConfig

T = TypeVar("T")
ImageScore = Literal["mean", "max", "top_k_mean", "smoothed_max"]


def _check(condition: bool, name: str, value: object, rule: str) -> None:
    if not condition:
        raise ValueError(f"{name} must be {rule}, got {value}")


@dataclass(frozen=True)
class ModelConfig:
    """Shapes of the two networks (paper 3.2 and 3.3; DRAEM's where it is silent)."""

    image_px: int = 256
    """Side of the square images that the networks see, in pixels (paper 4.3)."""
    stem: int = 1
    """Space-to-depth factor before the first convolution. 1 is the paper; 2 makes the
    dear full-resolution layers four times cheaper."""
    reconstructive_widths: tuple[int, ...] = (128, 256, 512, 1024, 1024)
    """Channels of the autoencoder's stages, with a max-pool between two of them."""
    discriminative_widths: tuple[int, ...] = (64, 128, 256, 512, 512, 512)
    """Channels of the discriminator's stages, with a max-pool between two of them."""
    discriminator_input: Literal["both", "image", "residual", "none"] = "both"
    """What the discriminator sees beside the reference: the reconstruction and the
    image (the paper), the image, how far the two are apart in every cell of `stem`
    pixels, or nothing. Few numbers a cell leave less to learn by heart in a short run.
    """
    quantizer: QuantizerConfig = field(default_factory=LFQConfig)
    """The bottleneck."""
    reference: ReferenceConfig | None = None
    """Distances from the shots' own patches, shown to the discriminator beside the
    images. None is the paper."""
    kernels: Literal["draem", "he"] = "draem"
    """Initial kernels: normal with deviation 0.02 as DRAEM, or sqrt(2 / fan-in) (He et
    al. 2015), which needs fewer steps in small networks."""
    prior: float = 0.5
    """Probability of an anomaly that the untrained discriminator answers everywhere."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the convolutions. Weights, norms and losses stay in float32."""
    remat: bool = False
    """Recompute activations in the backward pass: less memory, more time."""

    def __post_init__(self) -> None:
        _check(self.stem >= 1, "stem", self.stem, "at least 1")
        for name in ("reconstructive_widths", "discriminative_widths"):
            widths = getattr(self, name)
            _check(len(widths) >= 2, name, widths, "two stages or more")
            _check(min(widths) >= 1, name, widths, "positive")
            divisor = self.stem * 2 ** (len(widths) - 1)
            rule = f"a multiple of {divisor}, for {name} has {len(widths)} stages"
            _check(self.image_px % divisor == 0, "image_px", self.image_px, rule)
        _check(self.image_px >= 16, "image_px", self.image_px, "at least 16")
        _check(0 < self.prior < 1, "prior", self.prior, "in (0, 1)")
        if self.reference:
            divisor = 2 ** (self.reference.levels - 1)
            rule = f"a multiple of {divisor}, for reference.levels"
            _check(self.image_px % divisor == 0, "image_px", self.image_px, rule)

    @property
    def px_divisor(self) -> int:
        """What image_px must be a multiple of."""
        levels = self.reference.levels if self.reference else 1
        return math.lcm(self.divisor, 2 ** (levels - 1))

    @property
    def divisor(self) -> int:
        """What the sides of a crop must be multiples of."""
        stages = max(len(self.reconstructive_widths), len(self.discriminative_widths))
        return self.stem * 2 ** (stages - 1)

    @property
    def bottleneck_px(self) -> int:
        """Side of the square of code positions."""
        return self.image_px // (self.stem * 2 ** (len(self.reconstructive_widths) - 1))


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
            _check(0 <= value <= 1, name, value, "in [0, 1]")
        _check(self.focal_gamma >= 0, "focal_gamma", self.focal_gamma, "at least 0")
        weight = self.feature_weight
        _check(weight >= 0, "feature_weight", weight, "at least 0")
        odd = self.ssim_window_px % 2 == 1 and self.ssim_window_px >= 3
        _check(odd, "ssim_window_px", self.ssim_window_px, "odd and at least 3")
        _check(self.ssim_sigma_px > 0, "ssim_sigma_px", self.ssim_sigma_px, "positive")

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
    rotation_degrees: float = 0.0
    """Largest rotation either way, in degrees."""
    shift: float = 0.0
    """Largest shift either way, as a share of the side."""
    scale: float = 0.0
    """Largest relative change of size either way."""
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
        for name in ("rotation_degrees", "brightness", "noise"):
            value = getattr(self, name)
            _check(value >= 0, name, value, "at least 0")
        for name in ("shift", "scale", "contrast", "colour", "light_gradient"):
            value = getattr(self, name)
            _check(0 <= value < 1, name, value, "in [0, 1)")


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
            _check(value >= 1, name, value, "at least 1")
        _check(self.good_images >= 1, "good_images", self.good_images, "at least 1")
        for name in ("epoch_images", "patience_epochs", "crop_px"):
            value = getattr(self, name)
            _check(value >= 0, name, value, "at least 0")
        patience, interval = self.patience_epochs, self.validate_every_epochs
        rule = f"0 or at least validate_every_epochs, which is {interval}"
        waits = patience == 0 or patience >= interval
        _check(waits, "patience_epochs", patience, rule)
        for name in ("reconstructive_learning_rate", "discriminative_learning_rate"):
            value = getattr(self, name)
            positive = value > 0 and math.isfinite(value)
            _check(positive, name, value, "positive and finite")
        share = self.anomalous_share
        _check(0 < share <= 1, "anomalous_share", share, "in (0, 1]")
        rising = list(self.decay_at) == sorted(set(self.decay_at))
        inside = all(0 < at < 1 for at in self.decay_at)
        _check(rising and inside, "decay_at", self.decay_at, "rising and in (0, 1)")
        factor = self.decay_factor
        _check(0 < factor <= 1, "decay_factor", factor, "in (0, 1]")
        _check(0 <= self.warmup < 1, "warmup", self.warmup, "in [0, 1)")
        _check(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "in [0, 1)")
        _check(self.clip_norm >= 0, "clip_norm", self.clip_norm, "at least 0")
        _check(self.weight_decay >= 0, "weight_decay", self.weight_decay, "at least 0")

    def steps(self, shots: int) -> int:
        """Steps of a whole run on `shots` normal images, in full scans."""
        images = self.epochs * (self.epoch_images or shots)
        steps = math.ceil(images / self.batch_size)
        return math.ceil(steps / self.log_every) * self.log_every

    def epoch(self, step: int, shots: int) -> float:
        """Passes completed after `step` steps."""
        return step * self.batch_size / (self.epoch_images or shots)


@dataclass(frozen=True)
class ScoreConfig:
    """From a map of probabilities to one number an image (paper 3.5)."""

    image_score: ImageScore = "mean"
    """The mean of the map is the paper's (eq. 4)."""
    smoothing_sigma: float = 0.0
    """Gaussian smoothing of the map, as a share of the side. 0: none."""
    top_k_share: float = 0.01
    """Share of the pixels that `top_k_mean` takes the mean of."""
    max_sigma: float = 0.016
    """Smoothing before the maximum in `smoothed_max`, as a share of the side."""
    batch_size: int = 8
    """Images scored at once."""

    def __post_init__(self) -> None:
        for name in ("smoothing_sigma", "max_sigma"):
            value = getattr(self, name)
            _check(0 <= value < 0.5, name, value, "in [0, 0.5)")
        _check(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        share = self.top_k_share
        _check(0 < share <= 1, "top_k_share", share, "in (0, 1]")


@dataclass(frozen=True)
class Preset:
    """The configurations that belong together under one name."""

    model: ModelConfig
    train: TrainConfig
    score: ScoreConfig
    texture_px: int = 0
    """Textures are seen as large as the photographs are, but up to this side of the
    square; 0: as objects."""


_PAPER = Preset(ModelConfig(), TrainConfig(), ScoreConfig())
_CPU = Preset(
    ModelConfig(
        stem=4,
        reconstructive_widths=(24, 48),
        discriminative_widths=(32, 48, 64),
        discriminator_input="residual",
        reference=ReferenceConfig(),
        kernels="he",
        prior=0.05,
    ),
    TrainConfig(
        epochs=30,
        epoch_images=64,
        batch_size=8,
        crop_px=96,
        anomalous_share=0.8,
        reconstructive_learning_rate=3e-3,
        discriminative_learning_rate=2e-3,
        warmup=0.05,
        validate_every_epochs=15,
        loss=LossConfig(dice_weight=0.2),
        augment=AugmentConfig(
            brightness=0.05,
            contrast=0.1,
            colour=0.03,
            light_gradient=0.1,
            noise=0.02,
        ),
    ),
    ScoreConfig(image_score="smoothed_max", smoothing_sigma=0.01),
)
# What has won so far, on two cores. Cracks and scratches of a texture are as wide as a
# pixel at 256; edges of objects that lie a little askew are false alarms at more.
_BEST = dataclasses.replace(_CPU, texture_px=384)
PRESETS: dict[str, Preset] = {"best": _BEST, "cpu": _CPU, "paper": _PAPER}


def as_json(config: Any) -> Any:
    """A config as JSON values. `from_json` reads it back.

    A nested config that could be of several kinds carries its class name as `kind`.
    """
    if isinstance(config, (tuple, list)):
        return [as_json(value) for value in config]
    if isinstance(config, Path):
        return str(config)
    if not dataclasses.is_dataclass(config):
        return config
    hints = typing.get_type_hints(type(config))
    found = {}
    for each in dataclasses.fields(config):
        value = getattr(config, each.name)
        found[each.name] = as_json(value)
        if len(_kinds(hints[each.name])) > 1:
            found[each.name]["kind"] = type(value).__name__
    return found


def from_json(cls: type[T], values: dict[str, Any]) -> T:
    """Build a config from what `as_json` made of it.

    Raises:
      ValueError: where a field is unknown to this version, or a value is refused.
    """
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ValueError(f"{cls.__name__} has no field {', '.join(unknown)}")
    return cls(**{name: _value(hints[name], value) for name, value in values.items()})


def _kinds(hint: Any) -> dict[str, Any]:
    """The config classes that a field may hold, by name."""
    choices = (hint, *typing.get_args(hint))
    classes = [c for c in choices if isinstance(c, type)]
    return {c.__name__: c for c in classes if dataclasses.is_dataclass(c)}


def _value(hint: Any, value: Any) -> Any:
    kinds = _kinds(hint)
    if isinstance(value, dict) and kinds:
        fields = dict(value)
        kind = fields.pop("kind", next(iter(kinds)))
        if kind not in kinds:
            raise ValueError(f"kind must be one of {', '.join(kinds)}, got {kind}")
        return from_json(kinds[kind], fields)
    if isinstance(value, str) and Path in (hint, *typing.get_args(hint)):
        return Path(value)
    return tuple(value) if isinstance(value, list) else value
