"""What lies in a folder: every file is taken, or left out by name with the reason.

All commands list folders with this module, so that all follow the same rules.
"""

import functools
import importlib.util
import mimetypes
import os
import stat
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import NamedTuple

from PIL import Image, ImageFile

from datasets.images import page_count
from datasets.remarks import Remarks, counted, named

MASK_SUFFIX = "_mask"
MASK_FOLDERS = frozenset({"ground_truth", "mask", "masks"})
"""Sub-folders of photographs with these names hold masks."""
SYSTEM_NAMES = frozenset(
    {
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
        *("__macosx", "@eadir", "$recycle.bin", "system volume information"),
        "lost+found",
    }
)
"""Names that file managers and storage devices create; compared in lower case."""
_DRAWN_BY_A_PROGRAM = frozenset({"EPS", "MPEG"})  # Pillow itself decodes neither
_MASK_BESIDE = "looks like the mask of the photograph beside it, use another folder"
_TEXT_BYTES = 8000  # without a zero byte in them a file is text, as git decides


class LeftOut(NamedTuple):
    """A file or folder that is not taken."""

    path: Path
    reason: str

    def below(self, folder: Path) -> str:
        """Path below `folder`, and the reason."""
        is_below = self.path != folder and self.path.is_relative_to(folder)
        path = self.path.relative_to(folder) if is_below else self.path
        return f"{path} ({self.reason})"


@dataclass
class Listing:
    """The contents of a folder and of its sub-folders. All lists are sorted."""

    folder: Path
    files: list[Path] = field(default_factory=list)
    """The files that are taken."""
    unreadable: list[LeftOut] = field(default_factory=list)
    """What may hide an image: a command refuses these, or reports no decision."""
    skipped: list[LeftOut] = field(default_factory=list)
    """What hides no image: text, and links to folders that are already listed."""

    def require_readable(self) -> None:
        """Raise a ValueError if anything may hide an image."""
        if self.unreadable:
            what = counted(self.unreadable, "entry", "entries")
            names = named([item.below(self.folder) for item in self.unreadable])
            raise ValueError(
                f"{what} of {self.folder} cannot be used: {names}; convert, move or "
                "remove what is named"
            )

    def notes(self) -> list[str]:
        """What is skipped, and files of which a part is read: see `notes`."""
        return notes(self.skipped, self.files)


def notes(skipped: Iterable[LeftOut], files: Iterable[Path]) -> list[str]:
    """A line for each reason why a file is skipped, and one on files of several pages.

    Args:
      skipped: what is not read.
      files: what is read.
    """
    remarks = Remarks()
    for item in skipped:
        remarks.add(item.reason, item.path, f"is not read: {item.reason}")
    for path in files:
        pages = page_count(path) if _may_have_pages(path) else 1
        if pages > 1:
            text = f"has {pages} pages, of which only the first is read"
            remarks.add("pages", path, text)
    return remarks.lines()


def image_endings() -> frozenset[str]:
    """Endings, in lower case, of the files that the installed Pillow decodes.

    Includes the endings of registered plug-ins. The plug-in of `pillow_heif` is
    registered if the package is installed.
    """
    if ".heic" not in (endings := Image.registered_extensions()):
        if importlib.util.find_spec("pillow_heif"):
            importlib.import_module("pillow_heif").register_heif_opener()
            endings = Image.registered_extensions()
    return frozenset(end for end, kind in endings.items() if _is_decoded(kind))


def _is_decoded(kind: str) -> bool:
    """Whether Pillow itself decodes a format of its registry."""
    if kind not in Image.OPEN or kind in _DRAWN_BY_A_PROGRAM:
        return False
    reader = Image.OPEN[kind][0]
    return not (
        isinstance(reader, type) and issubclass(reader, ImageFile.StubImageFile)
    )


def _may_have_pages(path: Path) -> bool:
    """Whether the file's format can hold several images of equal standing.

    A JPEG of a phone holds previews and depth maps besides its photograph.
    """
    kind = Image.registered_extensions().get(path.suffix.lower())
    return kind in Image.SAVE_ALL and kind != "MPO"


