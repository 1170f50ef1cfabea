"""Tables of a comparison: mean and spread over the seeds, and the Pareto front."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments.report.results_table import aligned
from experiments.report.spread import cell, spread


class Figure(NamedTuple):
    """One column: its place in a row, its names, and its number of decimals."""

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
        Figure(
            ("shortcut", "error_outside"),
            "outside",
            "mean squared error outside of defects",
            4,
        ),
        Figure(
            ("shortcut", "error_ratio"),
            "ratio",
            "error inside divided by error outside",
            2,
        ),
        Figure(
            ("shortcut", "error_pixel_auroc"),
            "error AUROC",
            "pixel AUROC of the squared error alone",
            3,
        ),
        Figure(
            ("shortcut", "survival"),
            "survival",
            "share of a synthetic defect that the reconstruction still shows",
            3,
        ),
    ),
    "detection and cost": (
        Figure(("metrics", "image_auroc"), "I-AUROC", "image AUROC", 3),
        Figure(("metrics", "pixel_auroc"), "P-AUROC", "pixel AUROC", 3),
        Figure(("metrics", "pro"), "PRO", "per-region overlap up to FPR 0.3", 3),
        Figure(
            ("cost", "step_ms"),
            "step ms",
            "milliseconds of a complete training step",
            0,
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
            "memory of the quantizer: temporary arrays, weights and state",
            1,
        ),
    ),
}


def variants_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The variants, in the order of their first finished rows."""
    return list(dict.fromkeys(row["variant"] for row in rows))


def group_cells(
    rows: Sequence[dict[str, Any]], figures: Sequence[Figure]
) -> list[list[str]]:
    """One line per variant: its name, and one cell per figure."""
    lines = []
    for variant in variants_of(rows):
        variant_rows = [row for row in rows if row["variant"] == variant]
        cells = [cell(spread(variant_rows, f.path), f.digits) for f in figures]
        lines.append([variant, *cells])
    return lines


def comparison_table(rows: Sequence[dict[str, Any]]) -> str:
    """The tables of all groups as plain text.

    Raises:
      ValueError: if there is no row.
    """
    if not rows:
        raise ValueError("rows must hold at least one result, got none")
    parts = [scope(rows)]
    for name, figures in GROUPS.items():
        heads = [name, *(figure.short for figure in figures)]
        parts.append(aligned(heads, group_cells(rows, figures)))
        parts.append("; ".join(f"{f.short}: {f.full}" for f in figures))
    return "\n\n".join(parts)


def scope(rows: Sequence[dict[str, Any]]) -> str:
    """The data, shots, steps, categories and seeds behind the means, in words."""
    first = rows[0]
    seeds = sorted({row["seed"] for row in rows})
    categories = list(dict.fromkeys(row["category"] for row in rows))
    return (
        f"{first['dataset']}, {first['shots']}-shot, {first['steps']} steps, mean over "
        f"{', '.join(categories)}, ± standard deviation over "
        f"seeds {', '.join(map(str, seeds))}"
    )


def pareto_front(points: Sequence[tuple[float, float]], *, lower_x: bool) -> list[int]:
    """Indices of the points that no other point beats in both x and y, sorted by x.

    Args:
      lower_x: whether a lower x is better. A higher y always is.
    """
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
