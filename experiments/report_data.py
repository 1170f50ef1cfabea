"""A run folder as the one JSON object that its report shows. Reads files only."""

import base64
import io
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from experiments import paper_figures
from experiments.figure3 import absent_panel, split_figure3
from experiments.run import RunFolder
from experiments.run_files import TrainingLog, read_json, read_json_lines
from experiments.table import COLUMNS, common_settings, footnotes, mean_of

log = logging.getLogger(__name__)

PANEL_SIZES_PX = (192, 160, 128, 96)
PICTURES_LIMIT = 14_000_000  # characters of all pictures together
JPEG_QUALITY = 80


def read_run(folder: Path) -> dict[str, Any]:
    """Everything that the report of `folder` shows, as JSON values.

    Raises:
      FileNotFoundError: where there is no such folder.
      ValueError: where it is no run that trains or remembers detectors, has no result
        yet, or a file is damaged.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no run folder {folder}")
    opened = RunFolder.open(folder, "few_shot", "patchcore")
    rows = opened.results("category", "image_score", "metrics")
    if not rows:
        raise ValueError(
            f"{folder} has no results yet: a category's line is written to "
            "results.jsonl once it is tested"
        )
    content = read_json(opened.config_path)
    shared, _ = common_settings(rows)
    run = {
        "id": folder.resolve().name,
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
    """Every category, with its pictures as large as PICTURES_LIMIT lets all be."""
    found, size = [], 0
    for panel_px in PANEL_SIZES_PX:
        found = [_category(folder / str(r["category"]), r, panel_px) for r in rows]
        panels = [i["panels"] for each in found for i in each["images"] if i["panels"]]
        size = sum(len(uri) for each in panels for uri in each.values())
        if size <= PICTURES_LIMIT:
            return found
    log.warning("the report's pictures take %d MB", size // 1_000_000)
    return found


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
        "codes": _codes(folder),
    }


def _codes(folder: Path) -> dict[str, str]:
    """The pictures of codes that the folder holds, as data URIs, by what they show."""
    found = {}
    for what, name in (("usage and bits", "codes.png"), ("maps", "images.png")):
        if (folder / name).is_file():
            with Image.open(folder / name) as picture:
                found[what] = jpeg_uri(picture.convert("RGB"))
    return found


def _panels(folder: Path, name: str | None, panel_px: int) -> dict[str, str] | None:
    """The panels of one picture as data URIs, with an outline of the ground truth.

    None where no picture was drawn; a picture that cannot be read is logged, and left
    out of the report rather than keeping it from being written.
    """
    if not name:
        return None
    try:
        with Image.open(folder / name) as picture:
            panels = split_figure3(picture.convert("RGB"))
    except (OSError, ValueError) as error:
        log.warning("%s is left out of the report: %s", folder / name, error)
        return None
    panels = {
        name: _at_most(panel, panel_px)
        for name, panel in panels.items()
        if panel.tobytes() != absent_panel(name, panel.width).tobytes()
    }
    truth = panels.pop("ground truth", None)
    found = {name: jpeg_uri(panel) for name, panel in panels.items()}
    if truth:
        mask = np.asarray(truth.convert("L")) >= 128
        found["ground truth"] = png_uri(Image.fromarray(mask))
        if mask.any():
            found["outline"] = png_uri(outline(mask))
    return found


def _at_most(panel: Image.Image, side_px: int) -> Image.Image:
    if panel.width <= side_px:
        return panel
    return panel.resize((side_px, side_px), Image.Resampling.LANCZOS)


def outline(mask: np.ndarray) -> Image.Image:
    """The border just outside of `mask`, bool [h w]: a white line with a black edge."""
    line = ndimage.binary_dilation(mask)
    edge = ndimage.binary_dilation(line)
    colours = np.where(mask, 0, np.where(line, 1, np.where(edge, 2, 0)))
    picture = Image.fromarray(colours.astype(np.uint8)).convert("P")
    picture.putpalette([0, 0, 0, 255, 255, 255, 0, 0, 0])
    picture.info["transparency"] = 0
    return picture


def jpeg_uri(picture: Image.Image) -> str:
    """The picture as a `data:` address that needs no file beside the page."""
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=JPEG_QUALITY, optimize=True)
    return _uri("image/jpeg", buffer.getvalue())


def png_uri(picture: Image.Image) -> str:
    """As `jpeg_uri`, without loss: for masks."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return _uri("image/png", buffer.getvalue())


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def published(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The paper's Table 1 beside this run's mean, in per cent.

    None unless all rows are of one data set and shot number that the table has: figures
    of different images are not comparable.
    """
    kinds = {(row.get("dataset"), row.get("shots")) for row in rows}
    if len(kinds) != 1:
        return None
    dataset, shots = kinds.pop()
    methods = paper_figures.table_1(str(dataset), int(shots or 0))
    if not methods:
        return None
    of_run = {
        key: None if (mean := mean_of(rows, key)) is None else 100 * mean
        for key in paper_figures.Published._fields
    }
    return {
        "title": f"{paper_figures.DATASET_TITLES[str(dataset)]}, {shots}-shot",
        "methods": [{"name": n, **row._asdict()} for n, row in methods.items()],
        "run": of_run,
        "categories": len({row["category"] for row in rows}),
        "categories_of_paper": paper_figures.CATEGORY_COUNTS[str(dataset)],
    }


def finite(value: Any) -> Any:
    """`value` with None in the place of every NaN and infinity: JSON has neither."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(each) for each in value]
    return value
