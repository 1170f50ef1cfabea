"""Quantizers compared as the bottleneck of one detector.

    python -m experiments.quantizers --variants lfq fsq bsq vq simvq none --shots 2

The loop below is the experiment. For every category and seed: pick the shots, make
anomalies from them; for every variant: train the same steps from the same seed on the
same data, then measure reconstruction, detection and codes on the test images. A row is
written when it is finished; `--resume` goes on, also in the middle of a training.
"""

import dataclasses
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from agm_torch.config import GeneratorConfig
from experiments.command_line import read_command_line, require_at_least
from experiments.run import (
    RunFolder,
    cache_folder,
    data_source,
    interruption,
    keep_compiled,
    make_or_open,
    resumable,
)
from lfq_jax.config import (
    AugmentConfig,
    ModelConfig,
    ScoreConfig,
    TrainConfig,
    as_json,
    from_json,
)

if TYPE_CHECKING:
    from datasets import Shots

VARIANTS = ("lfq", "fsq", "bsq", "vq", "simvq", "none")
CATEGORIES = {"rendered_ad": ("woven_cloth", "capsule")}
"""What a comparison takes where none is named; of other data sets, all."""
MODEL = ModelConfig(
    image_px=128,
    stem=4,
    reconstructive_widths=(24, 48),
    discriminative_widths=(24, 48),
    kernels="he",
    prior=0.05,
)
"""16 x 16 positions, each for 8 x 8 pixels of three colours, and a discriminator that
sees the reconstruction and the image alone, as the paper's: what the bottleneck lets
through decides. Small, so that a row takes a minute on two cores."""
TRAIN = TrainConfig(
    batch_size=4,
    reconstructive_learning_rate=3e-3,
    discriminative_learning_rate=1e-3,
    warmup=0.05,
    patience_epochs=0,
    log_every=20,
    augment=AugmentConfig(
        flips="none",
        quarter_turns="never",
        brightness=0.05,
        contrast=0.1,
        colour=0.03,
        light_gradient=0.1,
        noise=0.02,
    ),
)
SCORE = ScoreConfig(image_score="smoothed_max", smoothing_sigma=0.01)


@dataclass(frozen=True)
class CompareQuantizers:
    """Train one detector a quantizer on the same data, and compare them."""

    variants: tuple[str, ...] = VARIANTS
    """Quantizers by name, with other fields than their default after a colon:
    `lfq:bits=1` `lfq:normalisation=layer,temperature=0.1` `fsq:levels=(8,6,5)`."""
    shots: int = 2
    """Good parts to learn from, a category."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each chooses the shots, anomalies, weights and draws of one repetition."""
    steps: int = 160
    """Optimisation steps of every training."""
    dataset: str = "rendered_ad"
    """A data set's name, or `folder` for your own images."""
    data_dir: Path | None = None
    """Where the data lies."""
    kind: Literal["auto", "texture", "object"] = "auto"
    """For `folder`: whether the photographs show a texture or an object."""
    categories: tuple[str, ...] = ()
    """Categories to run. None named: a texture and an object of rendered_ad; of other
    data sets, all."""
    out: Path | None = None
    """The run's folder. None named: runs/<date>-<time>-quantizers."""
    resume: Path | None = None
    """Go on with the comparison in this folder, with the settings it was started
    with."""
    cache_dir: Path = field(default_factory=cache_folder)
    """Prepared data and synthetic anomalies are kept here for the next run."""
    agm_python: Annotated[Path | None, tyro.conf.arg(aliases=("--agm.python",))] = None
    """The Python that runs the generator, where torch lives in another environment."""
    agm_workers: Annotated[int, tyro.conf.arg(aliases=("--agm.workers",))] = 1
    """Processes that make anomalies at the same time; with several GPUs each takes one.
    The anomalies are the same with any number."""
    agm: GeneratorConfig = field(default_factory=GeneratorConfig)
    """How synthetic anomalies are made."""
    anomalies: int = 96
    """Synthetic anomalies to train on."""
    validation_anomalies: int = 24
    """Synthetic anomalies held out; `survival` is measured on them."""
    model: ModelConfig = MODEL
    """The networks; each variant takes the place of `quantizer`."""
    train: TrainConfig = TRAIN
    """The optimisation; `steps` rules its epochs."""
    score: ScoreConfig = SCORE
    """From maps to decisions."""

    def __post_init__(self) -> None:
        require_at_least(self, shots=1, steps=1, anomalies=1, validation_anomalies=1)
        require_at_least(self, agm_workers=1, seeds=0)
        for name in ("variants", "seeds"):
            values = getattr(self, name)
            if not values:
                raise ValueError(f"--{name} must be one or more, got none")
            if len(set(values)) < len(values):
                given = " ".join(map(str, values))
                raise ValueError(f"--{name} must all differ, got {given}")
        if self.out and self.resume:
            raise ValueError(
                "--out and --resume exclude each other: a run keeps its folder"
            )

    @property
    def data(self) -> dict[str, Any]:
        """Where `datasets` finds the data and keeps its prepared copy."""
        return data_source(self.data_dir, self.cache_dir, self.kind)

    @property
    def schedule(self) -> TrainConfig:
        """`steps` steps and one validation, at their end: the last weights count."""
        images = self.steps * self.train.batch_size
        return dataclasses.replace(
            self.train,
            epochs=1,
            epoch_images=images,
            validate_every_epochs=1,
            patience_epochs=0,
            log_every=min(self.train.log_every, self.steps),
        )

    def is_texture(self, kind: str) -> bool:
        """Whether training is told that the category is a texture.

        Not where nothing depends on it: so one compiled step serves both kinds.
        """
        augment = self.train.augment
        depends = "auto" in (augment.flips, augment.quarter_turns)
        return kind == "texture" and (depends or self.model.memory_bank is not None)


