"""Learning, scoring and measuring: the JAX side of LFQUIAD.

detector = lfq_jax.load("runs/<id>")
score, is_anomalous, heat_map, mask, calibrated = detector(image)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lfq_jax.inference.detector import Detector, Prediction, load

__all__ = ["Detector", "Prediction", "load"]


def __getattr__(name: str) -> Any:
    """The detector's names, at first use: the package itself imports no jax."""
    if name in __all__:
        from lfq_jax.inference import detector

        return getattr(detector, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
