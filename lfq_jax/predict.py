"""A trained model over any number of images, in batches of one compiled shape."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from lfq_jax.batches import filled
from lfq_jax.data import to_square
from lfq_jax.model import Variables
from lfq_jax.scoring import Scorer


class ImagePrediction(NamedTuple):
    """One image's result, at the model's resolution."""

    map: Float[np.ndarray, "h w"]
    scores: dict[str, float]
    """By name; of the networks, those of `ImageScore`."""
    reconstruction: UInt8[np.ndarray, "h w 3"] | None = None
    """None where a method makes none."""


def predict(
    scorer: Scorer,
    variables: Variables,
    images: Iterable[UInt8[np.ndarray, "H W 3"]],
    *,
    batch_size: int,
) -> Iterator[ImagePrediction]:
    """Score images of any size, in their order. Holds one batch in memory."""
    px = scorer.model.config.image_px
    squares = (to_square(image, px) for image in images)
    for batch, count in filled(squares, batch_size):
        scored = scorer(variables, np.stack(batch))
        maps = np.asarray(scored.maps)
        scores = {name: np.asarray(value) for name, value in scored.scores.items()}
        reconstructions = np.round(np.asarray(scored.reconstructions) * 255)
        for i in range(count):
            yield ImagePrediction(
                map=maps[i],
                scores={name: float(value[i]) for name, value in scores.items()},
                reconstruction=reconstructions[i].astype(np.uint8),
            )
