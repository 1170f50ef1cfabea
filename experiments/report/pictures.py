"""The pictures of a category: test images with their maps, and its training curves."""

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from datasets.file_names import OutputNames
from datasets.files import make_folder, write_atomically
from experiments.report.panels import contact_sheet, panel_row
from experiments.report.plotting import new_figure, one_at_a_time, write_figure
from experiments.run.training_log import Series, TrainingLog

if TYPE_CHECKING:
    from datasets.example import Example
    from experiments.measure.ground_truths import GroundTruth
    from lfq_jax.inference.predictor import RawPrediction

SHEET_ROWS = 8


def save_png(picture: Image.Image, path: Path) -> None:
    """Write the picture as PNG. An interrupted call leaves no partial file."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    write_atomically(path, buffer.getvalue())


def draw_predictions(
    folder: Path,
    examples: "Sequence[Example]",
    truths: "Sequence[GroundTruth]",
    predictions: "Sequence[RawPrediction]",
    *,
    image_score: str,
    limit: int = 40,
) -> None:
    """Write predictions.jsonl, pictures/*.png and contact_sheet.png into `folder`.

    predictions.jsonl has one line for each test image. `limit` images get a picture,
    too: the hardest, and others spread evenly over the defects. All heat maps of a
    category share one scale, from 0 to the largest value of any of its maps. Equal
    colours therefore mean equal values.

    Args:
      folder: the category's folder; created if it is missing.
      examples: the test split; only examples that are drawn are loaded.
      truths: one for each example, in the same order.
      predictions: one for each example, in the same order.
      image_score: the score that the decision uses.
      limit: the largest number of pictures.
    """
    scores = np.array([p.scores[image_score] for p in predictions])
    labels = np.array([truth.label for truth in truths])
    defects = [truth.defect for truth in truths]
    chosen = chosen_to_draw(scores, labels, defects, limit=limit)
    names = _file_names([truth.key for truth in truths])
    scale = max((float(p.map.max()) for p in predictions), default=0.0) or 1.0
    make_folder(folder / "pictures")
    lines, sheet = [], []
    for i, (truth, prediction) in enumerate(zip(truths, predictions, strict=True)):
        picture = f"pictures/{names[i]}.png" if i in chosen else None
        if picture:
            row = _row(examples[i], prediction, scale)
            save_png(row, folder / picture)
            sheet.append((f"{truth.key}   score {scores[i]:.3f}", row))
        lines.append(_line(truth, prediction, image_score, picture))
    text = "".join(json.dumps(line) + "\n" for line in lines)
    write_atomically(folder / "predictions.jsonl", text.encode())
    if sheet:
        # Examples are sorted by defect: rows at even distances show every defect.
        even = np.linspace(0, len(sheet) - 1, min(SHEET_ROWS, len(sheet))).round()
        picked = [sheet[int(i)] for i in even]
        save_png(contact_sheet(picked), folder / "contact_sheet.png")


def _row(example: "Example", prediction: "RawPrediction", scale: float) -> Image.Image:
    has_truth = not example.label or bool(example.mask.any())
    heat_map = np.clip(prediction.map / scale, 0.0, 1.0)
    mask = example.mask if has_truth else None
    return panel_row(example.image, prediction.reconstruction, heat_map, mask)


def _line(
    truth: "GroundTruth",
    prediction: "RawPrediction",
    image_score: str,
    picture: str | None,
) -> dict[str, Any]:
    return {
        "key": truth.key,
        "defect": truth.defect,
        "label": truth.label,
        "score": prediction.scores[image_score],
        "scores": dict(prediction.scores),
        "picture": picture,
    }


def _file_names(keys: Sequence[str]) -> list[str]:
    """A file name without suffix for each key, of letters, digits and a few others."""
    names = OutputNames(".png")
    return [str(names.of_key(key, _plain(key))) for key in keys]


def _plain(key: str) -> str:
    return re.sub(r"[^\w.-]+", "_", key).strip("_.") or "image"


def chosen_to_draw(
    scores: np.ndarray, labels: np.ndarray, defects: Sequence[str], *, limit: int
) -> set[int]:
    """Indices of the images that get a picture, at most `limit`.

    The first half are the hardest images, alternating between the good parts with the
    highest score and the defective parts with the lowest score. The rest takes one
    image of each defect in turn ("good" counts as one), in the order of the images.
    """
    good = np.flatnonzero(labels == 0)
    bad = np.flatnonzero(labels != 0)
    false_alarms = good[np.argsort(-scores[good], kind="stable")].tolist()
    misses = bad[np.argsort(scores[bad], kind="stable")].tolist()
    hardest = _interleaved([false_alarms, misses])
    indices_by_defect = [
        [i for i, name in enumerate(defects) if name == defect]
        for defect in sorted(set(defects))
    ]
    chosen = set(hardest[: limit // 2])
    for i in _interleaved(indices_by_defect):
        if len(chosen) >= limit:
            break
        chosen.add(i)
    return chosen


def _interleaved(queues: Sequence[Sequence[int]]) -> list[int]:
    """The first item of each queue, then the second of each, and so on."""
    longest = max(map(len, queues), default=0)
    return [queue[i] for i in range(longest) for queue in queues if i < len(queue)]


@one_at_a_time
def training_curves(metrics_path: Path, png_path: Path) -> None:
    """Plot losses, validation and code usage over the steps, from metrics.jsonl.

    Raises:
      ValueError: if the log is missing, empty or damaged.
    """
    log = TrainingLog.read(metrics_path)
    plots: list[tuple[str, Series]] = [
        ("loss", log.losses()),
        ("validation on synthetic anomalies", log.validation()),
        *((name, {name: series}) for name, series in log.quantizer().items()),
    ]
    plots = [(title, series) for title, series in plots if series]
    if not plots:
        raise ValueError(f"{metrics_path} holds no training log to draw")
    columns = min(3, len(plots))
    rows = -(-len(plots) // columns)
    figure = new_figure(4.6 * columns, 3.0 * rows)
    for i, (title, series) in enumerate(plots):
        axes = figure.add_subplot(rows, columns, i + 1)
        for name, (steps, values) in series.items():
            axes.plot(steps, values, label=name, linewidth=1.2, marker=_marker(steps))
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("step")
        if title == "loss" and all(min(v) > 0 for _, v in series.values()):
            axes.set_yscale("log")
        if len(series) > 1:
            axes.legend(fontsize=7)
    write_figure(figure, png_path)


def _marker(steps: Sequence[float]) -> str:
    """A dot where the line has too few points to be visible."""
    return "." if len(steps) < 3 else ""
