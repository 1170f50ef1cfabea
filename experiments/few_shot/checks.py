"""Checks that a run makes before it prepares anything."""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from experiments.few_shot.settings import FewShot

if TYPE_CHECKING:
    from datasets import Shots


def check_machine(settings: FewShot) -> None:
    """Refuse numbers of devices that this machine or the batch size does not allow."""
    from lfq_jax.training.sharding import make_mesh

    make_mesh(settings.devices, batch_size=settings.train.batch_size)


def tell_of_one_shot(settings: FewShot, shots: "Mapping[str, Shots]") -> None:
    """Say that decisions from a single shot of an object cannot be trusted.

    Its own variations are all that the logistic head learns from. A texture's halves
    show how good parts differ.
    """
    compares = settings.model.memory_bank is not None
    kinds = [chosen.examples[0].kind for chosen in shots.values()]
    if settings.shots > 1 or settings.method != "lfquiad" or not compares:
        return
    if "object" not in kinds:
        return
    from datasets.progress import write_line

    write_line(
        "--shots 1: one photograph of an object does not show how good ones differ. "
        "Scores and heat maps are useful, but the thresholds may call most good "
        "photographs anomalous until python -m experiments.calibrate has seen others"
    )


def check_networks(settings: FewShot, shots: "Iterable[Shots]") -> None:
    """Refuse detectors that cannot be made of these shots.

    Several trainings at the same time also need enough memory.
    """
    if settings.method != "lfquiad":
        _check_training_free(settings, shots)
        return
    from lfq_jax.model.lfquiad import Model
    from lfq_jax.training.memory_budget import require_memory
    from lfq_jax.training.step import Trainer

    kinds = dict.fromkeys(
        (settings.for_shots(chosen).model, chosen.examples[0].kind == "texture")
        for chosen in shots
    )
    models = [Model(config, is_texture=is_texture) for config, is_texture in kinds]
    steps = settings.train.steps(settings.shots)
    for model in models:
        Trainer(model, settings.train, steps=steps)
    if settings.at_once > 1 and models:
        # At equal size an object needs more: it is also compared in place.
        largest = max(
            models, key=lambda m: (math.prod(m.config.size), not m.is_texture)
        )
        require_memory(
            settings.at_once,
            largest,
            settings.train,
            anomalies=settings.anomalies + settings.validation_anomalies,
            shots=settings.shots,
        )


def _check_training_free(settings: FewShot, shots: "Iterable[Shots]") -> None:
    """Build the config of every category, which refuses impossible sizes."""
    for chosen in shots:
        _ = settings.for_shots(chosen).training_free
