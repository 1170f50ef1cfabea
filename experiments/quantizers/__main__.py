"""Quantizers compared as the bottleneck of one detector.

    python -m experiments.quantizers --variants lfq fsq bsq vq simvq none --shots 2

The loop in `run` is the experiment. For every category and seed, choose the shots and
make anomalies from them. Then train every variant from the same seed, on the same data,
for as many steps, and measure reconstruction, detection and codes on the test images.
A row is written as soon as it is finished. `--resume` continues even in the middle of a
training.
"""

import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from experiments.quantizers.settings import (
    CATEGORIES,
    CompareQuantizers,
    read_settings,
    resumed_settings,
    row_folder,
)
from experiments.run.compile_cache import keep_compiled
from experiments.run.folder import RunFolder, make_or_open
from experiments.run.image_size import sized_for_shots
from experiments.run.interruption import resumable, stopped
from lfq_jax.config import ModelConfig, as_json

PROG = "python -m experiments.quantizers"

if TYPE_CHECKING:
    from datasets import Shots


def _models(settings: CompareQuantizers) -> dict[str, ModelConfig]:
    """Every variant's networks. Mistakes are refused before anything is trained.

    Raises:
      ValueError: if a variant is wrong or does not fit into memory, or if its networks
        cannot be trained with these settings.
    """
    from experiments.quantizers.variants import read_variant
    from lfq_jax.model.lfquiad import Model
    from lfq_jax.training.step import Trainer

    models = {
        variant: dataclasses.replace(settings.model, quantizer=read_variant(variant))
        for variant in settings.variants
    }
    for config in models.values():
        model = Model(config)  # refuses what does not fit into memory
        # refuses crops that do not fit the networks
        Trainer(model, settings.schedule, steps=settings.steps)
    return models


def _shots(settings: CompareQuantizers) -> "dict[tuple[str, int], Shots]":
    """The shots of every category and seed.

    Raises:
      ValueError: if shots are too elongated for the networks.
    """
    import datasets

    known = datasets.categories(settings.dataset, settings.data_dir)
    categories = settings.categories or CATEGORIES.get(settings.dataset, known)
    chosen = {
        (category, seed): datasets.shots(
            settings.dataset, category, settings.shots, seed, **settings.data
        )
        for category in categories
        for seed in settings.seeds
    }
    for shots in chosen.values():
        sized_for_shots(settings.model, shots)
    return chosen


def run(
    settings: CompareQuantizers,
    models: dict[str, ModelConfig],
    chosen: "dict[tuple[str, int], Shots]",
    folder: RunFolder,
) -> None:
    """Train and measure every row that `folder` lacks, then print the table.

    Also writes the page. The function is long because its loop is the experiment.

    Args:
      models: networks by variant.
      chosen: shots by category and seed.
    """
    import datasets
    from datasets.stopping import noted_signals
    from experiments.quantizers.report import write_comparison
    from experiments.quantizers.row import train_and_measure
    from experiments.quantizers.table import comparison_table
    from experiments.run.anomaly_process import shards_for_shots
    from lfq_jax.inference.preprocessing import framing_of
    from lfq_jax.training.data import load_shards, split
    from lfq_jax.training.loop import DetectorConfig

    with noted_signals() as should_stop, folder.in_use(should_stop):
        done = {(r["category"], r["seed"], r["variant"]) for r in folder.results()}
        for (category, seed), shots in chosen.items():
            missing = [v for v in models if (category, seed, v) not in done]
            if not missing:
                continue
            kind = shots.examples[0].kind
            model = sized_for_shots(settings.model, shots)
            shards = shards_for_shots(
                settings,
                shots,
                seed=seed,
                framing=framing_of(model, is_texture=settings.is_texture(kind)),
                cache_dir=settings.cache_dir,
                should_stop=should_stop,
            )
            data = split(load_shards(shards), held_out=settings.validation_anomalies)
            test = datasets.load(settings.dataset, category, "test", **settings.data)
            for variant in missing:
                row = train_and_measure(
                    *data,
                    test,
                    variant=variant,
                    config=DetectorConfig(
                        model=sized_for_shots(models[variant], shots),
                        train=settings.schedule,
                        score=settings.score,
                        is_texture=settings.is_texture(kind),
                        seed=seed,
                    ),
                    folder=row_folder(folder.path, category, seed, variant),
                    inputs={"shots": shots.by_key, "shards": shards.name},
                    should_stop=should_stop,
                )
                origin = {
                    "dataset": settings.dataset,
                    "category": category,
                    "kind": kind,
                    "shots": settings.shots,
                    "seed": seed,
                }
                folder.add_result({**origin, **row, "inputs": shots.by_key})
                print(_progress(folder, row, category, seed), file=sys.stderr)
    print(comparison_table(folder.results()))
    print(f"\nreport  {write_comparison(folder.path)}")


def _progress(folder: RunFolder, row: dict[str, Any], category: str, seed: int) -> str:
    """The line that reports a finished row."""
    psnr = row["reconstruction"]["psnr_good"]
    quality = "" if psnr is None else f", PSNR {psnr:.2f} dB"
    number = len(folder.results())
    return (
        f"{number}: {category} seed {seed} {row['variant']}{quality}, "
        f"{row['seconds']:.0f} s"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command. Returns only if the comparison is complete."""
    settings = read_settings(sys.argv[1:] if argv is None else argv)
    from datasets.errors import one_line_errors

    with one_line_errors():
        settings = resumed_settings(settings)
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
        with resumable(stopped(PROG, folder.path)):
            run(settings, models, chosen, folder)


if __name__ == "__main__":
    main()
