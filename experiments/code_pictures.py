"""Drawings of codes: how often each is used, what the bits do, where they lie."""

import functools
import io
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
from PIL import Image

from datasets.files import write_atomically

if TYPE_CHECKING:  # of these one imports jax, which a report does not need
    from matplotlib.figure import Figure

    from experiments.code_use import CodeUse
    from experiments.reconstruction import Reconstructed

PANEL_INCHES = 1.7
P = ParamSpec("P")
_DRAWING = threading.RLock()


def one_at_a_time(draw: Callable[P, None]) -> Callable[P, None]:
    """`draw`, waiting for other threads' drawings: matplotlib is not made for them."""

    @functools.wraps(draw)
    def alone(*args: P.args, **kwargs: P.kwargs) -> None:
        with _DRAWING:
            draw(*args, **kwargs)

    return alone


def new_figure(width: float, height: float) -> "Figure":
    """A figure without a window, whatever matplotlib's settings are."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_figure(figure: "Figure", path: Path) -> None:
    """Write a whole PNG or none."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


@one_at_a_time
def draw_code_use(path: Path, use: "CodeUse", *, title: str) -> None:
    """Usage histogram; for codes of bits also their balance and their correlations."""
    has_bits = use.bit_means is not None
    figure = new_figure(10.5 if has_bits else 3.5, 3.0)
    figure.suptitle(title, fontsize=10)
    axes: Any = figure.subplots(1, 3 if has_bits else 1, squeeze=False)[0]
    _usage(axes[0], use)
    if use.bit_means is not None and use.bit_correlations is not None:
        bits = np.arange(1, len(use.bit_means) + 1)
        axes[1].bar(bits, use.bit_means)
        axes[1].set(ylim=(-1, 1), xlabel="bit", title="mean sign of each bit")
        shown = axes[2].imshow(use.bit_correlations, cmap="RdBu_r", vmin=-1, vmax=1)
        axes[2].set(title="correlation of two bits", xticks=[], yticks=[])
        figure.colorbar(shown, ax=axes[2])
    for each in axes:
        each.title.set_fontsize(9)
    write_figure(figure, path)


def _usage(axes: Any, use: "CodeUse") -> None:
    """Codes by rank on logarithmic axes: every used code is there, none is binned."""
    share = use.counts / use.counts.sum()
    rank = np.arange(1, len(share) + 1)
    axes.fill_between(rank, share, share.min() / 2, step="mid", alpha=0.3)
    axes.step(rank, share, where="mid")
    axes.set(xscale="log", yscale="log", xlabel="code, by rank", ylabel="share of use")
    perplexity = use.figures["perplexity"]
    axes.set_title(f"{len(share)} codes used, perplexity {perplexity:.0f}")


@one_at_a_time
def draw_images(
    path: Path,
    found: "Reconstructed",
    masks: np.ndarray,
    use: "CodeUse | None",
    titles: Sequence[str],
    chosen: Sequence[int],
) -> None:
    """A row an image: it, its reconstruction, the squared error, its codes, its defect.

    The error has one scale over all rows. Each code has a colour of its own, the same
    in every row.
    """
    columns = ["image", "reconstruction", "squared error", "codes", "defect"]
    if use is None:
        columns.remove("codes")
    inches = PANEL_INCHES
    figure = new_figure(inches * len(columns), inches * len(chosen) + 0.3)
    grid: Any = figure.subplots(len(chosen), len(columns), squeeze=False)
    error = ((found.images - found.reconstructions) ** 2).mean(-1)
    scale = float(error[list(chosen)].max()) or 1.0
    for row, i in zip(grid, chosen, strict=True):
        panels = {
            "image": {"X": found.images[i]},
            "reconstruction": {"X": found.reconstructions[i]},
            "squared error": {"X": error[i], "cmap": "inferno", "vmax": scale},
            "defect": {"X": masks[i], "cmap": "gray", "vmax": 1},
        }
        if use is not None:
            panels["codes"] = {"X": code_colours(use.maps[i], found.images[i])}
        for axes, name in zip(row, columns, strict=True):
            axes.imshow(**panels[name], vmin=0)
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(titles[i], fontsize=7)
    for axes, name in zip(grid[0], columns, strict=True):
        axes.set_title(name, fontsize=9)
    write_figure(figure, path)


def code_colours(codes: np.ndarray, image: np.ndarray) -> np.ndarray:
    """A colour a code, over the grey image: f32 [h w 3] in [0, 1].

    Hues go round by the golden ratio, so that codes of near rank look different.
    """
    from matplotlib.colors import hsv_to_rgb

    size = (image.shape[1], image.shape[0])
    enlarged = Image.fromarray(codes.astype(np.int32)).resize(
        size, Image.Resampling.NEAREST
    )
    hue = np.asarray(enlarged) * 0.61803398875 % 1.0
    light = 0.45 + 0.55 * image.mean(-1)
    colours = np.stack([hue, np.full_like(hue, 0.6), light], axis=-1)
    return hsv_to_rgb(colours).astype(np.float32)
