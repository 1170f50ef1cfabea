"""The codes of test images, drawn into a folder: for the reports."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.example import Example
from experiments.code_pictures import draw_code_use, draw_images
from experiments.code_use import CodeUse, code_use
from experiments.reconstruction import Reconstructed, reconstruct, squares
from experiments.truths import Truth
from lfq_jax.model.lfquiad import Model
from lfq_jax.model.variables import Variables
from lfq_jax.quantizers import Quantizer

USE = "codes.png"
IMAGES = "images.png"
PICTURED = 5
"""Test images that are drawn."""
COUNTED = 64
"""Test images of which the main job's report counts the codes."""


def draw_codes(
    folder: Path,
    quantizer: Quantizer,
    found: Reconstructed,
    masks: np.ndarray,
    truths: Sequence[Truth],
    *,
    title: str,
) -> CodeUse | None:
    """Write codes.png, where there are codes, and images.png; return the codes' use."""
    use = code_use(quantizer, found.codes)
    if use is not None:
        draw_code_use(folder / USE, use, title=title)
    titles = [f"{each.defect} {each.key.split('/')[-1]}" for each in truths]
    chosen = _pictured([each.defect for each in truths])
    draw_images(folder / IMAGES, found, masks, use, titles, chosen)
    return use


def draw_codes_of_test(
    folder: Path,
    model: Model,
    variables: Variables,
    examples: Sequence[Example],
    truths: Sequence[Truth],
) -> None:
    """The same of a trained detector, from an even pick of the test images."""
    pick = np.linspace(0, len(truths) - 1, min(COUNTED, len(truths))).round()
    picked = [int(i) for i in pick]
    if not picked:
        return
    images, masks = squares((examples[i] for i in picked), model.config.image_px)
    found = reconstruct(model, variables, images)
    title = f"{len(picked)} test images"
    shown = [truths[i] for i in picked]
    draw_codes(folder, model.quantizer, found, masks, shown, title=title)


def _pictured(defects: Sequence[str]) -> list[int]:
    """The first image of every kind, good parts first, as many as are drawn."""
    kinds = sorted(set(defects), key=lambda kind: (kind != "good", kind))
    return [list(defects).index(kind) for kind in kinds][:PICTURED]
