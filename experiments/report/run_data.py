"""A run folder as one JSON object, which is what its report shows. Reads files only."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from datasets.file_names import printable
from experiments.report import published_results
from experiments.report.image_uris import jpeg_uri, png_uri
from experiments.report.panels import absent_panel, split_panel_row
from experiments.report.results_table import (
    COLUMNS,
    common_settings,
    footnotes,
    mean_of,
)
from experiments.run.folder import RunFolder
from experiments.run.json_files import read_json, read_json_lines
from experiments.run.training_log import TrainingLog

log = logging.getLogger(__name__)

PANEL_SIZES_PX = (192, 160, 128, 96)
PICTURES_LIMIT = 14_000_000  # characters in all pictures of the page together


def read_run(folder: Path) -> dict[str, Any]:
    """Everything that the report of `folder` shows, as JSON values.

    Raises:
      FileNotFoundError: if the folder does not exist.
      ValueError: if the folder is not a run of few_shot or patchcore, has no results
        yet, or holds a damaged file.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no run folder {folder}")
    run_folder = RunFolder.open(folder, "few_shot", "patchcore")
    rows = run_folder.results("category", "image_score", "metrics", "backbone")
    if not rows:
        raise ValueError(
            f"{folder} has no results yet: a category's line is written to "
            "results.jsonl once it is tested"
        )
    content = read_json(run_folder.config_path)
    shared, _ = common_settings(rows)
    run = {
        "id": printable(folder.resolve().name),
        "settings": shared,
        "columns": [column._asdict() for column in COLUMNS],
        "mean": {c.key: mean_of(rows, c.key) for c in COLUMNS},
        "notes": footnotes(rows),
        "paper": published(rows),
        "provenance": content.get("provenance", {}),
        "config": content["config"],
        "categories": _categories(folder, rows),
    }
    return finite(run)


def _categories(folder: Path, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All categories, with the largest pictures that fit into PICTURES_LIMIT."""
    categories, size = [], 0
    for panel_px in PANEL_SIZES_PX:
        categories = [_category(folder / str(r["category"]), r, panel_px) for r in rows]
        size = sum(
            len(uri)
            for category in categories
            for image in category["images"]
            for uri in (image["panels"] or {}).values()
        )
        if size <= PICTURES_LIMIT:
            return categories
    log.warning("the report's pictures take %d MB", size // 1_000_000)
    return categories


def _category(folder: Path, row: dict[str, Any], panel_px: int) -> dict[str, Any]:
    """One category's result, images, curves and training log."""
    predictions = read_json_lines(folder / "predictions.jsonl")
    training = TrainingLog.read(folder / "metrics.jsonl")
    curves = folder / "curves.json"
    images = [
        {
            "key": line["key"],
            "defect": line["defect"],
            "label": line["label"],
            "scores": line.get("scores") or {row["image_score"]: line["score"]},
            "panels": _panels(folder, line.get("picture"), panel_px),
        }
        for line in predictions
    ]
    return {
        "name": str(row["category"]),
        "result": row,
        "images": images,
        "curves": read_json(curves) if curves.is_file() else {},
        "log": {
            "losses": training.losses(),
            "validation": training.validation(),
            "quantizer": training.quantizer(),
        },
        "codes": _code_pictures(folder),
    }


def _code_pictures(folder: Path) -> dict[str, str]:
    """The pictures of codes in the folder, as data URIs by their contents."""
    uris = {}
    for contents, name in (("usage and bits", "codes.png"), ("maps", "images.png")):
        if (folder / name).is_file():
            with Image.open(folder / name) as picture:
                uris[contents] = jpeg_uri(picture.convert("RGB"))
    return uris


def _panels(folder: Path, name: str | None, panel_px: int) -> dict[str, str] | None:
    """The panels of one picture as data URIs, with an outline of the ground truth.

    None if no picture was drawn. A picture that cannot be read is logged and left out:
    the rest of the report is still written.
    """
    if not name:
        return None
    try:
        with Image.open(folder / name) as picture:
            panels = split_panel_row(picture.convert("RGB"))
    except (OSError, ValueError) as error:
        log.warning("%s is left out of the report: %s", folder / name, error)
        return None
    panels = {
        name: _at_most(panel, panel_px)
        for name, panel in panels.items()
        if panel.tobytes() != absent_panel(name, panel.width).tobytes()
    }
    truth = panels.pop("ground truth", None)
    uris = {name: jpeg_uri(panel) for name, panel in panels.items()}
    if truth:
        mask = np.asarray(truth.convert("L")) >= 128
        uris["ground truth"] = png_uri(Image.fromarray(mask))
        if mask.any():
            uris["outline"] = png_uri(outline(mask))
    return uris


def _at_most(panel: Image.Image, side_px: int) -> Image.Image:
    """The panel, reduced to `side_px` if it is larger."""
    if panel.width <= side_px:
        return panel
    return panel.resize((side_px, side_px), Image.Resampling.LANCZOS)


def outline(mask: np.ndarray) -> Image.Image:
    """The border just outside `mask`, bool [h w]: a white line with a black edge."""
    line = ndimage.binary_dilation(mask)
    edge = ndimage.binary_dilation(line)
    colours = np.where(mask, 0, np.where(line, 1, np.where(edge, 2, 0)))
    picture = Image.fromarray(colours.astype(np.uint8)).convert("P")
    picture.putpalette([0, 0, 0, 255, 255, 255, 0, 0, 0])
    picture.info["transparency"] = 0
    return picture


def published(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The paper's Table 1 and this run's mean, in per cent.

    None unless the table covers the rows' data set and shot number and all rows share
    them: results on different images are not comparable.
    """
    pairs = {(row.get("dataset"), row.get("shots")) for row in rows}
    if len(pairs) != 1:
        return None
    dataset, shots = pairs.pop()
    methods = published_results.table_1(str(dataset), int(shots or 0))
    if not methods:
        return None
    run_means = {
        key: None if (mean := mean_of(rows, key)) is None else 100 * mean
        for key in published_results.Published._fields
    }
    return {
        "title": f"{published_results.DATASET_TITLES[str(dataset)]}, {shots}-shot",
        "methods": [{"name": n, **row._asdict()} for n, row in methods.items()],
        "run": run_means,
        "categories": len({row["category"] for row in rows}),
        "categories_of_paper": published_results.CATEGORY_COUNTS[str(dataset)],
    }


def finite(value: Any) -> Any:
    """`value` with None instead of every NaN and infinity, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value
