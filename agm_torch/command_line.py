"""Commands and flags of `python -m agm_torch`. Imports nothing heavy."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from agm_torch.cache_folder import cache_folder
from agm_torch.config import Engine, GeneratorConfig, Kind


def default_cache() -> Path:
    """The folder of shards that `experiments` uses, too."""
    return cache_folder() / "anomalies"


@dataclass(frozen=True)
class Images:
    """The normal images, and the anomalies to make of them."""

    images: tuple[Path, ...]
    """Image files or folders of them."""
    category: str
    """The part's name, e.g. screw."""
    kind: Kind = "object"
    """texture: anomalies anywhere. object: on the part."""
    image_px: int = 256
    """Size of the images that are written: the side of a square with at least their
    area."""
    fit: Literal["proportion", "square"] = "proportion"
    """proportion: the images keep their proportion. square: they are squeezed."""
    size_px: tuple[int, int] | None = None
    """Height and width of the images that are written. Default: by the flags above."""
    seed: int = 0
    """Another seed gives other anomalies."""
    config: Path | None = None
    """JSON file with a generator configuration, instead of the flags below: the object
    under `options` of a manifest, or a whole manifest."""
    generator: Annotated[GeneratorConfig, tyro.conf.arg(name="")] = field(
        default_factory=GeneratorConfig
    )


@dataclass(frozen=True)
class Generate(Images):
    """Write anomalous images with masks to the cache, and print the folder.

    Exit status: 0 done; 1 a defect of this program; 2 a mistake in the request, or the
    disk refused; 130, 143 and 141 stopped by SIGINT, by SIGTERM, and because nobody
    reads standard output any more. A stop finishes and writes the current record; the
    same command resumes.
    """

    count: int = 500
    """How many anomalies."""
    cache: Path = field(default_factory=default_cache)
    """Where shards are kept."""
    cache_limit_gb: float | None = None
    """Afterwards, remove the least recently used folders until the cache fits."""
    workers: int = 1
    """Processes that share the work; with several GPUs, each takes one."""
    engine: Engine = "local"
    """local: processes of this machine. ray: actors of a Ray cluster, also across
    machines; the bytes are the same."""
    ray_address: str | None = None
    """A running cluster, e.g. 10.0.0.1:6379. Default: $RAY_ADDRESS; without it, ray
    starts one on this machine and ends it afterwards."""
    json_progress: bool = False
    """Print one JSON object per line to stdout instead of a progress bar."""


@dataclass(frozen=True)
class Preview(Images):
    """Draw a contact sheet, three anomalies to a row: normal image, mask, content,
    result."""

    count: int = 12
    """How many anomalies."""
    out: Path = Path("agm_preview.png")
    """The picture to write: PNG, or JPEG where it ends in .jpg."""


@dataclass(frozen=True)
class Export:
    """Write a shard folder as PNGs in the layout of MVTec AD."""

    shards: Path
    """A finished folder of the cache."""
    out: Path
    """Where the category's folder is created. It must not exist yet."""


@dataclass(frozen=True)
class Cache:
    """List, verify or prune the cache."""

    action: tyro.conf.Positional[Literal["list", "verify", "prune"]]
    """list: print the folders. verify: read all files again and compare their sha256.
    prune: remove the least recently used folders."""
    cache: Path = field(default_factory=default_cache)
    """Where shards are kept."""
    limit_gb: float = 10.0
    """For prune: size that the cache may keep."""
    dry_run: bool = False
    """For prune: only print what would be removed."""
    remove_damaged: bool = False
    """For verify: remove damaged folders, so that the next run makes them again."""


@dataclass(frozen=True)
class Weights:
    """List or fetch the weights that `--generator diffusion` needs."""

    action: tyro.conf.Positional[Literal["list", "fetch"]]
    """list: print the published weights, and which are on this machine; opens no
    connection. fetch: find or download, and verify, what the flags below need."""
    generator: Annotated[GeneratorConfig, tyro.conf.arg(name="")] = field(
        default_factory=GeneratorConfig
    )


Command = (
    Annotated[Generate, tyro.conf.subcommand("generate")]
    | Annotated[Preview, tyro.conf.subcommand("preview")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Cache, tyro.conf.subcommand("cache")]
    | Annotated[Weights, tyro.conf.subcommand("weights")]
)
