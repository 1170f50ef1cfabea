"""Where each source of features is searched for a cell's nearest neighbour."""

from typing import NamedTuple

from lfq_jax.config import MemoryBankConfig
from lfq_jax.memory_bank.features import stages_compared

FINE_STRIDE = 4
"""A backbone's stage of at most this stride is fine. It tells small parts apart by
their place, and would find similar ones anywhere."""


class Search(NamedTuple):
    """How the features of one source are searched."""

    anywhere: bool
    """In all patches that the bank keeps."""
    in_window: bool
    """In the window around the cell's own place on the shots."""
    rotated: bool = False
    """Whether the patches from anywhere include those of rotated shots."""


def searches(config: MemoryBankConfig, *, is_texture: bool) -> tuple[Search, ...]:
    """The search of each source: the filter bank if it is compared, then the stages,
    and the deepest again if it is compared for the image score.

    A texture has no places, so it is searched anywhere. Of an object, without a
    backbone, every source is searched in both ways. With a backbone, fine features are
    searched in the window, and coarse ones anywhere, in rotated shots as well. A fine
    stage without a window search is not compared: the filter bank sees as much.
    """
    has_window = config.window > 0 and not is_texture
    if config.backbone is None:
        return (Search(anywhere=True, in_window=has_window),)
    filters = Search(
        anywhere=not has_window,
        in_window=has_window,
        rotated=not (has_window or is_texture),
    )
    fine = Search(anywhere=False, in_window=has_window)
    coarse = Search(anywhere=True, in_window=False, rotated=not is_texture)
    by_stage = [
        fine if stage.stride <= FINE_STRIDE else coarse
        for stage in stages_compared(config)
    ]
    if config.compares_deepest:
        by_stage[-1] = coarse
    return (filters, *by_stage) if config.filter_levels else tuple(by_stage)
