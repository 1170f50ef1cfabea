"""Loading a split as a lazy sequence of `Example`s; prepares it at first use."""

import difflib
import io
import logging
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Literal

import tensorflow_datasets as tfds

from datasets.elpv.builder import Elpv
from datasets.examples import Examples, read_examples
from datasets.file_names import printable, require_plain
from datasets.folder.builder import Folder, FolderConfig
from datasets.folder.layout import (
    beside_categories,
    category_folders,
    read_layout,
)
from datasets.images import bit_depth, stored_maximum
from datasets.leaks import OnLeak, exact_leaks, report_leaks
from datasets.lock import locked_folder
from datasets.mvtec_ad.builder import MvtecAd
from datasets.names import NAMES
from datasets.published import PublishedBuilder
from datasets.remarks import counted, named, warn_once
from datasets.rendered_ad.builder import CATEGORIES, RenderedAd
from datasets.visa.builder import Visa

log = logging.getLogger(__name__)
_UNFINISHED = "incomplete.*"  # TFDS renames such a folder when it is complete
_STDOUT_LOCK = threading.RLock()  # stdout is global to the process
Split = Literal["train", "test"]
PUBLISHED: dict[str, type[PublishedBuilder]] = {
    "mvtec_ad": MvtecAd,
    "visa": Visa,
    "elpv": Elpv,
}


