"""Flags that have no effect on the method of a run."""

from collections.abc import Sequence

from experiments.few_shot.settings import Method

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
    "lfquiad": ("knn", "subspace"),
    "knn": (*_OF_TRAINING, "subspace"),
    "subspace": (*_OF_TRAINING, "knn"),
}
"""Flags, and beginnings of flags, that a method does not use."""


def refuse_unused(method: Method, argv: Sequence[str]) -> None:
    """Refuse flags in `argv` that the method does not use.

    Raises:
      ValueError: names the flag and the method.
    """
    for word in argv:
        flag = word.partition("=")[0].replace("_", "-")
        if not flag.startswith("--"):
            continue
        name = flag.removeprefix("--")
        if _is_under(name, UNUSED[method]) and not _is_under(name, _KEPT):
            raise ValueError(
                f"{flag} has no effect with --method {method}: leave it out"
            )


def _is_under(name: str, flags: Sequence[str]) -> bool:
    return any(name == flag or name.startswith(f"{flag}.") for flag in flags)
