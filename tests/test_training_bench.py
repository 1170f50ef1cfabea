"""The measurement of training compares like with like, and finds what it looks for."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from experiments import gpu_check
from experiments.bench.training_setup import Setup, training_data
from lfq_jax.config import PRESETS, ModelConfig, TrainConfig
from lfq_jax.model.lfquiad import Model
from lfq_jax.training.data import Sample
from lfq_jax.training.losses import losses
from lfq_jax.training.step import Trainer

PROJECT = Path(__file__).resolve().parent.parent


def tiny(name: str) -> tuple[ModelConfig, TrainConfig]:
    """A preset with small networks and images."""
    preset = PRESETS[name]
    model = dataclasses.replace(
        preset.model,
        image_px=64,
        reconstructive_widths=(8, 12),
        discriminative_widths=(8, 12, 16),
    )
    crop = 32 if preset.train.crop_px else 0
    train = dataclasses.replace(preset.train, batch_size=3, crop_px=crop, log_every=2)
    return model, train


def made(name: str) -> Setup:
    model, train = tiny(name)
    trainer = Trainer(Model(model), train, steps=1000, is_texture=True)
    return Setup(trainer, training_data(model, train, anomalous=4))


def as_batch(sample: Sample) -> Any:
    """A batch that was drawn by jax, as PyTorch's step takes it."""
    from experiments.bench.torch_training import Batch, _tensor

    image, normal, mask, reference = map(_tensor, sample)
    return Batch(
        image.permute(0, 3, 1, 2),
        normal.permute(0, 3, 1, 2),
        mask,
        reference.permute(0, 3, 1, 2),
    )


@pytest.mark.parametrize("layout", ["nchw", "channels_last"])
@pytest.mark.parametrize("name", ["cpu", "paper"])
def test_pytorch_computes_the_same_losses(name, layout):
    pytest.importorskip("torch", reason="the agm extra is not installed")
    from experiments.bench.torch_training import TorchStep

    trainer, data = made(name)
    variables = trainer.init(jax.random.key(0)).variables
    batch = trainer.batch(data, jax.random.key(1))
    outputs, _ = trainer.model.apply(
        variables, batch.image, batch.distance_maps, training=True
    )
    ours = losses(outputs, batch, trainer.config)
    step = TorchStep(variables, trainer.model.config, trainer.config, layout=layout)
    theirs = step(as_batch(batch))
    assert set(theirs) == set(ours)
    for term, value in ours.items():
        assert float(theirs[term]) == pytest.approx(float(value), rel=2e-5), term
    again = step(as_batch(batch))
    assert sum(map(float, again.values())) < sum(map(float, theirs.values()))


def test_pytorch_draws_batches_of_the_same_shapes():
    pytest.importorskip("torch", reason="the agm extra is not installed")
    from experiments.bench.torch_training import TorchData

    trainer, data = made("cpu")
    ours = as_batch(trainer.batch(data, jax.random.key(1)))
    theirs = TorchData(data, trainer.config, "cpu").draw(turns=True)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
    assert 0 <= float(theirs.image.min()) and float(theirs.image.max()) <= 1


def test_time_is_found_by_what_it_was_spent_on():
    from experiments.bench.training_parts import where

    spent = {row["what"]: row["ms_a_step"] for row in where(made("cpu"), steps=2)}
    for what in ("convolutions", "SSIM", "LFQ", "augmentation", "upsampling", "norms"):
        assert spent[what] > 0, what
    assert spent.pop("by the clock") > 0


def test_the_loop_is_compared_with_the_bare_step():
    from experiments.bench.training_parts import overhead

    found = overhead(made("cpu"), rounds=2)
    assert found["steps"] == 2 and found["bare_step_ms"] > 0
    assert np.isfinite(found["loop_over_bare"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ways", "tensorflow"], "ways must be jax and any of"),
        (["--rounds", "0"], "rounds must be at least 1, got 0"),
        (["--batch-size", "-1"], "batch_size must be at least 0, got -1"),
        (["--preset", "gpu"], "gpu"),
    ],
)
def test_a_mistake_gets_one_line_and_status_2(arguments, said):
    done = subprocess.run(
        [sys.executable, "-m", "experiments.bench.training", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_command_prints_every_figure():
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


@pytest.mark.parametrize(("status", "failed"), [(0, False), (1, True), (5, False)])
def test_a_failed_test_fails_the_check_after_its_timings(
    capsys, monkeypatch, status, failed
):
    def tested(*command, **options):
        return subprocess.CompletedProcess(command, status, "1 failed\n", "")

    row = gpu_check.Row("float32", 1, 2.5, 7.5, None)
    monkeypatch.setattr(gpu_check.subprocess, "run", tested)
    monkeypatch.setattr(gpu_check, "measured", lambda *_: row)
    monkeypatch.setattr(gpu_check, "keep_compiled", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--no-torch", "--batches", "1"])
    try:
        gpu_check.main()
        ended_with = 0
    except SystemExit as end:
        ended_with = end.code
    assert ended_with == int(failed)
    assert "| float32 | 1 | 2.5 | 7.5 | - |" in capsys.readouterr().out
