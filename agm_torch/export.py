"""Shards as PNGs in the layout of MVTec AD, for pipelines that read folders."""

import json
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from agm_torch.command_line import Export
from datasets.files import filled_atomically
from datasets.shards import Shards, open_shards

DEFECT = "synthetic"
_NAME_BYTES = 200  # leaves room for the addition of an unfinished folder


def export_command(command: Export) -> int:
    """Run `python -m agm_torch export`, and print the category's folder."""
    print(export_folders(open_shards(command.shards), command.out))
    return 0


def export_folders(shards: Shards, out: Path) -> Path:
    """Write `<out>/<category>` and return it.

    The normal images go to `train/good`, the anomalous ones to `test/synthetic`, their
    masks to `ground_truth/synthetic/<stem>_mask.png`, and their provenance to
    `provenance.jsonl`. The folder is renamed to its name when everything is written.

    Raises:
      FileExistsError: the category's folder exists already.
    """
    folder = out / str(shards.manifest["category"])
    if folder.exists():
        raise FileExistsError(f"out: {folder} exists already")
    with filled_atomically(folder) as partial:
        _write(shards, partial)
    return folder


def _write(shards: Shards, partial: Path) -> None:
    """Write everything into the folder `partial`."""
    good = partial / "train" / "good"
    test = partial / "test" / DEFECT
    truth = partial / "ground_truth" / DEFECT
    for path in (good, test, truth):
        path.mkdir(parents=True, exist_ok=True)
    for number, normal in enumerate(shards.normals):
        _save(good / f"{number:03d}.png", normal)
    lines, number = [], 0
    for part in shards.parts:
        for image, mask, source, made in zip(*part, strict=True):
            _save(test / f"{number:05d}.png", image)
            _save(truth / f"{number:05d}_mask.png", mask)
            record = {"file": f"{number:05d}.png", "source": int(source), **made}
            lines.append(json.dumps(record))
            number += 1
    (partial / "provenance.jsonl").write_text("\n".join(lines) + "\n")


def _save(path: Path, pixels: UInt8[np.ndarray, "..."]) -> None:
    Image.fromarray(pixels).save(path)
