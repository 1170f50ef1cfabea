"""The libraries of the `agm` extra, which the weight-free generator does without."""

import importlib.util

_LIBRARIES = (
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "huggingface_hub",
    "groundingdino",
    "segment_anything",
)


def require_agm_extra() -> None:
    """Raise where a library of the extra is missing; imports none of them.

    Raises:
      FileNotFoundError: names what is missing and how to get it.
    """
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise FileNotFoundError(
            f"{', '.join(missing)} not installed: pip install -e '.[agm]', or name an "
            "environment that has it (--agm.python); --generator texture needs none"
        )
