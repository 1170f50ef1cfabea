"""What an evaluation prints: every candidate's figures, and how they changed."""

from collections.abc import Mapping

from experiments.accuracy_baseline import Figures, Result, mean_figures
from experiments.table import NOT_COMPUTED, aligned, figure

_SHOWN = (
    ("I-AUROC", "image_auroc"),
    ("P-AUROC", "pixel_auroc"),
    ("P-AP", "pixel_ap"),
    ("PRO", "pro"),
)
_IN_SHORT = ("image_auroc", "pixel_auroc", "pro")
ALL = "all data sets"
"""The mean over the data sets, each of which weighs the same."""


def set_means(result: Result) -> dict[str, Figures]:
    """Means over the categories of every data set, and over the data sets."""
    found = {
        part: mean_figures(list(categories.values()))
        for part, categories in result.figures.items()
    }
    return found | {ALL: mean_figures(list(found.values()))}


def comparable(result: Result, baseline: Result | None) -> str | None:
    """Why the two cannot be compared; None where they can."""
    if baseline is None:
        return "the baseline has no such candidate"
    if (result.shots, result.seeds) != (baseline.shots, baseline.seeds):
        seeds = ", ".join(map(str, baseline.seeds))
        return f"the baseline has {baseline.shots} shots and seeds {seeds}"
    return None


def change(now: float | None, before: float | None) -> str:
    """Signed, three decimals."""
    if now is None or before is None:
        return NOT_COMPUTED
    return f"{round(now - before, 3) + 0.0:+.3f}"  # + 0.0: no negative zero


def _rows(result: Result) -> dict[str, Figures]:
    """Figures by the name of their row, categories above their data set's mean."""
    means = set_means(result)
    found: dict[str, Figures] = {}
    for part, categories in result.figures.items():
        if list(categories) != [part]:
            found |= {f"  {name}": figures for name, figures in categories.items()}
        found[part] = means[part]
    return found | {ALL: means[ALL]} if len(result.figures) > 1 else found


def candidate_table(name: str, result: Result, baseline: Result | None) -> str:
    """One candidate, category by category, with the change against its baseline."""
    reason = comparable(result, baseline)
    before = _rows(baseline) if baseline and not reason else {}
    # A mean over fewer categories or data sets is not the same mean.
    if baseline and baseline.figures.keys() != result.figures.keys():
        before.pop(ALL, None)
    for part, categories in result.figures.items():
        if baseline and categories.keys() != baseline.figures.get(part, {}).keys():
            before.pop(part, None)
            before.pop(ALL, None)
    heads = ["", *(w for short, _ in _SHOWN for w in (short, "change")), "seconds"]
    lines = []
    for row, figures in _rows(result).items():
        cells = [row]
        for _, key in _SHOWN:
            was = before.get(row, {}).get(key)
            cells += [figure(figures[key]), change(figures[key], was)]
        lines.append([*cells, f"{figures['seconds'] or 0:.0f}"])
    seeds = ", ".join(map(str, result.seeds))
    title = f"{name}: {', '.join(result.settings)}, mean over seeds {seeds}"
    note = [f"no change is shown: {reason}"] if reason else []
    return "\n".join([title, "", aligned(heads, lines), *note])


def defect_table(result: Result) -> str:
    """Real photographs by kind of defect; empty where there are none."""
    lines = [
        [
            f"{part}, {defect}",
            f"{figures['count'] or 0:.0f}",
            *(figure(figures[key]) for key in _IN_SHORT),
        ]
        for part, defects in result.per_defect.items()
        for defect, figures in defects.items()
    ]
    heads = ["defect", "images", "I-AUROC", "P-AUROC", "PRO"]
    return aligned(heads, lines) if lines else ""


def summary(results: Mapping[str, Result], baseline: Mapping[str, Result]) -> str:
    """All candidates beside each other, those of the baseline too."""
    shown = dict(results)
    shown |= {f"{name}, baseline": result for name, result in baseline.items()}
    parts = dict.fromkeys(part for r in shown.values() for part in r.figures)
    heads = ["I-AUROC / P-AUROC / PRO", *parts]
    lines = []
    for name, result in shown.items():
        means = set_means(result)
        lines.append([name, *(_in_short(means.get(part)) for part in parts)])
    seeds = {
        name: "seeds " + ", ".join(map(str, result.seeds))
        for name, result in baseline.items()
    }
    notes = [f"baseline of {name}: {each}" for name, each in seeds.items()]
    return "\n".join([aligned(heads, lines), *notes])


def _in_short(figures: Figures | None) -> str:
    if figures is None:
        return NOT_COMPUTED
    return " / ".join(figure(figures[key]) for key in _IN_SHORT)
