"""The folder of a trained detector, with exactly what scoring needs.

    detector/config.json            category, networks, scoring, good parts' appearance
    detector/weights.safetensors    all arrays of the detector's variables, by path
    detector/validation.safetensors held-out images, to check an export with
    detector/shots.safetensors      small versions of the shots, to recognise copies
    detector/thresholds.json        thresholds (see `lfq_jax.calibration.thresholds`)

The folder is written under a temporary name and renamed, so it is complete or absent.
"""

import json
import typing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import Float32, UInt8

from datasets.files import filled_atomically, write_atomically
from lfq_jax.calibration.thresholds import Thresholds
from lfq_jax.config import ScoreConfig, as_json, from_json
from lfq_jax.inference.appearance import Appearance
from lfq_jax.inference.array_tree import by_path, variables_from_arrays
from lfq_jax.inference.scoring_models import (
    CONFIGS,
    LFQUIAD,
    DetectorModel,
    method_of,
    scoring_model,
)
from lfq_jax.memory_bank.logistic_head import CONTRAST

SCHEMA_VERSION = 15
READABLE_VERSIONS = (8, 9, 10, 11, 12, 13, 14, SCHEMA_VERSION)
"""Version 8 does not store what copies of the shots are recognised by. Detectors of
versions 8 and 9 see every photograph as a square, and have no `method`: it is
`lfquiad`. Networks with a backbone search its features in another way before version
11, so they are refused. Logistic heads before version 12 subtract half of all log-odds
in the surround. Before version 13 the deepest stage is not compared for the image
score. Before version 14 the score has no head of its own. Before version
15 there are no residuals."""
_FIRST_IN_PROPORTION = 10
_FIRST_WITH_SEARCHES = 11
_FIRST_WITH_SURROUND_WEIGHTS = 12
_FIRST_WITH_DEEPEST = 13
_FIRST_WITH_SCORE_HEAD = 14
_HEAD, _SURROUND = "logistic_head/weights", "logistic_head/surround_weights"
CONFIG = "config.json"
WEIGHTS = "weights.safetensors"
VALIDATION = "validation.safetensors"
SHOTS = "shots.safetensors"
THRESHOLDS = "thresholds.json"
_COPIED_FIELDS = ("category", "shots", "seed", "bit_depth")


class DetectorRecord(NamedTuple):
    """The contents of a detector's folder, without thresholds and validation images."""

    category: str
    kind: typing.Literal["texture", "object"]
    shots: int
    seed: int
    photograph_px: tuple[int, int]
    """Height and width of the first shot's photograph, before resizing."""
    bit_depth: int
    """Bits per value of the camera that took the shots. 8 for ordinary files."""
    model: DetectorModel
    score: ScoreConfig
    appearance: Appearance
    variables: Any
    """`Variables` of LFQUIAD, or `TrainingFreeVariables`."""
    shot_sha256s: tuple[str, ...] = ()
    """Hashes of the size and pixels of the shots' photographs, if they are known."""
    shot_looks: Float32[np.ndarray, "k 64 64"] | None = None
    """Small versions of the shots' photographs, in the same order."""

    @property
    def method(self) -> str:
        """How the detector was made, a key of `scoring_models.CONFIGS`."""
        return method_of(self.model)

    @property
    def wide_bit_depth(self) -> int:
        """Bit depth at which wider integers than 8 bits are read: the shots' depth.

        Shots of 8 bits do not show the depth of a wider camera, so then it is 16.
        """
        return 16 if self.bit_depth == 8 else self.bit_depth


def save_detector(
    folder: Path,
    record: DetectorRecord,
    *,
    thresholds: Thresholds,
    validation: UInt8[np.ndarray, "n h w 3"],
) -> None:
    """Write a detector to `folder`, and replace an older one."""
    config = {
        "schema_version": SCHEMA_VERSION,
        "method": record.method,
        "category": record.category,
        "kind": record.kind,
        "shots": record.shots,
        "seed": record.seed,
        "photograph_px": list(record.photograph_px),
        "bit_depth": record.bit_depth,
        "model": as_json(record.model),
        "score": as_json(record.score),
        "appearance": record.appearance._asdict(),
        "shot_sha256s": list(record.shot_sha256s),
    }
    images = {"images": np.ascontiguousarray(validation)}
    with filled_atomically(folder, replaces=True) as partial:
        weights = safetensors.numpy.save(by_path(record.variables))
        (partial / WEIGHTS).write_bytes(weights)
        (partial / VALIDATION).write_bytes(safetensors.numpy.save(images))
        if record.shot_looks is not None:
            looks = {"looks": np.ascontiguousarray(record.shot_looks)}
            (partial / SHOTS).write_bytes(safetensors.numpy.save(looks))
        (partial / THRESHOLDS).write_text(_as_text(thresholds.as_json()))
        (partial / CONFIG).write_text(_as_text(config))


