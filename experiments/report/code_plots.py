"""Plots of codes: how often each is used, what each bit does, and where codes occur."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from experiments.report.plotting import new_figure, one_at_a_time, write_figure

if TYPE_CHECKING:  # reconstruction imports jax, which a report does not need
    from experiments.measure.code_usage import CodeUse
    from lfq_jax.inference.predictor import Reconstruction

PANEL_INCHES = 1.7


@one_at_a_time
def draw_code_use(path: Path, use: "CodeUse", *, title: str) -> None:
    """Draw how often each code is used.

    For codes made of bits, also draw each bit's mean sign and the correlation of each
    pair of bits.
    """
    has_bits = use.bit_means is not None
    figure = new_figure(10.5 if has_bits else 3.5, 3.0)
    figure.suptitle(title, fontsize=10)
    plots: Any = figure.subplots(1, 3 if has_bits else 1, squeeze=False)[0]
    _draw_usage(plots[0], use)
    if use.bit_means is not None and use.bit_correlations is not None:
        bits = np.arange(1, len(use.bit_means) + 1)
        plots[1].bar(bits, use.bit_means)
        plots[1].set(ylim=(-1, 1), xlabel="bit", title="mean sign of each bit")
        matrix = plots[2].imshow(use.bit_correlations, cmap="RdBu_r", vmin=-1, vmax=1)
        plots[2].set(title="correlation of two bits", xticks=[], yticks=[])
        figure.colorbar(matrix, ax=plots[2])
    for axes in plots:
        axes.title.set_fontsize(9)
    write_figure(figure, path)


def _draw_usage(axes: Any, use: "CodeUse") -> None:
    """Draw every used code by its rank, without bins, on logarithmic axes."""
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
    reconstructed: "Reconstruction",
    masks: np.ndarray,
    use: "CodeUse | None",
    titles: Sequence[str],
    chosen: Sequence[int],
) -> None:
    """Draw one row for each chosen image: image, reconstruction, error, codes, defect.

    The squared error has one scale over all rows. A code has one colour in all rows.

    Args:
      path: the PNG file to write.
      reconstructed: images and reconstructions, f32 [n h w 3] in [0, 1].
      masks: the defects, [n h w].
      use: codes of the images; None leaves the column out.
      titles: one for each of the n images.
      chosen: indices of the images to draw.
    """
    columns = ["image", "reconstruction", "squared error", "codes", "defect"]
    if use is None:
        columns.remove("codes")
    height, width = masks.shape[1:]
    wide, high = (PANEL_INCHES * math.sqrt(r) for r in (width / height, height / width))
    figure = new_figure(wide * len(columns), high * len(chosen) + 0.3)
    grid: Any = figure.subplots(len(chosen), len(columns), squeeze=False)
    error = ((reconstructed.images - reconstructed.reconstructions) ** 2).mean(-1)
    scale = float(error[list(chosen)].max()) or 1.0
    for row, i in zip(grid, chosen, strict=True):
        panels = {
            "image": {"X": reconstructed.images[i]},
            "reconstruction": {"X": reconstructed.reconstructions[i]},
            "squared error": {"X": error[i], "cmap": "inferno", "vmax": scale},
            "defect": {"X": masks[i], "cmap": "gray", "vmax": 1},
        }
        if use is not None:
            panels["codes"] = {"X": code_colours(use.maps[i], reconstructed.images[i])}
        for axes, name in zip(row, columns, strict=True):
            axes.imshow(**panels[name], vmin=0)
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(titles[i], fontsize=7)
    for axes, name in zip(grid[0], columns, strict=True):
        axes.set_title(name, fontsize=9)
    write_figure(figure, path)


def code_colours(codes: np.ndarray, image: np.ndarray) -> np.ndarray:
    """One colour for each code, darkened by the image: f32 [h w 3] in [0, 1].

    The hue of code i is i times the golden ratio, modulo 1, so that codes of similar
    rank look different.

    Args:
      codes: integers, [a b].
      image: in [0, 1], [h w 3].
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
