"""Two tiny categories, flags for a tiny run, and its results."""

import contextlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import datasets
from datasets.example import Example, Kind
from experiments.few_shot.__main__ import main
from experiments.measure import category_metrics
from experiments.report import code_plots, pictures
from experiments.run import anomaly_process
from lfq_jax.metrics.evaluation import BootstrapConfig
from tests.refusals import refused

TINY = (
    *("--model.image-px", "32", "--model.reconstructive-widths", "6", "8"),
    *("--model.discriminative-widths", "6", "8", "--model.memory_bank.levels", "2"),
    *("--model.memory_bank.patches", "64", "--train.crop-px", "16"),
    *("--train.epochs", "1", "--train.epoch-images", "8", "--train.log-every", "2"),
    *("--train.batch-size", "4", "--train.good-images", "4", "--pictures", "3"),
    *("--anomalies", "6", "--validation-anomalies", "2", "--preset", "cpu"),
)


def write_image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Two categories of grey parts in MVTec layout; one test defect with its mask."""
    rng = np.random.default_rng(0)
    for category in ("plate", "ring"):
        root = tmp_path / "parts" / category
        for i in range(3):
            pixels = rng.integers(100, 140, (40, 48, 3)).astype(np.uint8)
            write_image(root / "train" / "good" / f"{i}.png", pixels)
            write_image(root / "test" / "good" / f"{i}.png", pixels[::-1])
            mask = np.zeros((40, 48), np.uint8)
            mask[10:20, 12 + i : 22 + i] = 255
            pixels[mask > 0] = (220, 40, 40)
            write_image(root / "test" / "hole" / f"{i}.png", pixels)
            write_image(root / "ground_truth" / "hole" / f"{i}_mask.png", mask)
    return tmp_path / "parts"


def shots_of(kind: Kind, *shapes: tuple[int, int]) -> datasets.Shots:
    """Black shots of these heights and widths."""
    examples = tuple(
        Example(
            *("good/0", "plate", kind, "good", np.zeros((*shape, 3), np.uint8)),
            *(np.zeros(shape, bool), 0, ""),
        )
        for shape in shapes
    )
    return datasets.Shots(("good/0",), ("",), examples)


def refusal(capsys, *arguments: str) -> str:
    """The message of a mistake in `arguments`; the exit status must be 2."""
    return refused(capsys, main, arguments)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Puts runs and caches into a folder of the test; few bootstrap replicates."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LFQUIAD_CACHE", str(tmp_path / "cache"))
    few = BootstrapConfig(replicates=30)
    monkeypatch.setattr(category_metrics, "BOOTSTRAP", few)


@pytest.fixture
def blank_figures(monkeypatch):
    """Draws no figure: rendering takes longer than a tiny training.

    Runs write files of the same names, with one grey pixel. `test_runner.py` renders
    all figures of a run.
    """

    def write_blank(_figure: object, path: Path) -> None:
        write_image(path, np.full((1, 1), 128, np.uint8))

    for module in (code_plots, pictures):
        monkeypatch.setattr(module, "write_figure", write_blank)


@pytest.fixture
def shared_anomalies(tmp_path_factory, monkeypatch):
    """Generates anomalies once for all tests of this process that need the same ones.

    Each test's folder of anomalies is a link to one folder. Its name for anomalies is
    a hash of all that decides them.
    """
    shared = tmp_path_factory.getbasetemp() / "anomalies"
    ensure_shards = anomaly_process.ensure_shards

    def ensure_shared(normals: Any, *, cache_dir: Path, **options: Any) -> Path:
        shared.mkdir(exist_ok=True)
        cache_dir.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            cache_dir.symlink_to(shared, target_is_directory=True)
        return ensure_shards(normals, cache_dir=cache_dir, **options)

    monkeypatch.setattr(anomaly_process, "ensure_shards", ensure_shared)


class Counted(Sequence[Any]):
    """Examples that count how often each one is read."""

    def __init__(self, examples: Sequence[Any], read: Counter[int]) -> None:
        self.examples = examples
        self.read = read

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, i: Any) -> Any:
        example = self.examples[i]
        self.read[i] += 1
        return example


@pytest.fixture
def read(monkeypatch) -> Counter[int]:
    """How often each test image is read and so decoded, by its index."""
    counter, load = Counter(), datasets.load
    monkeypatch.setattr(
        datasets,
        "load",
        lambda *names, **where: Counted(load(*names, **where), counter),
    )
    return counter


def without_times(run: Path) -> list[dict]:
    """The lines of results.jsonl, without seconds."""
    lines = (run / "results.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(x).items() if k != "seconds"} for x in lines]
