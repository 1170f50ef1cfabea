"""Shows the worst mistakes of several runs: misses and false alarms, with pictures.

    python -m experiments.mistakes --runs runs/<id> runs/<id> ...

A miss is worse the more good test images of its category score higher than it. A false
alarm is worse the more defective images score lower. So mistakes of different
categories, whose scores are not comparable, come in one order.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from experiments.run.command_line import read_flags, require_at_least

PROG = "python -m experiments.mistakes"
Kind = Literal["miss", "false alarm"]
_FILES: dict[Kind, str] = {"miss": "misses.png", "false alarm": "false_alarms.png"}


@dataclass(frozen=True)
class Mistakes:
    """Show the worst mistakes of finished runs."""

    runs: tuple[Path, ...]
    """Finished runs of experiments.few_shot."""
    out: Path = Path("mistakes")
    """Folder for misses.png and false_alarms.png."""
    count: int = 10
    """Largest number of mistakes of each kind."""

    def __post_init__(self) -> None:
        require_at_least(self, count=1)


class Mistake(NamedTuple):
    """One test image that scores worse than images of the other label."""

    kind: Kind
    run: Path
    category: str
    key: str
    defect: str
    score: float
    wrong_side: float
    """Share of the category's images of the other label that score on the wrong side:
    higher than a miss, lower than a false alarm."""
    is_decided: bool
    """Whether the run's own threshold decides wrongly, too."""
    picture: Path | None
    """None where the run drew none: more --pictures draw more."""


def mistakes_of(run: Path, result: dict[str, Any]) -> list[Mistake]:
    """The mistakes in one category of a run.

    Raises:
      ValueError: if the predictions are missing or damaged.
    """
    category = result["category"]
    path = run / category / "predictions.jsonl"
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        scores = {
            label: [line["score"] for line in lines if line["label"] == label]
            for label in (0, 1)
        }
        found = [_mistake(line, scores, run, result) for line in lines]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} cannot be read: {error!r}") from error
    return [mistake for mistake in found if mistake.wrong_side > 0]


def _mistake(
    line: dict[str, Any],
    scores: dict[int, list[float]],
    run: Path,
    result: dict[str, Any],
) -> Mistake:
    score, label = line["score"], line["label"]
    others = scores[1 - label]
    wrong = [other > score if label else other < score for other in others]
    is_called = score >= result["threshold"]
    folder = run / result["category"]
    return Mistake(
        kind="miss" if label else "false alarm",
        run=run,
        category=result["category"],
        key=line["key"],
        defect=line["defect"],
        score=score,
        wrong_side=sum(wrong) / len(wrong) if wrong else 0.0,
        is_decided=is_called != bool(label),
        picture=folder / line["picture"] if line["picture"] else None,
    )


def worst(mistakes: Sequence[Mistake], kind: Kind, count: int) -> list[Mistake]:
    """The worst mistakes of a kind, the worst first."""
    of_kind = [mistake for mistake in mistakes if mistake.kind == kind]
    return sorted(of_kind, key=lambda mistake: -mistake.wrong_side)[:count]


def table(mistakes: Sequence[Mistake]) -> str:
    """A Markdown table of mistakes of one kind."""
    lines = [
        "| category | image | score | on the wrong side of | decided wrongly | run |",
        "|---|---|---|---|---|---|",
    ]
    for each in mistakes:
        of = "good images" if each.kind == "miss" else "defective images"
        decided = "yes" if each.is_decided else "no"
        lines.append(
            f"| {each.category} | {each.key} | {each.score:.3f} | "
            f"{each.wrong_side:.0%} of the {of} | {decided} | {each.run.name} |"
        )
    return "\n".join(lines)


def _draw(mistakes: Sequence[Mistake], path: Path) -> None:
    """The pictures of the mistakes below each other."""
    from PIL import Image

    from datasets.files import make_folder
    from experiments.report.panels import contact_sheet
    from experiments.report.pictures import save_png

    rows = []
    for each in mistakes:
        if each.picture is None:
            continue
        with Image.open(each.picture) as picture:
            title = f"{each.category} {each.key}   score {each.score:.3f}"
            rows.append((title, picture.convert("RGB")))
    if len({picture.size for _, picture in rows}) > 1:
        raise ValueError(
            "--runs must all be of detectors that reconstruct images, or all of "
            "detectors that do not: their pictures have other panels"
        )
    if rows:
        make_folder(path.parent)
        save_png(contact_sheet(rows), path)
        print(f"\n{path}")


def main(argv: Sequence[str] | None = None) -> None:
    """Print both tables, and write both pictures."""
    command = read_flags(Mistakes, prog=PROG, argv=argv)
    from datasets.errors import one_line_errors

    with one_line_errors():
        _show(command)


def _show(command: Mistakes) -> None:
    from experiments.run.folder import RunFolder

    found: list[Mistake] = []
    for path in command.runs:
        results = RunFolder.open(path, "few_shot").results("category", "threshold")
        if not results:
            raise ValueError(f"--runs {path} has no finished category")
        for result in results:
            found += mistakes_of(path, result)
    for kind, name in _FILES.items():
        shown = worst(found, kind, command.count)
        title = f"{name.removesuffix('.png').replace('_', ' ')}"
        print(f"\nworst {title}: {len(shown)}\n")
        if shown:
            print(table(shown))
            _draw(shown, command.out / name)


if __name__ == "__main__":
    main()
