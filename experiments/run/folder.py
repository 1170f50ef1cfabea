"""The folder of a run: its settings, its results, how it is created and opened."""

import contextlib
import datetime
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.run.json_files import read_json, read_json_lines
from experiments.run.provenance import provenance

RESUMABLE = ("accuracy", "few_shot", "quantizers")
"""Commands that have --resume."""
LOCK = ".lock"


class RunFolder:
    """`runs/<id>`: config.json, results.jsonl, report.html, a folder per category."""

    def __init__(self, path: Path, *, is_new: bool = False) -> None:
        self.path = path
        self.is_new = is_new

    @classmethod
    def create(
        cls, path: Path, config: dict[str, Any], device: str, *, command: str
    ) -> "RunFolder":
        """Make a new folder.

        Args:
          command: the command that makes the run: the module's name in `experiments`.

        Raises:
          ValueError: `path` is a file, or a folder that is not empty.
        """
        from datasets.file_names import require_plain
        from datasets.files import make_folder, write_atomically
        from datasets.lock import locked_file

        require_plain(path, "--out")

        run = cls(path, is_new=True)
        content = {
            "command": command,
            "config": config,
            "provenance": provenance(device),
        }
        text = json.dumps(content, indent=2) + "\n"
        _require_empty(path, command)
        make_folder(path)
        with locked_file(path / LOCK, what=f"makes {path}"):
            _require_empty(path, command)  # another process may have made it meanwhile
            try:
                write_atomically(run.config_path, text.encode())
            except OSError:
                shutil.rmtree(path, ignore_errors=True)
                raise
        return run

    @classmethod
    def open(cls, path: Path, *commands: str) -> "RunFolder":
        """Open a run of one of `commands`.

        A run whose config.json names no command is accepted, too.

        Raises:
          ValueError: `path` holds no run, a damaged run, or a run of another command.
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
        """The commit that the run was started at: seven digits."""
        return str(read_json(self.config_path)["provenance"]["git_commit"])[:7]

    def results(self, *fields: str) -> list[dict[str, Any]]:
        """The lines of the finished categories, in their order.

        Of several lines of one category, as two processes at the same time wrote them
        once, the last one counts: its detector is the one in the folder.

        Raises:
          ValueError: a line is damaged or lacks one of `fields`.
        """
        lines = read_json_lines(self.results_path, fields=fields)
        return list({_key(line): line for line in lines}.values())

    @contextlib.contextmanager
    def in_use(self, should_stop: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Hold the run's lock; waits while another process runs in this folder.

        If the block fails in a new folder before the first result, the folder is
        removed, so that the next try may have the same name. A stopped run stays if
        its command can resume it.

        Args:
          should_stop: ends the wait where it returns true.

        Raises:
          KeyboardInterrupt: `should_stop` ended the wait.
        """
        from datasets.files import remove_unfinished
        from datasets.lock import locked_file

        what = f"runs in {self.path}"
        with locked_file(self.path / LOCK, what=what, should_stop=should_stop):
            if should_stop():
                raise KeyboardInterrupt
            remove_unfinished(self.path)
            try:
                yield
            except BaseException as error:
                is_stop = isinstance(error, KeyboardInterrupt)
                is_resumed = is_stop and self._command() in RESUMABLE
                if self.is_new and not is_resumed and self._holds_settings_alone():
                    shutil.rmtree(self.path, ignore_errors=True)
                raise

    def _command(self) -> str | None:
        """The command that made the run; None if its settings name none."""
        return read_json(self.config_path).get("command")

    def _holds_settings_alone(self) -> bool:
        """Whether the folder has no file but config.json and hidden ones."""
        found = (path for path in self.path.rglob("*") if not path.is_dir())
        return all(path.name.startswith((".", "config.json")) for path in found)

    def add_result(
        self, line: dict[str, Any], *, order: Sequence[str] | None = None
    ) -> None:
        """Add the line of a finished category; the file is complete at any moment.

        A line of the same category, seed and variant is replaced.

        Args:
          order: the order of the categories in the file. Default: as they finish.
        """
        from datasets.files import write_atomically

        others = [each for each in self.results() if _key(each) != _key(line)]
        lines = [*others, line]
        if order is not None:
            lines.sort(key=lambda result: order.index(result["category"]))
        text = "".join(json.dumps(result, sort_keys=True) + "\n" for result in lines)
        write_atomically(self.results_path, text.encode())


def _key(line: dict[str, Any]) -> tuple[Any, ...]:
    """What a line of results.jsonl is about. A run has one line for each key."""
    return tuple(line.get(name) for name in ("category", "seed", "variant"))


def _require_empty(path: Path, command: str) -> None:
    """Refuse a folder, given as --out, that holds anything but a lock."""
    if not path.exists():
        return
    from datasets.file_names import shell_line
    from datasets.files import is_vacant

    if path.is_dir() and is_vacant(path):
        return
    resume = f", or {shell_line('--resume', path)} to resume the run in it"
    raise ValueError(
        f"--out {path} already holds something: choose another folder"
        f"{resume if command in RESUMABLE else ''}"
    )


def make_or_open(
    config: dict[str, Any],
    *,
    command: str,
    out: Path | None,
    resume: Path | None,
    name: str,
) -> RunFolder:
    """Make a run's folder, or open the folder to resume.

    Args:
      config: the settings, for a new folder.
      command: the command that makes the run: the module's name in `experiments`.
      out: the new folder. Default: runs/<date>-<time>-<name>.
      resume: the folder to resume.
    """
    import jax

    if resume:
        print(f"resuming {resume}")
        return RunFolder.open(resume, command)
    device = f"{jax.devices()[0].device_kind} x {jax.device_count()}"
    path = out or new_run_path(Path("runs"), name)
    return RunFolder.create(path, config, device, command=command)


def new_run_path(runs: Path, name: str) -> Path:
    """`runs/<date>-<time>-<name>`, with a number if that exists already."""
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    path = runs / f"{stamp}-{name}"
    number = 2
    while path.exists():
        path = runs / f"{stamp}-{name}-{number}"
        number += 1
    return path
