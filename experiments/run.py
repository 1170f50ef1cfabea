"""The run folder, its provenance, and how a run is interrupted."""

import contextlib
import datetime
import importlib.metadata
import json
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from agm_torch.cache_folder import cache_folder as cache_folder
from experiments.at_once import leave_running
from experiments.run_files import read_json, read_json_lines

PROJECT = Path(__file__).resolve().parent.parent
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy")
INTERRUPTED = 130  # exit status, as a shell gives it for SIGINT
GO_ON = ("accuracy", "few_shot", "quantizers")
"""Commands whose runs can be gone on with."""


def data_source(
    data_dir: Path | None, cache_dir: Path, kind: str, *, allow_partial: bool = False
) -> dict[str, Any]:
    """Where `datasets` finds the data and keeps its prepared copy: its arguments."""
    return {
        "data_dir": data_dir,
        "cache_dir": cache_dir / "datasets",
        "kind": kind,
        "allow_partial": allow_partial,
    }


def keep_compiled(cache_dir: Path) -> None:
    """Let jax keep what it compiles: a second run, or category, starts at once.

    Where that folder cannot be written to, one line says so and jax compiles anew.
    """
    import jax

    folder = cache_dir / "xla"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        print(
            f"{folder} cannot be written to, so that every start compiles anew: "
            f"{error.strerror or error}; name another folder by --cache-dir or "
            "LFQUIAD_CACHE",
            file=sys.stderr,
        )
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def provenance(device: str) -> dict[str, Any]:
    """What made this run: command, versions, commit, machine."""
    dirty = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "version": _version("lfquiad"),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": None if dirty is None else bool(dirty),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    """None of a checkout that runs without being installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


class RunFolder:
    """`runs/<id>`: config.json, results.jsonl, a folder a category, report.html."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(
        cls, path: Path, config: dict[str, Any], device: str, *, command: str
    ) -> "RunFolder":
        """Make a new folder.

        Args:
          command: whose run it is: the module's name in `experiments`.

        Raises:
          ValueError: where `path` is a file or holds anything.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            go_on = f", or --resume {path} to go on with the run it holds"
            raise ValueError(
                f"--out {path} already holds something: choose another folder"
                f"{go_on if command in GO_ON else ''}"
            )
        from datasets.files import write_atomically

        path.mkdir(parents=True, exist_ok=True)
        run = cls(path)
        content = {
            "command": command,
            "config": config,
            "provenance": provenance(device),
        }
        text = json.dumps(content, indent=2) + "\n"
        write_atomically(run.config_path, text.encode())
        return run

    @classmethod
    def open(cls, path: Path, *commands: str) -> "RunFolder":
        """An existing run of one of `commands`, or one that does not say whose it is.

        Raises:
          ValueError: where `path` holds no run, another command's, or a damaged one.
        """
        run = cls(path)
        if not run.config_path.is_file():
            raise ValueError(f"{path} holds no run: it has no config.json")
        content = read_json(run.config_path)
        if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
            raise ValueError(f"{path} holds no run: its config.json has no config")
        made_by = content.get("command", commands[0])
        if made_by not in commands:
            raise ValueError(
                f"{path} holds a run of experiments.{made_by}, not of experiments."
                f"{' or '.join(commands)}"
            )
        return run

    @property
    def config_path(self) -> Path:
        return self.path / "config.json"

    @property
    def results_path(self) -> Path:
        return self.path / "results.jsonl"

    @property
    def config(self) -> dict[str, Any]:
        return read_json(self.config_path)["config"]

    @property
    def commit(self) -> str:
        """That the run was started at, shortened."""
        return str(read_json(self.config_path)["provenance"]["git_commit"])[:7]

    def results(self, *fields: str) -> list[dict[str, Any]]:
        """The finished categories' lines, in their order.

        Raises:
          ValueError: where a line is damaged or lacks one of `fields`.
        """
        return read_json_lines(self.results_path, fields=fields)

    def add_result(
        self, line: dict[str, Any], *, order: Sequence[str] | None = None
    ) -> None:
        """Add one finished category; the file is whole at any moment.

        Args:
          order: of the categories, where they do not finish in it. Default: append.
        """
        from datasets.files import write_atomically

        lines = [*self.results(), line]
        if order is not None:
            lines.sort(key=lambda each: order.index(each["category"]))
        text = "".join(json.dumps(each, sort_keys=True) + "\n" for each in lines)
        write_atomically(self.results_path, text.encode())


def make_or_open(
    config: dict[str, Any],
    *,
    command: str,
    out: Path | None,
    resume: Path | None,
    name: str,
) -> RunFolder:
    """A run's new folder, or the one to go on with.

    Args:
      config: the settings, for a new one.
      command: whose run it is: the module's name in `experiments`.
      out: the new folder; None: runs/<date>-<time>-<name>.
      resume: the one to go on with.
    """
    import jax

    if resume:
        print(f"going on with {resume}")
        return RunFolder.open(resume, command)
    device = f"{jax.devices()[0].device_kind} x {jax.device_count()}"
    path = out or new_run_path(Path("runs"), name)
    return RunFolder.create(path, config, device, command=command)


def new_run_path(runs: Path, name: str) -> Path:
    """`runs/<date>-<time>-<name>`, numbered where that is taken."""
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    path = runs / f"{stamp}-{name}"
    number = 2
    while path.exists():
        path = runs / f"{stamp}-{name}-{number}"
        number += 1
    return path


@contextlib.contextmanager
def interruption() -> Iterator[Callable[[], bool]]:
    """Catch the first Ctrl-C or SIGTERM, so that the state can be saved.

    Yields a function that says whether to stop. A second Ctrl-C stops at once.
    """
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        print("\nstopping after this step; again to stop at once", file=sys.stderr)

    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def resumable(command: str, folder: Path) -> Iterator[None]:
    """Where the run in `folder` is stopped by Ctrl-C, say how to go on, and exit."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"stopped; go on with: {command} --resume {folder}", file=sys.stderr)
        leave_running(INTERRUPTED)
        raise SystemExit(INTERRUPTED) from None
