"""PatchCore on a frozen encoder: what a detector has to beat.

    python -m experiments.patchcore --features squeezenet.npz --shots 2

Nothing is learnt. For every category: remember the shots' patches, score the test
images by their distance from them, measure, write one line and the pictures.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from experiments.command_line import read_command_line, require_at_least
from experiments.few_shot import pick_shots
from experiments.run import (
    RunFolder,
    cache_folder,
    data_source,
    keep_compiled,
    make_or_open,
)
from lfq_jax.config import as_json

if TYPE_CHECKING:  # these import jax, which --help must not wait for
    from datasets import Shots
    from datasets.example import Example
    from experiments.patch_memory import View
    from experiments.truths import Truth
    from lfq_jax.backbones import Backbone
    from lfq_jax.inference.predictor import ImagePrediction

METHOD = "PatchCore"


@dataclass(frozen=True)
class PatchCore:
    """Measure PatchCore on a few good parts, and draw what it finds."""

    features: Path
    """The frozen encoder's weights: a .npz or .safetensors file."""
    stages: tuple[str, ...] = ()
    """Stages of the encoder. None named: the last of stride 8 and the last of 16."""
    image_px: int = 256
    """Side of the square images that the encoder sees, in pixels."""
    unit_length: bool = False
    """Bring the features of every stage to length 1 in every cell. Not in the paper,
    whose network has batch norms; without them stages differ much in scale."""
    coreset: float = 1.0
    """Share of the shots' patches that is remembered. A few shots' patches are few:
    all of them."""
    neighbours: int = 9
    """Patches that the image score is weighted over (the paper's b)."""
    smoothing_px: float = 4.0
    """Deviation of the Gaussian that the map is smoothed with, in pixels of
    `image_px`."""
    image_score: Literal["reweighted", "max"] = "reweighted"
    """The largest distance of a patch, as it is or weighted as in the paper's eq. 7."""
    shots: int = 2
    """Good parts to remember, a category."""
    seed: int = 0
    """Chooses the shots, and where the coreset starts."""
    dataset: str = "rendered_ad"
    """A data set's name, or `folder` for your own images."""
    data_dir: Path | None = None
    """Where the data lies: its folder, or its archive."""
    kind: Literal["auto", "texture", "object"] = "auto"
    """For `folder`: what the photographs show. It is written down, and changes nothing
    here."""
    allow_partial: bool = False
    """Take a sample of a published data set: do not check its numbers of images."""
    on_leak: Literal["refuse", "warn", "ignore"] = "warn"
    """What to do where a test image is also a training image, pixel by pixel."""
    categories: tuple[str, ...] = ()
    """Categories to run. None named: all of them."""
    out: Path | None = None
    """The run's folder. None named: runs/<date>-<time>-<what>."""
    cache_dir: Path = field(default_factory=cache_folder)
    """Prepared data is kept here for the next run."""
    pictures: int = 40
    """Test images to draw at most, a category."""

    def __post_init__(self) -> None:
        require_at_least(self, shots=1, seed=0, image_px=32, neighbours=2)
        require_at_least(self, smoothing_px=0, pictures=0)
        if not 0 < self.coreset <= 1:
            raise ValueError(f"--coreset must be in (0, 1], got {self.coreset}")

    @property
    def data(self) -> dict[str, Any]:
        """Where `datasets` finds the data and keeps its prepared copy."""
        partial = self.allow_partial
        return data_source(
            self.data_dir, self.cache_dir, self.kind, allow_partial=partial
        )


def read_settings(argv: Sequence[str]) -> PatchCore:
    """The settings that `argv` asks for; exits 2 on a mistake."""
    prog = "python -m experiments.patchcore"
    default = PatchCore(features=tyro.MISSING)
    return read_command_line(default, prog=prog, argv=argv)


def read_encoder(settings: PatchCore) -> "tuple[Backbone, View]":
    """The encoder and what is taken of it: mistakes are found before anything runs."""
    from experiments.patch_memory import View, usual_stages
    from lfq_jax.backbones import load_backbone

    encoder = load_backbone(settings.features)
    stages = settings.stages or usual_stages(encoder)
    encoder.check_stages(stages)
    return encoder, View(stages, settings.image_px, settings.unit_length)


def _predictions(
    settings: PatchCore,
    encoder: "Backbone",
    view: "View",
    shots: "Shots",
    test: "Sequence[Example]",
) -> "tuple[list[Truth], list[ImagePrediction]]":
    """One each a test image."""
    from tqdm import tqdm

    from experiments.patch_memory import predict_patches, remember
    from experiments.truths import photographs

    memory = remember(
        encoder,
        [example.image for example in shots.examples],
        view,
        share=settings.coreset,
        seed=settings.seed,
    )
    category = shots.examples[0].category
    progress = tqdm(test, desc=f"{category}: scoring", unit="image", leave=False)
    truths: list[Truth] = []
    predictions = list(
        predict_patches(
            memory,
            photographs(progress, truths),
            view,
            neighbours=settings.neighbours,
            sigma_px=settings.smoothing_px,
        )
    )
    return truths, predictions


def run_category(
    settings: PatchCore,
    encoder: "Backbone",
    view: "View",
    category: str,
    shots: "Shots",
    *,
    folder: Path,
) -> dict[str, Any]:
    """One category from photographs to its line of results.jsonl."""
    import datasets
    from experiments.curve_file import write_curves
    from experiments.measure import measure
    from experiments.pictures import draw_predictions

    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    test = datasets.load(
        settings.dataset, category, "test", on_leak=settings.on_leak, **settings.data
    )
    truths, predictions = _predictions(settings, encoder, view, shots, test)
    score = settings.image_score
    measured = measure(truths, predictions, image_score=score)
    write_curves(folder, truths, predictions)
    draw_predictions(
        folder,
        test,
        truths,
        predictions,
        image_score=score,
        limit=settings.pictures,
    )
    return {
        "dataset": settings.dataset,
        "method": METHOD,
        "category": category,
        "kind": shots.examples[0].kind,
        "shots": settings.shots,
        "seed": settings.seed,
        "encoder": encoder.name,
        "stages": list(view.stages),
        "unit_length": view.unit_length,
        "image_score": score,
        **measured._asdict(),
        "inputs": {
            "shots": shots.by_key,
            "test_images": len(test),
        },
        "seconds": {"total": round(time.monotonic() - started, 2)},
    }


def run(settings: PatchCore, shots: "dict[str, Shots]", folder: RunFolder) -> None:
    """Every category that `folder` has no result of."""
    encoder, view = read_encoder(settings)
    done = {line["category"] for line in folder.results()}
    for category, chosen in shots.items():
        if category not in done:
            place = folder.path / category
            line = run_category(settings, encoder, view, category, chosen, folder=place)
            folder.add_result(line)


def make_folder(settings: PatchCore) -> RunFolder:
    """The run's folder, with its settings and where they came from."""
    keep_compiled(settings.cache_dir)
    name = f"{settings.dataset}-{settings.shots}shot-seed{settings.seed}-patchcore"
    return make_or_open(
        as_json(settings),
        command="patchcore",
        out=settings.out,
        resume=None,
        name=name,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    settings = read_settings(sys.argv[1:] if argv is None else argv)
    from datasets.errors import one_line_errors

    with one_line_errors():
        read_encoder(settings)
        shots = pick_shots(settings)
        folder = make_folder(settings)
        run(settings, shots, folder)
        from experiments.report import write_report
        from experiments.table import results_table

        print(results_table(folder.results()))
        print(f"\nreport    {write_report(folder.path)}")


if __name__ == "__main__":
    main()
