"""Parse a command line; a mistake in it becomes one line. Imports nothing heavy.

tyro prints a box: what is wrong, which flags may have been meant, where help is. This
module reads the box, because tyro has no public way to ask for its contents:
`console_outputs=False` drops the reason together with the box, and the hook for parse
errors (`tyro._errors`) is private, may change in any release, and omits the similar
flags. Text that is not known here is passed on unchanged, in one line.
"""

import contextlib
import io
import os
import sys
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_CONVERSION_ERRORS = {
    "invalid literal for int() with base 10: ": "a whole number",
    "could not convert string to float: ": "a number",
}
_UNBROKEN_COLUMNS = "100000"
"""Width of a console on which tyro breaks no sentence and no path."""


def parsed(parse: Callable[[], T]) -> T:
    """Result of `parse`, a call of tyro.

    A mistake on the command line ends the process with exit status 2 and one line that
    names it.
    """
    try:
        with contextlib.redirect_stderr(io.StringIO()) as warnings:
            result = parse()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except SystemExit as end:
        if end.code in (None, 0):  # --help
            raise
        print(f"error: {usage_line(_error_box(parse))}", file=sys.stderr)
        raise SystemExit(2) from None
    sys.stderr.write(warnings.getvalue())
    _print_any_name()
    return result


def _print_any_name() -> None:
    """Let stdout escape what its encoding lacks, as stderr does.

    A file name can hold any bytes, and a terminal's encoding may be ASCII. A result
    must not be lost because a name in it cannot be printed.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _error_box(parse: Callable[[], object]) -> str:
    """What `parse` prints to stderr on a console of unlimited width.

    A second call, since the width of `--help` must stay the console's own.
    """
    previous = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _UNBROKEN_COLUMNS
    try:
        with contextlib.redirect_stderr(io.StringIO()) as box:
            with contextlib.suppress(SystemExit):
                parse()
    finally:
        del os.environ["COLUMNS"]
        if previous is not None:
            os.environ["COLUMNS"] = previous
    return box.getvalue()


def usage_line(box: str) -> str:
    """The box as one line: the mistake, similar flags, the command that prints help.

    Args:
      box: tyro's output on a console so wide that no sentence was broken.
    """
    mistake, *others = _sections(box) or [["the command line cannot be read"]]
    usage = next((x[1] for x in others if x[0] == "Argument helptext:"), "")
    sentences = [_mistake(mistake, usage)]
    for head, *rest in others:
        if head.startswith(("Perhaps you meant", "Arguments similar")):
            sentences.append(f"perhaps you meant {' or '.join(_flags(rest))}")
        elif head.startswith("For full helptext"):
            if not mistake[0].startswith("Error parsing"):
                command = rest[0] if rest else head.partition(", run ")[2]
                sentences.append(f"all flags: {command}")
        elif head != "Argument helptext:":
            sentences.append(_unchanged(head, rest))
    return "; ".join(sentences)


def _sections(box: str) -> list[list[str]]:
    """The lines between the box's rules, without its title."""
    sections: list[list[str]] = [[]]
    lines = [line.strip("│ ") for line in box.splitlines()]
    if len(lines) > 1 and _is_rule(lines[1]):  # a console that knows no boxes
        lines = lines[1:]
    for line in lines:
        if _is_rule(line):
            sections.append([])
        elif line and not line.startswith(("╭", "╰")):
            sections[-1].append(line)
    return [section for section in sections if section]


def _is_rule(line: str) -> bool:
    return bool(line) and not line.strip("─-")


def _flags(lines: list[str]) -> list[str]:
    return [line.split()[0] for line in lines if line.startswith("--")]


def _unchanged(head: str, rest: list[str]) -> str:
    return " ".join([head[0].lower() + head[1:], *rest]).rstrip(".")


def _mistake(section: list[str], usage: str) -> str:
    """The first section in this project's words, where it is one of the known kinds."""
    head, *rest = section
    if head.startswith("Missing from") and rest:
        return f"missing: {', '.join(_flags(rest) or rest[:1])}"
    where, colon, message = head.removeprefix("Error parsing ").partition(": ")
    if not head.startswith("Error parsing ") or not colon or " " in where:
        return _unchanged(head, rest)
    if where.startswith("-"):
        return _refused_value(where, message, usage)
    field, _, rule = message.partition(" ")
    is_whole_command = where[0].isupper()
    if is_whole_command or not field.isidentifier() or not rule.startswith("must "):
        return message
    return f"--{where}.{field}".replace("_", "-") + f" {rule}"


def _refused_value(flag: str, message: str, usage: str) -> str:
    for start, kind in _CONVERSION_ERRORS.items():
        if message.startswith(start):
            return f"{flag} must be {kind}, got {message.removeprefix(start)}"
    given = message.removeprefix("Could not find valid parse for arguments: ")
    if given != message:
        return f"{flag} must be written as {usage}, got {given}"
    return f"{flag}: {message}"
