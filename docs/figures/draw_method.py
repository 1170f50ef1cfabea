"""Draw docs/pictures/method.svg: the path of an image to its score.

python docs/figures/draw_method.py
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

TARGET = Path(__file__).resolve().parents[1] / "pictures" / "method.svg"
PAPER, ADDED, DATA = "#cfe2f3", "#fde4c4", "#f2f2f2"
BOXES: dict[str, tuple[float, float, float, float, str, str]] = {
    # name: left, bottom, width, height, colour, text
    "shots": (0.1, 5.6, 1.7, 0.8, DATA, "shots\n(good parts)"),
    "image": (0.1, 3.1, 1.7, 0.8, DATA, "image\n256 x 256"),
    "bank": (2.5, 5.6, 2.2, 0.8, ADDED, "memory bank\nof patches"),
    "features": (2.5, 4.3, 2.2, 0.8, ADDED, "filter bank,\nbackbone (optional)"),
    "distances": (5.4, 4.95, 2.2, 0.8, ADDED, "distance maps\nlog(1 + d) - baseline"),
    "head": (8.3, 4.95, 2.1, 0.8, ADDED, "logistic head\nlog-odds r"),
    "orientation": (5.4, 6.35, 2.2, 0.8, ADDED, "orientation deviation\n(textures) o"),
    "autoencoder": (2.5, 1.9, 2.2, 0.8, PAPER, "autoencoder\nwith LFQ"),
    "reconstruction": (5.4, 1.9, 2.2, 0.8, PAPER, "reconstruction,\nresidual"),
    "discriminator": (8.3, 3.1, 2.1, 0.8, PAPER, "discriminator\nlog-odds n"),
    "map": (11.1, 5.3, 2.1, 0.8, PAPER, "map\n80 % r + 20 % n + o"),
    "score": (11.1, 3.1, 2.1, 0.8, ADDED, "image score\nfrom r alone"),
    "decision": (11.1, 1.3, 2.1, 0.8, PAPER, "threshold:\ndecision"),
}
ARROWS = (
    ("shots", "bank"),
    ("image", "features"),
    ("image", "autoencoder"),
    ("bank", "distances"),
    ("features", "distances"),
    ("bank", "orientation"),
    ("features", "orientation"),
    ("distances", "head"),
    ("distances", "discriminator"),
    ("autoencoder", "reconstruction"),
    ("reconstruction", "discriminator"),
    ("head", "map"),
    ("discriminator", "map"),
    ("orientation", "map"),
    ("head", "score"),
    ("score", "decision"),
)
LEGEND = ((PAPER, "the paper's"), (ADDED, "added here (presets best and cpu)"))


def draw(path: Path) -> None:
    """Write the figure to `path`; the same code gives the same bytes."""
    style = {"svg.fonttype": "none", "svg.hashsalt": "method", "font.size": 10}
    with matplotlib.rc_context(style):
        figure = plt.figure(figsize=(10.4, 5.2))
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 13.4), ylim=(0.6, 7.3))
        axes.set_axis_off()
        for name in BOXES:
            _box(axes, name)
        for start, end in ARROWS:
            _arrow(axes, start, end)
        for i, (colour, text) in enumerate(LEGEND):
            left = 0.1 + 2.3 * i
            axes.add_patch(plt.Rectangle((left, 0.85), 0.3, 0.3, fc=colour, ec="#555"))
            axes.text(left + 0.45, 1.0, text, va="center")
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)


def _box(axes: Axes, name: str) -> None:
    left, bottom, width, height, colour, text = BOXES[name]
    style = "round,pad=0.02,rounding_size=0.12"
    patch = FancyBboxPatch(
        (left, bottom), width, height, boxstyle=style, fc=colour, ec="#555", lw=1
    )
    axes.add_patch(patch)
    axes.text(left + width / 2, bottom + height / 2, text, ha="center", va="center")


def _arrow(axes: Axes, start: str, end: str) -> None:
    """From the side of one box that faces the other."""
    left, bottom, width, height, *_ = BOXES[start]
    to_left, to_bottom, to_width, to_height, *_ = BOXES[end]
    if to_left > left:
        tail = (left + width + 0.03, bottom + height / 2)
        head = (to_left - 0.03, to_bottom + to_height / 2)
    else:
        tail = (left + width / 2, bottom - 0.03)
        head = (to_left + to_width / 2, to_bottom + to_height + 0.03)
    style = {"arrowstyle": "-|>", "color": "#555", "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=head, xytext=tail, arrowprops=style)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
