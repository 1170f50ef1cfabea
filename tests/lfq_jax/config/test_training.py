"""What a training's config refuses."""

import pytest

from lfq_jax.config import TrainConfig


def test_patience_must_last_until_the_next_validation():
    assert TrainConfig(patience_epochs=0, validate_every_epochs=100)
    assert TrainConfig(patience_epochs=10, validate_every_epochs=10)
    said = "must be 0 or at least validate_every_epochs, which is 10, got 9"
    with pytest.raises(ValueError, match=f"patience_epochs {said}"):
        TrainConfig(patience_epochs=9, validate_every_epochs=10)


@pytest.mark.parametrize("factor", [-1.0, 0.0, 10.0, float("nan")])
def test_a_decay_factor_must_lower_the_rates(factor: float):
    with pytest.raises(ValueError, match=r"decay_factor must be in \(0, 1\], got"):
        TrainConfig(decay_factor=factor)
