"""What `python -m agm_torch` can be asked. Nothing heavy is imported here."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from agm_torch.cache_folder import cache_folder
from agm_torch.config import Engine, GeneratorConfig, Kind


def default_cache() -> Path:
    """Where experiments look."""
    return cache_folder() / "anomalies"


@dataclass(frozen=True)
class Images:
    """The normal photographs to start from."""

    images: tuple[Path, ...]
    """Image files or folders of them."""
    category: str
    """The part's name, e.g. screw."""
    kind: Kind = "object"
    """texture: anomalies anywhere. object: on the part."""
    image_px: int = 256
    """Side of the square images that are written."""
    seed: int = 0
    """Another seed gives other anomalies."""
    config: Path | None = None
    """JSON with a generator configuration, instead of the flags below: a file with the
    object that a manifest holds under `options`, or a manifest itself."""
    generator: Annotated[GeneratorConfig, tyro.conf.arg(name="")] = field(
        default_factory=GeneratorConfig
    )


@dataclass(frozen=True)
class Generate(Images):
    """Write anomalous images with masks to the cache; prints the folder.

    Exit status: 0 done; 2 a mistake in the request, or the disk refused; 130, 143 and
    141 stopped by SIGINT, by SIGTERM and by the end of who listened, with the record at
    hand finished and everything written: the same command goes on from there; 1 a
    defect of this program.
    """

    count: int = 500
    """How many anomalies."""
    cache: Path = field(default_factory=default_cache)
    """Where shards are kept."""
    cache_limit_gb: float | None = None
    """Afterwards, remove what was used longest ago until the cache fits."""
    workers: int = 1
    """Processes that share the work; with several GPUs, each takes one."""
    engine: Engine = "local"
    """local: processes of this machine. ray: actors of a Ray cluster, also across
    machines; the bytes are the same."""
    ray_address: str | None = None
    """A running cluster, e.g. 10.0.0.1:6379. Default: $RAY_ADDRESS; without it, ray
    starts one on this machine and ends it afterwards."""
    json_progress: bool = False
    """One JSON object a line on stdout instead of a progress bar."""


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
    """Where the category's folder is written to, which must not have one yet."""


@dataclass(frozen=True)
class Cache:
    """List, verify or prune the cache."""

    action: tyro.conf.Positional[Literal["list", "verify", "prune"]]
    """list: what is there. verify: read everything again and compare sha256. prune:
    remove what was used longest ago."""
    cache: Path = field(default_factory=default_cache)
    """Where shards are kept."""
    limit_gb: float = 10.0
    """For prune: what may stay."""
    dry_run: bool = False
    """For prune: only say what would be removed."""
    remove_damaged: bool = False
    """For verify: remove what is damaged, so that the next run makes it again."""


@dataclass(frozen=True)
class Weights:
    """List or fetch the weights that `--generator diffusion` needs."""

    action: tyro.conf.Positional[Literal["list", "fetch"]]
    """list: the table of published weights, and what of it is here; opens no
    connection. fetch: find or download, and verify, what the flags below ask for."""
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
