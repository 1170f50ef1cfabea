"""Warnings about photographs that the detector was not trained for."""

from types import SimpleNamespace

import numpy as np
import pytest

import lfq_jax
from experiments.predict.input_checks import InputCheck
from tests.tiny_detector import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "a_run", "plate")


def test_the_advised_tile_width_is_the_width_of_the_shots(run, capsys):
    detector = lfq_jax.load(run)
    record = detector.record._replace(photograph_px=(100, 60))
    upright = SimpleNamespace(record=record)
    check = InputCheck(upright, tile_px=0)  # pyright: ignore[reportArgumentType]
    check.add(np.zeros((300, 300, 3), np.uint8))
    assert not capsys.readouterr().err
    check.add(np.zeros((400, 300, 3), np.uint8))
    warning = capsys.readouterr().err
    assert "the shots had 60 x 100 px" in warning
    assert warning.endswith("use --tile-px 60\n")
