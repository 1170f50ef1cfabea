"""Where the commands search the weights of a backbone."""

import os

from agm_torch.cache_folder import hub_cache_folder, torch_cache_folder
from agm_torch.model_config import WeightsConfig
from lfq_jax.backbones.search import Places


def forbid_connections() -> None:
    """Forbid connections in this process and in those that it starts."""
    os.environ["HF_HUB_OFFLINE"] = "1"


def places(*, offline: bool) -> Places:
    """The folder of weights, torch's downloads and the hub's cache.

    Args:
      offline: whether no connection may be opened.
    """
    torch_cache = torch_cache_folder()
    folders = [WeightsConfig().directory]
    if torch_cache is not None:
        folders.append(torch_cache / "hub" / "checkpoints")
    return Places(tuple(folders), hub_cache_folder(), offline)
