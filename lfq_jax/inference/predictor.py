"""One trained detector applied to any number of photographs, before any decision.

The main job's test, `predict`, `calibrate`, exports and reconstructions all use this.
"""

import functools
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped, UInt8

from datasets.images import to_square
from datasets.remarks import Remarks
from lfq_jax.calibration.scores import Scores
from lfq_jax.inference.detector_files import DetectorRecord
from lfq_jax.inference.scoring_models import DetectorVariables, scoring_model
from lfq_jax.inference.tiling import Mosaic, tiles
from lfq_jax.memory_bank.distances import DistanceMaps
from lfq_jax.model.lfquiad import Model
from lfq_jax.model.scoring import Scored, Scorer
from lfq_jax.ops.batches import filled
from lfq_jax.ops.resize import to_mask_resolution

_FEW = 2  # photographs up to which one at a time is cheaper than a padded batch
_RECONSTRUCTED_AT_ONCE = 8


class RawPrediction(NamedTuple):
    """What the networks compute from one photograph, before any decision."""

    map: Float[np.ndarray, "h w"]
    """How anomalous each pixel is, in [0, 1]: at the networks' resolution, or at the
    photograph's own where it was tiled."""
    scores: dict[str, float]
    """Every image score by its name."""
    reconstruction: UInt8[np.ndarray, "p p 3"] | None = None
    """At the networks' resolution. None for tiled photographs, for a model without
    decoder, and unless `reconstructs` is set."""
    map_max: float = 0.0
    """Maximum of the map; of a tiled photograph, the largest of its tiles."""

    @property
    def calibration_scores(self) -> dict[str, float]:
        """Every score that a threshold is derived from: `scores`, and `map_max`."""
        return self.scores | {"map_max": self.map_max}


class Reconstruction(NamedTuple):
    """Images of the networks' size, their reconstructions and their codes."""

    images: Float[np.ndarray, "n h w 3"]
    """In [0, 1]."""
    reconstructions: Float[np.ndarray, "n h w 3"]
    """Clipped to [0, 1]."""
    codes: Shaped[np.ndarray, "n gh gw *k"]
    """In the quantizer's own form."""


def _warn(line: str) -> None:
    warnings.warn(line, stacklevel=6)  # the caller of the detector


