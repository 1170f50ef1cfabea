"""Measures finished runs on their test images in other light, focus and noise.

    python -m experiments.bench.disturbances --runs runs/<id> ...

Every test image of a run is disturbed in the same way, good or not. Prints the image
AUROC, PRO, and the decisions by the detector's own threshold: what changes where the
photographs change, and the parts do not.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.run.command_line import read_flags

if TYPE_CHECKING:  # imports jax, which --help must not wait for
    import numpy as np

    from datasets.example import Example

PROG = "python -m experiments.bench.disturbances"
BRIGHTNESS = 0.15
BLUR_PX = 1.0
NOISE = 0.02
_FIGURES = ("image_auroc", "pro", "false_alarms", "found")


@dataclass(frozen=True)
class Settings:
    """Measure finished runs on disturbed test images."""

    runs: tuple[Path, ...]
    """Finished runs of experiments.few_shot."""
    brightness: float = BRIGHTNESS
    """Share by which images become brighter, and darker."""
    blur_px: float = BLUR_PX
    """Standard deviation of the Gaussian blur, in pixels of the photograph."""
    noise: float = NOISE
    """Standard deviation of the noise in each pixel and colour; 1 is white."""

    def __post_init__(self) -> None:
        for name, most in (("brightness", 1), ("blur_px", 100), ("noise", 1)):
            value = getattr(self, name)
            if not 0 < value <= most:
                flag = name.replace("_", "-")
                raise ValueError(f"--{flag} must be in (0, {most}], got {value}")


Disturb = Callable[["np.ndarray", int], "np.ndarray"]
"""Changes an image, u8 [h w 3]. The number is its place among the test images."""


class Row(NamedTuple):
    """A detector on test images that are all disturbed in one way."""

    category: str
    seed: int
    disturbance: str
    image_auroc: float | None
    pro: float | None
    false_alarms: float
    """Share of good images that are called anomalous."""
    found: float
    """Share of defective images that are called anomalous."""


def disturbances(settings: Settings) -> dict[str, Disturb]:
    """Every disturbance by its name; the first changes nothing."""
    share, noise = settings.brightness, settings.noise
    return {
        "none": lambda image, _: image,
        f"{share:.0%} brighter": lambda image, _: _bytes(image * (1.0 + share)),
        f"{share:.0%} darker": lambda image, _: _bytes(image * (1.0 - share)),
        f"blur of {settings.blur_px:g} px": lambda image, _: _blurred(
            image, settings.blur_px
        ),
        f"noise of {noise:g}": lambda image, number: _noisy(image, noise, number),
    }


def _bytes(image: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def _blurred(image: "np.ndarray", sigma_px: float) -> "np.ndarray":
    import numpy as np
    from scipy.ndimage import gaussian_filter

    blur = (sigma_px, sigma_px, 0)
    return _bytes(gaussian_filter(image.astype(np.float32), blur, mode="nearest"))


def _noisy(image: "np.ndarray", deviation: float, number: int) -> "np.ndarray":
    import numpy as np

    drawn = np.random.default_rng(number).normal(size=image.shape)
    return _bytes(image + 255.0 * deviation * drawn)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print a table and one JSON object."""
    settings = read_flags(Settings, prog=PROG, argv=argv)
    from datasets.errors import one_line_errors

    with one_line_errors():
        rows = list(_rows(settings))
    print(table(rows))
    print(json.dumps([row._asdict() for row in rows]))


def _rows(settings: Settings) -> Iterator[Row]:
    from agm_torch.cache_folder import cache_folder
    from experiments.few_shot.settings import FewShot
    from experiments.run.compile_cache import keep_compiled
    from experiments.run.data_options import load_test_images
    from experiments.run.folder import RunFolder
    from lfq_jax.config import from_json
    from lfq_jax.inference.run_folder import trained_categories

    opened = [(RunFolder.open(path, "few_shot"), path) for path in settings.runs]
    if not opened:
        raise ValueError("--runs must be one run or more, got none")
    for _, path in opened:
        if not trained_categories(path):
            raise ValueError(f"--runs {path} holds no trained category")
    keep_compiled(cache_folder())
    for run, path in opened:
        started = from_json(FewShot, run.config)
        for category in trained_categories(path):
            examples = load_test_images(started, category)
            yield from _of_detector(path, category, examples, disturbances(settings))


def _of_detector(
    run: Path,
    category: str,
    examples: "Sequence[Example]",
    ways: dict[str, Disturb],
) -> Iterator[Row]:
    from datasets.progress import Bar
    from experiments.measure.category_metrics import measure
    from experiments.measure.ground_truths import GroundTruth, photographs
    from lfq_jax.inference.detector_files import read_detector, read_thresholds
    from lfq_jax.inference.predictor import Predictor

    folder = run / category / "detector"
    thresholds = read_thresholds(folder)
    predictor = Predictor(read_detector(folder))
    for name, disturb in ways.items():
        truths: list[GroundTruth] = []
        shown = Bar(
            _disturbed(examples, disturb),
            desc=f"{category}: {name}",
            total=len(examples),
        )
        images = photographs(shown, truths, predictor.framing)
        predictions = list(predictor.predict(images, pads=True))
        score = thresholds.image_score
        metrics = measure(truths, predictions, image_score=score).metrics
        alarms: dict[int, list[bool]] = {0: [], 1: []}
        for truth, prediction in zip(truths, predictions, strict=True):
            is_called = prediction.scores[score] >= thresholds.image_threshold
            alarms[truth.label].append(is_called)
        yield Row(
            category=category,
            seed=predictor.record.seed,
            disturbance=name,
            image_auroc=metrics["image_auroc"],
            pro=metrics["pro"],
            false_alarms=_share(alarms[0]),
            found=_share(alarms[1]),
        )


def _disturbed(examples: "Iterable[Example]", disturb: Disturb) -> "Iterator[Example]":
    for number, example in enumerate(examples):
        yield example._replace(image=disturb(example.image, number))


def _share(decisions: Sequence[bool]) -> float:
    return sum(decisions) / len(decisions) if decisions else float("nan")


def table(rows: Sequence[Row]) -> str:
    """A Markdown table: image AUROC / PRO / false alarms / found, a row per detector,
    a column per disturbance, and the means."""
    names = list(dict.fromkeys(row.disturbance for row in rows))
    detectors = list(dict.fromkeys((row.category, row.seed) for row in rows))
    lines = [f"| category | seed | {' | '.join(names)} |"]
    lines.append("|---" * (len(names) + 2) + "|")
    for category, seed in detectors:
        own = [row for row in rows if (row.category, row.seed) == (category, seed)]
        cells = [_cell([row for row in own if row.disturbance == n]) for n in names]
        lines.append(f"| {category} | {seed} | {' | '.join(cells)} |")
    means = [_cell([row for row in rows if row.disturbance == n]) for n in names]
    lines.append(f"| **mean** | | {' | '.join(means)} |")
    return "\n".join(lines)


def _cell(rows: Sequence[Row]) -> str:
    parts = []
    for name in _FIGURES:
        known: list[Any] = [getattr(row, name) for row in rows]
        known = [value for value in known if value is not None]
        mean = sum(known) / len(known) if known else None
        is_rate = name in ("false_alarms", "found")
        form = "{:.0%}" if is_rate else "{:.3f}"
        parts.append("-" if mean is None else form.format(mean))
    return " / ".join(parts)


if __name__ == "__main__":
    main()
