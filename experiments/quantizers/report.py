"""A self-contained page about a comparison of quantizers, without JavaScript.

python -m experiments.quantizers.report runs/<id>
"""

import base64
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import tyro

from experiments.report.page import ASSETS
from experiments.run.command_line import read_flags


@dataclass(frozen=True)
class ComparisonReport:
    """Write report.html into a comparison's folder, from the files in the folder."""

    run: tyro.conf.Positional[Path]
    """The comparison's folder: runs/<id>."""


def write_comparison(run_folder: Path) -> Path:
    """Draw pareto.png and curves.png, write report.html, and return its path.

    The page can be written again at any time, even while later rows are in training.

    Raises:
      FileNotFoundError: if the folder does not exist.
      ValueError: if it contains no comparison or no finished row, or a damaged file.
    """
    from datasets.files import write_atomically
    from experiments.quantizers.plots import draw_curves, draw_pareto
    from experiments.run.folder import RunFolder
    from experiments.run.json_files import read_json

    if not run_folder.is_dir():
        raise FileNotFoundError(f"there is no run folder {run_folder}")
    run = RunFolder.open(run_folder, "quantizers")
    rows = run.results("variant", "category", "seed", "dataset", "shots", "steps")
    if not rows:
        raise ValueError(f"{run_folder} has no finished row yet")
    draw_pareto(run_folder / "pareto.png", rows)
    draw_curves(run_folder / "curves.png", run_folder, rows)
    path = run_folder / "report.html"
    write_atomically(path, _page(run_folder, rows, read_json(run.config_path)).encode())
    return path


def _page(folder: Path, rows: list[dict[str, Any]], content: dict[str, Any]) -> str:
    """The HTML of the page.

    Args:
      content: the content of config.json.
    """
    from datasets.file_names import printable
    from experiments.quantizers.table import scope

    template = Template((ASSETS / "quantizers.html.template").read_text())
    parts = [
        *_tables(rows),
        "<h2>Pareto plot</h2>",
        _picture(
            folder / "pareto.png", "variants by cost, reconstruction and detection"
        ),
        "<h2>Training</h2>",
        _picture(
            folder / "curves.png",
            "use of codes and reconstruction error by training step",
        ),
        *_codes(folder, rows),
        "<h2>Settings</h2>",
        _details("provenance", content.get("provenance", {})),
        _details("config", content["config"]),
    ]
    return template.substitute(
        title=html.escape(f"Quantizers compared: {printable(folder.resolve().name)}"),
        style=(ASSETS / "report.css").read_text(),
        over=html.escape(scope(rows)),
        body="\n".join(parts),
    )


def _tables(rows: Sequence[dict[str, Any]]) -> list[str]:
    """One heading, table and legend per group of figures."""
    from experiments.quantizers.table import GROUPS, group_cells

    parts = []
    for name, figures in GROUPS.items():
        heads = [
            f'<th title="{html.escape(f.full)}">{html.escape(f.short)}</th>'
            for f in figures
        ]
        lines = [
            f"<tr><th>{html.escape(line[0])}</th>"
            + "".join(f"<td>{html.escape(cell)}</td>" for cell in line[1:])
            + "</tr>"
            for line in group_cells(rows, figures)
        ]
        legend = "; ".join(f"{f.short}: {f.full}" for f in figures)
        parts += [
            f"<h2>{html.escape(name.capitalize())}</h2>",
            f'<div class="scroll"><table><thead><tr><th>variant</th>{"".join(heads)}'
            f"</tr></thead><tbody>{''.join(lines)}</tbody></table></div>",
            f'<p class="quiet">{html.escape(legend)}.</p>',
        ]
    return parts


def _codes(folder: Path, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Every variant's pictures of the codes, for every category and the first seed."""
    from experiments.quantizers.settings import row_folder

    first = min(row["seed"] for row in rows)
    parts = []
    for row in rows:
        if row["seed"] != first:
            continue
        place = row_folder(folder, row["category"], row["seed"], row["variant"])
        name = f"{row['variant']} on {row['category']}, seed {first}"
        parts.append(f"<h3>{html.escape(name)}</h3>")
        for file, what in (("codes", "use of the codes"), ("images", "test images")):
            if (place / f"{file}.png").is_file():
                embed = _photographs if file == "images" else _picture
                parts.append(embed(place / f"{file}.png", f"{name}: {what}"))
    return ["<h2>Codes and reconstructions</h2>", *parts]


def _picture(path: Path, words: str) -> str:
    """The picture as PNG, within the page.

    Args:
      words: the alternative text.
    """
    data = base64.b64encode(path.read_bytes()).decode()
    return _image(f"data:image/png;base64,{data}", words)


def _photographs(path: Path, words: str) -> str:
    """The picture as JPEG, at a fifth of the bytes: the page has one per variant."""
    from PIL import Image

    from experiments.report.image_uris import jpeg_uri

    with Image.open(path) as picture:
        return _image(jpeg_uri(picture.convert("RGB")), words)


def _image(uri: str, words: str) -> str:
    return f'<p><img class="plot" alt="{html.escape(words)}" src="{uri}"></p>'


def _details(name: str, value: object) -> str:
    text = html.escape(json.dumps(value, indent=1))
    return f"<details><summary>{name}</summary><pre>{text}</pre></details>"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command: write the page and print its path."""
    command = read_flags(
        ComparisonReport, prog="python -m experiments.quantizers.report", argv=argv
    )
    from datasets.errors import one_line_errors

    with one_line_errors():
        print(write_comparison(command.run))


if __name__ == "__main__":
    main()
