"""Matplotlib figures without a window, drawn by one thread at a time."""

import functools
import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

from datasets.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")
_DRAWING = threading.RLock()


def one_at_a_time(draw: Callable[P, None]) -> Callable[P, None]:
    """`draw` behind a lock that all drawings share: matplotlib is not thread-safe."""

    @functools.wraps(draw)
    def draw_alone(*args: P.args, **kwargs: P.kwargs) -> None:
        with _DRAWING:
            draw(*args, **kwargs)

    return draw_alone


def new_figure(width: float, height: float) -> "Figure":
    """A figure without a window, whatever backend matplotlib's settings name.

    Args:
      width: in inches.
      height: in inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_figure(figure: "Figure", path: Path) -> None:
    """Write the figure as a PNG file. An interrupted call leaves no partial file."""
    figure.draw_without_rendering()  # arranges the plots; saving would do it twice more
    figure.set_layout_engine("none")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    write_atomically(path, buffer.getvalue())
