"""Draws the codes of test images into a folder, for the reports."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.example import Example
from experiments.measure.code_usage import CodeUse, code_use
from experiments.measure.ground_truths import GroundTruth
from experiments.measure.reconstruction import training_images
from experiments.report.code_plots import draw_code_use, draw_images
from lfq_jax.inference.predictor import Predictor, Reconstruction
from lfq_jax.quantizers import Quantizer

USE = "codes.png"
IMAGES = "images.png"
MAX_DRAWN = 5
"""How many test images are drawn at most."""
MAX_COUNTED = 24
"""The codes of at most this many test images are counted for the run's report."""


def draw_codes(
    folder: Path,
    quantizer: Quantizer,
    reconstructed: Reconstruction,
    masks: np.ndarray,
    truths: Sequence[GroundTruth],
    *,
    title: str,
) -> CodeUse | None:
    """Write images.png and, if the quantizer has codes, codes.png.

    Returns:
      How the codes are used; None if the quantizer has no codes.
    """
    use = code_use(quantizer, reconstructed.codes)
    if use is not None:
        draw_code_use(folder / USE, use, title=title)
    titles = [f"{truth.defect} {truth.key.split('/')[-1]}" for truth in truths]
    chosen = _first_of_each_defect([truth.defect for truth in truths])
    draw_images(folder / IMAGES, reconstructed, masks, use, titles, chosen)
    return use


def draw_codes_of_test(
    folder: Path,
    predictor: Predictor,
    examples: Sequence[Example],
    truths: Sequence[GroundTruth],
) -> None:
    """Write the same pictures for a trained detector.

    The codes of at most MAX_COUNTED test images are counted, spread evenly over the
    test split. Without test images nothing is written.
    """
    even = np.linspace(0, len(truths) - 1, min(MAX_COUNTED, len(truths))).round()
    picked = [int(i) for i in even]
    if not picked:
        return
    chosen = (examples[i] for i in picked)
    images, masks = training_images(chosen, predictor.framing)
    reconstructed = predictor.reconstruct(images)
    title = f"{len(picked)} test images"
    picked_truths = [truths[i] for i in picked]
    quantizer = predictor.networks.quantizer
    draw_codes(folder, quantizer, reconstructed, masks, picked_truths, title=title)


def _first_of_each_defect(defects: Sequence[str]) -> list[int]:
    """Index of the first image of each defect, good images first; at most MAX_DRAWN."""
    names = sorted(set(defects), key=lambda name: (name != "good", name))
    return [list(defects).index(name) for name in names][:MAX_DRAWN]
