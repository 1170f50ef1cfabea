"""The settings of every quantizer, as frozen dataclasses. Standard library only.

The command line builds these configs before jax is loaded.
"""

import math
from dataclasses import dataclass
from typing import Literal

Normalisation = Literal["none", "layer", "l2"]

MAX_BITS = 64
"""Most bits of a code: its index must fit in 64 bits."""


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


def _check_codebook(codes: int, dim: int) -> None:
    _check(2 <= codes <= 1 << 31, "codes", codes, "in [2, 2^31]")
    _check(dim >= 1, "code_dim", dim, "at least 1")


@dataclass(frozen=True)
class NoneConfig:
    """No quantizer: the continuous bottleneck (with it, LFQUIAD is DRAEM)."""


@dataclass(frozen=True)
class LFQConfig:
    """Lookup-free quantization (paper 2.2 and 4.3; MAGVIT-v2, arXiv:2310.05737)."""

    bits: int = 16
    """Sign bits per position: 2^bits codes (paper 4.3)."""
    entropy_weight: float = 0.02
    """Weight of the entropy regulariser (paper 4.3). 0 turns it off."""
    gamma: float = 1.0
    """Diversity factor: weight of the batch entropy in the regulariser (paper 4.3)."""
    commitment_weight: float = 0.25
    """Weight of the squared distance between z and its code."""
    temperature: float = 1.0
    """tau of p(c|z) ~ exp(2 z.c / tau); the log-odds of a bit are 4 z / tau."""
    normalisation: Normalisation = "none"
    """How z is normalised over the bits of a position before its sign is taken:
    `layer` gives mean 0 and variance 1, without affine parameters; `l2` gives length
    sqrt(bits)."""
    anneal_steps: int = 0
    """Steps over which both factors below change linearly to 1. 0: no annealing."""
    anneal_entropy_weight: float = 1.0
    """Factor on `entropy_weight` at step 0."""
    anneal_temperature: float = 1.0
    """Factor on `temperature` at step 0."""
    running_momentum: float = 0.0
    """Momentum of the running batch distribution, which lets small batches regularise
    code use across steps. 0: only the current batch, as in the paper."""

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


@dataclass(frozen=True)
class ResidualLFQConfig:
    """Repeated LFQ of the residual, each at half the scale (arXiv:2107.03312)."""

    bits: int = 8
    """Sign bits per position and stage; z has as many entries."""
    stages: int = 2
    """Number of LFQs in sequence: 2^(bits stages) codes."""
    entropy_weight: float = 0.02
    """Weight of LFQ's entropy regulariser, averaged over the stages."""
    gamma: float = 1.0
    """Weight of the batch entropy in the regulariser."""
    commitment_weight: float = 0.25
    """Weight of the squared distance between each residual and its code."""
    temperature: float = 1.0
    """As in LFQ, with the residual measured in units of the stage's scale."""

    def __post_init__(self) -> None:
        self.stage  # noqa: B018 - LFQConfig has the checks
        _check(self.stages >= 1, "stages", self.stages, "at least 1")
        bits = self.bits * self.stages
        _check(bits <= MAX_BITS, "bits times stages", bits, f"at most {MAX_BITS}")

    @property
    def stage(self) -> LFQConfig:
        """The config of every stage."""
        return LFQConfig(
            bits=self.bits,
            entropy_weight=self.entropy_weight,
            gamma=self.gamma,
            commitment_weight=self.commitment_weight,
            temperature=self.temperature,
        )


@dataclass(frozen=True)
class BSQConfig:
    """Binary spherical quantization (arXiv:2406.07548): LFQ on the unit sphere."""

    bits: int = 16
    """Sign bits per position: 2^bits codes."""
    entropy_weight: float = 0.1
    """Weight of the entropy regulariser (the authors' configurations)."""
    gamma: float = 1.0
    """Weight of the batch entropy in the regulariser."""
    temperature: float = 1.0
    """tau of p(c|u) ~ exp(2 u.c / tau) with u and c of length 1; the log-odds of a bit
    are 4 u / (tau sqrt(bits))."""

    def __post_init__(self) -> None:
        self.lfq  # noqa: B018 - LFQConfig has the checks

    @property
    def lfq(self) -> LFQConfig:
        """The equivalent LFQ: of z at length sqrt(bits), equal up to that factor."""
        return LFQConfig(
            bits=self.bits,
            entropy_weight=self.entropy_weight,
            gamma=self.gamma,
            commitment_weight=0.0,
            temperature=self.temperature * self.bits,
            normalisation="l2",
        )


