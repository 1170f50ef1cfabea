"""A small run folder with all files that the report needs, filled by numpy."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from datasets.example import Example
from experiments.measure.ground_truths import GroundTruth
from experiments.report.pictures import draw_predictions
from lfq_jax.inference.predictor import RawPrediction

SCORES = ("mean", "max", "top_k_mean", "smoothed_max")


def example(category: str, defect: str, number: int, *, px: int = 48) -> Example:
    """A grey part with a bright square where the defect is."""
    rng = np.random.default_rng((number, len(defect)))
    image = rng.integers(90, 130, (px, px, 3)).astype(np.uint8)
    mask = np.zeros((px, px), bool)
    if defect != "good":
        row, column = rng.integers(4, px - 16, 2)
        mask[row : row + 10, column : column + 10] = True
        image[mask] = 230
    key, label = f"{defect}/{number:03d}", int(defect != "good")
    return Example(key, category, "object", defect, image, mask, label, "0" * 64)


def prediction(of: Example, score: float, *, px: int = 32) -> RawPrediction:
    """A map whose largest value is `score`, on the defect if there is one."""
    rows = np.arange(px) * of.mask.shape[0] // px
    heat = np.full((px, px), 0.1 * score, np.float32)
    where = of.mask[np.ix_(rows, rows)]
    heat[where if where.any() else np.eye(px, dtype=bool)] = score
    scores: dict[str, float] = dict.fromkeys(SCORES, float(score))
    scores["mean"] = float(heat.mean())
    small = of.image[np.ix_(rows, rows)]
    return RawPrediction(heat, scores, small)


def write_category(
    folder: Path,
    category: str,
    scores: dict[str, list[float]],
    *,
    threshold: float | None = 0.5,
    pictures: int = 40,
    **changes: Any,
) -> dict[str, Any]:
    """Write predictions, pictures, a training log and curves.

    Returns:
      The category's line for results.jsonl.
    """
    examples, predictions = [], []
    for defect, values in scores.items():
        for number, score in enumerate(values):
            examples.append(example(category, defect, number))
            predictions.append(prediction(examples[-1], score))
    into = folder / category
    draw_predictions(
        into,
        examples,
        [GroundTruth.of(each) for each in examples],
        predictions,
        image_score="smoothed_max",
        limit=pictures,
    )
    (into / "metrics.jsonl").write_text("".join(map(_log_line, range(20, 220, 20))))
    curve = [[0.0, 0.05, 0.3, 1.0], [0.0, 0.7, 0.9, 1.0]]
    curves = {"pixel_roc": curve, "pro": curve}
    (into / "curves.json").write_text(json.dumps(curves))
    return result_line(category, scores, threshold=threshold) | changes


def _log_line(step: int) -> str:
    line: dict[str, float] = {
        "step": step,
        "epoch": step / 2,
        "loss": 20.0 / step,
        "mse": 12.0 / step,
        "dice": 8.0 / step,
        "gradient_norm": 1.0,
        "quantizer/perplexity": 10.0 + step,
        "quantizer/used_codes": 20.0 + step,
    }
    if step % 100 == 0:
        line["validation/pixel_auroc"] = 1 - 10 / step
        line["validation/image_auroc"] = 1 - 5 / step
    return json.dumps(line) + "\n"


def result_line(
    category: str, scores: dict[str, list[float]], *, threshold: float | None = 0.5
) -> dict[str, Any]:
    """One line of results.jsonl, with invented values."""
    defects = {d: len(values) for d, values in scores.items() if d != "good"}
    return {
        "dataset": "rendered_ad",
        "category": category,
        "kind": "object",
        "shots": 2,
        "seed": 0,
        "preset": "cpu",
        "backbone": "none",
        "quantizer": "lfq",
        "image_score": "smoothed_max",
        "metrics": {
            "image_auroc": 0.9,
            "image_ap": 0.91,
            "image_f1_max": 0.92,
            "pixel_auroc": 0.93,
            "pixel_ap": 0.54,
            "pixel_f1_max": 0.55,
            "pro": 0.76,
        },
        "not_computed": {},
        "image_auroc_by_score": dict.fromkeys(SCORES, 0.9),
        "per_defect": {
            defect: {"count": count, "image_auroc": 0.8, "pixel_auroc": 0.7}
            for defect, count in defects.items()
        },
        "threshold": threshold,
        "best_step": 200,
        "inputs": {"shots": {"good/000": "ab" * 32}, "shards": "cd" * 8},
        "seconds": {"generate": 3.0, "train": 60.5, "predict": 1.5, "total": 65.0},
    }


GEAR = {"good": [0.1, 0.2, 0.6], "crack": [0.9, 0.3], "missing tooth": [0.7, 0.8]}
BOLT = {"good": [0.05, 0.15], "bent": [0.95, 0.4]}


def write_run(folder: Path, **changes: Any) -> Path:
    """Write a finished run of two categories; `changes` apply to both results."""
    lines = [
        write_category(folder, "gear", GEAR, **changes),
        write_category(folder, "bolt", BOLT, **changes),
    ]
    write_results(folder, lines)
    config = {"shots": 2, "dataset": "rendered_ad", "categories": []}
    provenance = {
        "version": "0.1.0",
        "git_commit": "0123456789abcdef0123456789abcdef01234567",
        "git_dirty": False,
        "python": "3.11.2",
        "device": "cpu x 1",
        "command": ["few_shot", "--shots", "2"],
        "started": "2026-01-02T03:04:05+00:00",
        "packages": {"jax": "0.10.2"},
    }
    content = {"config": config, "provenance": provenance}
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def write_results(folder: Path, lines: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "results.jsonl").write_text(text)
