"""Checkpoints of a run: atomic, through Orbax, with the config beside the weights."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from lfq_jax.model import Variables
from lfq_jax.step import TrainState


class Progress(NamedTuple):
    """All that a run needs to go on, and the best variables so far."""

    state: TrainState
    best: Variables
    best_auroc: np.ndarray
    """Best validation AUROC so far, float64 []; -1 before the first validation."""
    best_step: np.ndarray
    """The step it was reached at, int64 []."""


class Checkpoints:
    """The last checkpoint of one training, in `folder`.

    A save happens in the background, into a temporary folder that is renamed when it is
    whole, so a killed process leaves the one before.
    """

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder = folder.resolve()
        self.config = config
        options = ocp.CheckpointManagerOptions(
            max_to_keep=1, enable_async_checkpointing=True, create=True
        )
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def save(self, progress: Progress) -> None:
        """Start to write a copy of `progress`; the caller may donate the original."""
        step = int(progress.state.step)
        if self._manager.latest_step() == step:
            return
        args = ocp.args.Composite(
            progress=ocp.args.StandardSave(_savable(progress)),
            config=ocp.args.JsonSave(self.config),
        )
        self._manager.save(step, args=args)

    def restore(self, like: Progress) -> Progress | None:
        """The last checkpoint, or None where there is none.

        Args:
          like: a progress of the same shapes, e.g. of a fresh run.

        Raises:
          ValueError: where the checkpoint was written with another config, or cannot
            be read.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        saved = self._manager.restore(
            step, args=ocp.args.Composite(config=ocp.args.JsonRestore())
        )["config"]
        ours = json.loads(json.dumps(self.config))
        drift = _drift(ours, saved)
        if drift:
            raise ValueError(
                f"checkpoint {self.folder}/{step} was written with another config: "
                + "; ".join(drift)
            )
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, _savable(like))
        try:
            flat = self._manager.restore(
                step,
                args=ocp.args.Composite(progress=ocp.args.StandardRestore(target)),
            )["progress"]
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(
                f"checkpoint {self.folder}/{step} cannot be read: remove that folder "
                f"to start this training anew ({type(error).__name__}: {error})"
            ) from error
        leaves, tree = jax.tree.flatten(like)
        found = [flat.get(_name(i), leaf) for i, leaf in enumerate(leaves)]
        return jax.tree.unflatten(tree, found)

    def close(self) -> None:
        """Wait for the save under way."""
        self._manager.wait_until_finished()
        self._manager.close()


def _savable(progress: Progress) -> dict[str, Any]:
    """Leaves by position: Orbax then needs to know none of our types.

    Empty arrays are left out, which it cannot save.
    """
    leaves = jax.tree.leaves(progress)
    # A CPU array's host view is its own memory, which the next step overwrites: copy.
    return {_name(i): np.array(x) for i, x in enumerate(leaves) if np.size(x)}


def _name(position: int) -> str:
    return f"{position:05d}"


def _drift(ours: Any, saved: Any, prefix: str = "") -> list[str]:
    if isinstance(ours, dict) and isinstance(saved, dict):
        names = sorted({*ours, *saved})
        return [
            line
            for name in names
            for line in _drift(ours.get(name), saved.get(name), f"{prefix}{name}.")
        ]
    return [] if ours == saved else [f"{prefix[:-1]} is {ours}, was {saved}"]
