"""A trained model over any number of images, in batches of one compiled shape."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

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
    waiting: list[np.ndarray] = []
    for image in images:
        waiting.append(to_square(image, scorer.model.config.image_px))
        if len(waiting) == batch_size:
            yield from _score(scorer, variables, waiting, batch_size)
            waiting = []
    if waiting:
        yield from _score(scorer, variables, waiting, batch_size)


def _score(
    scorer: Scorer, variables: Variables, images: list[np.ndarray], batch_size: int
) -> Iterator[ImagePrediction]:
    """One batch, padded with its last image to the one compiled shape."""
    padded = np.stack(images + [images[-1]] * (batch_size - len(images)))
    scored = scorer(variables, padded)
    maps = np.asarray(scored.maps)
    scores = {name: np.asarray(value) for name, value in scored.scores.items()}
    reconstructions = np.round(np.asarray(scored.reconstructions) * 255)
    for i in range(len(images)):
        yield ImagePrediction(
            map=maps[i],
            scores={name: float(value[i]) for name, value in scores.items()},
            reconstruction=reconstructions[i].astype(np.uint8),
        )
