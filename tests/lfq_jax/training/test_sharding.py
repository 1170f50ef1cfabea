"""A batch shared by several devices, or hosts, gives the metrics of one device."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.bench.training_setup import training_data
from lfq_jax.model.lfquiad import Model
from lfq_jax.training.loop import Hooks, Machine
from lfq_jax.training.sharding import local, make_mesh, place
from lfq_jax.training.step import Trainer
from lfq_jax.training.step_summary import StepSummary
from tests.lfq_jax.training.tiny_training import MODEL, TRAIN, run

PROJECT = Path(__file__).resolve().parents[3]
SHARED = dataclasses.replace(TRAIN, batch_size=8, log_every=3, warmup=0.5)
SHORT = dataclasses.replace(TRAIN, epochs=2)

needs_8 = pytest.mark.skipif(
    jax.local_device_count() < 8, reason="needs 8 (virtual) devices"
)


def _interval(devices: int) -> tuple[StepSummary, list[np.ndarray]]:
    """The metrics of a few steps, and the weights after them."""
    mesh = make_mesh(devices, batch_size=SHARED.batch_size)
    model = Model(MODEL, is_texture=True)
    trainer = Trainer(model, SHARED, steps=100, mesh=mesh)
    data = training_data(MODEL, SHARED, anomalous=12)
    state, data, key = place(
        (trainer.init(jax.random.key(0)), data, jax.random.key(1)), mesh
    )
    state, interval = trainer.run(state, data, key)
    weights = jax.tree.leaves(local(state.variables.params, mesh))
    return jax.device_get(interval), [np.asarray(each) for each in weights]


@pytest.mark.slow
@needs_8
def test_eight_devices_compute_the_metrics_of_one():
    one, weights_of_one = _interval(1)
    eight, weights_of_eight = _interval(8)
    assert set(one.means) == set(eight.means)
    for name, value in one.means.items():
        assert eight.means[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name
    # The norms cancel the biases: a bias's gradient is rounding, which Adam scales up.
    for a, b in zip(weights_of_one, weights_of_eight, strict=True):
        if a.ndim == 4:
            np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.slow
@needs_8
def test_a_run_resumes_with_another_number_of_devices(tmp_path):
    asked = iter([True])
    with pytest.raises(KeyboardInterrupt):
        run(
            tmp_path,
            train_config=SHORT,
            machine=Machine(devices=4),
            hooks=Hooks(should_stop=lambda: next(asked)),
        )
    trained = run(tmp_path, train_config=SHORT, machine=Machine(devices=2))
    assert trained.step == 16
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [8, 16]


@needs_8
def test_more_devices_than_there_are_and_batches_that_do_not_divide_are_refused():
    here = jax.local_device_count()
    with pytest.raises(
        ValueError, match=rf"in \[0, {here}\], the number that jax finds, got 9000"
    ):
        make_mesh(9000, batch_size=9000)
    with pytest.raises(ValueError, match="batch_size 6 cannot be shared by 4 devices"):
        make_mesh(4, batch_size=6)
    with pytest.raises(ValueError, match=r"1, 2, 3, 6 would do, or a multiple of 4"):
        make_mesh(4, batch_size=6)
    assert make_mesh(1, batch_size=1) is None


_CORES = """
import os, sys
from lfq_jax.training.sharding import share_cores
share_cores(int(sys.argv[1]))
import jax
found = jax.local_device_count()
share_cores(2)  # too late, and no error
print(found, len(os.sched_getaffinity(0)))
"""


@pytest.mark.parametrize(
    ("asked", "flags", "wanted"),
    [
        (1, "", lambda cores: 1),
        (2, "", lambda cores: min(2, cores)),
        (9000, "", lambda cores: cores),
        (2, "--xla_force_host_platform_device_count=3", lambda cores: 3),
    ],
)
def test_the_cores_of_a_processor_are_devices_where_it_is_asked_for(
    asked, flags, wanted
):
    done = subprocess.run(
        [sys.executable, "-c", _CORES, str(asked)],
        cwd=PROJECT,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    )
    found, cores = map(int, done.stdout.split())
    assert found == wanted(cores)


_HOST = """
import json, os, sys
from pathlib import Path
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = ""
import jax
count, index, port, folder = sys.argv[1:]
if int(count) > 1:
    jax.distributed.initialize(f"localhost:{port}", int(count), int(index))
from lfq_jax.training.loop import Machine
from tests.lfq_jax.training.tiny_training import run
from tests.lfq_jax.training.test_sharding import SHORT
machine = Machine(devices=1)
trained = run(Path(folder + "-host" * int(index)), train_config=SHORT, machine=machine)
print(json.dumps([trained.validation, trained.step]))
"""


def _hosts(count: int, folder: Path) -> list[str]:
    """Standard outputs of as many processes, which train one detector together."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _HOST, *map(str, (count, index, port, folder))],
            cwd=PROJECT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for index in range(count)
    ]
    done = [process.communicate(timeout=400) for process in started]
    for process, (_, said) in zip(started, done, strict=True):
        assert process.returncode == 0, said[-3000:]
    return [out.splitlines()[-1] for out, _ in done]


@pytest.mark.slow
def test_two_processes_under_jax_distributed_agree_with_one(tmp_path):
    (of_one,) = _hosts(1, tmp_path / "one")
    of_two = _hosts(2, tmp_path / "two")
    assert of_two[0] == of_two[1]
    metrics, again = json.loads(of_one)[0], json.loads(of_two[0])[0]
    for name, value in metrics.items():
        assert again[name] == pytest.approx(value, abs=1e-3), name
    written = [tmp_path / name / "metrics.jsonl" for name in ("one", "two")]
    losses = [
        [json.loads(line)["loss"] for line in path.read_text().splitlines()]
        for path in written
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert len(losses[1]) == 2, "one process writes"
