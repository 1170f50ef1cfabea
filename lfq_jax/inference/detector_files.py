"""A trained detector in a folder of its own: all that scoring needs, and no more.

    detector/config.json            category, networks, scoring, the good parts' look
    detector/weights.safetensors    every array of `Variables`, under its path
    detector/validation.safetensors the held-out images that an export is checked with
    detector/thresholds.json        how scores become decisions (`lfq_jax.calibration.thresholds`)

The folder is written beside its place and renamed: there is a whole one or none.
"""

import json
import os
import shutil
import typing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import UInt8

from lfq_jax.calibration.thresholds import Thresholds
from lfq_jax.config import ModelConfig, ScoreConfig, as_json, from_json
from lfq_jax.inference.appearance import Appearance
from lfq_jax.inference.array_tree import by_path, variables_from_arrays
from lfq_jax.model.lfquiad import Model
from lfq_jax.model.variables import Variables

SCHEMA_VERSION = 8
CONFIG = "config.json"
WEIGHTS = "weights.safetensors"
VALIDATION = "validation.safetensors"
THRESHOLDS = "thresholds.json"
_PLAIN = ("category", "shots", "seed", "bit_depth")


class DetectorRecord(NamedTuple):
    """What a detector's folder says and holds."""

    category: str
    kind: typing.Literal["texture", "object"]
    shots: int
    seed: int
    photograph_px: tuple[int, int]
    """Height and width of the first shot as it was taken."""
    bit_depth: int
    """Of the camera that took the shots; 8 for ordinary files."""
    model: ModelConfig
    score: ScoreConfig
    appearance: Appearance
    variables: Variables

    @property
    def wide_bit_depth(self) -> int:
        """What integers of more than 8 bits are read by: the shots' depth. Shots of 8
        bits say nothing of a wider camera: then all 16 bits count."""
        return 16 if self.bit_depth == 8 else self.bit_depth


def save_detector(
    folder: Path,
    saved: DetectorRecord,
    *,
    thresholds: Thresholds,
    validation: UInt8[np.ndarray, "n h w 3"],
) -> None:
    """Write `folder`, in the place of an older one."""
    config = {
        "schema_version": SCHEMA_VERSION,
        "category": saved.category,
        "kind": saved.kind,
        "shots": saved.shots,
        "seed": saved.seed,
        "photograph_px": list(saved.photograph_px),
        "bit_depth": saved.bit_depth,
        "model": as_json(saved.model),
        "score": as_json(saved.score),
        "appearance": saved.appearance._asdict(),
    }
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    images = {"images": np.ascontiguousarray(validation)}
    (partial / WEIGHTS).write_bytes(safetensors.numpy.save(by_path(saved.variables)))
    (partial / VALIDATION).write_bytes(safetensors.numpy.save(images))
    (partial / THRESHOLDS).write_text(_as_text(thresholds.as_json()))
    (partial / CONFIG).write_text(_as_text(config))
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)


def read_detector(folder: Path) -> DetectorRecord:
    """What `save_detector` wrote, but its thresholds and validation images.

    Raises:
      ValueError: where the folder is missing or damaged, or another version wrote it.
    """
    config = _read_config(folder)
    try:
        model = from_json(ModelConfig, config["model"])
        score = from_json(ScoreConfig, config["score"])
        kind = config["kind"]
        look = config["appearance"]
        named = {name: config[name] for name in _PLAIN}
        photograph_px = tuple(config["photograph_px"])
        of_shots = Appearance(tuple(look["mean"]), look["deviation"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{folder / CONFIG} was written by another version of this project "
            f"({error}): train the run anew"
        ) from error
    arrays = _read_arrays(folder / WEIGHTS)
    try:
        variables = variables_from_arrays(
            Model(model, is_texture=kind == "texture"), arrays
        )
    except ValueError as error:
        raise ValueError(f"{folder / WEIGHTS}: {error}") from error
    return DetectorRecord(
        kind=kind,
        model=model,
        score=score,
        appearance=of_shots,
        variables=variables,
        photograph_px=photograph_px,
        **named,
    )


def read_validation(folder: Path) -> UInt8[np.ndarray, "n h w 3"]:
    """The images that an export of this detector is checked with."""
    return _read_arrays(folder / VALIDATION)["images"]


def read_thresholds(folder: Path) -> Thresholds:
    """How this detector's scores become decisions.

    Raises:
      ValueError: where thresholds.json is missing, damaged or another version's.
    """
    path = folder / THRESHOLDS
    try:
        return Thresholds.from_json(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def write_thresholds(folder: Path, thresholds: Thresholds) -> None:
    """Replace this detector's thresholds: the new ones or the old ones are there."""
    temporary = folder / f".{THRESHOLDS}.{os.getpid()}"
    temporary.write_text(_as_text(thresholds.as_json()))
    temporary.replace(folder / THRESHOLDS)


def _as_text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise ValueError(f"{folder} holds no detector: it has no {CONFIG}")
    try:
        config = json.loads(path.read_text())
        version = int(config["schema_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"{path} has schema version {version}, this version of the project reads "
            f"{SCHEMA_VERSION}: train the run anew, or use the version that wrote it"
        )
    return config


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        return safetensors.numpy.load_file(path)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise ValueError(f"{path} is missing or damaged: {error}") from error
