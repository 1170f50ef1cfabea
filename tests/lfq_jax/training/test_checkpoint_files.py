"""A checkpoint is restored to the bit, and an unreadable one is refused in one line."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from lfq_jax.model.variables import Variables
from lfq_jax.training.checkpoint import Checkpoints, Progress
from lfq_jax.training.state import TrainState

CONFIG = {"seed": 1}


def progress(step: int = 4) -> Progress:
    """One leaf of every dtype, an empty array, and optax's own state."""
    rng = np.random.default_rng(step)
    params = {
        "conv": {"kernel": jnp.asarray(rng.normal(size=(3, 2)), jnp.float32)},
        "half": jnp.asarray(rng.normal(size=3), jnp.bfloat16),
        "narrow": jnp.asarray(rng.normal(size=3), jnp.float16),
        "bits": jnp.asarray([True, False]),
        "bytes": jnp.asarray(rng.integers(0, 256, 5), jnp.uint8),
        "nothing": jnp.zeros((0, 3)),
    }
    variables = Variables(params=params, statistics={}, quantizer=())
    optimizer = optax.adamw(1e-3).init({"conv": params["conv"]})
    state = TrainState(jnp.asarray(step, jnp.int32), variables, optimizer, ())
    return Progress(state, variables, np.array(0.75), np.array(2))


def saved(folder: Path, *steps: int) -> Path:
    checkpoints = Checkpoints(folder, CONFIG)
    for step in steps:
        checkpoints.save(progress(step))
    checkpoints.close()
    return folder


def restored(folder: Path) -> Progress | None:
    checkpoints = Checkpoints(folder, CONFIG)
    try:
        return checkpoints.restore(jax.tree.map(np.zeros_like, progress()))
    finally:
        checkpoints.close()


@pytest.mark.parametrize("name", ["run#1", "half 50%", "what?"])
def test_a_folder_of_any_name_is_restored(tmp_path, name):
    found = restored(saved(tmp_path / name, 4))
    assert found is not None and int(found.state.step) == 4


def test_the_latest_progress_is_restored_to_the_bit(tmp_path):
    found, expected = restored(saved(tmp_path, 3, 4)), progress(4)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for ours, theirs in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        assert isinstance(ours, np.ndarray)
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        assert ours.tobytes() == np.asarray(theirs).tobytes()


def test_a_new_folder_has_no_checkpoint(tmp_path):
    assert restored(tmp_path / "new") is None


def test_a_save_is_a_copy(tmp_path):
    original = progress()
    kernel = np.ones((3, 2), np.float32)
    original.state.variables.params["conv"]["kernel"] = kernel
    checkpoints = Checkpoints(tmp_path, CONFIG)
    checkpoints.save(original)
    kernel[:] = 0
    checkpoints.close()
    found = restored(tmp_path)
    assert found is not None
    assert found.state.variables.params["conv"]["kernel"].tolist() == [[1.0, 1.0]] * 3


@pytest.mark.parametrize("part", ["d/", "manifest", "_METADATA"])
def test_a_damaged_checkpoint_is_refused_without_a_traceback(part, tmp_path, capfd):
    saved(tmp_path, 4)
    cut = [path for path in tmp_path.rglob("*") if f"progress/{part}" in str(path)]
    assert cut
    for path in cut:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="cannot be read: remove that folder") as error:
        restored(tmp_path)
    assert "\n" not in str(error.value)
    assert "Traceback" not in capfd.readouterr().err


def test_a_checkpoint_of_another_structure_is_refused_in_one_line(tmp_path):
    manager = ocp.CheckpointManager(tmp_path)
    packed = {"bytes": np.zeros(99, np.uint8)}
    manager.save(
        4,
        args=ocp.args.Composite(
            progress=ocp.args.StandardSave(packed), config=ocp.args.JsonSave(CONFIG)
        ),
    )
    manager.wait_until_finished()
    manager.close()
    with pytest.raises(ValueError, match="cannot be read: remove that folder") as error:
        restored(tmp_path)
    assert "\n" not in str(error.value)
