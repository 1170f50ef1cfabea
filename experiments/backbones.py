"""Lists the backbones that can be named, and fetches their weights.

python -m experiments.backbones
python -m experiments.backbones --fetch dinov2_vits14_reg
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from experiments.run.backbone_weights import forbid_connections, places
from experiments.run.command_line import read_command_line
from lfq_jax.backbones.published import (
    PUBLISHED,
    HubRepository,
    Published,
    Source,
)
from lfq_jax.backbones.search import (
    Places,
    check_published,
    find_weights,
    found_weights,
)


@dataclass(frozen=True)
class Backbones:
    """List the pretrained backbones that `--backbone` takes, and fetch their weights.
    The list says which weights are on this machine and where. It opens no
    connection."""

    fetch: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME [NAME ...]")] = ()
    """Names of backbones whose weights are downloaded, unless they are here."""
    offline: bool = False
    """Never open a connection: weights that `--fetch` does not find are an error."""

    def __post_init__(self) -> None:
        for name in self.fetch:
            check_published(name, "--fetch")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command: fetch what is asked for, else print the list."""
    settings = read_command_line(
        Backbones(),
        prog="python -m experiments.backbones",
        argv=sys.argv[1:] if argv is None else argv,
    )
    from datasets.errors import one_line_errors

    with one_line_errors():
        if settings.offline:
            forbid_connections()
        where = places(offline=settings.offline)
        for name in settings.fetch:
            print(f"{name}: {find_weights(name, where)}")
        if not settings.fetch:
            print("\n".join(_listing(where)))


def _listing(where: Places) -> Iterator[str]:
    """Lines of the table, a few for each backbone."""
    for entry in PUBLISHED.values():
        yield f"{entry.name}: {_state(entry, where)}"
        yield f"  {_described(entry)}"
        for source in entry.sources:
            yield f"  {_origin(source)}"


def _state(entry: Published, where: Places) -> str:
    try:
        found = found_weights(entry, where)
    except ValueError as error:
        return f"DAMAGED: {error}"
    return f"here, verified, in {found.place}: {found.path}" if found else "not here"


def _described(entry: Published) -> str:
    from lfq_jax.backbones import detector_stages, network_from_text

    network = network_from_text(entry.architecture)
    strides = {stage.name: stage.stride for stage in network.stages}
    stages = [f"{name} ({strides[name]} px)" for name in detector_stages(network)]
    size = f"; {entry.image_px} px by default" if entry.image_px else ""
    means, deviations = (
        " ".join(f"{value:g}" for value in dict.fromkeys(values))
        for values in (entry.mean, entry.deviation)
    )
    return (
        f"{entry.licence}; stages {', '.join(stages)}{size}; "
        f"mean {means}, deviation {deviations}"
    )


def _origin(source: Source) -> str:
    from datasets.weights.sizes import file_size

    gated = isinstance(source, HubRepository) and source.is_gated
    return (
        f"{source.address}: {file_size(source.size_bytes)}, sha256 "
        f"{source.sha256 or 'as the hub recorded it'}"
        f"{', gated: an account must accept its licence' if gated else ''}"
    )


if __name__ == "__main__":
    main()
