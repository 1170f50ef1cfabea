"""Names that people and programs made: printed, pasted, and made into output names.

On Linux a file name is any bytes but `/` and zero, up to 255 of them. Python stands for
a byte that is not UTF-8 by a lone surrogate, which no text file and no JSON reader
accepts. Standard library only.
"""

import hashlib
import itertools
import os
import shlex
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

Kind = Literal["file", "key", "folder"]
MOST_BYTES = 255
"""Longest name of a file or folder on the usual file systems."""
UNFINISHED = ".tmp-"
"""Beginning of the names of files and folders that are being written."""
_NOT_TEXT = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control, surrogate, line separators
_DIGEST_DIGITS = 8
_FIRST_BYTE, _LAST_BYTE = 0xDC80, 0xDCFF  # surrogates that stand for a byte
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(name: str) -> str:
    """`name` as valid text in one line, e.g. `gr\\xfcn.png` for a name in Latin-1.

    Bytes that are not UTF-8, control characters and line separators are escaped.
    """
    return "".join(map(_escaped, name))


def one_line(text: str) -> str:
    """A message as one line. Spaces within its lines stay: a name may have them."""
    return printable(" ".join(line.strip() for line in text.splitlines()))


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _NOT_TEXT:
        return character
    code = ord(character)
    if _FIRST_BYTE <= code <= _LAST_BYTE:
        return f"\\x{code - 0xDC00:02x}"
    short = f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
    return _SHORT.get(character, short)


def category_name(folder: str) -> str:
    """The name of the category in `folder`: valid text without backslashes.

    A run has a folder of this name, and the library of the checkpoints takes a
    backslash for a slash.
    """
    return printable(folder).replace("\\", "_")


def require_plain(path: Path, flag: str) -> None:
    """Refuse a path that libraries written in C++ cannot open, or take for another.

    Args:
      flag: the flag that named the path, for the message.

    Raises:
      ValueError: the path is not UTF-8, or holds a backslash.
    """
    text = str(path)
    if "\\" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError(
            f"{flag} must be a path in UTF-8 without backslashes: checkpoints and "
            f"prepared images cannot be stored elsewhere, got {printable(text)}"
        )


def shell_line(*words: str | Path) -> str:
    """The words as one line that can be pasted into bash.

    A path that begins with a dash gets `./`, or it would be read as a flag.
    """
    return " ".join(map(_shell_word, words))


def _shell_word(word: str | Path) -> str:
    text = str(word)
    if isinstance(word, Path) and text.startswith("-"):
        text = f"./{text}"
    if printable(text) == text:
        return shlex.quote(text)
    escaped = printable(text.replace("\\", "\\\\").replace("'", "\\'"))
    return f"$'{escaped}'"


def temporary_path(path: Path, *, writer: str = "") -> Path:
    """A hidden path beside `path`, for a file or folder that is not complete yet.

    It is short, since a name of 255 bytes has no room for an addition. It differs
    between names and between writers.

    Args:
      writer: tells those apart that write `path` at the same time.
    """
    return path.with_name(f"{UNFINISHED}{_digest(path.name)}{writer}")


def _digest(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:_DIGEST_DIGITS]


def shortened_name(name: str, most_bytes: int) -> str:
    """`name`, or its beginning and a hash of the whole if it is above `most_bytes`."""
    encoded = os.fsencode(name)
    if len(encoded) <= most_bytes:
        return name
    # A character that was cut in half is dropped, a byte that never was text is kept.
    head = encoded[: most_bytes - _DIGEST_DIGITS - 1]
    while head and not name.startswith(os.fsdecode(head)):
        head = head[:-1]
    return f"{os.fsdecode(head)}-{_digest(name)}"


class OutputNames:
    """Names of output files after the names of input files; no two are equal.

    `part.jpg` gives `part`, to which the caller adds a suffix. Where that is taken, as
    after `part.png`, it gives `part.jpg`, then `part.jpg-2`. Names that differ in case
    alone count as equal, as they are on some file systems. An input keeps its name.

    Args:
      suffixes: what the caller adds. So `a.png` does not give `a` and thereby the file
        `a.jpg` where a folder `a.jpg` holds outputs.
    """

    def __init__(self, *suffixes: str) -> None:
        self._suffixes = suffixes
        self._names: dict[tuple[PurePosixPath, Kind], PurePosixPath] = {}
        self._taken: set[str] = set()

    def of(self, name: str) -> PurePosixPath:
        """The output's name without suffix, with the sub-folders of `name`.

        Args:
          name: a relative path with `/`, of a file.
        """
        return self._place(PurePosixPath(name), "file")

    def of_key(self, key: str, text: str) -> PurePosixPath:
        """The name of the output of `key`: `text`, which has no suffix, or `text`-2."""
        place = PurePosixPath(key), "key"
        if place not in self._names:
            self._names[place] = self._free(PurePosixPath(), PurePosixPath(text), "key")
        return self._names[place]

    def _place(self, path: PurePosixPath, kind: Kind) -> PurePosixPath:
        if (path, kind) not in self._names:
            parent = path.parent
            folder = self._place(parent, "folder") if parent.name else parent
            self._names[path, kind] = self._free(folder, path, kind)
        return self._names[path, kind]

    def _free(
        self, folder: PurePosixPath, path: PurePosixPath, kind: Kind
    ) -> PurePosixPath:
        """The first name in `folder` that nothing has, which is then taken."""
        suffixes = ("",) if kind == "folder" else self._suffixes
        most_bytes = MOST_BYTES - max(map(len, suffixes))
        for candidate in _candidates(path, kind):
            name = shortened_name(candidate, most_bytes)
            files = {f"{folder / name}{suffix}".lower() for suffix in suffixes}
            if not files & self._taken:
                self._taken |= files
                return folder / name
        raise AssertionError("candidates never end")


def _candidates(path: PurePosixPath, kind: Kind) -> Iterator[str]:
    """Names to try: without the suffix, with it, and with a number. They never end."""
    if kind == "file" and path.stem.strip("."):
        yield path.stem
    yield path.name
    for number in itertools.count(2):
        yield f"{path.name}-{number}"
