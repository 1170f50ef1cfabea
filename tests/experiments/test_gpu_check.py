"""The exit status of the checks on an accelerator."""

import subprocess
import sys

import jax
import pytest

from experiments import gpu_check
from experiments.bench.training_setup import make_setup
from experiments.gpu_check import images_to_score
from lfq_jax.config import PRESETS
from lfq_jax.memory_bank.distances import DistanceMaps
from lfq_jax.model.scoring import Scorer


@pytest.mark.parametrize(("status", "failed"), [(0, False), (1, True), (5, False)])
def test_a_failed_test_fails_the_check_after_its_timings(
    capsys, monkeypatch, status, failed
):
    def finished(*command, **options):
        return subprocess.CompletedProcess(command, status, "1 failed\n", "")

    row = gpu_check.Row("float32", 1, 2.5, 7.5, None)
    monkeypatch.setattr(gpu_check.subprocess, "run", finished)
    monkeypatch.setattr(gpu_check, "measure", lambda *_: row)
    monkeypatch.setattr(gpu_check, "keep_compiled", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--no-torch", "--batches", "1"])
    try:
        gpu_check.main()
        exit_status = 0
    except SystemExit as end:
        exit_status = end.code
    assert exit_status == int(failed)
    assert "| float32 | 1 | 2.5 | 7.5 | - |" in capsys.readouterr().out


def test_images_are_scored_with_their_own_distance_maps():
    setup = make_setup("cpu", batch_size=2, dtype="auto", anomalous=4)
    images, maps = images_to_score(setup.data, 3)
    assert len(images) == 3
    assert [len(field) for field in maps] == [3] * len(DistanceMaps._fields)
    scorer = Scorer(setup.trainer.model, PRESETS["cpu"].score)
    state = jax.eval_shape(setup.trainer.init, jax.random.key(0))
    scored = jax.eval_shape(scorer, state.variables, images, maps)
    assert scored.maps.shape[0] == 3
