"""Write the report of a run: one HTML page with all of its results.

python -m experiments.report runs/<id>
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from experiments.report.page import write_report
from experiments.run.command_line import read_flags


@dataclass(frozen=True)
class Report:
    """Write report.html into a run's folder, from the files in that folder."""

    run: tyro.conf.Positional[Path]
    """The run's folder: runs/<id>."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command: write the report and print its path."""
    command = read_flags(Report, prog="python -m experiments.report", argv=argv)
    from datasets.errors import one_line_errors

    with one_line_errors():
        print(write_report(command.run))


if __name__ == "__main__":
    main()
