"""Checkpoints of a training: its state as a pytree, and its config, saved by Orbax."""

import contextlib
import functools
import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore

from datasets.files import WriteError, writing
from lfq_jax.model.variables import Variables
from lfq_jax.training.sharding import from_first_host, is_first_host
from lfq_jax.training.state import TrainState

# Errors that Orbax and its storage raise for an incomplete or foreign file.
_DAMAGE = (ValueError, OSError, KeyError, TypeError, RuntimeError)

_INCOMPLETE = ".orbax-checkpoint-tmp"

# Orbax numbers the saves of a process by one counter. If another thread saved at the
# same time, a save would wait forever for the signals of the other save's number.
_SAVING = threading.Lock()


class Progress(NamedTuple):
    """All that a training needs to resume, and the best variables so far."""

    state: TrainState
    best: Variables
    best_auroc: np.ndarray
    """Best validation AUROC so far, float64 []; -1 before the first validation."""
    best_step: np.ndarray
    """Step of the best validation AUROC, int64 []."""


class Checkpoints:
    """The latest checkpoint of one training, in `folder`.

    Orbax saves in the background, into a temporary folder that it renames when the
    checkpoint is complete. So a killed process leaves the previous checkpoint. With
    several hosts, the first host writes and reads, and sends the result to the others.

    Args:
      folder: the folder of the checkpoints.
      config: what the training was started with: settings and data.
      at_once: number of trainings of this process that save, each in its own thread. If
        there are several, only one saves at a time, and waits until the save is done.
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
        _hide_late_failures()
        with _write_errors(self.folder):
            self._manager = ocp.CheckpointManager(self.folder, options=options)

    def has_any(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return self._manager is not None and self._manager.latest_step() is not None

    def save(self, progress: Progress) -> None:
        """Start to write a copy of `progress`; the caller may donate the original.

        Raises:
          WriteError: this copy or the previous one could not be written. The latest
            complete checkpoint stays.
        """
        step = int(progress.state.step)
        if self._manager is None or self._manager.latest_step() == step:
            return
        args = ocp.args.Composite(
            progress=ocp.args.StandardSave(_stored(jax.tree.map(np.array, progress))),
            config=ocp.args.JsonSave(self.config),
        )
        with _SAVING, _write_errors(self.folder):
            self._manager.save(step, args=args)
            if self.waits:
                self._manager.wait_until_finished()

    def restore(self, like: Progress) -> Progress | None:
        """The latest checkpoint, as numpy arrays, or None if there is none.

        Args:
          like: a progress of the same structure and shapes, e.g. of a new training.

        Raises:
          ValueError: if the checkpoint was written with another config or by another
            version, or cannot be read.
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
        config = json.loads(json.dumps(self.config))
        differences = _differences(config, saved)
        if differences:
            raise ValueError(
                f"checkpoint {self.folder}/{step} was written with other settings or "
                "data: " + "; ".join(differences)
            )
        target = ocp.args.StandardRestore(_stored(_on_host(like)))
        try:
            _read_every_value(self.folder / str(step) / "progress")
            found = manager.restore(step, args=ocp.args.Composite(progress=target))
        except _DAMAGE as error:
            raise self._unreadable(step, error) from error
        return _with_empty_arrays(found["progress"], _on_host(like))

    def _unreadable(self, step: int, error: Exception) -> ValueError:
        first_line = str(error).strip().partition("\n")[0]
        return ValueError(
            f"checkpoint {self.folder}/{step} cannot be read: remove that folder to "
            f"start this training again ({type(error).__name__}: {first_line})"
        )

    def close(self) -> None:
        """Wait until the current save is complete.

        Raises:
          WriteError: the checkpoint could not be written.
        """
        if self._manager is not None:
            with _write_errors(self.folder):
                self._manager.wait_until_finished()
                self._manager.close()


@functools.cache  # once in a process
def _hide_late_failures() -> None:
    """Drop the tracebacks of writes that end after another write of theirs failed.

    Orbax writes all arrays at once. If one cannot be written, it raises that error and
    closes its event loop. Each write that ends later would print a traceback about the
    closed loop, which cannot be caught, around the line that names the cause.
    """
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        error = unraisable.exc_value
        if not (
            isinstance(error, RuntimeError) and "Event loop is closed" in str(error)
        ):
            before(unraisable)

    sys.unraisablehook = hook


@contextlib.contextmanager
def _write_errors(folder: Path) -> Iterator[None]:
    """Turn the storage's refusal to write into a `WriteError` that names `folder`.

    TensorStore puts the system's error number into the text of a ValueError. Incomplete
    checkpoints are removed, which frees a full disk.
    """
    try:
        with writing(folder):
            try:
                yield
            except _DAMAGE as error:
                code = re.search(r"os_error_code='(\d+)'", str(error))
                if code is None:
                    raise
                raise OSError(int(code[1]), os.strerror(int(code[1]))) from error
    except WriteError:
        for incomplete in folder.glob(f"*{_INCOMPLETE}"):
            shutil.rmtree(incomplete, ignore_errors=True)
        raise


def _on_host(progress: Progress) -> Progress:
    return jax.tree.map(np.asarray, progress)


def _stored(progress: Progress) -> Progress:
    """`progress` with None for arrays without elements, which Orbax cannot save."""
    return jax.tree.map(lambda leaf: leaf if leaf.size else None, progress)


def _with_empty_arrays(stored: Progress, like: Progress) -> Progress:
    """The progress that `_stored` was called with; `like` has its empty arrays."""
    return jax.tree.map(
        lambda found, leaf: leaf if found is None else found,
        stored,
        like,
        is_leaf=lambda found: found is None,
    )


def _read_every_value(folder: Path) -> None:
    """Read the values of a stored pytree, one after another, to find damage.

    Orbax reads all arrays at once. If one is damaged, the reads of the others end after
    Orbax has closed their event loop, with tracebacks that cannot be caught.
    """
    # not a file:// address, in which a path with # or % means another one
    base = {"driver": "file", "path": f"{folder}/"}
    spec = {"driver": "ocdbt", "base": base}
    store = tensorstore.KvStore.open(spec).result()
    for name in store.list().result():
        store.read(name).result()


def _differences(config: Any, saved: Any, prefix: str = "") -> list[str]:
    """One line for each setting whose saved value differs."""
    if isinstance(config, dict) and isinstance(saved, dict):
        names = sorted({*config, *saved})
        return [
            line
            for name in names
            for line in _differences(
                config.get(name), saved.get(name), f"{prefix}{name}."
            )
        ]
    return [] if config == saved else [f"{prefix[:-1]} is {config}, was {saved}"]
