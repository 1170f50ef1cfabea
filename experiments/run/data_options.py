"""The options that say which images a command reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agm_torch.cache_folder import cache_folder

if TYPE_CHECKING:
    from datasets import Shots
    from datasets.example import Example


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which images a command reads, and where it keeps prepared copies."""

    dataset: str = "rendered_ad"
    """Name of a data set, or `folder` for your own images."""
    data_dir: Path | None = None
    """Folder or archive that holds the data. For `folder`: a folder in MVTec layout,
    with one sub-folder per category. `elpv` is read from its package by default."""
    kind: Literal["auto", "texture", "object"] = "auto"
    """For `folder`: whether the images show a texture or an object."""
    categories: tuple[str, ...] = ()
    """Categories to run. Default: all."""
    cache_dir: Path = field(default_factory=cache_folder)
    """Folder for prepared data and synthetic anomalies. Later runs reuse them."""

    @property
    def data(self) -> dict[str, Any]:
        """Keyword arguments of `datasets.load` and `datasets.shots`."""
        return {
            "data_dir": self.data_dir,
            "cache_dir": self.cache_dir / "datasets",
            "kind": self.kind,
            "allow_partial": False,
        }


@dataclass(frozen=True, kw_only=True)
class CheckedDataOptions(DataOptions):
    """Data options, and how strictly the data is checked."""

    allow_partial: bool = False
    """Accept a part of a published data set: do not check its numbers of images."""
    on_leak: Literal["refuse", "warn", "ignore"] = "warn"
    """What to do when a test image equals a training image, pixel by pixel, or is a
    near copy of a shot: another size, or compressed again."""

    @property
    def data(self) -> dict[str, Any]:
        """Keyword arguments of `datasets.load` and `datasets.shots`."""
        return super().data | {"allow_partial": self.allow_partial}


def pick_shots(options: DataOptions, *, shots: int, seed: int) -> "dict[str, Shots]":
    """The shots of every category, `shots` each, chosen by `seed`.

    Mistakes in the data are found here, before anything is trained.
    """
    import datasets

    known = datasets.categories(options.dataset, options.data_dir)
    return {
        category: datasets.shots(options.dataset, category, shots, seed, **options.data)
        for category in options.categories or known
    }


def load_test_images(options: CheckedDataOptions, category: str) -> "Sequence[Example]":
    """The test images of one category."""
    import datasets

    return datasets.load(
        options.dataset, category, "test", on_leak=options.on_leak, **options.data
    )
