"""The flags of `python -m experiments.predict`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agm_torch.cache_folder import cache_folder
from experiments.predict.outputs import MapFormat, OverlayFormat
from experiments.run.command_line import require_tile_px
from lfq_jax.calibration.thresholds import Rule

LONGEST_POLL_SECONDS = 86_400


@dataclass(frozen=True)
class Predict:
    """Score a folder of photographs with a trained run."""

    run: Path | None = None
    """The run's folder, runs/<id>, or the folder of one of its categories."""
    category: str | None = None
    """Category of the detector; needed if the run has several."""
    images: Path | None = None
    """The photographs: every image file in this folder and in its sub-folders."""
    out: Path | None = None
    """A new folder for scores, overlays and maps."""
    resume: bool = False
    """Continue in --out after a stop: photographs that its scores.csv lists are not
    scored again."""
    rule: Literal["auto", Rule] = "auto"
    """Which of the run's thresholds decides. `auto`: the run's own choice."""
    overlays: OverlayFormat = "jpg"
    """Format of the heat maps drawn over the photographs, at full resolution."""
    maps: MapFormat = "none"
    """Format of the raw maps at full resolution: npy is float32; png and tiff are 16
    bit, with 65535 for probability 1."""
    tile_px: int | None = None
    """Score photographs in overlapping tiles of this width, for photographs far larger
    than the shots. 0: score them as a whole. Default: as calibrated; a run that was
    never calibrated scores them as a whole."""
    watch: bool = False
    """Also score photographs that arrive in the folder later, until Ctrl-C."""
    poll_seconds: float = 0.5
    """Seconds between two looks at a watched folder."""
    cache_dir: Path = field(default_factory=cache_folder)
    """Folder that keeps compiled programs, which makes the next start faster."""

    def __post_init__(self) -> None:
        require_tile_px(self.tile_px)
        if not 0 < self.poll_seconds <= LONGEST_POLL_SECONDS:
            raise ValueError(
                f"--poll-seconds must be positive and at most {LONGEST_POLL_SECONDS}, "
                f"got {self.poll_seconds}"
            )
