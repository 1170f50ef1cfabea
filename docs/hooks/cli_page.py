"""The page `reference/cli.md`, made from `--help` of every command at each build."""

import concurrent.futures
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

PROJECT = Path(__file__).resolve().parents[2]
COLUMNS = "92"
COMMANDS = (
    "experiments.few_shot",
    "experiments.predict",
    "experiments.calibrate",
    "experiments.export",
    "experiments.report",
    "experiments.evaluate",
    "experiments.accuracy",
    "experiments.patchcore",
    "experiments.backbones",
    "experiments.quantizers",
    "experiments.quantizers.report",
    "experiments.quantizers.lfq_training",
    "experiments.cut_textures",
    "experiments.gpu_check",
    "experiments.mistakes",
    "agm_torch generate",
    "agm_torch preview",
    "agm_torch export",
    "agm_torch cache",
    "agm_torch weights",
    "experiments.bench.agm",
    "experiments.bench.datasets",
    "experiments.bench.disturbances",
    "experiments.bench.evaluation",
    "experiments.bench.inference",
    "experiments.bench.memory_bank",
    "experiments.bench.quantizers",
    "experiments.bench.same_bits",
    "experiments.bench.thresholds",
    "experiments.bench.training",
)
INTRODUCTION = """# Commands

What does a flag mean? Every command answers `--help`; this page is made from those
answers at each build. A mistake on a command line ends with exit status 2 and one line
that names the argument, the value and the rule. Ctrl-C ends a command with status 130.
"""


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the page to the site."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "reference/cli.md", content=page(COMMANDS)))
    return files


def page(commands: tuple[str, ...]) -> str:
    """The page in Markdown: a heading and the flags of every command."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        helps = list(pool.map(help_of, commands))
    sections = [
        f"## {command}\n\n```text\n{text}\n```\n"
        for command, text in zip(commands, helps, strict=True)
    ]
    return "\n".join([INTRODUCTION, *sections])


def help_of(command: str) -> str:
    """What a command answers to `--help`, without the boxes around it.

    Raises:
      RuntimeError: where the command does not answer.
    """
    environment = os.environ | {
        "COLUMNS": COLUMNS,
        "LFQUIAD_CACHE": "~/.cache/lfquiad",
        "LFQUIAD_WEIGHTS": "~/.cache/lfquiad/weights",
        "NO_COLOR": "1",
        "TERM": "dumb",
    }
    done = subprocess.run(
        [sys.executable, "-m", *command.split(), "--help"],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"python -m {command} --help failed:\n{done.stderr}")
    return without_boxes(done.stdout)


def without_boxes(text: str) -> str:
    """The lines of a tyro help text, without the lines that it draws."""
    lines = []
    for line in text.splitlines():
        title = re.fullmatch(r"╭─+ ?(.*?) ?─*╮", line)
        if title:
            lines += ["", title[1]]
        elif not re.fullmatch(r"╰─*╯|│ [─ ]*│", line):
            lines.append(re.sub(r"^│ (.*?) *│$", r"  \1", line).rstrip())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