def read_settings(argv: Sequence[str]) -> CompareQuantizers:
    """The settings that `argv` asks for; exits 2 on a mistake."""
    prog = "python -m experiments.quantizers"
    return read_command_line(CompareQuantizers(), prog=prog, argv=argv)


def _resumed(settings: CompareQuantizers) -> CompareQuantizers:
    """The settings that the comparison to go on with was started with."""
    if not settings.resume:
        return settings
    config = RunFolder.open(settings.resume, "quantizers").config
    started = from_json(CompareQuantizers, config)
    return dataclasses.replace(started, out=None, resume=settings.resume)


def _models(settings: CompareQuantizers) -> dict[str, ModelConfig]:
    """Every variant's networks: mistakes are found before anything is trained."""
    from experiments.quantizer_variants import read_variant
    from lfq_jax.model.lfquiad import Model
    from lfq_jax.training.step import Trainer

    models = {
        variant: dataclasses.replace(settings.model, quantizer=read_variant(variant))
        for variant in settings.variants
    }
    for config in models.values():
        model = Model(config)  # refuses what does not fit in memory
        # and this, crops that do not suit the networks
        Trainer(model, settings.schedule, steps=settings.steps, is_texture=True)
    return models


def _shots(settings: CompareQuantizers) -> "dict[tuple[str, int], Shots]":
    """The shots of every category and seed."""
    import datasets

    known = datasets.categories(settings.dataset, settings.data_dir)
    named = settings.categories or CATEGORIES.get(settings.dataset, known)
    return {
        (category, seed): datasets.shots(
            settings.dataset, category, settings.shots, seed, **settings.data
        )
        for category in named
        for seed in settings.seeds
    }


def _anomalies(
    settings: CompareQuantizers,
    category: str,
    seed: int,
    shots: "Shots",
    should_stop: Callable[[], bool],
) -> Path:
    """The shard folder that all variants learn from."""
    from experiments.sidecar import ensure_shards

    return ensure_shards(
        [example.image for example in shots.examples],
        category=category,
        kind=shots.examples[0].kind,
        count=settings.anomalies + settings.validation_anomalies,
        seed=seed,
        image_px=settings.model.image_px,
        config=settings.agm,
        cache_dir=settings.cache_dir / "anomalies",
        python=settings.agm_python,
        workers=settings.agm_workers,
        should_stop=should_stop,
    )


def row_folder(run: Path, category: str, seed: int, variant: str) -> Path:
    """Where a row keeps its log, its checkpoint and its pictures."""
    return (
        run / category / f"seed{seed}" / re.sub(r"[^\w.=-]+", "_", variant).strip("_")
    )


def run(
    settings: CompareQuantizers,
    models: dict[str, ModelConfig],
    chosen: "dict[tuple[str, int], Shots]",
    folder: RunFolder,
) -> None:
    """Every row that `folder` has not, then the table and the page."""
    import datasets
    from experiments.quantizer_report import write_comparison
    from experiments.quantizer_row import quantizer_row
    from experiments.quantizer_table import comparison_table
    from lfq_jax.training.data import load_shards, split

    done = {(r["category"], r["seed"], r["variant"]) for r in folder.results()}
    with interruption() as should_stop:
        for (category, seed), shots in chosen.items():
            missing = [v for v in models if (category, seed, v) not in done]
            if not missing:
                continue
            kind = shots.examples[0].kind
            shards = _anomalies(settings, category, seed, shots, should_stop)
            data = split(load_shards(shards), held_out=settings.validation_anomalies)
            test = datasets.load(settings.dataset, category, "test", **settings.data)
            for variant in missing:
                row = quantizer_row(
                    *data,
                    test,
                    variant=variant,
                    model_config=models[variant],
                    train_config=settings.schedule,
                    score_config=settings.score,
                    is_texture=settings.is_texture(kind),
                    seed=seed,
                    folder=row_folder(folder.path, category, seed, variant),
                    inputs={"shots": shots.by_key, "shards": shards.name},
                    should_stop=should_stop,
                )
                of_run = {
                    "dataset": settings.dataset,
                    "category": category,
                    "kind": kind,
                    "shots": settings.shots,
                    "seed": seed,
                }
                folder.add_result({**of_run, **row, "inputs": shots.by_key})
                print(_progress(folder, row, category, seed), file=sys.stderr)
    print(comparison_table(folder.results()))
    print(f"\nreport  {write_comparison(folder.path)}")


def _progress(folder: RunFolder, row: dict[str, Any], category: str, seed: int) -> str:
    psnr = row["reconstruction"]["psnr_good"]
    quality = "" if psnr is None else f", PSNR {psnr:.2f} dB"
    number = len(folder.results())
    return (
        f"{number}: {category} seed {seed} {row['variant']}{quality}, "
        f"{row['seconds']:.0f} s"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """The command line; returns normally only where the comparison is whole."""
    settings = read_settings(sys.argv[1:] if argv is None else argv)
    from datasets.errors import one_line_errors

    with one_line_errors():
        settings = _resumed(settings)
        models = _models(settings)
        chosen = _shots(settings)
        keep_compiled(settings.cache_dir)
        categories = tuple(dict.fromkeys(category for category, _ in chosen))
        folder = make_or_open(
            as_json(dataclasses.replace(settings, categories=categories)),
            command="quantizers",
            out=settings.out,
            resume=settings.resume,
            name="quantizers",
        )
        with resumable("python -m experiments.quantizers", folder.path):
            run(settings, models, chosen, folder)


if __name__ == "__main__":
    main()