def _check_one_of(value: str, known: Sequence[str], name: str) -> None:
    """Raise a ValueError with the closest match if `value` is not in `known`."""
    if value in known:
        return
    close = difflib.get_close_matches(value, known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise ValueError(f"{name} must be one of {', '.join(known)}, got {value}{hint}")


def _require_data_dir(dataset: str, data_dir: Path | None) -> Path:
    if data_dir is None:
        raise ValueError(f"--dataset {dataset} needs --data-dir")
    return data_dir


def categories(dataset: str, data_dir: Path | None = None) -> tuple[str, ...]:
    """The categories of a data set, in the order in which they are run.

    Warns of what lies besides them in the folder of the user's own photographs.

    Raises:
      ValueError: the data set is unknown, or the folder contains no category.
    """
    found = _categories(dataset, data_dir)
    if dataset == "folder" and data_dir and (others := beside_categories(data_dir)):
        log.warning(
            "%s: %s without train/good, not read: %s",
            printable(str(data_dir)),
            counted(others, "entry", "entries"),
            named([path.name for path in others]),
        )
    return found


def _categories(dataset: str, data_dir: Path | None) -> tuple[str, ...]:
    _check_one_of(dataset, NAMES, "--dataset")
    if dataset == "rendered_ad":
        return tuple(CATEGORIES)
    if dataset in PUBLISHED:
        return tuple(PUBLISHED[dataset].COUNTS)
    return tuple(category_folders(_require_data_dir(dataset, data_dir)))


def _published_builder(
    dataset: str,
    category: str,
    *,
    data_dir: Path | None,
    cache_dir: Path,
    allow_partial: bool,
    progress: bool,
) -> PublishedBuilder:
    builder_class = PUBLISHED[dataset]
    found = builder_class.find(
        category,
        data_dir or builder_class.default_data_dir(),
        scratch=cache_dir,
        allow_partial=allow_partial,
        progress=progress,
    )
    builder_class.check(found, allow_partial=allow_partial)
    prepared_dir = cache_dir / f"{dataset}-{found.fingerprint()}"
    builder = builder_class(
        config=category, data_dir=str(prepared_dir), allow_partial=allow_partial
    )
    builder.use(found)
    return builder


def _folder_builder(
    category: str, data_dir: Path | None, cache_dir: Path, kind: str
) -> Folder:
    folders = category_folders(_require_data_dir("folder", data_dir))
    root = folders[category].resolve()
    found = read_layout(category, root)
    config = FolderConfig(name=category, root=str(root), kind=kind)
    # The fingerprint covers the files' names, sizes and times, so that a changed folder
    # is prepared again.
    prepared_dir = cache_dir / f"folder-{found.fingerprint()}-{kind}"
    with _silent_tfds():
        builder = Folder(config=config, data_dir=str(prepared_dir))
    builder.layout = found
    return builder


def camera_bits(dataset: str, category: str, data_dir: Path | None = None) -> int:
    """Bit depth of a category's photographs before `load` converts them to 8 bits."""
    if dataset != "folder":
        return 8
    root = category_folders(_require_data_dir(dataset, data_dir))[category]
    found = read_layout(category, root)
    return bit_depth(max(stored_maximum(photograph.path) for photograph in found.train))


def load(
    dataset: str,
    category: str,
    split: Split,
    *,
    data_dir: Path | None = None,
    cache_dir: Path,
    kind: str = "auto",
    progress: bool = True,
    allow_partial: bool = False,
    on_leak: OnLeak = "warn",
) -> Examples:
    """Load a category's split, sorted by key; prepare it first if necessary.

    It has nine parameters because each is a separate option of the command line.

    Args:
      data_dir: the folder with the data; `folder`, `mvtec_ad` and `visa` need it.
        Without it, `elpv` is read from its package.
      cache_dir: the folder for the prepared copy.
      kind: for `folder`: texture, object, or auto.
      progress: show the progress of the preparation.
      allow_partial: accept a published data set whose images are not all there.
      on_leak: what to do if the test split contains a training image, pixel by pixel.

    Raises:
      ValueError: a name does not exist, or a file cannot be used.
      OSError: the prepared copy cannot be written.
    """
    _check_one_of(category, _categories(dataset, data_dir), "--categories")
    require_plain(cache_dir, "--cache-dir")
    builder: Any
    if dataset == "rendered_ad":
        builder = RenderedAd(config=category, data_dir=str(cache_dir))
    elif dataset == "folder":
        builder = _folder_builder(category, data_dir, cache_dir, kind)
        for line in builder.layout.notes():
            warn_once(line)
    else:
        builder = _published_builder(
            dataset,
            category,
            data_dir=data_dir,
            cache_dir=cache_dir,
            allow_partial=allow_partial,
            progress=progress,
        )
    builder.shows_progress = progress
    prepare(builder)
    examples = read_examples(builder, split)
    builder.warn_of_remarks()
    if split == "test":
        _check_test_split(category, builder, examples, on_leak)
    return examples


def _check_test_split(
    category: str, builder: Any, test: Examples, on_leak: OnLeak
) -> None:
    """Warn of defects without a mask, and handle exact copies of training images."""
    if builder.HAS_MASKS:
        _warn_of_unmasked(category, test)
    else:
        warn_once(
            f"{builder.name} has image labels alone, no masks: only image-level "
            "metrics are computed"
        )
    if on_leak != "ignore":
        report_leaks(exact_leaks(read_examples(builder, "train"), test), on_leak)


def prepare(builder: Any) -> None:
    """Prepare a builder's data set, unless that was done before.

    The final folder appears only when the preparation is complete.

    Raises:
      OSError: the prepared copy cannot be written.
    """
    folder = Path(builder.data_dir)
    if folder.exists():
        return
    tfds.disable_progress_bar()  # the builders show a progress bar of their own
    with (
        _clear_write_errors(folder),
        locked_folder(folder.parent, leftovers=_UNFINISHED),
        _silent_tfds(),
    ):
        if folder.exists():  # another process has prepared it meanwhile
            builder.info.read_from_directory(folder)
        else:
            builder.download_and_prepare()


@contextmanager
def _silent_tfds() -> Iterator[None]:
    """Suppress what TFDS prints and warns of, which concerns its own downloads."""
    absl = logging.getLogger("absl")
    with _STDOUT_LOCK:
        level = absl.level
        absl.setLevel(logging.ERROR)
        try:
            with redirect_stdout(io.StringIO()):
                yield
        finally:
            absl.setLevel(level)


@contextmanager
def _clear_write_errors(folder: Path) -> Iterator[None]:
    """Turn a write error into an OSError that names the folder and the reason.

    array_record wraps the system's reason, such as a full disk, in a RuntimeError.
    """
    try:
        yield
    except OSError as error:
        if folder.exists():  # another process has prepared it
            return
        if _is_about(folder, error.filename):
            raise OSError(f"{folder} cannot be written: {error}") from error
        raise
    except RuntimeError as error:
        reason = re.search(r"\w+\(\) failed: ([^;]+)", str(error))
        if reason is None:
            raise
        raise OSError(f"{folder} cannot be written: {reason[1]}") from error


def _is_about(folder: Path, name: str | bytes | None) -> bool:
    """Whether an error is about the prepared copy, not about a file that is read."""
    if not isinstance(name, str):
        return True
    path = Path(name)
    return folder.is_relative_to(path) or path.is_relative_to(folder.parent)


def _warn_of_unmasked(category: str, examples: Examples) -> None:
    unmasked = examples.unmasked_defects
    if unmasked:
        log.warning(
            "%s: %d defective images have no mask or an empty mask (%s): they are used "
            "only for image-level metrics",
            category,
            len(unmasked),
            named(unmasked),
        )
