"""A trained detector in a folder of its own: all that scoring needs, and no more.

    detector/config.json            category, networks, scoring, the good parts' look
    detector/weights.safetensors    every array of `Variables`, under its path
    detector/validation.safetensors the held-out images that an export is checked with
    detector/thresholds.json        how scores become decisions (`lfq_jax.thresholds`)

The folder is written beside its place and renamed: there is a whole one or none.
"""

import json
import os
import shutil
import typing
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import UInt8

from lfq_jax.config import ModelConfig, ScoreConfig, as_json, from_json
from lfq_jax.model import Model, Variables
from lfq_jax.thresholds import Thresholds

SCHEMA_VERSION = 7
CONFIG = "config.json"
WEIGHTS = "weights.safetensors"
VALIDATION = "validation.safetensors"
THRESHOLDS = "thresholds.json"
FAR_OFF = 1.5
"""`Appearance.distance` from which another category is suspected."""
_USUAL_CHANGE = 0.08  # of a channel's mean among photographs of one category
_USUAL_OCTAVES = 0.5  # of the contrast
_PLAIN = ("category", "shots", "seed", "bit_depth")


class Appearance(NamedTuple):
    """What the good parts look like at large: to tell another category's images."""

    mean: tuple[float, float, float]
    """Mean of every channel over the shots, where white is 1."""
    deviation: float
    """Mean standard deviation within a shot."""

    def distance(self, image: UInt8[np.ndarray, "h w 3"]) -> float:
        """How unlike these good parts an image is, at large; 1 is still usual."""
        step = max(1, max(image.shape[:2]) // 256)
        other = appearance(image[None, ::step, ::step])
        colour = np.abs(np.subtract(other.mean, self.mean)).max() / _USUAL_CHANGE
        ratio = (other.deviation + 0.01) / (self.deviation + 0.01)
        return float(max(colour, abs(np.log2(ratio)) / _USUAL_OCTAVES))


class Saved(NamedTuple):
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


def appearance(images: UInt8[np.ndarray, "k h w 3"]) -> Appearance:
    """Of good parts of one size."""
    unit = images.astype(np.float64) / 255.0
    red, green, blue = unit.mean((0, 1, 2)).tolist()
    return Appearance((red, green, blue), float(unit.std((1, 2)).mean()))


def save_detector(
    folder: Path,
    saved: Saved,
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


def read_detector(folder: Path) -> Saved:
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
        variables = _variables(Model(model, is_texture=kind == "texture"), arrays)
    except ValueError as error:
        raise ValueError(f"{folder / WEIGHTS}: {error}") from error
    return Saved(
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


def by_path(tree: Any) -> dict[str, np.ndarray]:
    """Every array of a tree under its path, as `params/discriminative/head/bias`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_name(path): np.ascontiguousarray(leaf) for path, leaf in leaves}


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _variables(model: Model, arrays: dict[str, np.ndarray]) -> Variables:
    """Arrays by path as the variables of `model`.

    The networks' shapes come from the model; what the file holds of the memory and of
    the reader is taken as it is, for their sizes depend on the shots.
    """
    like = jax.eval_shape(model.init, jax.random.key(0))
    paths, tree = jax.tree_util.tree_flatten_with_path(like)
    found = []
    for path, leaf in paths:
        array = arrays.get(_name(path))
        if array is None or array.shape != leaf.shape:
            raise ValueError(
                f"{_name(path)} must have shape {leaf.shape}, got "
                f"{None if array is None else array.shape}: another version wrote it"
            )
        found.append(array)
    networks = jax.tree.unflatten(tree, found)
    hints = typing.get_type_hints(Variables)
    rest = {
        name: _under(hints[name], name, arrays)
        for name in Variables._fields
        if getattr(like, name) is None
    }
    known = {*_names(networks), *_names(rest)}
    beyond = sorted(set(arrays) - known)
    if beyond:
        raise ValueError(f"{beyond[0]} is unknown: another version wrote it")
    return networks._replace(**rest)


def _names(tree: Any) -> list[str]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [_name(path) for path, _ in leaves]


def _under(hint: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """The array at `path`, or the named tuple of what lies below it; None: neither."""
    if path in arrays:
        return arrays[path]
    below = [name for name in arrays if name.startswith(f"{path}/")]
    if not below:
        return None
    choices = (hint, *typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        count = len({name.removeprefix(f"{path}/").split("/")[0] for name in below})
        return tuple(_under(choices[1], f"{path}/{i}", arrays) for i in range(count))
    if any(typing.get_origin(choice) is dict for choice in choices):
        return {name.removeprefix(f"{path}/"): arrays[name] for name in below}
    kinds = [k for k in choices if hasattr(k, "_fields")]
    if not kinds:
        raise ValueError(f"{path} is unknown: another version wrote it")
    hints = typing.get_type_hints(kinds[0])
    read = {n: _under(hints[n], f"{path}/{n}", arrays) for n in kinds[0]._fields}
    found = kinds[0]._field_defaults | {n: x for n, x in read.items() if x is not None}
    missing = [n for n in kinds[0]._fields if n not in found]
    if missing:
        raise ValueError(f"{path}/{missing[0]} is missing: another version wrote it")
    return kinds[0](**found)
