"""The report of a run: one HTML page that needs no other file."""

import json
from pathlib import Path
from string import Template

ASSETS = Path(__file__).resolve().parent / "assets"
SCRIPTS = ("decisions.js", "charts.js", "histogram.js", "gallery.js", "report.js")


def write_report(run_folder: Path) -> Path:
    """Write `run_folder`/report.html and return its path.

    The page loads nothing, neither from the network nor from other files. It can be
    written again at any time, also while other categories are still in training.

    Raises:
      FileNotFoundError: if the folder does not exist.
      ValueError: if the folder is not a run, has no results yet, or holds a damaged
        file.
    """
    from datasets.files import write_atomically
    from experiments.report.run_data import read_run

    run = read_run(run_folder)
    path = run_folder / "report.html"
    write_atomically(path, render(run).encode())
    return path


def render(run: dict[str, object]) -> str:
    """The HTML of the report, from the values that `read_run` returns."""
    template = Template((ASSETS / "report.html.template").read_text())
    return template.substitute(
        title=_escaped(f"LFQUIAD {run['id']}"),
        style=(ASSETS / "report.css").read_text(),
        script="\n".join((ASSETS / name).read_text() for name in SCRIPTS),
        data=_script_json(run),
    )


def _escaped(text: str) -> str:
    """`text` with HTML's special characters escaped."""
    import html

    return html.escape(text)


def _script_json(value: object) -> str:
    """JSON for a script element: no text in it can close the element."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")
