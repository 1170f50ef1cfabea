"""Memory bank, logistic head, training and validation data: computed before the steps.

Without a memory bank the photographs stay as they are, and every step varies them. With
a bank each photograph is varied once and compared with the shots it was not made from.
Doing this in every step would be too slow. The step then only mirrors, turns and crops.
"""

import functools
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from lfq_jax.backbones import Backbone
from lfq_jax.config import TrainConfig
from lfq_jax.memory_bank.bank import MemoryBank
from lfq_jax.memory_bank.deepest import fit_deepest_statistics
from lfq_jax.memory_bank.feature_residuals import fit_reconstruction_statistics
from lfq_jax.memory_bank.features import fit_feature_extractor
from lfq_jax.memory_bank.logistic_head import (
    CONTRAST,
    FILTER_CONTRAST,
    LogisticHead,
    draw_cells,
    fit_logistic_head,
    mixed_heads,
)
from lfq_jax.memory_bank.map_channels import are_of_filters
from lfq_jax.model.lfquiad import Model
from lfq_jax.training.augmentation import vary, vary_in_turn
from lfq_jax.training.data import (
    Photographs,
    Samples,
    TrainingData,
    anomalous_samples,
    good_samples,
)
from lfq_jax.training.leave_one_out import LeaveOneOut, leave_one_out
from lfq_jax.training.random_streams import RandomStreams
from lfq_jax.training.validation import Validation


class Prepared(NamedTuple):
    """Everything that is computed once, before the first step."""

    bank: MemoryBank | None
    head: LogisticHead | None
    score_head: LogisticHead | None
    """Of the image score, where it has a head of its own."""
    training: TrainingData
    validation: Validation
    others: LeaveOneOut | None
    """For each shot the bank of the others; None without a memory bank."""


def prepare(
    data: Photographs,
    held_out: Photographs,
    *,
    model: Model,
    config: TrainConfig,
    streams: RandomStreams,
    backbone: Backbone | None = None,
) -> Prepared:
    """Vary and measure the photographs, and fit what is fitted before training.

    Args:
      data: what the detector learns from.
      held_out: anomalies of other seeds, for validation.
      backbone: the network of `model.config.memory_bank.backbone`.

    Raises:
      ValueError: where the config names a backbone and `backbone` is missing.
    """
    bank_config = model.config.memory_bank
    if bank_config is None:
        return _without_bank(
            data, held_out, model=model, config=config, streams=streams
        )
    shots, stride = data.normals, model.config.stem
    extractor = fit_feature_extractor(
        shots, bank_config, stride=stride, backbone=backbone
    )
    others = leave_one_out(
        extractor, shots, model=model, augment=config.augment, streams=streams
    )
    training = TrainingData(
        anomalous=_measured_anomalies(
            data, others, streams.training_anomalies, for_steps=True
        ),
        good=others.held_out_variations(
            config.good_images, streams.training_good, for_steps=True
        ),
    )
    head = score_head = None
    if bank_config.head_weight or bank_config.score_head_weight:
        head, score_head = _fit_heads(training, streams.head(), model)
    validation = Validation.of(
        _measured_anomalies(
            held_out, others, streams.validation_anomalies, for_steps=False
        ),
        others.held_out_variations(len(held_out.images), streams.validation_good),
    )
    bank = others.full_bank(streams.seed)
    if bank_config.compares_deepest:
        deepest = np.asarray(training.good.distance_maps.deepest[..., 0])
        bank = bank._replace(deepest=fit_deepest_statistics(deepest))
    if bank_config.weighs_reconstruction(is_texture=model.is_texture):
        good = np.asarray(training.good.distance_maps.reconstruction[..., 0])
        bank = bank._replace(reconstruction=fit_reconstruction_statistics(good))
    return Prepared(bank, head, score_head, training, validation, others)


def _without_bank(
    data: Photographs,
    held_out: Photographs,
    *,
    model: Model,
    config: TrainConfig,
    streams: RandomStreams,
) -> Prepared:
    stride, variation = model.config.stem, config.augment
    training = TrainingData(
        anomalous=anomalous_samples(data, stride=stride),
        good=good_samples(data.normals, stride=stride),
    )
    validation = Validation.of(
        vary(
            anomalous_samples(held_out, stride=stride),
            streams.validation_anomalies,
            variation,
            is_texture=model.is_texture,
        ),
        vary_in_turn(
            held_out.normals,
            len(held_out.images),
            streams.validation_good,
            variation,
            stride=stride,
            is_texture=model.is_texture,
        ),
    )
    return Prepared(None, None, None, training, validation, None)


def _measured_anomalies(
    data: Photographs, others: LeaveOneOut, key: PRNGKeyArray, *, for_steps: bool
) -> Samples:
    """Every anomaly varied once, and measured without the shot it was made from."""
    varied = vary(
        anomalous_samples(data, stride=others.model.config.stem),
        key,
        others.varied_by,
        is_texture=others.model.is_texture,
    )
    return others.measure(varied, data.sources, for_steps=for_steps)


def _fit_heads(
    training: TrainingData, rng: np.random.Generator, model: Model
) -> tuple[LogisticHead, LogisticHead | None]:
    """The logistic head, and the second head for the image score, if there is one."""
    parts = [jax.device_get(each) for each in training]
    distances = np.concatenate([part.distance_maps.distances for part in parts])
    masks = np.concatenate([part.masks for part in parts])
    cells = draw_cells(distances, masks, rng=rng)
    config = model.config.memory_bank
    if config is None or config.backbone is None:
        return fit_logistic_head(cells), None
    # How far a whole image is from another shot says little about how far it is from
    # all shots. That was measured with a backbone, not from scratch.
    of_filters = are_of_filters(config, is_texture=model.is_texture)
    fit = functools.partial(
        fit_logistic_head,
        cells,
        weighs_surround=False,
        contrast=[FILTER_CONTRAST if each else CONTRAST for each in of_filters],
    )
    head = fit()
    if not config.has_score_head(is_texture=model.is_texture):
        return head, None
    coarse = fit(ignored=of_filters)
    return head, mixed_heads(head, coarse, config.coarse_score_weight)
