"""Rows of a comparison as tables: mean and spread over the seeds, and who leads."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.table import NOT_COMPUTED, aligned


class Figure(NamedTuple):
    """One column: where a row has it, its names, and how it is written."""

    path: tuple[str, str]
    short: str
    full: str
    digits: int


GROUPS: dict[str, tuple[Figure, ...]] = {
    "reconstruction": (
        Figure(("reconstruction", "psnr_good"), "PSNR", "PSNR of good images, dB", 2),
        Figure(
            ("reconstruction", "psnr_defective"),
            "PSNR d.",
            "PSNR of defective images, dB",
            2,
        ),
        Figure(("reconstruction", "ssim_good"), "SSIM", "SSIM of good images", 3),
        Figure(
            ("reconstruction", "ssim_defective"),
            "SSIM d.",
            "SSIM of defective images",
            3,
        ),
        Figure(
            ("codes", "perplexity"),
            "perplexity",
            "perplexity of the codes of all test images",
            0,
        ),
        Figure(("codes", "used_codes"), "codes", "codes used by the test images", 0),
    ),
    "identical shortcut": (
        Figure(
            ("shortcut", "error_inside"),
            "inside",
            "mean squared error inside defects",
            4,
        ),
        Figure(("shortcut", "error_outside"), "outside", "the same outside of them", 4),
        Figure(("shortcut", "error_ratio"), "ratio", "inside over outside", 2),
        Figure(
            ("shortcut", "error_pixel_auroc"),
            "error AUROC",
            "pixel AUROC of the squared error alone",
            3,
        ),
        Figure(
            ("shortcut", "survival"),
            "survival",
            "share of a synthetic defect that the reconstruction repeats",
            3,
        ),
    ),
    "detection and cost": (
        Figure(("metrics", "image_auroc"), "I-AUROC", "image AUROC", 3),
        Figure(("metrics", "pixel_auroc"), "P-AUROC", "pixel AUROC", 3),
        Figure(("metrics", "pro"), "PRO", "per-region overlap up to FPR 0.3", 3),
        Figure(
            ("cost", "step_ms"), "step ms", "milliseconds of a whole training step", 0
        ),
        Figure(
            ("cost", "quantizer_ms"),
            "q. ms",
            "milliseconds of the quantizer alone, forward and backward",
            1,
        ),
        Figure(
            ("cost", "quantizer_mib"),
            "q. MiB",
            "its temporary memory and its weights and state",
            1,
        ),
    ),
}


class Spread(NamedTuple):
    """Mean and sample standard deviation over the seeds; None of a single seed."""

    mean: float
    deviation: float | None


def variants_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The variants in the order in which they first finished."""
    return list(dict.fromkeys(row["variant"] for row in rows))


def spread(rows: Sequence[dict[str, Any]], path: tuple[str, str]) -> Spread | None:
    """A figure's mean over categories, then its mean and deviation over the seeds.

    Seeds that lack a category that others have are left out: their mean would be over
    other images. None where no row has the figure.
    """
    by_seed: dict[int, dict[str, float]] = {}
    for row in rows:
        value = (row.get(path[0]) or {}).get(path[1])
        if value is not None and math.isfinite(value):
            by_seed.setdefault(row["seed"], {})[row["category"]] = value
    most = max(map(len, by_seed.values()), default=0)
    means = [
        float(np.mean(list(each.values())))
        for each in by_seed.values()
        if len(each) == most
    ]
    if not means:
        return None
    deviation = float(np.std(means, ddof=1)) if len(means) > 1 else None
    return Spread(float(np.mean(means)), deviation)


def cell(found: Spread | None, digits: int) -> str:
    """`0.98 ±0.01`, or `-`."""
    if found is None:
        return NOT_COMPUTED
    text = f"{found.mean:.{digits}f}"
    if found.deviation is None:
        return text
    return f"{text} ±{found.deviation:.{digits}f}"


def group_cells(
    rows: Sequence[dict[str, Any]], figures: Sequence[Figure]
) -> list[list[str]]:
    """A line a variant: its name, and a cell a figure."""
    lines = []
    for variant in variants_of(rows):
        of_variant = [row for row in rows if row["variant"] == variant]
        cells = [cell(spread(of_variant, f.path), f.digits) for f in figures]
        lines.append([variant, *cells])
    return lines


def comparison_table(rows: Sequence[dict[str, Any]]) -> str:
    """Plain text of all groups.

    Raises:
      ValueError: where there is no row.
    """
    if not rows:
        raise ValueError("rows must hold at least one result, got none")
    parts = [over(rows)]
    for name, figures in GROUPS.items():
        heads = [name, *(figure.short for figure in figures)]
        parts.append(aligned(heads, group_cells(rows, figures)))
        parts.append("; ".join(f"{f.short}: {f.full}" for f in figures))
    return "\n\n".join(parts)


def over(rows: Sequence[dict[str, Any]]) -> str:
    """What the means are over, in words."""
    first = rows[0]
    seeds = sorted({row["seed"] for row in rows})
    categories = list(dict.fromkeys(row["category"] for row in rows))
    return (
        f"{first['dataset']}, {first['shots']}-shot, {first['steps']} steps, mean over "
        f"{', '.join(categories)}, ± standard deviation over "
        f"seeds {', '.join(map(str, seeds))}"
    )


def pareto_front(points: Sequence[tuple[float, float]], *, lower_x: bool) -> list[int]:
    """Points that no other beats in both: y the higher the better, x as `lower_x`."""
    sign = -1.0 if lower_x else 1.0
    values = [(sign * x, y) for x, y in points]

    def beaten(i: int) -> bool:
        x, y = values[i]
        return any(
            a >= x and b >= y and (a > x or b > y)
            for j, (a, b) in enumerate(values)
            if j != i
        )

    front = [i for i in range(len(values)) if not beaten(i)]
    return sorted(front, key=lambda i: points[i])
