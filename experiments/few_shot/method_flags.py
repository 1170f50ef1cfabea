"""Flags that have no effect on a run, by its method or without a backbone."""

from collections.abc import Sequence

from experiments.few_shot.settings import Method
from lfq_jax.backbones.published import NONE
from lfq_jax.config.training_free import COMPARISONS

_OF_TRAINING = (
    *("train", "agm", "agm-python", "agm-workers", "anomalies"),
    *("validation-anomalies", "devices", "profile", "model"),
)
_KEPT = (
    "train.augment",  # varies the shots for the thresholds
    *("model.image-px", "model.fit", "model.size-px"),
    "model.memory-bank.levels",
    "model.memory-bank.backbone",
)
"""Flags under those of `_OF_TRAINING` that training-free methods use as well."""
UNUSED: dict[Method, tuple[str, ...]] = {
    "lfquiad": tuple(COMPARISONS),
    **{
        method: (*_OF_TRAINING, *(other for other in COMPARISONS if other != method))
        for method in COMPARISONS
    },
}
"""Flags, and beginnings of flags, that a method does not use."""
_OF_BACKBONE = (
    *("model.memory-bank.levels-beside-backbone", "model.memory-bank.rotations"),
    *("model.memory-bank.deepest-weight", "model.memory-bank.coarse-score-weight"),
    *("model.memory-bank.residuals", "model.memory-bank.autoencoder"),
    "model.memory-bank.reconstruction-weight",
    "train.loss.feature-weight",
)
"""Flags that only a backbone gives an effect."""


def refuse_unused(method: Method, argv: Sequence[str]) -> None:
    """Refuse flags in `argv` that the method does not use.

    Raises:
      ValueError: names the flag and the method.
    """
    for flag in _flags(argv):
        name = flag.removeprefix("--")
        if _is_under(name, UNUSED[method]) and not _is_under(name, _KEPT):
            raise ValueError(
                f"{flag} has no effect with --method {method}: leave it out"
            )


def refuse_without_backbone(backbone: str, argv: Sequence[str]) -> None:
    """Refuse flags in `argv` that need a backbone, where the run has none.

    Raises:
      ValueError: names the flag.
    """
    for flag in _flags(argv):
        if backbone == NONE and _is_under(flag.removeprefix("--"), _OF_BACKBONE):
            raise ValueError(
                f"{flag} has no effect with --backbone {NONE}: leave it out"
            )


def _flags(argv: Sequence[str]) -> list[str]:
    """The flags among the words of a command, spelled with hyphens."""
    names = [word.partition("=")[0].replace("_", "-") for word in argv]
    return [name for name in names if name.startswith("--")]


def _is_under(name: str, flags: Sequence[str]) -> bool:
    return any(name == flag or name.startswith(f"{flag}.") for flag in flags)
