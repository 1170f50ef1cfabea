"""A data set's split as a lazy sequence of `Example`s, prepared at first use."""

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

from datasets.examples import Examples, read_examples
from datasets.folder.builder import Folder, FolderConfig
from datasets.folder.layout import category_folders, read_layout
from datasets.images import bit_depth, stored_maximum
from datasets.leaks import OnLeak, exact_leaks, tell_leaks
from datasets.lock import alone_in
from datasets.mvtec_ad.builder import MvtecAd
from datasets.names import NAMES
from datasets.published import PublishedBuilder
from datasets.rendered_ad.builder import CATEGORIES, RenderedAd
from datasets.visa.builder import Visa

log = logging.getLogger(__name__)
_UNFINISHED = "incomplete.*"  # TFDS renames such a folder when it is whole
_QUIET = threading.RLock()  # stdout is the whole process's
Split = Literal["train", "test"]
PUBLISHED: dict[str, type[PublishedBuilder]] = {"mvtec_ad": MvtecAd, "visa": Visa}


def _one_of(value: str, known: Sequence[str], name: str) -> None:
    if value in known:
        return
    close = difflib.get_close_matches(value, known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise ValueError(f"{name} must be one of {', '.join(known)}, got {value}{hint}")


def _needed(dataset: str, data_dir: Path | None) -> Path:
    if data_dir is None:
        raise ValueError(f"--dataset {dataset} needs --data-dir")
    return data_dir


def categories(dataset: str, data_dir: Path | None = None) -> tuple[str, ...]:
    """The categories of a data set, in the order they are run.

    Raises:
      ValueError: for an unknown data set, or a folder that holds none.
    """
    _one_of(dataset, NAMES, "--dataset")
    if dataset == "rendered_ad":
        return tuple(CATEGORIES)
    if dataset in PUBLISHED:
        return tuple(PUBLISHED[dataset].COUNTS)
    return tuple(category_folders(_needed(dataset, data_dir)))


def _published(
    dataset: str,
    category: str,
    *,
    data_dir: Path | None,
    cache_dir: Path,
    allow_partial: bool,
    progress: bool,
) -> PublishedBuilder:
    kind = PUBLISHED[dataset]
    found = kind.find(
        category,
        _needed(dataset, data_dir),
        scratch=cache_dir,
        allow_partial=allow_partial,
        progress=progress,
    )
    kind.check(found, allow_partial=allow_partial)
    home = cache_dir / f"{dataset}-{found.fingerprint()}"
    builder = kind(config=category, data_dir=str(home), allow_partial=allow_partial)
    builder.use(found)
    return builder


def _folder(category: str, data_dir: Path | None, cache_dir: Path, kind: str) -> Folder:
    root = category_folders(_needed("folder", data_dir))[category].resolve()
    found = read_layout(category, root)
    config = FolderConfig(name=category, root=str(root), kind=kind)
    # Keyed by the files' names, sizes and times: a changed folder is prepared anew.
    home = cache_dir / f"folder-{found.fingerprint()}-{kind}"
    with _quiet():
        return Folder(config=config, data_dir=str(home))


def camera_bits(dataset: str, category: str, data_dir: Path | None = None) -> int:
    """Bits a value of the photographs, as `load` brings them to 8."""
    if dataset != "folder":
        return 8
    root = category_folders(_needed(dataset, data_dir))[category]
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
    """A category's split, in the order of its keys.

    Args:
      data_dir: where the data lies; `folder`, `mvtec_ad` and `visa` need it.
      cache_dir: where the prepared copy is kept.
      kind: for `folder`: texture, object, or auto.
      progress: show how far preparation is.
      allow_partial: take a sample of a published data set for what it is.
      on_leak: for the test split: what to do where it holds an image of the train
        split, pixel by pixel.

    Raises:
      ValueError: for names that do not exist, and files that cannot be used.
      OSError: where the prepared copy cannot be written.
    """
    _one_of(category, categories(dataset, data_dir), "--categories")
    builder: Any
    if dataset == "rendered_ad":
        builder = RenderedAd(config=category, data_dir=str(cache_dir))
    elif dataset == "folder":
        builder = _folder(category, data_dir, cache_dir, kind)
    else:
        builder = _published(
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
    if split == "test":
        _tell_unmasked(category, examples)
        if on_leak != "ignore":
            leaks = exact_leaks(read_examples(builder, "train"), examples)
            tell_leaks(leaks, on_leak)
    return examples


def prepare(builder: Any) -> None:
    """Prepare a builder's data set, unless it is. Half of it never looks like all.

    Raises:
      OSError: where the prepared copy cannot be written.
    """
    folder = Path(builder.data_dir)
    if folder.exists():
        return
    tfds.disable_progress_bar()  # ours says what is being prepared, in one line
    with _writing(folder), alone_in(folder.parent, leftovers=_UNFINISHED), _quiet():
        if folder.exists():  # another process has just made it
            builder.info.read_from_directory(folder)
        else:
            builder.download_and_prepare()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what TFDS prints and warns of, which is about its own downloads."""
    absl = logging.getLogger("absl")
    with _QUIET:
        level = absl.level
        absl.setLevel(logging.ERROR)
        try:
            with redirect_stdout(io.StringIO()):
                yield
        finally:
            absl.setLevel(level)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Tell a full disk by the system's reason, which array_record wraps, and where."""
    try:
        yield
    except OSError as error:
        if not folder.exists():  # else another process was faster
            raise OSError(f"{folder} cannot be written: {error}") from error
    except RuntimeError as error:
        reason = re.search(r"\w+\(\) failed: ([^;]+)", str(error))
        if reason is None:
            raise
        raise OSError(f"{folder} cannot be written: {reason[1]}") from error


def _tell_unmasked(category: str, examples: Examples) -> None:
    unmasked = examples.unmasked_defects
    if unmasked:
        log.warning(
            "%s: %d images of defects have no mask or an empty one (%s): they count "
            "for the image's figures alone",
            category,
            len(unmasked),
            ", ".join(unmasked[:3]) + (", ..." if len(unmasked) > 3 else ""),
        )
