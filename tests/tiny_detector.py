"""A detector that needs no training: random networks, and a real memory bank of two
shots. Its logistic head sums the distances, so what is new to the bank scores high."""

import dataclasses
import functools
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lfq_jax.calibration.calibrate import thresholds_after_training
from lfq_jax.calibration.scores import CalibrationScores
from lfq_jax.calibration.thresholds import Thresholds
from lfq_jax.config import AugmentConfig, MemoryBankConfig, ModelConfig, ScoreConfig
from lfq_jax.inference.appearance import appearance
from lfq_jax.inference.detector_files import DetectorRecord, save_detector
from lfq_jax.inference.predictor import Predictor
from lfq_jax.memory_bank.features import fit_feature_extractor
from lfq_jax.memory_bank.logistic_head import BLURS, CONTRAST, LogisticHead
from lfq_jax.model.lfquiad import Model
from lfq_jax.training.leave_one_out import leave_one_out
from lfq_jax.training.random_streams import random_streams

MODEL = ModelConfig(
    image_px=32,
    stem=4,
    reconstructive_widths=(6, 8),
    discriminative_widths=(6, 8),
    discriminator_input="residual",
    memory_bank=MemoryBankConfig(levels=2, patches=64, poses=0),
    kernels="he",
    prior=0.05,
)
SCORE = ScoreConfig(image_score="smoothed_max", smoothing_sigma=0.01, batch_size=4)


def part(
    number: int, *, px: int | tuple[int, int] = 32, spot: bool = False
) -> np.ndarray:
    """A grained grey part; with a bright spot where it is defective.

    Args:
      px: side, or height and width.
    """
    rng = np.random.default_rng((number, 5))
    height, width = (px, px) if isinstance(px, int) else px
    image = rng.integers(100, 140, (height, width, 3)).astype(np.uint8)
    if spot:
        side = min(height, width) // 4
        image[side : 2 * side, side : 2 * side] = 255
    return image


def tiny(
    *,
    category: str = "plate",
    kind: str = "object",
    photograph_px: int = 32,
    size: tuple[int, int] = (32, 32),
) -> tuple[DetectorRecord, Thresholds, np.ndarray]:
    """A detector, its thresholds and its validation images, of this size."""
    saved, thresholds, images = _made(kind, size)
    if size == (32, 32):
        saved = saved._replace(photograph_px=(photograph_px, photograph_px))
    return saved._replace(category=category), thresholds, images


@functools.cache
def _made(
    kind: str, size: tuple[int, int]
) -> tuple[DetectorRecord, Thresholds, np.ndarray]:
    """The detector of a category `plate`: others differ in name alone."""
    is_texture = kind == "texture"
    side = -(-math.isqrt(size[0] * size[1] - 1) // 8) * 8
    config = dataclasses.replace(MODEL, image_px=side, size_px=size)
    shots = np.stack([part(0, px=size), part(1, px=size)])
    model = Model(config, is_texture=is_texture)
    assert config.memory_bank
    extractor = fit_feature_extractor(shots, config.memory_bank, stride=config.stem)
    others = leave_one_out(
        extractor,
        shots,
        model=model,
        augment=AugmentConfig(noise=0.02),
        streams=random_streams(0),
    )
    weights = jnp.full(model.map_channels.distances * len(BLURS), 0.15)
    variables = model.init(jax.random.key(0))._replace(
        memory_bank=others.full_bank(0),
        logistic_head=LogisticHead(weights, CONTRAST * weights, jnp.asarray(-7.0)),
    )
    saved = DetectorRecord(
        category="plate",
        kind="texture" if is_texture else "object",
        shots=2,
        seed=0,
        photograph_px=size,
        bit_depth=8,
        model=config,
        score=SCORE,
        appearance=appearance(shots),
        variables=variables,
    )
    good = np.stack([part(i, px=size) for i in range(10, 14)])
    bad = np.stack([part(i, px=size, spot=True) for i in range(14, 18)])
    more = np.stack([part(i, px=size) for i in range(20, 36)])
    scores = [_scores(saved, each) for each in (more, good, bad)]
    thresholds = thresholds_after_training(
        CalibrationScores(*scores),
        shots=2,
        image_score="smoothed_max",
        pixel_f1_threshold=0.5,
        expects_new_parts=True,
    )
    images = np.concatenate([bad, good])
    return saved, thresholds, images


def _scores(saved: DetectorRecord, images: np.ndarray) -> dict[str, list[float]]:
    raw = Predictor(saved).predict(list(images))
    scores = [prediction.calibration_scores for prediction in raw]
    return {name: [each[name] for each in scores] for name in scores[0]}


def write_run(
    run: Path,
    *categories: str,
    kind: str = "object",
    size: tuple[int, int] = (32, 32),
) -> Path:
    """A run folder with a detector for every category."""
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.json").write_text('{"config": {}, "provenance": {}}\n')
    for category in categories:
        saved, thresholds, images = tiny(category=category, kind=kind, size=size)
        folder = run / category / "detector"
        folder.parent.mkdir(exist_ok=True)
        save_detector(folder, saved, thresholds=thresholds, validation=images)
    return run
