"""Reads command lines: typed flags from a dataclass, one line for a mistake."""

import dataclasses
import sys
import typing
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import tyro

from agm_torch.usage import parsed

T = TypeVar("T")
LARGEST = 1 << 63
"""Numbers of a command line must be below it: random keys take seeds of 64 bits."""
SMALLEST_TILE_PX = 16


class RenamedFlag(NamedTuple):
    """A flag, or the beginning of several flags, that has a new name."""

    old: str
    new: str
    usage: str = ""
    """How the new flag is written, if its values changed too."""


RENAMED_FLAGS = (
    RenamedFlag(
        "--encoder",
        "--backbone",
        "--backbone none, the name of a backbone or the path of a file of weights",
    ),
    RenamedFlag("--model.reference", "--model.memory-bank"),
    RenamedFlag("--model.memory-bank.encoder", "--model.memory-bank.backbone"),
    RenamedFlag("--model.memory-bank.reader-share", "--model.memory-bank.head-weight"),
    RenamedFlag(
        "--model.memory-bank.score-share", "--model.memory-bank.score-head-weight"
    ),
)
"""In the order in which they are applied: a flag can have several new names."""


REMOVED_FLAGS = {
    "--model.memory-bank.shows-features": "features besides distances",
    "--model.memory-bank.no-shows-features": "features besides distances",
    "--train.augment.rotation-degrees": "small rotations of the images",
    "--train.augment.shift": "small shifts of the images",
    "--train.augment.scale": "small changes of size",
}
"""Flags without a successor, and what they did."""


def read_command_line(default: T, *, prog: str, argv: Sequence[str]) -> T:
    """`default`, a frozen dataclass, with the changes in `argv`.

    A flag that does not exist, or a value that the dataclass refuses, is named in one
    line on stderr, and the process exits with status 2.
    """

    def parse() -> T:
        refuse_renamed(type(default), argv)
        return tyro.cli(
            type(default),
            default=default,
            args=list(argv),
            prog=prog,
            # A flag chooses between nested dataclasses, not a subcommand.
            config=(tyro.conf.AvoidSubcommands,),
        )

    return parsed(parse)


def read_flags(kind: type[T], *, prog: str, argv: Sequence[str] | None = None) -> T:
    """As `read_command_line`, for a dataclass with fields that have no default."""
    args = list(sys.argv[1:] if argv is None else argv)

    def parse() -> T:
        refuse_renamed(kind, args)
        return tyro.cli(kind, args=args, prog=prog)

    return parsed(parse)


def refuse_renamed(kind: type, argv: Sequence[str]) -> None:
    """Refuse flags in `argv` that have a new name.

    A flag is only refused if the dataclass `kind` lacks the old name and has the new
    one.

    Raises:
      ValueError: names the old flag and the new one.
    """
    for word in argv:
        flag = given = word.partition("=")[0].replace("_", "-")
        usage = ""
        for renamed in RENAMED_FLAGS:
            is_named = flag == renamed.old or flag.startswith(f"{renamed.old}.")
            if not is_named or _has_field(kind, renamed.old):
                continue
            if _has_field(kind, renamed.new):
                flag = renamed.new + flag.removeprefix(renamed.old)
                usage = renamed.usage
        if flag in REMOVED_FLAGS and not _has_field(kind, flag):
            raise ValueError(
                f"{given} is no longer available: accuracy fell in trials with "
                f"{REMOVED_FLAGS[flag]}"
            )
        if flag != given:
            raise ValueError(f"{given} is now {flag}{usage and f': {usage}'}")


def _has_field(kind: Any, flag: str) -> bool:
    """Whether the dataclass `kind` has the field that `flag` names."""
    kinds = [kind]
    for name in flag.removeprefix("--").replace("-", "_").split("."):
        hints = [typing.get_type_hints(each).get(name) for each in kinds]
        found = [hint for hint in hints if hint is not None]
        if not found:
            return False
        choices = [x for hint in found for x in (hint, *typing.get_args(hint))]
        kinds = [x for x in choices if dataclasses.is_dataclass(x)]
    return True


def require_at_least(settings: object, **least: float) -> None:
    """Refuse a number in `settings`, or in a tuple of numbers, that is too small.

    Infinity is refused, too, and whole numbers that do not fit in 64 bits.

    Args:
      least: the smallest allowed value, by field name.

    Raises:
      ValueError: names the flag, the smallest allowed value and the value.
    """
    for name, bound in least.items():
        field = getattr(settings, name)
        is_tuple = isinstance(field, tuple)
        for value in field if is_tuple else (field,):
            if not value >= bound:
                raise ValueError(
                    f"--{name.replace('_', '-')} must be at least {bound}"
                    f"{' each' if is_tuple else ''}, got {value}"
                )
            if not value < LARGEST:
                raise ValueError(
                    f"--{name.replace('_', '-')} must be below 2^63, got {value}"
                )


def require_tile_px(tile_px: int | None) -> None:
    """Refuse a width of tiles that no photograph can be cut into.

    Raises:
      ValueError: if it is neither 0 nor in [16, LONGEST_PX]. None is accepted.
    """
    if not tile_px:
        return
    from lfq_jax.inference.preprocessing import LONGEST_PX  # imports numpy

    if not SMALLEST_TILE_PX <= tile_px <= LONGEST_PX:
        raise ValueError(
            f"--tile-px must be 0 or in [{SMALLEST_TILE_PX}, {LONGEST_PX}], got "
            f"{tile_px}"
        )


def names(argv: Sequence[str], setting: str) -> bool:
    """Whether `argv` has the flag of the setting with this dotted name."""
    head, dot, last = setting.replace("_", "-").rpartition(".")
    flags = {f"--{head}{dot}{last}", f"--{head}{dot}no-{last}"}
    return any(word.partition("=")[0].replace("_", "-") in flags for word in argv)


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested settings, by dotted name."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def flag_value(argv: Sequence[str], name: str) -> str | None:
    """The value of the flag `name` in `argv`, before the flags are parsed.

    As in the parser, `--some_name` is `--some-name`, and the last value counts.
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
