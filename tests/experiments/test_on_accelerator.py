"""An accelerator computes what the CPU computes. Run by `make gpu-check`."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.bench.training_setup import training_data
from lfq_jax.config import ModelConfig
from lfq_jax.memory_bank.distances import distance_maps_of
from lfq_jax.memory_bank.logistic_head import head_log_odds
from lfq_jax.model.lfquiad import Model
from lfq_jax.model.scoring import Scorer
from lfq_jax.quantizers import make
from lfq_jax.training.step import Trainer
from tests.lfq_jax.training.tiny_training import MODEL, SCORE, TRAIN, photographs, run
from tests.tiny_detector import tiny

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        jax.default_backend() == "cpu", reason="jax finds no accelerator"
    ),
]
CONFIG = dataclasses.replace(TRAIN, log_every=3, warmup=0.5)


def _first_losses(dtype: str, device: Any) -> dict[str, np.ndarray]:
    """Losses of the first step, always from the same weights and images."""
    model = dataclasses.replace(MODEL, compute_dtype=dtype)
    trainer = Trainer(Model(model, is_texture=True), CONFIG, steps=100)
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        state = trainer.init(jax.random.key(0))
        data = training_data(model, CONFIG, anomalous=8)
        key = jax.random.key(1)
    placed = jax.device_put((state, data, key), device)
    _, metrics = jax.jit(trainer.step)(*placed)
    return {n: v for n, v in jax.device_get(metrics).items() if "loss" in n}


@pytest.mark.parametrize(("dtype", "close"), [("float32", 1e-3), ("bfloat16", 5e-2)])
def test_the_losses_equal_those_of_the_cpu(dtype, close):
    ours = _first_losses(dtype, jax.devices()[0])
    on_cpu = _first_losses("float32", jax.local_devices(backend="cpu")[0])
    for name, value in on_cpu.items():
        assert ours[name] == pytest.approx(value, rel=close, abs=close / 10), name


def test_the_entropies_equal_those_of_the_cpu():
    lfq = make("lfq", bits=16)
    z = jax.random.normal(jax.random.key(0), (256, 16))

    def loss(device):
        return jax.jit(lambda x: lfq.quantize({}, (), x, training=True).loss)(
            jax.device_put(z, device)
        )

    on_cpu = float(loss(jax.local_devices(backend="cpu")[0]))
    assert float(loss(jax.devices()[0])) == pytest.approx(on_cpu, rel=1e-4)


def test_a_detector_learns_and_two_runs_agree(tmp_path):
    trained = run(tmp_path / "one")
    assert (trained.validation["pixel_auroc"] or 0) > 0.9
    again = run(tmp_path / "two")
    assert again.validation["pixel_auroc"] == pytest.approx(
        trained.validation["pixel_auroc"], abs=0.02
    )


@pytest.mark.parametrize("kind", ["object", "texture"])
def test_distances_and_the_logistic_head_equal_those_of_the_cpu(kind):
    # Distances are small differences of large products, which TF32 would lose.
    saved, _, images = tiny(kind=kind)
    assert isinstance(saved.model, ModelConfig)
    config, stride = saved.model.memory_bank, saved.model.stem
    assert config is not None and saved.variables.logistic_head is not None

    @jax.jit
    def compute(bank, head, images):
        unit = images.astype(jnp.float32) / 255
        maps = distance_maps_of(bank, unit, config, stride=stride)
        return jnp.concatenate(maps, axis=-1), head_log_odds(head, maps.distances)

    def results_on(device):
        arrays = saved.variables.memory_bank, saved.variables.logistic_head, images
        return jax.device_get(compute(*jax.device_put(arrays, device)))

    on_cpu = results_on(jax.local_devices(backend="cpu")[0])
    on_accelerator = results_on(jax.devices()[0])
    for found, expected in zip(on_accelerator, on_cpu, strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-3)
        assert np.ptp(expected) > 0.5


def test_the_scores_equal_those_of_the_cpu():
    paper = dataclasses.replace(MODEL, memory_bank=None)
    model = Model(paper)
    variables = model.init(jax.random.key(0))
    scorer, images = Scorer(model, SCORE), photographs().images[:4]

    def maps(device):
        return np.asarray(scorer(*jax.device_put((variables, images), device)).maps)

    on_cpu = maps(jax.local_devices(backend="cpu")[0])
    np.testing.assert_allclose(maps(jax.devices()[0]), on_cpu, atol=5e-3)
