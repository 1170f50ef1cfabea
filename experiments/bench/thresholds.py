"""Measures thresholds' false-alarm rates on new renderings of good parts.

    python -m experiments.bench.thresholds --runs runs/<id> runs/<id> ...

The runs must be of `rendered_ad`. The images that are rendered here are in no split of
the data set. Prints the realised false-alarm rates, and the AUROC of every image score.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.run.command_line import read_flags

RULES = ("max_f1", "false_alarm_rate", "margin", "new_parts")
FIRST = 1000  # renderings from this number on are in no split


@dataclass(frozen=True)
class Settings:
    """Measure the false-alarm rates of finished runs' thresholds."""

    runs: tuple[Path, ...]
    """Finished runs on rendered_ad."""
    fresh: int = 120
    """Good parts to measure on, per category."""
    calibration: tuple[int, ...] = (19, 59)
    """Numbers of other good parts to calibrate with."""
    rate: float = 0.05
    """The nominal false-alarm rate."""


def good_parts(category: str, count: int) -> list:
    """New renderings of good parts."""
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
    """Measure every detector of the runs and print the results."""
    from agm_torch.cache_folder import cache_folder
    from experiments.run.compile_cache import keep_compiled
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
            rows.append(measure(settings, run, category, images[category]))
    rows.sort(key=lambda row: (row["category"], row["seed"]))
    print(rates_table(rows))
    print()
    print(scores_table(rows))
    print(json.dumps(rows))


def measure(
    settings: Settings, run: Path, category: str, images: list
) -> dict[str, Any]:
    """False-alarm and detection rate of every threshold of one detector."""
    from lfq_jax.calibration.calibrate import thresholds_from_photographs
    from lfq_jax.inference.detector_files import read_detector, read_thresholds
    from lfq_jax.inference.predictor import Predictor

    folder = run / category / "detector"
    thresholds = read_thresholds(folder)
    missing = [rule for rule in RULES if rule not in thresholds.image]
    if missing:
        raise ValueError(f"{folder} has no threshold by {missing[0]}: train it again")
    record = read_detector(folder)
    predictions = Predictor(record).predict(images)
    all_scores = [raw.calibration_scores for raw in predictions]
    name = thresholds.image_score
    fresh = all_scores[: settings.fresh]
    calibration = all_scores[settings.fresh :]
    lines = (run / category / "predictions.jsonl").read_text().splitlines()
    tested = [json.loads(line) for line in lines]
    defects = [line["scores"][name] for line in tested if line["label"]]

    def shares(threshold: float) -> list[float]:
        alarms = [scores[name] >= threshold for scores in fresh]
        caught = [score >= threshold for score in defects]
        return [sum(alarms) / len(alarms), sum(caught) / len(caught)]

    rates = {rule: shares(thresholds.image[rule].value) for rule in RULES}
    for count in settings.calibration:
        good = {
            key: [scores[key] for scores in calibration[:count]]
            for key in calibration[0]
        }
        calibrated = thresholds_from_photographs(
            thresholds,
            good,
            image_score=name,
            reason="",
            rate=settings.rate,
            tile_px=0,
        )
        rates[f"calibrated_{count}"] = shares(calibrated.image_threshold)
    return {
        "category": category,
        "seed": record.seed,
        "rates": rates,
        "aurocs": _aurocs(all_scores, tested, thresholds.calibration_scores),
    }


def _aurocs(all_scores: list, tested: list, scores: dict[str, Any]) -> dict[str, Any]:
    """Two AUROCs of every image score.

    The first is of new good parts against the defects of the test split. The second is
    of the synthetic validation, which may be used to choose a score.
    """
    from lfq_jax.calibration.calibrate import image_auroc
    from lfq_jax.config import IMAGE_SCORES

    good, bad = scores["synthetic_good"], scores["synthetic_anomalous"]
    return {
        name: [
            image_auroc(
                [scores[name] for scores in all_scores],
                [line["scores"][name] for line in tested if line["label"]],
            ),
            image_auroc(good[name], bad[name]),
        ]
        for name in IMAGE_SCORES
    }


def rates_table(rows: list[dict[str, Any]]) -> str:
    """A table of false alarms / detected defects: a row per detector, and the mean."""
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
    """A table of every image score's AUROC, by category: real / synthetic images."""
    names = list(rows[0]["aurocs"])
    lines = [f"| category | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for category in dict.fromkeys(row["category"] for row in rows):
        aurocs = [row["aurocs"] for row in rows if row["category"] == category]
        cells = []
        for name in names:
            real, synthetic = (
                sum(a[name][i] for a in aurocs) / len(aurocs) for i in (0, 1)
            )
            cells.append(f"{real:.3f} / {synthetic:.3f}")
        lines.append(f"| {category} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
