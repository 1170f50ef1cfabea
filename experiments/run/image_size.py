"""The size of the networks' images for one category, from its shots."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lfq_jax.config import ModelConfig

if TYPE_CHECKING:
    from datasets import Shots


def sized(
    model: ModelConfig, shapes: Sequence[tuple[int, ...]], *, largest_px: int = 0
) -> ModelConfig:
    """The networks for shots of these heights and widths.

    A model whose `size_px` is set is returned unchanged.

    Args:
      largest_px: `image_px` of the result is the shots' own size, but at most this, and
        at least `model.image_px`.

    Raises:
      ValueError: the shots are too elongated.
    """
    from datasets.framing import fitted_size, median_shape  # imports numpy

    if model.size_px:
        return model
    if model.fit == "square":
        sides = [min(shape[:2]) for shape in shapes]
    else:
        sides = [math.isqrt(shape[0] * shape[1]) for shape in shapes]
    px = min(largest_px, *sides)
    px = max(px - px % model.px_divisor, model.image_px)
    size = px, px
    if model.fit == "proportion":
        size = fitted_size(median_shape(shapes), px, model.px_divisor)
    return dataclasses.replace(model, image_px=px, size_px=size)


def sized_for_shots(
    model: ModelConfig, shots: "Shots", *, largest_px: int = 0
) -> ModelConfig:
    """The networks for the category that `shots` show; see `sized`.

    Raises:
      ValueError: the shots are too elongated. Names them.
    """
    shapes = [example.image.shape for example in shots.examples]
    try:
        return sized(model, shapes, largest_px=largest_px)
    except ValueError as error:
        category = shots.examples[0].category
        raise ValueError(
            f"the shots {', '.join(shots.keys)} of {category}: {error}; use a larger "
            "--model.image-px, or --model.fit square"
        ) from None
