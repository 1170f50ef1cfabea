"""More trainings at once than fit in memory are refused before any of them starts."""

import re

import pytest

from lfq_jax.model.lfquiad import Model
from lfq_jax.training.memory_budget import GIB, require_memory, training_bytes
from tests.lfq_jax.training.tiny_training import TRAIN
from tests.tiny_detector import MODEL

SIZES = {"anomalies": 12, "shots": 2}


def test_too_many_trainings_at_once_are_refused_with_the_number_that_fits():
    model = Model(MODEL, is_texture=True)
    require_memory(1, model, TRAIN, **SIZES)
    with pytest.raises(ValueError) as caught:
        require_memory(10**9, model, TRAIN, **SIZES)
    said = str(caught.value)
    assert said.startswith("at_once 1000000000 needs about ")
    room = re.fullmatch(r".* (\d\S*) are free: there is room for (\d+)", said)
    assert room
    each = training_bytes(model, TRAIN, **SIZES)
    assert float(room[1]) * GIB == pytest.approx(int(room[2]) * each, rel=0.01)


@pytest.mark.slow
def test_an_object_needs_more_memory_than_a_texture_for_its_second_search():
    kinds = (True, False)
    texture, object_ = (
        training_bytes(Model(MODEL, is_texture=kind), TRAIN, **SIZES) for kind in kinds
    )
    assert texture < object_ < 2 * texture
