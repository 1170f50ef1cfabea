"""One category: make a detector, score the test images, measure, draw.

LFQUIAD is trained on synthetic anomalies. A training-free detector is fitted to the
shots.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.few_shot.settings import FewShot
from experiments.run.concurrency import shows_bars
from experiments.run.data_options import load_test_images

if TYPE_CHECKING:
    import numpy as np

    from datasets import Shots
    from datasets.example import Example
    from experiments.measure.category_metrics import Measured
    from experiments.measure.ground_truths import GroundTruth
    from lfq_jax.config import TrainingFreeConfig
    from lfq_jax.inference.predictor import Predictor, RawPrediction
    from lfq_jax.training.data import Photographs
    from lfq_jax.training.loop import OnStep
    from lfq_jax.training.trained import Trained


class Made(NamedTuple):
    """A detector, and how it was made."""

    trained: "Trained"
    normals: "np.ndarray"
    """u8 [k h w 3]: the shots at the detector's input size."""
    inputs: dict[str, Any]
    """Hashes of what it was made from."""
    seconds: dict[str, float]
    """Duration of each stage."""


def run_category(
    settings: FewShot,
    category: str,
    shots: "Shots",
    *,
    folder: Path,
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    """Run one category, and return its line of results.jsonl."""
    from datasets.files import make_folder

    started = time.monotonic()
    settings = settings.for_shots(shots)
    make_folder(folder)
    if (config := settings.training_free) is not None:
        made = _fit(settings, config, shots)
    else:
        made = _generate_and_train(
            settings, shots, folder=folder, should_stop=should_stop
        )
    predictor = _save(settings, category, made, shots=shots, folder=folder)

    test = load_test_images(settings, category)
    scoring_started = time.monotonic()
    truths, predictions = _score(
        settings, predictor, test, category=category, shots=shots
    )
    scored = time.monotonic() - scoring_started
    measured = _measure(settings, predictor, test, truths, predictions, folder=folder)

    seconds = {
        **made.seconds,
        "predict": scored,
        "total": time.monotonic() - started,
    }
    return {
        **_settings_of_line(settings, category, shots),
        **measured._asdict(),
        **_detector_of_line(made.trained, is_trained=settings.training_free is None),
        "inputs": {**made.inputs, "test_images": len(test)},
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
    }


def _fit(settings: FewShot, config: "TrainingFreeConfig", shots: "Shots") -> Made:
    """Fit a training-free detector to the shots."""
    import numpy as np

    from experiments.few_shot.backbone_option import load_named
    from lfq_jax.inference.preprocessing import framing_of
    from lfq_jax.training.fit import fit

    is_texture = shots.examples[0].kind == "texture"
    framing = framing_of(config, is_texture=is_texture)
    normals = np.stack([framing.training_image(each.image) for each in shots.examples])
    trained = fit(
        normals,
        config,
        settings.score,
        is_texture=is_texture,
        seed=settings.seed,
        augment=settings.train.augment,
        parts=shots.part_count,
        backbone=load_named(settings),
    )
    inputs = {"shots": shots.by_key}
    return Made(trained, normals, inputs, trained.seconds)


def _generate_and_train(
    settings: FewShot,
    shots: "Shots",
    *,
    folder: Path,
    should_stop: Callable[[], bool],
) -> Made:
    """Generate anomalies from the shots, train on them, and draw the curves."""
    from experiments.report.pictures import training_curves

    started = time.monotonic()
    data, held_out, inputs = _generate(settings, shots, should_stop)
    generated = time.monotonic() - started
    trained = _train(
        settings,
        data,
        held_out,
        shots=shots,
        inputs=inputs,
        folder=folder,
        should_stop=should_stop,
    )
    training_curves(folder / "metrics.jsonl", folder / "training_curves.png")
    seconds = {"generate": generated} | trained.seconds
    return Made(trained, data.normals, inputs, seconds)


def _generate(
    settings: FewShot, shots: "Shots", should_stop: Callable[[], bool]
) -> "tuple[Photographs, Photographs, dict[str, Any]]":
    """Generate anomalies from the shots.

    Returns:
      The data to train on, the held-out data, and hashes of what both were made from.
    """
    from experiments.run.anomaly_process import shards_for_shots
    from lfq_jax.inference.preprocessing import framing_of
    from lfq_jax.training.data import load_shards, split

    is_texture = shots.examples[0].kind == "texture"
    shards = shards_for_shots(
        settings,
        shots,
        seed=settings.seed,
        framing=framing_of(settings.model, is_texture=is_texture),
        cache_dir=settings.cache_dir,
        show_progress=shows_bars(settings.at_once),
        should_stop=should_stop,
    )
    data, held_out = split(load_shards(shards), held_out=settings.validation_anomalies)
    return data, held_out, {"shots": shots.by_key, "shards": shards.name}


def _train(
    settings: FewShot,
    data: "Photographs",
    held_out: "Photographs",
    *,
    shots: "Shots",
    inputs: dict[str, Any],
    folder: Path,
    should_stop: Callable[[], bool],
) -> "Trained":
    """Train a detector with a progress bar.

    Args:
      data: good images and synthetic anomalies to train on.
      held_out: good images and synthetic anomalies for validation.
      inputs: hashes of what both were made from. A checkpoint of other inputs is not
        resumed.
    """
    from experiments.few_shot.backbone_option import load_named
    from lfq_jax.training.loop import DetectorConfig, Hooks, Machine, train

    category, kind = shots.examples[0].category, shots.examples[0].kind
    with _training_bar(category, is_shown=shows_bars(settings.at_once)) as on_step:
        return train(
            data,
            held_out,
            DetectorConfig(
                model=settings.model,
                train=settings.train,
                score=settings.score,
                is_texture=kind == "texture",
                seed=settings.seed,
                parts=shots.part_count,
            ),
            folder=folder,
            backbone=load_named(settings),
            inputs=inputs,
            machine=Machine(
                devices=settings.devices,
                at_once=settings.at_once,
                profile=folder / "profile" if settings.profile else None,
            ),
            hooks=Hooks(on_step, should_stop),
        )


@contextlib.contextmanager
def _training_bar(category: str, *, is_shown: bool) -> "Iterator[OnStep]":
    """A progress bar; yields the function that `train` calls after some steps."""
    from datasets.progress import Bar

    with Bar(
        desc=f"{category}: comparing with the shots and compiling, a minute",
        bar_format="{desc}",
        unit="step",
        disable=not is_shown,
    ) as bar:

        def on_step(step: int, steps: int, metrics: dict[str, float]) -> None:
            bar.total, bar.bar_format = steps, bar.line_format
            bar.set_description_str(f"{category}: training", refresh=False)
            bar.set_postfix(loss=f"{metrics['loss']:.3f}", refresh=False)
            bar.update(step - bar.n)

        yield on_step


def _save(
    settings: FewShot,
    category: str,
    made: Made,
    *,
    shots: "Shots",
    folder: Path,
) -> "Predictor":
    """Write the detector into `folder`, and return its predictor."""
    import numpy as np

    import datasets
    from lfq_jax.inference.appearance import appearance
    from lfq_jax.inference.detector_files import DetectorRecord, save_detector
    from lfq_jax.inference.predictor import Predictor
    from lfq_jax.inference.run_folder import DETECTOR

    height, width = shots.examples[0].image.shape[:2]
    record = DetectorRecord(
        category=category,
        kind=shots.examples[0].kind,
        shots=settings.shots,
        seed=settings.seed,
        photograph_px=(height, width),
        bit_depth=datasets.camera_bits(settings.dataset, category, settings.data_dir),
        model=settings.training_free or settings.model,
        score=settings.score,
        appearance=appearance(made.normals),
        variables=made.trained.variables,
        shot_sha256s=shots.sha256s,
        shot_looks=np.stack([look.grey for look in shots.looks]),
    )
    save_detector(
        folder / DETECTOR,
        record,
        thresholds=made.trained.thresholds,
        validation=made.trained.validation_images,
    )
    return Predictor(record)


def _score(
    settings: FewShot,
    predictor: "Predictor",
    examples: "Sequence[Example]",
    *,
    category: str,
    shots: "Shots",
) -> "tuple[list[GroundTruth], list[RawPrediction]]":
    """Score the test images: ground truths and predictions, one each per image."""
    from datasets.leaks import checked_for_leaks
    from datasets.progress import Bar
    from experiments.measure.ground_truths import GroundTruth, photographs

    progress = Bar(
        examples,
        desc=f"{category}: scoring",
        unit="image",
        disable=not shows_bars(settings.at_once),
    )
    truths: list[GroundTruth] = []
    checked = checked_for_leaks(shots.examples, progress, on_leak=settings.on_leak)
    images = photographs(checked, truths, predictor.framing)
    predictions = predictor.predict(images, reconstructs=True, pads=True)
    return truths, list(predictions)


def _measure(
    settings: FewShot,
    predictor: "Predictor",
    examples: "Sequence[Example]",
    truths: "Sequence[GroundTruth]",
    predictions: "Sequence[RawPrediction]",
    *,
    folder: Path,
) -> "Measured":
    """Measure the predictions, and write curves and pictures into `folder`."""
    from experiments.measure.category_metrics import measure
    from experiments.measure.curves_file import write_curves
    from experiments.report.code_report import draw_codes_of_test
    from experiments.report.pictures import draw_predictions

    image_score = settings.score.image_score
    measured = measure(truths, predictions, image_score=image_score)
    write_curves(folder, truths, predictions)
    draw_predictions(
        folder,
        examples,
        truths,
        predictions,
        image_score=image_score,
        limit=settings.pictures,
    )
    if settings.training_free is None:
        draw_codes_of_test(folder, predictor, examples, truths)
    return measured


def _settings_of_line(
    settings: FewShot, category: str, shots: "Shots"
) -> dict[str, Any]:
    """The fields of a line of results.jsonl that say what was run."""
    from experiments.few_shot.backbone_option import backbone_name
    from lfq_jax.quantizers import name_of

    line = {
        "dataset": settings.dataset,
        "method": settings.method,
        "preset": settings.preset,
        "category": category,
        "kind": shots.examples[0].kind,
        "image_px": settings.model.image_px,
        "size_px": [*settings.model.size],
        "shots": settings.shots,
        "seed": settings.seed,
        "backbone": backbone_name(settings.model),
        "image_score": settings.score.image_score,
    }
    if settings.training_free is None:
        line["quantizer"] = name_of(settings.model.quantizer)
    return line


def _detector_of_line(trained: "Trained", *, is_trained: bool) -> dict[str, Any]:
    """The fields of a line of results.jsonl that describe the detector.

    A training-free one has no validation and no steps.
    """
    training = {"validation": trained.validation, "best_step": trained.step}
    return {
        **(training if is_trained else {}),
        "threshold": trained.thresholds.image_threshold,
        "threshold_rule": trained.thresholds.rule,
        "thresholds": {
            rule: dataclasses.asdict(threshold)
            for rule, threshold in trained.thresholds.image.items()
        },
    }
