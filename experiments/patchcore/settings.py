"""The settings of PatchCore's command."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from experiments.run.command_line import (
    flag_value,
    read_command_line,
    require_at_least,
)
from experiments.run.data_options import CheckedDataOptions
from lfq_jax.backbones.published import NONE, PUBLISHED
from lfq_jax.backbones.search import check_name


@dataclass(frozen=True, kw_only=True)
class PatchCore(CheckedDataOptions):
    """Measure PatchCore as published on a few good parts, and draw its anomaly maps.
    For a nearest-neighbour detector to use afterwards, see `experiments.few_shot
    --method knn`: cosine distance, rotated shots, mean of the highest 1 %."""

    features: str
    """The frozen backbone: a name that `python -m experiments.backbones` lists, or a
    file of weights."""
    stages: tuple[str, ...] = ()
    """Stages of the backbone. Default: the last of stride 8 and the last of 16."""
    image_px: int = 256
    """Size of the images that the backbone is given: the side in pixels of a square
    with at least their area. The default is 448 for the name of a vision
    transformer."""
    fit: Literal["proportion", "square"] = "proportion"
    """How photographs become these images. `proportion`: their sides keep their
    proportion. `square`: they are squeezed into a square."""
    unit_length: bool = False
    """Scale the features of every stage to length 1 in every cell. The paper does not:
    its network has batch norms. Without them the stages' scales differ much."""
    coreset: float = 1.0
    """Share of the shots' patches that the memory bank keeps. Default: all of them,
    since a few shots have few patches."""
    neighbours: int = 9
    """Patches of the memory bank in the softmax that weights the image score (the
    paper's b)."""
    smoothing_px: float = 4.0
    """Standard deviation of the Gaussian that smooths the map, in pixels of the images
    that the backbone is given."""
    image_score: Literal["reweighted", "max"] = "reweighted"
    """Image score. `max`: the largest distance of a patch. `reweighted`: that distance,
    weighted by the paper's eq. 7."""
    shots: int = 2
    """Good parts to learn from, per category."""
    seed: int = 0
    """Chooses the shots, the first patch of the coreset and its projection."""
    kind: Literal["auto", "texture", "object"] = "auto"
    """For `folder`: what the photographs show. It is recorded, and changes no result
    here."""
    offline: bool = False
    """Never open a connection: missing weights are an error."""
    out: Path | None = None
    """The run's folder. Default: runs/<date>-<time>-<settings>-patchcore."""
    pictures: int = 40
    """Largest number of test images to draw, per category."""

    def __post_init__(self) -> None:
        require_at_least(self, shots=1, seed=0, image_px=32, neighbours=2)
        require_at_least(self, smoothing_px=0, pictures=0)
        if self.features == NONE:
            raise ValueError("--features must name a backbone, got none")
        if self.features is not tyro.MISSING:
            check_name(self.features, "--features")
        if not 0 < self.coreset <= 1:
            raise ValueError(f"--coreset must be in (0, 1], got {self.coreset}")


def read_settings(argv: Sequence[str]) -> PatchCore:
    """The settings that `argv` asks for. Exits with status 2 on a mistake."""
    prog = "python -m experiments.patchcore"
    entry = PUBLISHED.get(flag_value(argv, "--features") or "")
    default = PatchCore(features=tyro.MISSING)
    if entry and entry.image_px:
        default = dataclasses.replace(default, image_px=entry.image_px)
    return read_command_line(default, prog=prog, argv=argv)
