"""TODO docstring of lfq_jax.memory_bank.layout."""

from lfq_jax.config import MemoryBankConfig
from lfq_jax.memory_bank.features import reconstructed_sizes, sizes_by_kind


def channels(config: MemoryBankConfig | None, *, is_texture: bool) -> int:
    """Channels of `compare` that say how far a cell is from the shots."""
    if config is None:
        return 0
    sizes = sizes_by_kind(config)
    searches = 1 if is_texture or not config.window else 2
    of_features = sum(sizes[0]) if config.shows_features else 0
    return searches * sum(len(kind) for kind in sizes) + of_features


def orientation_channels(config: MemoryBankConfig | None, *, is_texture: bool) -> int:
    """Channels of `compare` that say how strangely grain runs: one or none."""
    return int(config is not None and is_texture and config.orientation_weight > 0)


def known_channels(config: MemoryBankConfig | None, *, is_texture: bool) -> int:
    """How many channels are prepared of a training image: all that `compare` finds,
    and the features to give back of the image without its anomaly. (Of the grain only
    validation makes use.)"""
    if config is None:
        return 0
    of_grain = orientation_channels(config, is_texture=is_texture)
    features = sum(reconstructed_sizes(config))
    return channels(config, is_texture=is_texture) + of_grain + 2 * features
