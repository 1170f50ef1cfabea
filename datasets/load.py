"""A data set's split as a lazy sequence of `Example`s, prepared at first use."""

import contextlib
import difflib
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, overload

import tensorflow_datasets as tfds

from datasets.example import Example
from datasets.folder.builder import Folder, FolderConfig
from datasets.folder.layout import category_folders, read_layout
from datasets.images import decode
from datasets.names import NAMES
from datasets.rendered_ad.builder import CATEGORIES, RenderedAd

log = logging.getLogger(__name__)
Split = Literal["train", "test"]
KINDS: tuple[Literal["texture", "object"], ...] = ("texture", "object")


def _one_of(value: str, known: Sequence[str], name: str) -> None:
    if value in known:
        return
    close = difflib.get_close_matches(value, known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise ValueError(f"{name} must be one of {', '.join(known)}, got {value}{hint}")


def categories(dataset: str, data_dir: Path | None = None) -> tuple[str, ...]:
    """The categories of a data set, in the order they are run.

    Raises:
      ValueError: for an unknown data set, or a folder that holds none.
    """
    _one_of(dataset, NAMES, "--dataset")
    if dataset == "rendered_ad":
        return tuple(CATEGORIES)
    if data_dir is None:
        raise ValueError(f"--dataset {dataset} needs --data-dir")
    return tuple(category_folders(data_dir))


def _builder(
    dataset: str, category: str, *, data_dir: Path | None, cache_dir: Path, kind: str
) -> Any:
    _one_of(category, categories(dataset, data_dir), "--categories")
    if dataset == "rendered_ad":
        return RenderedAd(config=category, data_dir=str(cache_dir))
    assert data_dir is not None  # `categories` has refused that
    root = category_folders(data_dir)[category].resolve()
    found = read_layout(category, root)
    config = FolderConfig(name=category, root=str(root), kind=kind)
    # Keyed by the files' names, sizes and times: a changed folder is prepared anew.
    home = cache_dir / f"folder-{found.fingerprint()}-{kind}"
    return Folder(config=config, data_dir=str(home))


class Examples(Sequence[Example]):
    """One split; an image is decoded when it is asked for."""

    def __init__(self, source: Sequence[dict[str, Any]], order: Sequence[int]) -> None:
        self._source = source
        self._order = order

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> "list[Example]": ...

    def __getitem__(self, index: int | slice) -> "Example | list[Example]":
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        stored = self._source[int(self._order[index])]
        return Example(
            key=_text(stored["key"]),
            category=_text(stored["category"]),
            kind=KINDS[int(stored["kind"])],
            defect=_text(stored["defect"]),
            image=decode(stored["image"]),
            mask=decode(stored["mask"]) > 0,
            label=int(stored["label"]),
            sha256=_text(stored["sha256"]),
        )


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def load(
    dataset: str,
    category: str,
    split: Split,
    *,
    data_dir: Path | None = None,
    cache_dir: Path,
    kind: str = "auto",
    progress: bool = True,
) -> Sequence[Example]:
    """A category's split, in the order of its keys.

    Args:
      data_dir: where the data lies; `folder` needs it.
      cache_dir: where the prepared copy is kept.
      kind: for `folder`: texture, object, or auto.
      progress: show how far preparation is.

    Raises:
      ValueError: for names that do not exist, and files that cannot be used.
    """
    builder = _builder(
        dataset, category, data_dir=data_dir, cache_dir=cache_dir, kind=kind
    )
    if not Path(builder.data_path).exists():
        builder.shows_progress = progress
        tfds.disable_progress_bar()  # ours says what is being prepared, in one line
        with contextlib.redirect_stdout(io.StringIO()):  # two lines of no use
            builder.download_and_prepare()
    skip = tfds.decode.SkipDecoding()
    source = builder.as_data_source(split=split, decoders={"image": skip, "mask": skip})
    keys = [_text(source[i]["key"]) for i in range(len(source))]
    # array_record keeps the order of the keys' hashes: bring back the keys' own.
    return Examples(source, sorted(range(len(keys)), key=keys.__getitem__))
