"""The libraries of the `agm` extra, which the weight-free generator does without."""

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
    """Raise where one of the extra's `libraries` is missing; imports none of them.

    Raises:
      FileNotFoundError: names what is missing and how to get it.
    """
    wanted = dict.fromkeys(libraries)
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        raise FileNotFoundError(
            f"{', '.join(missing)} not installed: pip install -e '.[agm]', or name an "
            "environment that has it (--agm.python); --generator texture needs none"
        )
