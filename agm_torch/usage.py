"""Parse a command line; a mistake in it is one line. Nothing heavy is imported here.

tyro draws a box of several lines: what is wrong, what may have been meant, where help
is. Its words are taken as they stand, so that a version that says something else still
gives one line.
"""

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_RULE = re.compile(r"[─-]+")
_KINDS = {
    "invalid literal for int() with base 10: ": "a whole number",
    "could not convert string to float: ": "a number",
}


def parsed(parse: Callable[[], T]) -> T:
    """What `parse`, a call of tyro, makes of a command line.

    A mistake ends the process with exit status 2 and one line that names it.
    """
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            found = parse()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except SystemExit as end:
        if end.code in (None, 0):  # --help
            raise
        print(f"error: {usage_line(_widely(parse))}", file=sys.stderr)
        raise SystemExit(2) from None
    sys.stderr.write(said.getvalue())
    return found


def _widely(parse: Callable[[], object]) -> str:
    """What `parse` says on stderr, without line breaks in a sentence or a path."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100000"
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            with contextlib.suppress(SystemExit):
                parse()
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before
    return said.getvalue()


def usage_line(box: str) -> str:
    """The box as one sentence, with the flags that are near and where help is.

    Args:
      box: what tyro printed, on a console so wide that no sentence was broken.
    """
    first, *others = _sections(box) or [["the command line cannot be read"]]
    is_value = first[0].startswith("Error parsing")
    usage = next((x[1] for x in others if x[0] == "Argument helptext:"), "")
    said = [_rewritten(first, usage)]
    for head, *rest in others:
        if head.startswith(("Perhaps you meant", "Arguments similar")):
            said.append(f"perhaps you meant {' or '.join(_flags(rest))}")
        elif head.startswith("For full helptext"):
            if is_value:
                continue
            where = rest[0] if rest else re.sub("^.*, (run|see) ", "", head)
            said.append(f"all flags: {where}")
        elif head != "Argument helptext:":
            said.append(_plain(head, rest))
    return "; ".join(said)


def _sections(box: str) -> list[list[str]]:
    """The lines between the box's rules, without its title."""
    found: list[list[str]] = [[]]
    lines = [line.strip("│ ") for line in box.splitlines()]
    if len(lines) > 1 and _RULE.fullmatch(lines[1]):  # where a console knows no boxes
        lines = lines[1:]
    for text in lines:
        if text.startswith(("╭", "╰")) or not text:
            continue
        if _RULE.fullmatch(text):
            found.append([])
        else:
            found[-1].append(text)
    return [section for section in found if section]


def _plain(head: str, rest: list[str]) -> str:
    return " ".join([head[0].lower() + head[1:], *rest]).rstrip(".")


def _flags(lines: list[str]) -> list[str]:
    return [line.split()[0] for line in lines if line.startswith("--")]


def _rewritten(section: list[str], usage: str) -> str:
    head, *rest = section
    if head.startswith("Missing from") and rest:
        return f"missing: {', '.join(_flags(rest) or rest[:1])}"
    parsing = re.match(r"Error parsing ([^\s:]+): (.*)", head)
    if not parsing:
        return _plain(head, rest)
    where, message = parsing.groups()
    if where.startswith("-"):
        return _of_flag(where, message, usage)
    of_field = re.match(r"(\w+) (must .*)", message)
    if where[0].isupper() or not of_field:  # the whole command, not a part of it
        return message
    name, rule = of_field.groups()
    return f"--{where}.{name}".replace("_", "-") + f" {rule}"


def _of_flag(flag: str, message: str, usage: str) -> str:
    for start, kind in _KINDS.items():
        if message.startswith(start):
            return f"{flag} must be {kind}, got {message.removeprefix(start)}"
    given = message.removeprefix("Could not find valid parse for arguments: ")
    if given != message:
        return f"{flag} must be written as {usage}, got {given}"
    return f"{flag}: {message}"
