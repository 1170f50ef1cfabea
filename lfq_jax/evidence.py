"""What thresholds are derived from: scores of images whose answer is known.

At the end of a training nothing but the k shots is known to be good. Each is therefore
scored as a stranger, in drawn variations: compared with the *other* shots' patches
(leave one out). The networks have seen the shots, the memory has not.
"""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8

from lfq_jax.batches import filled
from lfq_jax.model import Variables
from lfq_jax.prepare import Preparation
from lfq_jax.scoring import Scorer

VARIATIONS = 48
"""Varied shots that are scored at the end of a training."""
_OTHER_SEED = 1_000_003  # variations that neither training nor validation drew
Scores = dict[str, list[float]]
"""Every image score by its name, and `map_max`: the maximum of the smoothed map."""


class Evidence(NamedTuple):
    """Scores of images whose answer is known, by kind."""

    varied: Scores
    """Variations of the shots, each compared with the others."""
    synthetic_good: Scores
    """The good half of the synthetic validation."""
    synthetic_anomalous: Scores
    """Its anomalous half."""


def score_in_batches(
    scorer: Scorer,
    variables: Variables,
    images: UInt8[np.ndarray, "n h w 3"],
    references: Shaped[np.ndarray, "n gh gw c"] | None,
) -> tuple[Float[np.ndarray, "n h w"], Scores]:
    """Maps and scores of any number of images of the model's size."""
    count = len(images)
    parts = []
    for chunk, _ in filled(range(count), min(scorer.config.batch_size, count)):
        known = None if references is None else references[chunk].astype(np.float32)
        parts.append(jax.device_get(scorer(variables, images[chunk], known)))
    maps = np.concatenate([part.maps for part in parts])[:count]
    scores = {
        str(name): np.concatenate([part.scores[name] for part in parts])[:count]
        for name in parts[0].scores
    }
    scores["map_max"] = maps.max((1, 2))
    return maps, {name: values.tolist() for name, values in scores.items()}


def gather(
    scorer: Scorer,
    variables: Variables,
    preparation: Preparation,
    normals: UInt8[np.ndarray, "k h w 3"],
    *,
    validation: Scores,
    labels: Bool[np.ndarray, "n"],
) -> Evidence:
    """All that a finished training can know about scores.

    Args:
      validation: scores of the synthetic validation.
      labels: which of its images are anomalous.
    """
    strange = dataclasses.replace(preparation, seed=preparation.seed + _OTHER_SEED)
    varied = jax.device_get(strange.strangers(normals, VARIATIONS, stream=3))
    known = None if preparation.model.reference is None else varied.references
    return Evidence(
        varied=score_in_batches(scorer, variables, varied.images, known)[1],
        synthetic_good=_where(validation, ~labels),
        synthetic_anomalous=_where(validation, labels),
    )


def _where(scores: Scores, chosen: np.ndarray) -> Scores:
    return {name: np.asarray(v)[chosen].tolist() for name, v in scores.items()}
