"""Every choice of a quantizer, as frozen dataclasses. Standard library only.

A command line builds these before jax is loaded.
"""

import math
from dataclasses import dataclass
from typing import Literal

Normalisation = Literal["none", "layer", "l2"]

MAX_BITS = 64
"""Widest index: it must fit 64 bits."""


def _check(condition: bool, name: str, value: object, rule: str) -> None:
    if not condition:
        raise ValueError(f"{name} must be {rule}, got {value}")


def _check_bits(bits: int) -> None:
    _check(1 <= bits <= MAX_BITS, "bits", bits, f"in [1, {MAX_BITS}]")


def _check_not_negative(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        sound = value >= 0 and math.isfinite(value)
        _check(sound, name, value, "at least 0 and finite")


def _check_positive(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        _check(value > 0 and math.isfinite(value), name, value, "positive and finite")


@dataclass(frozen=True)
class NoneConfig:
    """No quantizer: the continuous bottleneck (with it, LFQUIAD is DRAEM)."""


@dataclass(frozen=True)
class LFQConfig:
    """Lookup-free quantization (paper 2.2 and 4.3; MAGVIT-v2, arXiv:2310.05737)."""

    bits: int = 16
    """Sign bits a position: 2^bits codes (paper 4.3)."""
    entropy_weight: float = 0.02
    """Weight of the entropy regulariser (paper 4.3). 0 leaves it out."""
    gamma: float = 1.0
    """Diversity factor: weight of the batch entropy in the regulariser (paper 4.3)."""
    commitment_weight: float = 0.25
    """Weight of the squared distance between z and its code."""
    temperature: float = 1.0
    """tau of p(c|z) ~ exp(2 z.c / tau); the log-odds of a bit are 4 z / tau."""
    normalisation: Normalisation = "none"
    """Of z before the sign, over the bits of a position: `layer` to mean 0 and
    variance 1 without affine parameters, `l2` to length sqrt(bits)."""
    anneal_steps: int = 0
    """Steps over which both factors below go linearly to 1. 0: no annealing."""
    anneal_entropy_weight: float = 1.0
    """Factor on `entropy_weight` at step 0."""
    anneal_temperature: float = 1.0
    """Factor on `temperature` at step 0."""
    running_momentum: float = 0.0
    """Momentum of the running batch distribution, so that small batches regularise the
    use of codes across steps. 0: the batch alone, as in the paper."""

    def __post_init__(self) -> None:
        _check_bits(self.bits)
        names = ("entropy_weight", "gamma", "commitment_weight", "anneal_steps")
        _check_not_negative(self, *names)
        _check_positive(self, "temperature", "anneal_temperature")
        _check_not_negative(self, "anneal_entropy_weight")
        momentum = self.running_momentum
        _check(0 <= momentum < 1, "running_momentum", momentum, "in [0, 1)")
        allowed = ("none", "layer", "l2")
        named = self.normalisation in allowed
        _check(named, "normalisation", repr(self.normalisation), f"one of {allowed}")

    @property
    def uses_batch_entropy(self) -> bool:
        """Whether the loss needs the distribution over all 2^bits codes."""
        return self.entropy_weight > 0 and self.gamma > 0


QuantizerConfig = NoneConfig | LFQConfig
"""What `ModelConfig.quantizer` may be."""
