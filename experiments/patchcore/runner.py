"""Run PatchCore: score and measure the test images of every category."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.patchcore.settings import PatchCore
from experiments.run.data_options import load_test_images
from experiments.run.folder import RunFolder

if TYPE_CHECKING:  # these import jax, which --help must not wait for
    from datasets import Shots
    from datasets.example import Example
    from datasets.framing import Framing
    from experiments.measure.ground_truths import GroundTruth
    from experiments.patchcore.memory_bank import View
    from lfq_jax.backbones import Backbone
    from lfq_jax.inference.predictor import RawPrediction

METHOD = "PatchCore"


def read_encoder(settings: PatchCore) -> "tuple[Backbone, View]":
    """The backbone, and which of its features are used.

    Raises:
      ValueError: if the weights cannot be used, or a stage does not exist.
    """
    from experiments.patchcore.memory_bank import View, default_stages
    from experiments.run.backbone_weights import places
    from lfq_jax.backbones import load_backbone

    encoder = load_backbone(settings.features, places(offline=settings.offline))
    stages = settings.stages or default_stages(encoder)
    encoder.check_stages(stages)
    return encoder, View(stages, settings.unit_length)


def _framing(settings: PatchCore, shots: "Shots") -> "Framing":
    """How photographs become the backbone's images: as textures, compared anywhere."""
    from datasets.framing import Framing, fitted_size, median_shape

    size = settings.image_px, settings.image_px
    if settings.fit == "proportion":
        shapes = [example.image.shape for example in shots.examples]
        size = fitted_size(median_shape(shapes), settings.image_px)
    return Framing(size, 1, is_texture=True, fit=settings.fit)


def _predictions(
    settings: PatchCore,
    encoder: "Backbone",
    view: "View",
    shots: "Shots",
    test: "Sequence[Example]",
) -> "tuple[list[GroundTruth], list[RawPrediction]]":
    """One ground truth and one prediction per test image."""
    from datasets.leaks import checked_for_leaks
    from datasets.progress import Bar
    from experiments.measure.ground_truths import photographs
    from experiments.patchcore.memory_bank import predict_patches, remember

    framing = _framing(settings, shots)
    memory = remember(
        encoder,
        [example.image for example in shots.examples],
        view,
        framing=framing,
        share=settings.coreset,
        seed=settings.seed,
    )
    category = shots.examples[0].category
    progress = Bar(test, desc=f"{category}: scoring", unit="image")
    checked = checked_for_leaks(shots.examples, progress, on_leak=settings.on_leak)
    truths: list[GroundTruth] = []
    predictions = list(
        predict_patches(
            memory,
            photographs(checked, truths, framing),
            view,
            framing=framing,
            neighbours=settings.neighbours,
            sigma_px=settings.smoothing_px,
        )
    )
    return truths, predictions


def run_category(
    settings: PatchCore,
    encoder: "Backbone",
    view: "View",
    category: str,
    shots: "Shots",
    *,
    folder: Path,
) -> dict[str, Any]:
    """The line of results.jsonl for one category. Writes its pictures into `folder`."""
    from datasets.files import make_folder
    from experiments.measure.category_metrics import measure
    from experiments.measure.curves_file import write_curves
    from experiments.report.pictures import draw_predictions

    started = time.monotonic()
    make_folder(folder)
    test = load_test_images(settings, category)
    truths, predictions = _predictions(settings, encoder, view, shots, test)
    score = settings.image_score
    measured = measure(truths, predictions, image_score=score)
    write_curves(folder, truths, predictions)
    draw_predictions(
        folder,
        test,
        truths,
        predictions,
        image_score=score,
        limit=settings.pictures,
    )
    return {
        "dataset": settings.dataset,
        "method": METHOD,
        "category": category,
        "kind": shots.examples[0].kind,
        "shots": settings.shots,
        "seed": settings.seed,
        "backbone": encoder.name,
        "stages": list(view.stages),
        "unit_length": view.unit_length,
        "image_score": score,
        **measured._asdict(),
        "inputs": {
            "shots": shots.by_key,
            "test_images": len(test),
        },
        "seconds": {"total": round(time.monotonic() - started, 2)},
    }


def run(settings: PatchCore, shots: "dict[str, Shots]", folder: RunFolder) -> None:
    """Run every category that has no result in `folder` yet."""
    encoder, view = read_encoder(settings)
    done = {line["category"] for line in folder.results()}
    for category, chosen in shots.items():
        if category not in done:
            place = folder.path / category
            line = run_category(settings, encoder, view, category, chosen, folder=place)
            folder.add_result(line)