def is_ignored(name: str) -> bool:
    """Whether a file or folder is ignored: hidden, or created by a file manager."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def list_photographs(folder: Path) -> Listing:
    """The photographs in a folder and its sub-folders.

    `<stem>_mask` beside `<stem>` is a mask, and so is what lies in a sub-folder called
    ground_truth, mask or masks. They are `unreadable`: scored as photographs, they
    would count as defects.
    """
    listing = _Walk(folder, image_endings(), apart=MASK_FOLDERS).run()
    photograph_of = {path.parent / path.stem: path for path in listing.files}
    masks = []
    for path in listing.files:
        photograph = photograph_of.get(path.parent / stem_of_mask(path.stem))
        if photograph and photograph.stem != path.stem:
            masks.append(LeftOut(path, _MASK_BESIDE))
    if masks:
        found = {mask.path for mask in masks}
        listing.files = [path for path in listing.files if path not in found]
        listing.unreadable = sorted([*listing.unreadable, *masks])
    return listing


def photographs_of(sources: Sequence[Path], what: str) -> tuple[list[Path], list[str]]:
    """The named files and the photographs in the named folders, and what to note.

    Args:
      sources: files and folders.
      what: how the user calls them, for messages.

    Raises:
      FileNotFoundError: a source does not exist, or a folder holds no image.
      ValueError: a folder holds what cannot be used.
    """
    paths: list[Path] = []
    lines: list[str] = []
    for source in sources:
        if source.is_dir():
            listing = list_photographs(source)
            listing.require_readable()
            if not listing.files:
                raise FileNotFoundError(f"{what}: the folder {source} holds no image")
            paths += listing.files
            lines += listing.notes()
        elif source.is_file():
            paths.append(source)
            lines += notes((), [source])
        elif source.exists():
            raise FileNotFoundError(f"{what}: {source} is neither a file nor a folder")
        else:
            raise FileNotFoundError(f"{what}: {source} does not exist")
    return paths, lines


def list_masks(folder: Path) -> Listing:
    """The masks in a folder and its sub-folders."""
    return list_files(folder, image_endings())


def list_files(folder: Path, endings: Collection[str]) -> Listing:
    """The files in a folder and its sub-folders whose ending is one of `endings`.

    A folder that does not exist holds nothing. Links are followed, and each folder is
    listed once.
    """
    return _Walk(folder, endings).run()


def stem_of_mask(stem: str) -> str:
    """A mask's stem without `_mask` in upper or lower case; unchanged without it."""
    if stem.lower().endswith(MASK_SUFFIX):
        return stem[: -len(MASK_SUFFIX)]
    return stem


def stray_entries(folder: Path, expected: Collection[str]) -> list[Path]:
    """What lies directly in a folder besides `expected`.

    For folders that hold only folders, such as a category's. Text, empty folders and
    ignored names are not listed.

    Args:
      expected: names of the entries that are read.
    """
    if not folder.is_dir():
        return []
    return [
        path
        for path in sorted(folder.iterdir())
        if path.name not in expected and not is_ignored(path.name)
        if not _text(path) and not _is_empty_folder(path)
    ]


def _is_empty_folder(path: Path) -> bool:
    try:
        return path.is_dir() and not os.listdir(path)
    except OSError:
        return False


def contains(folder: Path, other: Path) -> bool:
    """Whether `other` is `folder` or lies below it, after links are resolved."""
    try:
        return other.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a loop of links
        return False


def keyed_by_stem(files: Iterable[Path], folder: Path) -> dict[PurePath, Path]:
    """The files by their path below `folder` without ending.

    Raises:
      ValueError: two files differ in their ending alone.
    """
    found: dict[PurePath, Path] = {}
    for path in files:
        key = path.relative_to(folder).with_name(path.stem)
        if key in found:
            raise ValueError(
                f"{path} and {found[key].name} have the same stem: masks and maps are "
                "paired by stem, so it must be unique in its folder"
            )
        found[key] = path
    return found


