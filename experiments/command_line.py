"""Command lines: typed flags from a dataclass, and one clear line for a mistake."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import tyro

from agm_torch.usage import parsed

T = TypeVar("T")


def read_command_line(default: T, *, prog: str, argv: Sequence[str]) -> T:
    """`argv` as changes to `default`, a frozen dataclass.

    A flag that does not exist, or a value that the dataclass refuses, ends the process
    with exit status 2 and one line that names it.
    """
    return parsed(
        lambda: tyro.cli(
            type(default),
            default=default,
            args=list(argv),
            prog=prog,
            # A nested choice is made by its own flag, not by a subcommand.
            config=(tyro.conf.AvoidSubcommands,),
        )
    )


def read_flags(kind: type[T], *, prog: str, argv: Sequence[str] | None = None) -> T:
    """As `read_command_line`, of a dataclass that may have fields without defaults."""
    args = None if argv is None else list(argv)
    return parsed(lambda: tyro.cli(kind, args=args, prog=prog))


def require_at_least(settings: object, **least: float) -> None:
    """Refuse settings of which a number, or one of several, is less than it may be.

    Args:
      least: the smallest value, by the field's name.

    Raises:
      ValueError: names the flag, the least and what it got.
    """
    for name, bound in least.items():
        value = getattr(settings, name)
        several = isinstance(value, tuple)
        for each in value if several else (value,):
            if not each >= bound:
                raise ValueError(
                    f"--{name.replace('_', '-')} must be at least {bound}"
                    f"{' each' if several else ''}, got {each}"
                )


def names(argv: Sequence[str], setting: str) -> bool:
    """Whether `argv` has the flag of a setting, by its dotted name."""
    head, dot, last = setting.replace("_", "-").rpartition(".")
    flags = {f"--{head}{dot}{last}", f"--{head}{dot}no-{last}"}
    return any(word.partition("=")[0].replace("_", "-") in flags for word in argv)


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested settings by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def flag_value(argv: Sequence[str], name: str) -> str | None:
    """The value that `argv` gives `--name`, before the flags are parsed.

    A parser takes `--some_name` for `--some-name`, and of several values the last.
    """
    found = None
    for i, word in enumerate(argv):
        flag, is_joined, value = word.partition("=")
        if flag.replace("_", "-") != name:
            continue
        if is_joined:
            found = value
        elif i + 1 < len(argv):
            found = argv[i + 1]
    return found
