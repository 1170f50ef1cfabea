"""Score the anomaly maps of any detector on a data set in MVTec layout.

    python -m experiments.evaluate --maps MAPS --data-dir DATA

MAPS holds one map for each test image: MAPS/<category>/<defect>/<stem>.npy (or tiff, or
png of 8 or 16 bit), at any resolution. The command needs no jax, model or run folder.
"""

import json
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from experiments.run.command_line import read_command_line, require_at_least
from lfq_jax.metrics.ground_truth import GroundTruthRule

if TYPE_CHECKING:  # --help does not need these
    import numpy as np

    from datasets.photographs import Category
    from experiments.evaluate.map_files import MapsAndMasks
    from lfq_jax.metrics.evaluation import BootstrapConfig

ImageScore = Literal["max", "mean"]


@dataclass(frozen=True)
class Evaluate:
    """Score the anomaly maps of any detector on a data set in MVTec layout."""

    maps: Path | None = None
    """Folder of maps: <category>/<defect>/<stem>.npy (or tiff, or png), one for each
    test image."""
    data_dir: Path | None = None
    """The data set in MVTec layout: one sub-folder for each category."""
    categories: tuple[str, ...] = ()
    """Categories to score. Default: all that have maps."""
    image_score: ImageScore = "max"
    """Score of an image: the maximum or the mean of its map."""
    mode: Literal["streaming", "exact"] = "streaming"
    """`streaming` needs constant memory. `exact` sorts all pixels."""
    rule: GroundTruthRule = "own-resolution"
    """How maps and masks are compared. The default compares at each mask's resolution,
    with the pixels that the mask marks. The other rules reproduce published code:
    compare a published result under its own rule."""
    evaluation_px: int = 256
    """Side of the square in which the rules other than own-resolution compare."""
    pro_fpr_limit: float = 0.3
    """False-positive rate up to which PRO is integrated. PRO up to 0.05 is always
    computed, too."""
    replicates: int = 1000
    """Bootstrap replicates over images for confidence intervals; 0: no intervals."""
    confidence: float = 0.95
    """Confidence level of the intervals."""
    seed: int = 0
    """Seed of the bootstrap."""
    out: Path | None = None
    """JSON file to write; it must not exist."""

    def __post_init__(self) -> None:
        if not 0 < self.pro_fpr_limit <= 1:
            raise ValueError(
                f"--pro-fpr-limit must be in (0, 1], got {self.pro_fpr_limit}"
            )
        require_at_least(self, replicates=0, evaluation_px=1, seed=0)
        if not 0 < self.confidence < 1:
            raise ValueError(f"--confidence must be in (0, 1), got {self.confidence}")


def chosen_categories(settings: Evaluate) -> "list[Category]":
    """The categories to score, with their files.

    Raises:
      ValueError: if a folder is missing or empty, or a category is unknown.
    """
    from datasets.folder.layout import category_folders, read_layout

    for name, path in (("--maps", settings.maps), ("--data-dir", settings.data_dir)):
        if path is None:
            raise ValueError(f"{name} must name a folder, got none")
    assert settings.maps and settings.data_dir
    if settings.out and settings.out.exists():
        raise ValueError(f"--out {settings.out} exists, and is not overwritten")
    folders = category_folders(settings.data_dir)
    unknown = [name for name in settings.categories if name not in folders]
    if unknown:
        raise ValueError(
            f"--categories {unknown[0]} is not in {settings.data_dir}, which has "
            f"{', '.join(folders)}"
        )
    names = settings.categories or [n for n in folders if (settings.maps / n).is_dir()]
    if names and not settings.categories:
        _warn_of_other_folders(settings.maps, folders, names)
    # Without any maps, read_layout or find_maps names what the first category lacks.
    chosen = [read_layout(name, folders[name]) for name in names or list(folders)[:1]]
    for category in chosen:
        for line in category.notes():
            warnings.warn(line, stacklevel=2)
    return chosen


def _warn_of_other_folders(
    maps: Path, folders: "dict[str, Path]", names: Sequence[str]
) -> None:
    """Warn of categories without maps, and of maps that belong to no category."""
    from datasets.listing import stray_entries
    from datasets.remarks import named

    without_maps = [name for name in folders if name not in names]
    if without_maps:
        what = f"--maps {maps} has no folder of category {named(without_maps)}"
        warnings.warn(f"{what}: not scored", stacklevel=2)
    others = [path.name for path in stray_entries(maps, names)]
    if others:
        what = f"--maps {maps} has entries that are no category of --data-dir"
        warnings.warn(f"{what}, not read: {named(others)}", stacklevel=2)


def evaluate_category(settings: Evaluate, category: "Category") -> dict[str, Any]:
    """All metrics of one category, as a row for the table and the JSON file."""
    import numpy as np

    from datasets.builder import GOOD
    from experiments.evaluate.map_files import find_maps, list_maps
    from lfq_jax.metrics.aupimo import aupimo
    from lfq_jax.metrics.evaluation import evaluate

    assert settings.maps
    started = time.monotonic()
    if not category.test:
        raise ValueError(f"{category.root} has no test image: nothing can be measured")
    paths = find_maps(settings.maps, category)
    for line in list_maps(settings.maps, category).notes():
        warnings.warn(line, stacklevel=2)
    labels = np.array([image.defect != GOOD for image in category.test])
    scores = _image_scores(paths, category.name, settings.image_score)
    pairs = _pairs_with_mask(settings, category, paths)
    result = evaluate(
        scores,
        labels,
        pairs.maps,
        pairs.masks,
        mode=settings.mode,
        pro_fpr_limit=settings.pro_fpr_limit,
        names=[str(path) for path in pairs.paths],
        bootstrap=_bootstrap(settings),
    )
    aupimo_result = aupimo(pairs.maps, pairs.masks)
    not_computed = dict(result.not_computed)
    if aupimo_result.not_computed:
        not_computed["aupimo"] = aupimo_result.not_computed
    metrics = result.asdict()
    for name in ("error_bounds", "intervals", "not_computed"):
        del metrics[name]
    pro_by_limit = metrics.pop("pro_by_limit")
    return {
        "category": category.name,
        "images": len(labels),
        "anomalous_images": int(labels.sum()),
        "without_mask": len(category.test) - len(pairs.paths),
        "metrics": pro_by_limit | metrics | {"aupimo": aupimo_result.value},
        "error_bounds": result.error_bounds,
        "intervals": {name: list(ends) for name, ends in result.intervals.items()},
        "not_computed": not_computed,
        "seconds": {"total": round(time.monotonic() - started, 2)},
    }


