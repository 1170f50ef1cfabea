"""What a memory bank's config refuses."""

import pytest

from lfq_jax.config import MemoryBankConfig


def test_a_residual_is_named_once():
    with pytest.raises(ValueError, match="residuals must be different names, got"):
        MemoryBankConfig(residuals=("subspace", "subspace"))


@pytest.mark.parametrize(
    ("field", "value"),
    [("levels", 0), ("patches", 0), ("window", 9), ("orientation_weight", -1.0)],
)
def test_a_memory_bank_that_cannot_work_is_refused(field: str, value: float):
    with pytest.raises(ValueError, match=f"{field} must be in .*got {value}"):
        MemoryBankConfig(**{field: value})  # type: ignore[arg-type]
