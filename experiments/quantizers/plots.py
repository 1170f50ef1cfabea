"""The two plots of a comparison: the Pareto fronts, and the training curves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.quantizers.settings import row_folder
from experiments.quantizers.table import pareto_front, variants_of
from experiments.report.plotting import new_figure, write_figure
from experiments.report.spread import spread
from experiments.run.training_log import Series, TrainingLog

PSNR = ("reconstruction", "psnr_good")


class Plane(NamedTuple):
    """One plot: a figure on either axis."""

    x: tuple[str, str]
    x_label: str
    y: tuple[str, str]
    y_label: str
    lower_x: bool
    """Whether a lower x is better."""


PLANES = (
    Plane(
        ("cost", "step_ms"), "training step, ms", PSNR, "PSNR of good images, dB", True
    ),
    Plane(PSNR, "PSNR of good images, dB", ("metrics", "pro"), "PRO", False),
    Plane(
        ("shortcut", "survival"),
        "survival of synthetic defects",
        PSNR,
        "PSNR of good images, dB",
        True,
    ),
)


def draw_pareto(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the plots of means, with bars of one standard deviation.

    A dashed line shows the Pareto front.
    """
    figure = new_figure(4.2 * len(PLANES), 3.8)
    grid: Any = figure.subplots(1, len(PLANES), squeeze=False)[0]
    for axes, plane in zip(grid, PLANES, strict=True):
        _draw_plane(axes, plane, rows)
    write_figure(figure, path)


def _draw_plane(axes: Any, plane: Plane, rows: Sequence[dict[str, Any]]) -> None:
    """Draw one plot: a point with bars per variant, and the Pareto front."""
    points = []
    for number, variant in enumerate(variants_of(rows)):
        variant_rows = [row for row in rows if row["variant"] == variant]
        x, y = spread(variant_rows, plane.x), spread(variant_rows, plane.y)
        if x is None or y is None:
            continue
        bars = {"xerr": x.deviation, "yerr": y.deviation, "capsize": 2}
        axes.errorbar(x.mean, y.mean, fmt="o", color=f"C{number}", **bars)
        axes.annotate(
            variant,
            (x.mean, y.mean),
            xytext=(5, 4),
            textcoords="offset points",
            fontsize=8,
        )
        points.append((x.mean, y.mean))
    front = pareto_front(points, lower_x=plane.lower_x)
    axes.plot(*np.array([points[i] for i in front]).reshape(-1, 2).T, "--", lw=0.8)
    axes.set(xlabel=plane.x_label, ylabel=plane.y_label)
    axes.margins(0.18)
    better = "left" if plane.lower_x else "right"
    axes.set_title(f"better: up and {better}", fontsize=9)


def draw_curves(path: Path, folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the curves of use of codes, entropy and error over the training steps.

    Curves are means over categories and seeds. A dotted line shows the entropy's upper
    bound, ln N + H_sample.
    """
    figure = new_figure(12.6, 3.6)
    axes: Any = figure.subplots(1, 3)
    titles = (
        "perplexity of a batch's codes",
        "entropy of a batch's codes, nats",
        "squared error of the reconstruction, weighted",
    )
    for number, variant in enumerate(variants_of(rows)):
        logs = [_training_log(folder, row) for row in rows if row["variant"] == variant]
        style = {"color": f"C{number}", "linewidth": 1.3}
        quantizer_logs = [log.quantizer() for log in logs]
        for index, name, extra in (
            (0, "perplexity", {}),
            (1, "batch_entropy", {}),
            (1, "entropy_ceiling", {"linestyle": ":", "label": None}),
        ):
            series = _mean_series(quantizer_logs, name)
            if series:
                axes[index].plot(*series, **({"label": variant} | style | extra))
        series = _mean_series([log.losses() for log in logs], "mse")
        if series:
            axes[2].plot(*series, label=variant, **style)
    for panel, title in zip(axes, titles, strict=True):
        panel.set_title(title, fontsize=9)
        panel.set_xlabel("step")
        if panel.get_lines():
            panel.legend(fontsize=7)
    axes[2].set_yscale("log")
    write_figure(figure, path)


def _training_log(folder: Path, row: dict[str, Any]) -> TrainingLog:
    place = row_folder(folder, row["category"], row["seed"], row["variant"])
    return TrainingLog.read(place / "metrics.jsonl")


def _mean_series(
    logs: Sequence[Series], name: str
) -> tuple[list[float], np.ndarray] | None:
    """Steps and mean values of a quantity; None if no log has it, or steps differ."""
    series = [log[name] for log in logs if name in log]
    if not series or any(steps != series[0][0] for steps, _ in series):
        return None
    return series[0][0], np.mean([values for _, values in series], axis=0)
