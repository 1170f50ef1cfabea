"""Checkpoints of a run: atomic, through Orbax, with the config beside the weights."""

import json
import threading
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from lfq_jax.model.variables import Variables
from lfq_jax.training.sharding import from_first_host, is_first_host
from lfq_jax.training.state import TrainState

# what Orbax and its storage raise for a file that was cut short
_DAMAGE = (ValueError, OSError, KeyError, TypeError, RuntimeError)


# Orbax numbers the saves of a process by one counter, which a save in another thread
# would move on: the first would wait for the second's signals, in vain.
_SAVING = threading.Lock()

# the name that a checkpoint gives to all leaves' bytes
_BYTES = "bytes"


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
    whole, so a killed process leaves the one before. Of several hosts the first one
    writes and reads, and tells the others.

    Args:
      folder: where it lies.
      config: what the training was started with: settings and data.
      at_once: how many trainings of this process save, each in a thread of its own.
        Of several, one saves at a time, and waits for it.
    """

    def __init__(
        self, folder: Path, config: dict[str, Any], *, at_once: int = 1
    ) -> None:
        self.folder = folder.resolve()
        self.config = config
        self.waits = at_once > 1
        self._manager: ocp.CheckpointManager | None = None
        if not is_first_host():
            return
        alone = ocp.options.MultiprocessingOptions(
            primary_host=0, active_processes={0}, barrier_sync_key_prefix="first"
        )
        several = jax.process_count() > 1
        if several:
            self.folder.mkdir(parents=True, exist_ok=True)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=1,
            enable_async_checkpointing=True,
            create=not several,
            multiprocessing_options=(
                alone if several else ocp.options.MultiprocessingOptions()
            ),
        )
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def has_any(self) -> bool:
        """Whether there is anything to go back to."""
        return self._manager is not None and self._manager.latest_step() is not None

    def save(self, progress: Progress) -> None:
        """Start to write a copy of `progress`; the caller may donate the original."""
        step = int(progress.state.step)
        if self._manager is None or self._manager.latest_step() == step:
            return
        args = ocp.args.Composite(
            progress=ocp.args.StandardSave({_BYTES: _packed(progress)}),
            config=ocp.args.JsonSave(self.config),
        )
        with _SAVING:
            self._manager.save(step, args=args)
            if self.waits:
                self._manager.wait_until_finished()

    def restore(self, like: Progress) -> Progress | None:
        """The last checkpoint, or None where there is none.

        Args:
          like: a progress of the same shapes, e.g. of a fresh run.

        Raises:
          ValueError: where the checkpoint was written with another config, or cannot
            be read.
        """
        if jax.process_count() == 1:
            return self._read(like)
        found, failure = None, None
        try:
            found = self._read(like)
        except ValueError as error:
            failure = error
        state = from_first_host(np.array(2 if failure else found is not None))
        if failure:
            raise failure
        if state == 2:
            raise ValueError("the first host refused the checkpoint")
        return from_first_host(_on_host(found or like)) if state else None

    def _read(self, like: Progress) -> Progress | None:
        manager = self._manager
        step = None if manager is None else manager.latest_step()
        if manager is None or step is None:
            return None
        try:
            saved = manager.restore(
                step, args=ocp.args.Composite(config=ocp.args.JsonRestore())
            )["config"]
        except _DAMAGE as error:
            raise self._unreadable(step, error) from error
        ours = json.loads(json.dumps(self.config))
        drift = _drift(ours, saved)
        if drift:
            raise ValueError(
                f"checkpoint {self.folder}/{step} was written with other settings or "
                "data: " + "; ".join(drift)
            )
        size = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(like))
        target = {_BYTES: jax.ShapeDtypeStruct((size,), np.uint8)}
        try:
            found = manager.restore(
                step,
                args=ocp.args.Composite(progress=ocp.args.StandardRestore(target)),
            )["progress"]
        except _DAMAGE as error:
            raise self._unreadable(step, error) from error
        return _unpacked(np.asarray(found[_BYTES]), like)

    def _unreadable(self, step: int, error: Exception) -> ValueError:
        first_line = str(error).strip().partition("\n")[0]
        return ValueError(
            f"checkpoint {self.folder}/{step} cannot be read: remove that folder to "
            f"start this training anew ({type(error).__name__}: {first_line})"
        )

    def close(self) -> None:
        """Wait for the save under way."""
        if self._manager is not None:
            self._manager.wait_until_finished()
            self._manager.close()


def _on_host(progress: Progress) -> Progress:
    return jax.tree.map(np.asarray, progress)


def _packed(progress: Progress) -> np.ndarray:
    """A copy of all leaves' bytes one after the other, uint8 [bytes].

    One array: of several, those still being read when one is found damaged would report
    to a loop that Orbax has closed, with a traceback that no one can catch.
    """
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(progress)]
    return np.frombuffer(b"".join(leaf.tobytes() for leaf in leaves), np.uint8)


def _unpacked(packed: np.ndarray, like: Progress) -> Progress:
    leaves, tree = jax.tree.flatten(jax.tree.map(np.asarray, like))
    ends = np.cumsum([leaf.nbytes for leaf in leaves])
    parts = zip(leaves, np.split(packed, ends[:-1]), strict=True)
    found = [part.view(x.dtype).reshape(x.shape).copy() for x, part in parts]
    return jax.tree.unflatten(tree, found)


def _drift(ours: Any, saved: Any, prefix: str = "") -> list[str]:
    if isinstance(ours, dict) and isinstance(saved, dict):
        names = sorted({*ours, *saved})
        return [
            line
            for name in names
            for line in _drift(ours.get(name), saved.get(name), f"{prefix}{name}.")
        ]
    return [] if ours == saved else [f"{prefix[:-1]} is {ours}, was {saved}"]
