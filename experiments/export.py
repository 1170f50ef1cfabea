"""Export a run's detector for other programs, and check that both decide alike.

python -m experiments.export --run runs/<id> --format onnx
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from experiments.run.command_line import read_command_line
from lfq_jax.calibration.thresholds import Rule

if TYPE_CHECKING:  # these import jax, which --help must not wait for
    from lfq_jax.export.writer import Parity


@dataclass(frozen=True)
class Export:
    """Export a run's detector for other programs, and check that both decide alike."""

    run: Path | None = None
    """The run's folder, runs/<id>, or the folder of one of its categories."""
    category: str | None = None
    """Category of the detector; needed if the run has several."""
    format: Literal["stablehlo", "onnx", "safetensors"] = "stablehlo"
    """`stablehlo` needs only jax to run, `onnx` needs onnxruntime. `safetensors` holds
    the weights, thresholds and config, without a program."""
    out: Path | None = None
    """A new folder. Default: <run>/<category>/export-<format>."""
    rule: Literal["auto", Rule] = "auto"
    """Which of the run's thresholds decides. `auto`: the run's own choice."""
    batch_size: int = 1
    """Images in each call of the exported program. 0: any number (only stablehlo)."""
    tolerance: float = 1e-4
    """Largest accepted difference between maps or scores of export and detector."""

    def __post_init__(self) -> None:
        if self.batch_size < 0:
            raise ValueError(f"--batch-size must be at least 0, got {self.batch_size}")
        if not self.tolerance >= 0:
            raise ValueError(f"--tolerance must be at least 0, got {self.tolerance}")


def write_export(settings: Export) -> "tuple[Path, Parity]":
    """Write the export.

    Returns:
      The written folder, and the largest differences from the detector.

    Raises:
      ValueError: if the run cannot be loaded, the folder exists, a package is missing,
        or the export differs from the detector.
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
    parity = export_detector(
        detector,
        source,
        out,
        format=settings.format,
        batch_size=settings.batch_size,
        tolerance=settings.tolerance,
    )
    return out, parity


def summary(parity: "Parity") -> str:
    """The differences between export and detector, as text."""
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
    """Run the command: write the export and print its differences."""
    argv = sys.argv[1:] if argv is None else argv
    prog = "python -m experiments.export"
    settings = read_command_line(Export(), prog=prog, argv=argv)
    from datasets.errors import one_line_errors

    with one_line_errors():
        out, parity = write_export(settings)
    print(summary(parity))
    print(f"written to {out}")


if __name__ == "__main__":
    main()
