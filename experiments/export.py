"""Write a run's detector for other programs, and check that it decides alike.

python -m experiments.export --run runs/<id> --format onnx
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from experiments.command_line import read_command_line

if TYPE_CHECKING:  # these import jax, which --help must not wait for
    from lfq_jax.export.writer import Parity


@dataclass(frozen=True)
class Export:
    """Write a run's detector for other programs, and check that it decides alike."""

    run: Path | None = None
    """The run's folder: runs/<id>, or that of one of its categories."""
    category: str | None = None
    """Which category's detector, where the run has several."""
    format: Literal["stablehlo", "onnx", "safetensors"] = "stablehlo"
    """`stablehlo` runs with jax alone, `onnx` with onnxruntime; `safetensors` are the
    weights and thresholds with their config."""
    out: Path | None = None
    """A new folder. None named: <run>/<category>/export-<format>."""
    rule: Literal["auto", "margin", "max_f1", "false_alarm_rate", "labelled"] = "auto"
    """Which of the run's thresholds decides. `auto`: the one the run has in force."""
    batch_size: int = 1
    """Images a call. 0, with stablehlo: any number."""
    tolerance: float = 1e-4
    """Largest difference of a map or a score from the detector's."""

    def __post_init__(self) -> None:
        if self.batch_size < 0:
            raise ValueError(f"--batch-size must be at least 0, got {self.batch_size}")
        if not self.tolerance >= 0:
            raise ValueError(f"--tolerance must be at least 0, got {self.tolerance}")


def write_export(settings: Export) -> "tuple[Path, Parity]":
    """The folder that was written, and how far it is from the detector.

    Raises:
      ValueError: for a run that cannot be loaded, a folder that exists, a package that
        is missing, or an export that differs.
    """
    if settings.run is None:
        raise ValueError("--run must name a run's folder, got none")
    from lfq_jax.inference.run_folder import detector_folder

    source = detector_folder(settings.run, settings.category)
    out = settings.out or source.with_name(f"export-{settings.format}")
    if out.exists():
        raise ValueError(f"--out {out} exists, and is not overwritten")
    from lfq_jax.export.writer import export_detector
    from lfq_jax.inference.detector import load

    detector = load(source.parent)
    if settings.rule != "auto":
        thresholds = detector.thresholds.ruled_by(settings.rule)
        detector = detector.with_thresholds(thresholds)
    found = export_detector(
        detector,
        source,
        out,
        format=settings.format,
        batch_size=settings.batch_size,
        tolerance=settings.tolerance,
    )
    return out, found


def told(parity: "Parity") -> str:
    """The parity report."""
    return "\n".join(
        [
            f"over {parity.images} validation images, at most:",
            f"  maps        {parity.map_difference:.2g} ({parity.pixels_beyond:.3%} of "
            "the pixels differ by more than 0.0001)",
            f"  scores      {parity.score_difference:.2g}",
            f"  calibrated  {parity.calibrated_difference:.2g}",
            f"  decisions   {parity.decisions_differing} differ",
            f"  masks       {parity.masks_differing:.2%} of the pixels differ",
        ]
    )


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    argv = sys.argv[1:] if argv is None else argv
    prog = "python -m experiments.export"
    settings = read_command_line(Export(), prog=prog, argv=argv)
    from datasets.errors import one_line_errors

    with one_line_errors():
        out, parity = write_export(settings)
    print(told(parity))
    print(f"written to {out}")


if __name__ == "__main__":
    main()
