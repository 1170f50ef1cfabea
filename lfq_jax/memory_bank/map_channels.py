"""How many channels each field of `DistanceMaps` has, without computing any."""

from typing import NamedTuple

from lfq_jax.config import MemoryBankConfig
from lfq_jax.memory_bank.feature_residuals import residual_channels
from lfq_jax.memory_bank.features import group_sizes_by_source, reconstructed_sizes
from lfq_jax.memory_bank.searches import searches

_NO_SOURCE = -1


class MapChannels(NamedTuple):
    """Channels of every field of `DistanceMaps`, by the same names."""

    distances: int = 0
    orientation: int = 0
    features: int = 0
    clean_features: int = 0
    deepest: int = 0
    reconstruction: int = 0


def map_channels(config: MemoryBankConfig | None, *, is_texture: bool) -> MapChannels:
    """Channels of the distance maps of a training image; all 0 without a bank.

    Images that are only scored have no `clean_features`.
    """
    if config is None:
        return MapChannels()
    distances = len(_sources_of_distances(config, is_texture=is_texture))
    targets = sum(reconstructed_sizes(config))
    return MapChannels(
        distances=distances,
        orientation=int(is_texture and config.orientation_weight > 0),
        features=targets,
        clean_features=targets,
        deepest=int(config.compares_deepest),
        reconstruction=int(
            config.reconstruction_weight > 0
            and "reconstruction" in config.fitted_residuals(is_texture=is_texture)
        ),
    )


def are_of_filters(config: MemoryBankConfig, *, is_texture: bool) -> list[bool]:
    """Whether each channel of the distances is of the filter bank, in their order."""
    sources = _sources_of_distances(config, is_texture=is_texture)
    return [config.filter_levels > 0 and source == 0 for source in sources]


def _sources_of_distances(config: MemoryBankConfig, *, is_texture: bool) -> list[int]:
    """Index of the source of each channel of the distances.

    From anywhere come first, then those in the window, and then the residuals, which
    several sources share. The deepest stage, not averaged, has a field of its own.
    """
    groups = [len(sizes) for sizes in group_sizes_by_source(config)]
    found = searches(config, is_texture=is_texture)
    if config.compares_deepest:
        found = found[:-1]
    anywhere = [[i] * groups[i] for i, each in enumerate(found) if each.anywhere]
    in_window = [[i] * groups[i] for i, each in enumerate(found) if each.in_window]
    residuals = [[_NO_SOURCE] * residual_channels(config)]
    return [source for group in anywhere + in_window + residuals for source in group]
