"""How many channels each field of `DistanceMaps` has, without computing any."""

from typing import NamedTuple

from lfq_jax.config import MemoryBankConfig
from lfq_jax.memory_bank.features import group_sizes_by_source, reconstructed_sizes
from lfq_jax.memory_bank.searches import searches


class MapChannels(NamedTuple):
    """Channels of every field of `DistanceMaps`, by the same names."""

    distances: int = 0
    orientation: int = 0
    features: int = 0
    clean_features: int = 0


def map_channels(config: MemoryBankConfig | None, *, is_texture: bool) -> MapChannels:
    """Channels of the distance maps of a training image; all 0 without a bank.

    Images that are only scored have no `clean_features`.
    """
    if config is None:
        return MapChannels()
    distances = sum(
        len(sizes) * (search.anywhere + search.in_window)
        for sizes, search in zip(
            group_sizes_by_source(config),
            searches(config, is_texture=is_texture),
            strict=True,
        )
    )
    targets = sum(reconstructed_sizes(config))
    return MapChannels(
        distances=distances,
        orientation=int(is_texture and config.orientation_weight > 0),
        features=targets,
        clean_features=targets,
    )
