"""The benchmark of training: equal losses in PyTorch, its parts, and its command."""

import dataclasses
import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from experiments.bench.training import main
from experiments.bench.training_setup import Setup, training_data
from lfq_jax.config import PRESETS, ModelConfig, TrainConfig
from lfq_jax.model.lfquiad import Model
from lfq_jax.model.variables import Variables
from lfq_jax.training.data import Sample
from lfq_jax.training.losses import losses
from lfq_jax.training.step import Trainer
from tests.refusals import refused

PROJECT = Path(__file__).resolve().parents[3]


def tiny(name: str) -> tuple[ModelConfig, TrainConfig]:
    """A preset with small networks and images."""
    preset = PRESETS[name]
    model = dataclasses.replace(
        preset.model,
        image_px=32,
        reconstructive_widths=(8, 12),
        discriminative_widths=(8, 12),
    )
    crop = 16 if preset.train.crop_px else 0
    train = dataclasses.replace(preset.train, batch_size=3, crop_px=crop, log_every=2)
    return model, train


@functools.cache
def tiny_setup(name: str) -> Setup:
    model, train = tiny(name)
    trainer = Trainer(Model(model), train, steps=1000)
    return Setup(trainer, training_data(model, train, anomalous=4))


def as_batch(sample: Sample) -> Any:
    """A batch drawn by jax, in the form that PyTorch's step takes."""
    from experiments.bench.torch_layers import as_tensor
    from experiments.bench.torch_training import Batch

    image, normal, mask = map(as_tensor, sample[:3])
    distances = as_tensor(sample.distance_maps.distances)
    return Batch(
        image.permute(0, 3, 1, 2),
        normal.permute(0, 3, 1, 2),
        mask,
        distances.permute(0, 3, 1, 2),
    )


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("cpu", "nchw"),
        ("paper", "channels_last"),
        pytest.param("cpu", "channels_last", marks=pytest.mark.slow),
        pytest.param("paper", "nchw", marks=pytest.mark.slow),
    ],
)
def test_pytorch_computes_the_same_losses(name, layout):
    pytest.importorskip("torch", reason="the agm extra is not installed")
    from experiments.bench.torch_training import TorchStep

    trainer, data = tiny_setup(name)
    variables = trainer.init(jax.random.key(0)).variables
    batch = jax.jit(trainer.batch)(data, jax.random.key(1))

    @jax.jit
    def losses_of(variables: Variables, batch: Sample) -> dict[str, jax.Array]:
        outputs, _ = trainer.model.apply(
            variables, batch.image, batch.distance_maps, training=True
        )
        return losses(outputs, batch, trainer.config.loss)

    ours = losses_of(variables, batch)
    step = TorchStep(variables, trainer.model.config, trainer.config, layout=layout)
    in_torch = step(as_batch(batch))
    assert set(in_torch) == set(ours)
    for term, value in ours.items():
        assert float(in_torch[term]) == pytest.approx(float(value), rel=2e-5), term
    after_step = step(as_batch(batch))
    assert sum(map(float, after_step.values())) < sum(map(float, in_torch.values()))


def test_pytorch_draws_batches_of_the_same_shapes():
    pytest.importorskip("torch", reason="the agm extra is not installed")
    from experiments.bench.torch_training import TorchData

    trainer, data = tiny_setup("cpu")
    ours = as_batch(jax.jit(trainer.batch)(data, jax.random.key(1)))
    in_torch = TorchData(data, trainer.config, "cpu").draw(turns=True)
    for a, b in zip(ours, in_torch, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
    assert 0 <= float(in_torch.image.min()) and float(in_torch.image.max()) <= 1


@pytest.mark.slow
def test_time_is_measured_by_kind_of_operation():
    from experiments.bench.training_parts import time_by_operation

    rows = time_by_operation(tiny_setup("cpu"), steps=2)
    spent = {row["what"]: row["ms_a_step"] for row in rows}
    for what in ("convolutions", "SSIM", "LFQ", "augmentation", "upsampling", "norms"):
        assert spent[what] > 0, what
    assert spent.pop("wall clock") > 0


@pytest.mark.slow
def test_the_loop_is_compared_with_the_bare_step():
    from experiments.bench.training_parts import measure_overhead

    # Preset `paper` has no memory bank and compiles in a fraction of the time.
    found = measure_overhead(tiny_setup("paper"), rounds=2)
    assert found["steps"] == 2 and found["bare_step_ms"] > 0
    assert np.isfinite(found["loop_over_bare"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--ways", "tensorflow"], "ways must be jax and any of"),
        (["--rounds", "0"], "rounds must be at least 1, got 0"),
        (["--batch-size", "-1"], "batch_size must be at least 0, got -1"),
        (["--preset", "gpu"], "gpu"),
    ],
)
def test_a_mistake_prints_one_line_and_exits_with_2(
    arguments, expected, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", ["training", *arguments])
    message = refused(capsys, main)
    assert expected in message


@pytest.mark.slow
def test_the_command_prints_every_measurement():
    done = subprocess.run(
        [
            *(sys.executable, "-m", "experiments.bench.training", "--rounds", "1"),
            *("--turn", "1", "--start-ups", "1", "--parts", "ways", "start_up"),
            *("--ways", "jax", "torch_nchw"),
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    figures = json.loads(done.stdout[done.stdout.index("\n{") :])
    assert [row["way"] for row in figures["ways"]] == ["jax", "torch_nchw"]
    assert figures["start_up"]["warm_s"] < figures["start_up"]["cold_s"]