class Predictor:
    """The compiled networks. Any number of threads may use them at the same time."""

    def __init__(self, record: DetectorRecord) -> None:
        self.record = record
        model = scoring_model(record.model, is_texture=record.kind == "texture")
        self.scorer = Scorer(model, record.score)
        self.variables: DetectorVariables = jax.device_put(record.variables)
        self._compiled: set[int] = set()
        self._compiling = threading.Lock()
        self.remarks = Remarks(_warn)
        """Warns once of each kind of decision about the photographs."""

    @property
    def image_px(self) -> int:
        """Side of the square that the networks see."""
        return self.record.model.image_px

    @property
    def networks(self) -> Model:
        """LFQUIAD's networks.

        Raises:
          ValueError: if the detector is training-free.
        """
        if not isinstance(self.scorer.model, Model):
            raise ValueError(
                f"a detector of method {self.record.method} has no networks and "
                "reconstructs nothing"
            )
        return self.scorer.model

    def tile_size(self, tile_px: int) -> tuple[int, int]:
        """Height and width of tiles `tile_px` wide, in the shots' own proportions."""
        height, width = self.record.photograph_px
        return max(1, round(tile_px * height / width)), tile_px

    def predict(
        self,
        photographs: Iterable[UInt8[np.ndarray, "_ _ 3"]],
        *,
        tile_px: int = 0,
        reconstructs: bool = False,
        pads: bool = False,
    ) -> Iterator[RawPrediction]:
        """Predictions in the photographs' order. Holds one batch in memory.

        Args:
          tile_px: width of the tiles that are scored one by one; 0: no tiles.
          reconstructs: whether the predictions of whole photographs have their
            reconstructions.
          pads: whether one or two photographs, too, are scored as a full batch. One
            program then computes all scores. Default: one by one, which is faster.
        """
        if tile_px:
            for photograph in photographs:
                yield self._predict_tiled(photograph, self.tile_size(tile_px))
            return
        squares = (to_square(each, self.image_px) for each in photographs)
        yield from self._predict_squares(squares, reconstructs=reconstructs, pads=pads)

    def _predict_tiled(
        self, photograph: UInt8[np.ndarray, "H W 3"], size: tuple[int, int]
    ) -> RawPrediction:
        """Score every tile separately; an image score is the maximum over the tiles."""
        height, width = photograph.shape[:2]
        parts = tiles((height, width), size)
        squares = (to_square(tile.of(photograph), self.image_px) for tile in parts)
        if len(parts) == 1 and size == (height, width):
            return next(self._predict_squares(squares))
        mosaic, scores = Mosaic((height, width)), []
        for tile, raw in zip(parts, self._predict_squares(squares), strict=True):
            mosaic.add(tile, to_mask_resolution(raw.map, (tile.height, tile.width)))
            scores.append(raw.calibration_scores)
        highest = {name: max(each[name] for each in scores) for name in scores[0]}
        map_max = highest.pop("map_max")
        return RawPrediction(mosaic.map(), highest, map_max=map_max)

    def _predict_squares(
        self,
        squares: Iterable[np.ndarray],
        *,
        reconstructs: bool = False,
        pads: bool = False,
    ) -> Iterator[RawPrediction]:
        size = self.record.score.batch_size
        for batch, count in filled(squares, size):
            if count < size and count <= _FEW and not pads:
                for square in batch[:count]:
                    yield from self._predict_batch([square], 1, reconstructs)
            else:
                yield from self._predict_batch(batch, count, reconstructs)

    def _predict_batch(
        self, squares: list[np.ndarray], count: int, reconstructs: bool
    ) -> Iterator[RawPrediction]:
        """Predictions for the first `count` images of a batch of a compiled size."""
        scored = self._score(np.stack(squares))
        maps, scores = jax.device_get((scored.maps, _with_map_max(scored)))
        reconstructions = None
        if reconstructs and scored.reconstructions is not None:
            reconstructions = np.round(np.asarray(scored.reconstructions) * 255)
        map_max = scores.pop("map_max")
        for i in range(count):
            yield RawPrediction(
                map=maps[i],
                scores={name: float(each[i]) for name, each in scores.items()},
                reconstruction=reconstructions[i].astype(np.uint8)
                if reconstructions is not None
                else None,
                map_max=float(map_max[i]),
            )

    def score_batch(
        self, images: UInt8[np.ndarray, "b p p 3"]
    ) -> tuple[Float[np.ndarray, "b p p"], dict[str, Float[np.ndarray, "b"]]]:
        """Maps and scores of images of the networks' size, as one batch."""
        scored = self._score(images)
        return jax.device_get((scored.maps, _with_map_max(scored)))

    def _score(self, images: UInt8[np.ndarray, "b p p 3"]) -> Scored:
        """Score a batch; each size of batch is compiled once, by one thread."""
        with self._compiling:
            if len(images) not in self._compiled:
                scored = self.scorer(self.variables, images)
                self._compiled.add(len(images))
                return scored
        return self.scorer(self.variables, images)

    def reconstruct(self, images: UInt8[np.ndarray, "n p p 3"]) -> Reconstruction:
        """Reconstruct images of the networks' size, in batches.

        Raises:
          ValueError: if there is no image, or the detector is training-free.
        """
        _require_images(images)
        count, size = len(images), _RECONSTRUCTED_AT_ONCE
        networks = self.networks
        parts = [
            jax.device_get(_reconstruct(networks, self.variables, images[batch]))
            for batch, _ in filled(range(count), size)
        ]
        fields = (np.concatenate(each)[:count] for each in zip(*parts, strict=True))
        return Reconstruction(*fields)


def _require_images(images: UInt8[np.ndarray, "n h w 3"]) -> None:
    if not len(images):
        raise ValueError("images must be one or more, got none")


def _with_map_max(scored: Scored) -> dict[str, Any]:
    scores = {str(name): value for name, value in scored.scores.items()}
    return scores | {"map_max": scored.maps.max((1, 2))}


@functools.cache
def scoring_program(scorer: Scorer) -> Callable[..., Any]:
    """A detector's program, as exports contain it: bytes in, maps and scores out."""

    def program(variables: Any, images: Any) -> tuple[Any, dict[str, Any]]:
        scored = scorer(variables, images)
        return scored.maps, _with_map_max(scored)

    return jax.jit(program)


@functools.partial(jax.jit, static_argnums=0)
def _reconstruct(model: Model, variables: Any, images: jax.Array) -> Reconstruction:
    unit = images.astype(jnp.float32) / 255.0
    outputs, _ = model.apply(variables, unit, training=False)
    clipped = jnp.clip(outputs.reconstruction, 0.0, 1.0)
    return Reconstruction(unit, clipped, outputs.codes)  # pyright: ignore[reportArgumentType]


def score_in_batches(
    scorer: Scorer,
    variables: DetectorVariables,
    images: UInt8[np.ndarray, "n h w 3"],
    distance_maps: DistanceMaps | None,
) -> tuple[Float[np.ndarray, "n h w"], Scores]:
    """Maps and scores of images of the model's size, in batches.

    Args:
      distance_maps: of the images, where they were computed before.

    Raises:
      ValueError: if there is no image.
    """
    _require_images(images)
    count = len(images)
    parts = []
    for batch, _ in filled(range(count), min(scorer.config.batch_size, count)):
        maps = jax.tree.map(lambda x, i=batch: x[i].astype(np.float32), distance_maps)
        scored = scorer(variables, images[batch], maps)
        parts.append(jax.device_get(scored))
    maps = np.concatenate([part.maps for part in parts])[:count]
    scores = {
        str(name): np.concatenate([part.scores[name] for part in parts])[:count]
        for name in parts[0].scores
    }
    scores["map_max"] = maps.max((1, 2))
    return maps, {name: values.tolist() for name, values in scores.items()}
