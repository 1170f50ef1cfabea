"""Several hosts that train together. Each runs the same command with its own number.

    python -m experiments.few_shot ... --hosts.coordinator first:9000 --hosts.count 2 \\
        --hosts.index 0

The first host writes the run. The others share the computation and keep nothing.
"""

import atexit
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from experiments.run.folder import RunFolder

_TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class HostsConfig:
    """The hosts that share every batch, through `jax.distributed`."""

    coordinator: str = ""
    """Address and port of the first host, the same on all hosts. Empty: one host."""
    count: int = 1
    """Number of hosts."""
    index: int = 0
    """Number of this host, from 0."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"--hosts.count must be at least 1, got {self.count}")
        if not 0 <= self.index < self.count:
            raise ValueError(
                f"--hosts.index must be in [0, {self.count}), got {self.index}"
            )
        if self.count > 1 and ":" not in self.coordinator:
            raise ValueError(
                "--hosts.coordinator must be an address with a port, such as "
                f"first:9000, got {self.coordinator or 'nothing'}"
            )


def share_cores(devices: int) -> None:
    """Share the processor's cores among several `devices`, before jax starts."""
    if devices > 1:
        from lfq_jax.training.sharding import share_cores

        share_cores(devices)


def join(config: HostsConfig) -> None:
    """Wait for the other hosts. Call this before anything asks jax for a device.

    Raises:
      ValueError: the hosts did not meet in time.
    """
    if config.count == 1:
        return
    import jax

    try:
        jax.distributed.initialize(
            config.coordinator,
            config.count,
            config.index,
            initialization_timeout=_TIMEOUT_SECONDS,
        )
    except RuntimeError as error:
        raise ValueError(
            f"the {config.count} hosts did not meet at --hosts.coordinator "
            f"{config.coordinator} within {_TIMEOUT_SECONDS} s: {error}"
        ) from None
    if config.index:
        sys.stdout = open(os.devnull, "w")  # only the first host prints


def temporary_folder(resume: Path | None) -> RunFolder:
    """A temporary run folder, for a host that is not the first.

    It has a copy of the settings and results in `resume`. It is removed at the end of
    this process.
    """
    from datasets.files import writing

    folder = Path(tempfile.mkdtemp(prefix="lfquiad-host-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with writing(folder):
        (folder / "config.json").write_text('{"config": {}, "provenance": {}}\n')
    if resume:
        run = RunFolder.open(resume, "few_shot")
        for path in (run.config_path, run.results_path):
            if path.exists():
                shutil.copy(path, folder)
    return RunFolder(folder)