class _Walk:
    """Lists one folder with its sub-folders.

    Args:
      folder: the folder to list.
      endings: endings of the files to take, in lower case.
      apart: names of sub-folders that hold masks.
    """

    def __init__(
        self, folder: Path, endings: Collection[str], *, apart: Collection[str] = ()
    ) -> None:
        self._listing = Listing(folder)
        self._endings = endings
        self._images = image_endings()
        self._apart = apart
        self._read: set[tuple[int, int]] = set()
        self._links: list[Path] = []

    def run(self) -> Listing:
        """List the folder. Links come last, so that files keep their own names."""
        if os.path.lexists(self._listing.folder):
            self._list_tree(self._listing.folder)
        while self._links:
            link = self._links.pop(0)
            if contains(link, self._listing.folder) and not self._is_read(link):
                self._leave_out(link, "a link to a folder that contains this one")
            else:
                self._list_tree(link)
        for items in (
            self._listing.files,
            self._listing.unreadable,
            self._listing.skipped,
        ):
            items.sort()
        return self._listing

    def _is_read(self, folder: Path) -> bool:
        info = folder.stat()
        return (info.st_dev, info.st_ino) in self._read

    def _list_tree(self, top: Path) -> None:
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            try:
                info = folder.stat()
                names = sorted(os.listdir(folder))
            except OSError as error:
                self._leave_out(folder, f"cannot be listed: {error.strerror}")
                continue
            identity = (info.st_dev, info.st_ino)
            if identity in self._read:
                reason = "a link to a folder that is already listed"
                self._listing.skipped.append(LeftOut(folder, reason))
                continue
            self._read.add(identity)
            paths = (folder / name for name in names if not is_ignored(name))
            waiting += [path for path in paths if self._is_folder(path)]

    def _is_folder(self, path: Path) -> bool:
        """Whether an entry is a folder to list now; files and links are noted."""
        try:
            mode = path.stat().st_mode
        except OSError as error:
            if path.is_symlink():
                self._leave_out(path, "a broken link")
            elif not isinstance(error, FileNotFoundError):  # else removed meanwhile
                self._leave_out(path, f"cannot be read: {error.strerror}")
            return False
        if stat.S_ISDIR(mode):
            if path.name.lower() in self._apart:
                self._leave_out(path, "a folder of masks, by its name")
            elif path.is_symlink():
                self._links.append(path)
            else:
                return True
        elif not stat.S_ISREG(mode):
            self._leave_out(path, "not a regular file")
        elif path.suffix.lower() in self._endings:
            self._listing.files.append(path)
        elif _names_an_image(ending := path.suffix.lower()):
            is_read = ending in self._images
            reason = "is not expected here" if is_read else "is not read by Pillow here"
            self._leave_out(path, f"{ending} {reason}")
        elif not _text(path):
            self._leave_out(path, "neither an image nor text")
        else:
            self._listing.skipped.append(LeftOut(path, "text"))
        return False

    def _leave_out(self, path: Path, reason: str) -> None:
        self._listing.unreadable.append(LeftOut(path, reason))


@functools.lru_cache(maxsize=1024)
def _names_an_image(ending: str) -> bool:
    """Whether files of this ending are images, also if Pillow cannot read them."""
    kind = mimetypes.MimeTypes().guess_type(f"a{ending}")[0] or ""
    return ending in Image.registered_extensions() or kind.startswith("image/")


def _text(path: Path) -> bool:
    """Whether a path is a file of text; False if it cannot be read."""
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            return False
        return _has_no_zero(path, info.st_size, info.st_mtime_ns)
    except OSError:
        return False


@functools.lru_cache(maxsize=4096)  # a watched folder is listed again and again
def _has_no_zero(path: Path, size: int, time_ns: int) -> bool:
    del size, time_ns  # part of the key: a changed file is read again
    with path.open("rb") as file:
        return b"\0" not in file.read(_TEXT_BYTES)
