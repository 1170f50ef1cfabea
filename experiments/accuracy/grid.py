"""The main job with every combination of the named backbones and methods."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from experiments.accuracy.candidates import main_job
from experiments.few_shot.settings import FewShot
from experiments.run.command_line import flag_value


def main_jobs(
    flags: Sequence[str], *, backbones: Sequence[str], methods: Sequence[str]
) -> dict[str, FewShot]:
    """The main job with every backbone and every method, by the names of both.

    Without `backbones` and `methods` it is the main job as `flags` ask for it, by the
    name `main`.

    Args:
      backbones: values of the main job's --backbone.
      methods: values of the main job's --method.

    Raises:
      ValueError: if `flags` also name the backbone or the method, or two backbones
        have one name.
    """
    jobs: dict[str, FewShot] = {}
    for choices in itertools.product(
        _choices("backbone", backbones, flags), _choices("method", methods, flags)
    ):
        name = "-".join(_choice_name(value) for _, value in choices if value) or "main"
        more = [word for choice in choices if choice[1] for word in choice]
        if name in jobs:
            raise ValueError(f"--backbones must have different names, got {name} twice")
        jobs[name] = main_job([*flags, *more])
    return jobs


def _choices(
    setting: str, values: Sequence[str], flags: Sequence[str]
) -> list[tuple[str, str]]:
    """The flag with each of the values; with an empty value if there are none."""
    flag = f"--{setting}"
    if values and flag_value(flags, flag) is not None:
        raise ValueError(f"{flag} must not follow --: --{setting}s sets it")
    return [(flag, value) for value in values] or [(flag, "")]


def _choice_name(value: str) -> str:
    """A backbone's or method's name for folders and tables; of a file, its stem."""
    return Path(value).stem if "/" in value or Path(value).is_file() else value
