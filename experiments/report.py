"""One self-contained page about a run, for a colleague's browser.

python -m experiments.report runs/<id>
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

import tyro

from experiments.command_line import read_flags

ASSETS = Path(__file__).resolve().parent / "report_assets"
SCRIPTS = ("decisions.js", "charts.js", "histogram.js", "gallery.js", "report.js")


@dataclass(frozen=True)
class Report:
    """Write report.html into a run's folder, from the files that it holds."""

    run: tyro.conf.Positional[Path]
    """The run's folder: runs/<id>."""


def write_report(run_folder: Path) -> Path:
    """Write `run_folder`/report.html and return its path.

    The page needs no network and no file beside it. It can be written anew at any time,
    also while later categories are still in training.

    Raises:
      FileNotFoundError: where there is no such folder.
      ValueError: where it is not a run, has no result yet, or a file is damaged.
    """
    from datasets.files import write_atomically
    from experiments.report_data import read_run

    run = read_run(run_folder)
    path = run_folder / "report.html"
    write_atomically(path, page(run).encode())
    return path


def page(run: dict[str, object]) -> str:
    """The page that shows what `read_run` gave."""
    template = Template((ASSETS / "report.html.template").read_text())
    return template.substitute(
        title=_as_text(f"LFQUIAD {run['id']}"),
        style=(ASSETS / "report.css").read_text(),
        script="\n".join((ASSETS / name).read_text() for name in SCRIPTS),
        data=_as_script_data(run),
    )


def _as_text(text: str) -> str:
    import html

    return html.escape(text)


def _as_script_data(value: object) -> str:
    """JSON that no name in it can end the script element with."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def main(argv: Sequence[str] | None = None) -> None:
    """The command line: prints the page's path."""
    command = read_flags(Report, prog="python -m experiments.report", argv=argv)
    from datasets.errors import one_line_errors

    with one_line_errors():
        print(write_report(command.run))


if __name__ == "__main__":
    main()
