"""Finding the files of the package that holds ELPV. Nothing of it is imported."""

import importlib.util
from pathlib import Path

from datasets.elpv.table import LABELS

PACKAGE = "elpv-dataset"
PACKAGE_VERSION = "1.0.0.post1"
"""The version whose files lists.csv was drawn from."""
_MODULE = "elpv_dataset"
_FOLDER = "data"  # in the package
_FOLDERS = (".", _FOLDER, f"{_MODULE}/{_FOLDER}", f"src/{_MODULE}/{_FOLDER}")
"""Where labels.csv is below a folder that may be meant: the package or a repository."""


def find_installed() -> Path | None:
    """The folder of labels.csv in the installed package; None if there is none."""
    found = importlib.util.find_spec(_MODULE)
    places = (found and found.submodule_search_locations) or ()
    folders = (Path(place) / _FOLDER for place in places)
    return next((folder for folder in folders if (folder / LABELS).is_file()), None)


def installed() -> Path:
    """The folder of labels.csv in the installed package.

    Raises:
      ValueError: the package is not installed.
    """
    if folder := find_installed():
        return folder
    raise ValueError(
        f"elpv is read from a package: pip install {PACKAGE}=={PACKAGE_VERSION}, "
        f"or --data-dir with the folder that holds {LABELS}"
    )


def labels_folder(data_dir: Path) -> Path:
    """The folder of labels.csv, which is `data_dir` or a folder in it.

    Raises:
      ValueError: there is none.
    """
    if not data_dir.exists():
        raise ValueError(f"--data-dir {data_dir} does not exist")
    places = (data_dir / folder for folder in _FOLDERS)
    found = next((place for place in places if (place / LABELS).is_file()), None)
    if found is None:
        raise ValueError(
            f"--data-dir {data_dir} must be the folder that holds {LABELS} of {PACKAGE}"
        )
    return found