def _pairs_with_mask(
    settings: Evaluate, category: "Category", paths: Sequence[Path]
) -> "MapsAndMasks":
    """Maps and masks of the test images that are good or whose mask marks a defect."""
    from datasets.builder import GOOD
    from datasets.masks import MASK_THRESHOLD
    from datasets.remarks import Remarks
    from experiments.evaluate.map_files import MapsAndMasks, mask_levels

    remarks = Remarks()
    marks = [(mask_levels(p, remarks) > MASK_THRESHOLD).any() for p in category.test]
    for line in remarks.lines():
        warnings.warn(line, stacklevel=1)
    kept = [
        (image, path)
        for image, path, marks_defect in zip(category.test, paths, marks, strict=True)
        if image.defect == GOOD or marks_defect
    ]
    return MapsAndMasks(
        [image for image, _ in kept],
        [path for _, path in kept],
        rule=settings.rule,
        evaluation_px=settings.evaluation_px,
        remarks=remarks,
    )


def _bootstrap(settings: Evaluate) -> "BootstrapConfig | None":
    """The settings of the confidence intervals; None if none were requested."""
    from lfq_jax.metrics.evaluation import BootstrapConfig

    if not settings.replicates:
        return None
    return BootstrapConfig(settings.replicates, settings.confidence, settings.seed)


def _image_scores(
    paths: Sequence[Path], category: str, image_score: ImageScore
) -> "np.ndarray":
    """The score of every map, f64 [n]."""
    import numpy as np

    from datasets.progress import Bar
    from experiments.evaluate.map_files import read_map

    reduce = {"max": np.max, "mean": np.mean}[image_score]
    bar = Bar(paths, desc=f"{category}: reading maps", unit="map")
    return np.array([float(reduce(read_map(path).astype(np.float64))) for path in bar])


def tables(settings: Evaluate, rows: Sequence[dict[str, Any]]) -> str:
    """The printed tables: metrics, further metrics, and confidence intervals."""
    from experiments.report.results_table import (
        COLUMNS,
        aligned,
        figure,
        results_table,
        value_of,
    )

    limits = dict.fromkeys(
        key for row in rows for key in row["metrics"] if key.startswith("pro@")
    )
    others = [k for k in limits if k != f"pro@{settings.pro_fpr_limit:g}"] + ["aupimo"]
    heads = [key.upper() for key in others]
    parts = [
        f"rule {settings.rule}, image score {settings.image_score}, mode "
        f"{settings.mode}, PRO up to {settings.pro_fpr_limit:g}",
        results_table(rows, pro_fpr_limit=settings.pro_fpr_limit),
        aligned(
            ["category", *heads],
            [[r["category"], *(figure(value_of(r, k)) for k in others)] for r in rows],
        ),
    ]
    if settings.replicates:
        share = f"{100 * settings.confidence:g} %"
        parts.append(
            f"{share} confidence intervals, {settings.replicates} bootstrap replicates "
            f"over images, seed {settings.seed}"
        )
        keys = [c.key for c in COLUMNS[:-1]] + [f"pro@{settings.pro_fpr_limit:g}"]
        body = [
            [r["category"], *(_interval(r["intervals"].get(key)) for key in keys)]
            for r in rows
        ]
        parts.append(aligned(["category", *(c.short for c in COLUMNS)], body))
    return "\n\n".join(parts)


def _interval(ends: Sequence[float] | None) -> str:
    return f"{ends[0]:.3f}-{ends[1]:.3f}" if ends else "-"


def remarks(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Lines about missing masks and metrics that the tables do not explain."""
    lines = []
    for row in rows:
        if row["without_mask"]:
            lines.append(
                f"{row['category']}: {row['without_mask']} defective images have no "
                "mask or an empty mask, and count only for the metrics of images"
            )
        for name in ("aupimo", "image_intervals", "pixel_intervals"):
            if name in row["not_computed"]:
                words = name.replace("_", " ")
                reason = row["not_computed"][name]
                lines.append(f"{row['category']}: {words} not computed: {reason}")
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command: print the tables and write the JSON file."""
    argv = sys.argv[1:] if argv is None else argv
    prog = "python -m experiments.evaluate"
    settings = read_command_line(Evaluate(), prog=prog, argv=argv)
    from datasets.errors import one_line_errors
    from datasets.files import make_folder, write_atomically

    with one_line_errors(), warnings.catch_warnings():
        warnings.simplefilter("always")
        categories = chosen_categories(settings)
        rows = [evaluate_category(settings, category) for category in categories]
        print(tables(settings, rows))
        for line in remarks(rows):
            print(f"{line}.")
        if settings.out:
            from lfq_jax.config import as_json

            content = {"settings": as_json(settings), "rows": rows}
            make_folder(settings.out.parent)
            write_atomically(settings.out, json.dumps(content, indent=1).encode())
            print(f"written to {settings.out}")


if __name__ == "__main__":
    main()
