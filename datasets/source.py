"""Where a published data set lies in a person's folder: extracted, or archived."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datasets.archive import extracted

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tar.xz", ".tgz", ".txz")


@dataclass(frozen=True)
class Official:
    """How a data set is published."""

    name: str
    page: str
    """Where it is to be had."""
    archive: str
    """The archive's file name."""
    sha256: str
    folders: tuple[str, ...] = ()
    """Folders that people extract it to, beside the folder they name."""
    part_archives: dict[str, str] = field(default_factory=dict)
    """Archives of one category each, by category."""


def locate(
    official: Official,
    marker: str,
    data_dir: Path,
    *,
    scratch: Path,
    category: str | None = None,
    progress: bool = True,
) -> Path:
    """The folder under which `marker` lies, e.g. `screw/train/good`.

    It is looked for in `data_dir`, in folders that are usual, and in the archive, which
    is extracted below `scratch`.

    Raises:
      ValueError: where it is nowhere; it says which folder may have been meant.
    """
    if not data_dir.exists():
        raise ValueError(f"--data-dir {data_dir} does not exist")
    if data_dir.is_dir() and (found := _below(data_dir, official.folders, marker)):
        return found
    if archive := _archive(official, data_dir, category):
        sha256 = official.sha256 if archive.name == official.archive else None
        folder = extracted(archive, scratch, sha256=sha256, progress=progress)
        if found := _below(folder, official.folders, marker):
            return found
        raise ValueError(f"{archive} holds no {marker}: it is no {official.name}")
    raise ValueError(_not_found(official, marker, data_dir))


def _below(data_dir: Path, folders: Sequence[str], marker: str) -> Path | None:
    places = (data_dir, *(data_dir / folder for folder in folders))
    return next((place for place in places if (place / marker).exists()), None)


def _archive(official: Official, data_dir: Path, category: str | None) -> Path | None:
    """The archive, given itself or lying in `data_dir`."""
    if data_dir.is_file():
        if data_dir.name.endswith(ARCHIVE_SUFFIXES):
            return data_dir
        kinds = ", ".join(ARCHIVE_SUFFIXES)
        raise ValueError(f"--data-dir {data_dir} is neither a folder nor a {kinds}")
    names = [official.archive]
    if category in official.part_archives:
        names.insert(0, official.part_archives[category])
    places = (data_dir / name for name in names)
    return next((place for place in places if place.is_file()), None)


def _not_found(official: Official, marker: str, data_dir: Path) -> str:
    """Which mistake was probably made, in one line."""
    for above in list(data_dir.resolve().parents)[:4]:
        if (above / marker).exists():
            return f"--data-dir {data_dir} is too low: {above} was meant"
    below = sorted(data_dir.glob(f"*/{marker}")) or sorted(
        data_dir.glob(f"*/*/{marker}")
    )
    if below:
        meant = below[0].parents[len(Path(marker).parts) - 1]
        return f"--data-dir {data_dir} is too high: try {meant}"
    return (
        f"--data-dir {data_dir} holds neither {marker} nor {official.archive}; "
        f"{official.name} is to be had from {official.page}"
    )
