"""The settings of a run that is resumed."""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

from experiments.few_shot.hosts import share_cores
from experiments.few_shot.settings import FewShot
from experiments.run.command_line import flat, names
from experiments.run.folder import RunFolder
from experiments.run.interruption import stopped
from lfq_jax.config import as_json, from_json

_KEPT_UNLESS_NAMED = ("agm_python", "agm_workers", "cache_dir", "devices", "offline")
_OF_THE_MACHINE = {*_KEPT_UNLESS_NAMED, "at_once", "hosts", "out", "resume"}


def resumed(settings: FewShot, argv: Sequence[str]) -> FewShot:
    """The settings that the run was started with, except for those of the machine.

    Settings that do not name a run to resume are returned unchanged.

    Raises:
      ValueError: the run cannot be resumed, or `argv` asks for other settings.
    """
    if not settings.resume:
        return settings
    config = RunFolder.open(settings.resume, "few_shot").config
    started = _started(settings, config)
    _require_same(settings, config, argv)
    named = {
        name: getattr(settings, name)
        for name in _KEPT_UNLESS_NAMED
        if names(argv, name) or names(argv, name.replace("_", ".", 1))
    }
    result = dataclasses.replace(
        started,
        **named,
        out=None,
        resume=settings.resume,
        hosts=settings.hosts,
        at_once=settings.at_once,
    )
    share_cores(result.devices)
    return result


def _started(settings: FewShot, config: dict[str, Any]) -> FewShot:
    """The settings in the run's config.json.

    Raises:
      ValueError: another command or an earlier version wrote them.
    """
    earlier = (
        f"--resume {settings.resume} was started by another command or by an earlier "
        "version, whose detectors differ: start a new run"
    )
    try:
        started = from_json(FewShot, config)
    except ValueError as error:
        raise ValueError(f"{earlier} ({error})") from error
    if as_json(started) != config:  # a field that is missing would get its default
        raise ValueError(earlier)
    return started


def _require_same(
    settings: FewShot, config: dict[str, Any], argv: Sequence[str]
) -> None:
    """Refuse flags in `argv` that change what the run was started with."""
    at_start = flat(config)
    for name, value in flat(as_json(settings)).items():
        is_of_machine = name.partition(".")[0] in _OF_THE_MACHINE
        is_asked = names(argv, name) and not is_of_machine
        if is_asked and at_start.get(name) != value:
            flag = name.replace("_", "-")
            raise ValueError(
                f"--resume keeps the settings that a run was started with: --{flag} "
                f"was {at_start.get(name)}, got {value}"
            )


def check_categories(settings: FewShot) -> None:
    """Refuse to resume without the data of a category of the run.

    Categories that were added to the data since are named on stderr.
    """
    import datasets

    if not settings.resume or not settings.categories:
        return
    known = datasets.categories(settings.dataset, settings.data_dir)
    for category in settings.categories:
        if category not in known:
            raise ValueError(
                f"--resume {settings.resume} needs its category {category}, but the "
                f"data has {', '.join(known)} now: put it back, or start a new run"
            )
    others = [category for category in known if category not in settings.categories]
    if others:
        print(
            f"left out, as this run was started without: {', '.join(others)}",
            file=sys.stderr,
        )


def how_to_resume(settings: FewShot, folder: RunFolder) -> str:
    """The message of a stopped run, with the command that resumes it.

    Only the first host keeps the run, so only its message has the command.
    """
    if settings.hosts.index:
        return "stopped; the first host says how to resume"
    at_once = ("--at-once", str(settings.at_once)) if settings.at_once > 1 else ()
    return stopped("python -m experiments.few_shot", folder.path, *at_once)