def read_detector(folder: Path) -> DetectorRecord:
    """Load a detector without its thresholds and validation images.

    Raises:
      ValueError: if the folder is missing or damaged, or another version wrote it.
    """
    config = _read_config(folder)
    try:
        model = _model_config(config)
        score = from_json(ScoreConfig, config["score"])
        kind = config["kind"]
        mean = tuple(config["appearance"]["mean"])
        appearance = Appearance(mean, config["appearance"]["deviation"])
        copied = {name: config[name] for name in _COPIED_FIELDS}
        photograph_px = tuple(config["photograph_px"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{folder / CONFIG} was written by another version of this project "
            f"({error}): train the run again"
        ) from error
    arrays = _read_arrays(folder / WEIGHTS)
    if config["schema_version"] < _FIRST_WITH_SURROUND_WEIGHTS and _HEAD in arrays:
        arrays[_SURROUND] = (CONTRAST * arrays[_HEAD]).astype(np.float32)
    try:
        variables = variables_from_arrays(
            scoring_model(model, is_texture=kind == "texture"), arrays
        )
    except ValueError as error:
        raise ValueError(f"{folder / WEIGHTS}: {error}") from error
    return DetectorRecord(
        kind=kind,
        model=model,
        score=score,
        appearance=appearance,
        variables=variables,
        photograph_px=photograph_px,
        shot_sha256s=tuple(config.get("shot_sha256s", ())),
        shot_looks=_read_looks(folder),
        **copied,
    )


def _model_config(config: dict[str, Any]) -> DetectorModel:
    """The model's config, of the class of the detector's method."""
    method = config.get("method", LFQUIAD)
    if method not in CONFIGS:
        raise ValueError(f"method must be one of {', '.join(CONFIGS)}, got {method}")
    fields = config["model"]
    if config["schema_version"] < _FIRST_IN_PROPORTION:
        fields = {"fit": "square", **fields}
    if method == LFQUIAD and config["schema_version"] < _FIRST_WITH_SEARCHES:
        fields = {**fields, "memory_bank": _memory_bank_before_searches(fields)}
    if config["schema_version"] < _FIRST_WITH_DEEPEST and fields.get("memory_bank"):
        bank = {**fields["memory_bank"], "deepest_weight": 0.0}
        fields = {**fields, "memory_bank": bank}
    if config["schema_version"] < _FIRST_WITH_SCORE_HEAD and fields.get("memory_bank"):
        bank = {**fields["memory_bank"], "coarse_score_weight": 0.0}
        fields = {**fields, "memory_bank": bank}
    model = from_json(CONFIGS[method], fields)
    if method_of(model) != method:
        raise ValueError(f"method is {method}, but the model is {method_of(model)}")
    return model


def _memory_bank_before_searches(fields: dict[str, Any]) -> dict[str, Any] | None:
    """The fields of a memory bank without a backbone, of a version before 11."""
    if (bank := fields.get("memory_bank")) is None:
        return None
    if bank.get("backbone") is not None:
        raise ValueError("it searches the features of its backbone in another way")
    return {k: v for k, v in bank.items() if k != "filters_beside_backbone"}


def read_validation(folder: Path) -> UInt8[np.ndarray, "n h w 3"]:
    """Load the images that an export of this detector is checked with."""
    return _read_arrays(folder / VALIDATION)["images"]


def read_thresholds(folder: Path) -> Thresholds:
    """Load this detector's thresholds.

    Raises:
      ValueError: if thresholds.json is missing, damaged or of another version.
    """
    path = folder / THRESHOLDS
    try:
        return Thresholds.from_json(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def write_thresholds(folder: Path, thresholds: Thresholds) -> None:
    """Replace this detector's thresholds in one atomic step."""
    write_atomically(folder / THRESHOLDS, _as_text(thresholds.as_json()).encode())


def _as_text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise ValueError(f"{folder} is not a detector's folder: it has no {CONFIG}")
    try:
        config = json.loads(path.read_text())
        version = int(config["schema_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if version not in READABLE_VERSIONS:
        raise ValueError(
            f"{path} has schema version {version}, and this version of the project "
            f"reads {SCHEMA_VERSION}: train the run again, or use a version of the "
            f"project that reads {version}"
        )
    return config


def _read_looks(folder: Path) -> Float32[np.ndarray, "k 64 64"] | None:
    """Small versions of the shots; None if the detector was saved without."""
    path = folder / SHOTS
    return _read_arrays(path)["looks"] if path.is_file() else None


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        return safetensors.numpy.load_file(path)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise ValueError(f"{path} is missing or damaged: {error}") from error
