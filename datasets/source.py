"""Finding a published data set in the user's folder, extracted or as an archive."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datasets.archive import extract_once

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tar.xz", ".tgz", ".txz")


@dataclass(frozen=True)
class Official:
    """The official release of a data set."""

    name: str
    page: str
    """Web page with the download."""
    archive: str
    """The archive's file name."""
    sha256: str
    folders: tuple[str, ...] = ()
    """Sub-folders of the user's folder that are searched too."""
    part_archives: dict[str, str] = field(default_factory=dict)
    """File names of archives with a single category, by category."""


def locate(
    official: Official,
    marker: str,
    data_dir: Path,
    *,
    scratch: Path,
    category: str | None = None,
    progress: bool = True,
) -> Path:
    """The folder that contains the path `marker`, e.g. `screw/train/good`.

    Searches `data_dir`, the folders of `official.folders` below it, and the archive,
    which is extracted below `scratch`.

    Raises:
      ValueError: there is no such folder. If a folder nearby contains `marker`, the
        message suggests that folder.
    """
    if not data_dir.exists():
        raise ValueError(f"--data-dir {data_dir} does not exist")
    if data_dir.is_dir() and (
        found := _folder_with(marker, data_dir, official.folders)
    ):
        return found
    if archive := _find_archive(official, data_dir, category):
        sha256 = official.sha256 if archive.name == official.archive else None
        folder = extract_once(archive, scratch, sha256=sha256, progress=progress)
        if found := _folder_with(marker, folder, official.folders):
            return found
        raise ValueError(
            f"{archive} does not contain {marker}: it is not {official.name}"
        )
    raise ValueError(_not_found_message(official, marker, data_dir))


def _folder_with(marker: str, data_dir: Path, folders: Sequence[str]) -> Path | None:
    places = (data_dir, *(data_dir / folder for folder in folders))
    return next((place for place in places if (place / marker).exists()), None)


def _find_archive(
    official: Official, data_dir: Path, category: str | None
) -> Path | None:
    """The archive: `data_dir` itself, or an archive in that folder."""
    if data_dir.is_file():
        if data_dir.name.endswith(ARCHIVE_SUFFIXES):
            return data_dir
        suffixes = ", ".join(ARCHIVE_SUFFIXES)
        raise ValueError(
            f"--data-dir must be a folder or an archive ({suffixes}), got {data_dir}"
        )
    names = [official.archive]
    if category in official.part_archives:
        names.insert(0, official.part_archives[category])
    places = (data_dir / name for name in names)
    return next((place for place in places if place.is_file()), None)


def _not_found_message(official: Official, marker: str, data_dir: Path) -> str:
    """One line that says which mistake was probably made."""
    for above in list(data_dir.resolve().parents)[:4]:
        if (above / marker).exists():
            return f"--data-dir {data_dir} is too deep: use {above}"
    below = sorted(data_dir.glob(f"*/{marker}")) or sorted(
        data_dir.glob(f"*/*/{marker}")
    )
    if below:
        likely = below[0].parents[len(Path(marker).parts) - 1]
        return f"--data-dir {data_dir} is not deep enough: use {likely}"
    return (
        f"--data-dir {data_dir} contains neither {marker} nor {official.archive}; "
        f"download {official.name} from {official.page}"
    )
