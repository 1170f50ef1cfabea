"""The libraries of the `agm` extra, which the weight-free generator does not need."""

import importlib.util

DIFFUSION = ("torch", "torchvision", "diffusers", "transformers")
GROUNDED_SAM = (
    "torch",
    "torchvision",
    "transformers",
    "groundingdino",
    "segment_anything",
)
HUB = ("huggingface_hub",)


def require_agm_extra(libraries: tuple[str, ...]) -> None:
    """Refuse a missing library of the extra, without importing any.

    Raises:
      FileNotFoundError: names the missing libraries and how to install them.
    """
    wanted = dict.fromkeys(libraries)
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        raise FileNotFoundError(
            f"{', '.join(missing)} not installed: pip install -e '.[agm]', or name an "
            "environment that has it (--agm.python); --generator texture needs none"
        )
