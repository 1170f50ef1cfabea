"""What thresholds promise and what they keep, on fresh renderings of good parts.

    python -m experiments.bench.thresholds --runs runs/<id> runs/<id> ...

The runs must be of `rendered_ad`. No run has seen the images that are rendered here.
Prints the realised false-alarm rates, and which image score is right when.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.command_line import read_flags

RULES = ("max_f1", "false_alarm_rate", "margin")
FIRST = 1000  # renderings from here on are in no split


@dataclass(frozen=True)
class Settings:
    """Measure the false-alarm rates of finished runs' thresholds."""

    runs: tuple[Path, ...]
    """Finished runs on rendered_ad."""
    fresh: int = 120
    """Good parts to measure on, a category."""
    calibration: tuple[int, ...] = (19, 59)
    """How many other good parts `calibrate` is given."""
    rate: float = 0.05
    """The nominal false-alarm rate."""


def good_parts(category: str, count: int) -> list:
    """Fresh renderings of good parts."""
    from concurrent.futures import ThreadPoolExecutor

    from datasets.rendered_ad.builder import _Job, render

    jobs = [_Job(category, "test", "good", FIRST + i) for i in range(count)]
    with ThreadPoolExecutor(2) as pool:
        return [record.image for record in pool.map(render, jobs)]


def main() -> None:
    """Measure and print two tables and one JSON object."""
    settings = read_flags(Settings, prog="python -m experiments.bench.thresholds")
    from datasets.errors import one_line_errors

    with one_line_errors():
        _measure(settings)


def _measure(settings: Settings) -> None:
    from experiments.run import cache_folder, keep_compiled
    from lfq_jax.inference.run_folder import trained_categories

    keep_compiled(cache_folder())
    more = max(settings.calibration, default=0)
    images: dict[str, list] = {}
    rows = []
    for run in settings.runs:
        categories = trained_categories(run)
        if not categories:
            raise ValueError(f"--runs {run} holds no trained category")
        for category in categories:
            if category not in images:
                images[category] = good_parts(category, settings.fresh + more)
            rows.append(measured(settings, run, category, images[category]))
    rows.sort(key=lambda row: (row["category"], row["seed"]))
    print(rates_table(rows))
    print()
    print(scores_table(rows))
    print(json.dumps(rows))


def measured(
    settings: Settings, run: Path, category: str, images: list
) -> dict[str, Any]:
    """One detector: the rate of every threshold, and the defects it then finds."""
    from lfq_jax.calibration.calibrate import of_photographs
    from lfq_jax.inference.detector_files import read_detector, read_thresholds
    from lfq_jax.inference.predictor import Predictor

    folder = run / category / "detector"
    thresholds = read_thresholds(folder)
    missing = [rule for rule in RULES if rule not in thresholds.image]
    if missing:
        raise ValueError(f"{folder} has no threshold by {missing[0]}: train it anew")
    saved = read_detector(folder)
    found = [each.scores for each in Predictor(saved).analyse(images)]
    name = thresholds.image_score
    fresh, rest = found[: settings.fresh], found[settings.fresh :]
    lines = (run / category / "predictions.jsonl").read_text().splitlines()
    tested = [json.loads(line) for line in lines]
    defects = [each["scores"][name] for each in tested if each["label"]]

    def shares(threshold: float) -> list[float]:
        alarms = [each[name] >= threshold for each in fresh]
        caught = [score >= threshold for score in defects]
        return [sum(alarms) / len(alarms), sum(caught) / len(caught)]

    rates = {rule: shares(thresholds.image[rule].value) for rule in RULES}
    for count in settings.calibration:
        good = {key: [each[key] for each in rest[:count]] for key in rest[0]}
        after = of_photographs(
            thresholds,
            good,
            image_score=name,
            reason="",
            rate=settings.rate,
            tile_px=0,
        )
        rates[f"calibrated_{count}"] = shares(after.image_threshold)
    return {
        "category": category,
        "seed": saved.seed,
        "rates": rates,
        "aurocs": _aurocs(found, tested, thresholds.evidence),
    }


def _aurocs(found: list, tested: list, evidence: dict[str, Any]) -> dict[str, Any]:
    """AUROC of every image score: fresh good parts against the test's defects, and on
    the synthetic validation, by which a score could be chosen."""
    from lfq_jax.calibration.calibrate import image_auroc
    from lfq_jax.config import IMAGE_SCORES

    good, bad = evidence["synthetic_good"], evidence["synthetic_anomalous"]
    return {
        name: [
            image_auroc(
                [each[name] for each in found],
                [each["scores"][name] for each in tested if each["label"]],
            ),
            image_auroc(good[name], bad[name]),
        ]
        for name in IMAGE_SCORES
    }


def rates_table(rows: list[dict[str, Any]]) -> str:
    """False alarms / found defects, a row a detector, and the mean."""
    rules = list(rows[0]["rates"])
    lines = [f"| category | seed | {' | '.join(rules)} |"]
    lines.append("|---" * (len(rules) + 2) + "|")
    for row in rows:
        cells = [f"{a:.1%} / {b:.0%}" for a, b in row["rates"].values()]
        lines.append(f"| {row['category']} | {row['seed']} | {' | '.join(cells)} |")
    means = []
    for rule in rules:
        pairs = [row["rates"][rule] for row in rows]
        alarms, caught = (sum(p[i] for p in pairs) / len(pairs) for i in (0, 1))
        means.append(f"**{alarms:.1%} / {caught:.0%}**")
    lines.append(f"| **mean** | | {' | '.join(means)} |")
    return "\n".join(lines)


def scores_table(rows: list[dict[str, Any]]) -> str:
    """AUROC of every image score by category, on the images / on the synthetic ones."""
    names = list(rows[0]["aurocs"])
    lines = [f"| category | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for category in dict.fromkeys(row["category"] for row in rows):
        of_it = [row["aurocs"] for row in rows if row["category"] == category]
        cells = []
        for name in names:
            real, made = (sum(a[name][i] for a in of_it) / len(of_it) for i in (0, 1))
            cells.append(f"{real:.3f} / {made:.3f}")
        lines.append(f"| {category} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