@dataclass(frozen=True)
class FSQConfig:
    """Finite scalar quantization (arXiv:2309.15505)."""

    levels: tuple[int, ...] = (8, 8, 8, 5, 5, 5)
    """Number of levels of each entry of z; their product is the number of codes."""

    def __post_init__(self) -> None:
        _check(len(self.levels) >= 1, "levels", self.levels, "at least one number")
        _check(min(self.levels) >= 2, "levels", self.levels, "2 or more each")
        _check(max(self.levels) <= 1000, "levels", self.levels, "1000 or fewer each")
        codes = math.prod(self.levels)
        _check(codes <= 1 << 32, "the product of levels", codes, "at most 2^32")


@dataclass(frozen=True)
class VQConfig:
    """A codebook of moving averages of z (arXiv:1711.00937, appendix A.1)."""

    codes: int = 65536
    """Vectors in the codebook."""
    code_dim: int = 16
    """Entries of a vector, and of z's last axis."""
    commitment_weight: float = 0.25
    """Weight of the squared distance between z and its code."""
    momentum: float = 0.99
    """Momentum of the moving averages: the share they keep at each step."""
    revive_below: float = 1e-3
    """A code whose moving average of uses per step is below this is replaced by a
    random z of the batch (arXiv:2005.00341). 0: never."""

    def __post_init__(self) -> None:
        _check_codebook(self.codes, self.code_dim)
        _check_not_negative(self, "commitment_weight", "revive_below")
        _check(0 <= self.momentum < 1, "momentum", self.momentum, "in [0, 1)")


@dataclass(frozen=True)
class SimVQConfig:
    """A fixed random codebook times a trained matrix (arXiv:2411.02038)."""

    codes: int = 65536
    """Vectors in the codebook."""
    code_dim: int = 16
    """Entries of a vector, and of z's last axis."""
    codebook_weight: float = 1.0
    """Weight of the squared distance from the code to z, which trains the matrix."""
    commitment_weight: float = 0.25
    """Weight of the squared distance from z to its code, which trains the encoder."""

    def __post_init__(self) -> None:
        _check_codebook(self.codes, self.code_dim)
        _check_not_negative(self, "codebook_weight", "commitment_weight")


@dataclass(frozen=True)
class GumbelVQConfig:
    """Codes sampled by Gumbel-softmax (arXiv:1611.01144; DALL-E's arXiv:2102.12092).

    Unlike the other quantizers it keeps two arrays of positions x codes in memory.
    """

    codes: int = 8192
    """Vectors in the codebook (DALL-E's number)."""
    code_dim: int = 16
    """Entries of a vector, and of z's last axis."""
    kl_weight: float = 5e-4
    """Weight of the KL divergence of a position's code distribution from uniform."""
    temperature: float = 1.0
    """Temperature of the softmax: a lower one is closer to a single code."""
    anneal_steps: int = 0
    """Steps over which the factor below changes linearly to 1. 0: no annealing."""
    anneal_temperature: float = 1.0
    """Factor on `temperature` at step 0."""

    def __post_init__(self) -> None:
        _check_codebook(self.codes, self.code_dim)
        _check_not_negative(self, "kl_weight", "anneal_steps")
        _check_positive(self, "temperature", "anneal_temperature")


QuantizerConfig = (
    LFQConfig
    | ResidualLFQConfig
    | BSQConfig
    | FSQConfig
    | VQConfig
    | SimVQConfig
    | GumbelVQConfig
    | NoneConfig
)
"""The types that `ModelConfig.quantizer` accepts."""
