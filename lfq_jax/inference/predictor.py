"""One trained detector applied to any number of photographs, before any decision.

The main job's test, `predict`, `calibrate`, exports and reconstructions all use this.
"""

import functools
import logging
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8

from datasets.framing import MOST_STEPS, Frame
from datasets.remarks import Remarks
from lfq_jax.calibration.scores import Scores
from lfq_jax.inference.detector_files import DetectorRecord
from lfq_jax.inference.preprocessing import framing_of
from lfq_jax.inference.scoring_models import DetectorVariables, scoring_model
from lfq_jax.inference.tiling import Mosaic, tiles
from lfq_jax.memory_bank.distances import DistanceMaps
from lfq_jax.model.lfquiad import Model
from lfq_jax.model.scoring import Scored, Scorer
from lfq_jax.ops.batches import filled
from lfq_jax.ops.resize import to_mask_resolution

log = logging.getLogger(__name__)
_FEW = 2  # photographs up to which one at a time is cheaper than a padded batch
_MOST_WAITING = 8  # batches of photographs that are held until one size is full
_RECONSTRUCTED_AT_ONCE = 8


class RawPrediction(NamedTuple):
    """What the networks compute from one photograph, before any decision."""

    map: Float[np.ndarray, "h w"]
    """How anomalous each pixel of the whole photograph is, in [0, 1]: at the networks'
    resolution, or at the photograph's own where it was tiled."""
    scores: dict[str, float]
    """Every image score by its name."""
    reconstruction: UInt8[np.ndarray, "_ _ 3"] | None = None
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
        self._compiled: set[tuple[Any, ...]] = set()
        self._compiling = threading.Lock()
        self.remarks = Remarks(_warn)
        """Warns once of each kind of decision about the photographs."""
        self.framing = framing_of(record.model, is_texture=model.is_texture)
        """How photographs become images of the networks' size."""
        self._has_told_of_frames = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the training images."""
        return self.record.model.size

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
        """Predictions in the photographs' order.

        Holds one batch in memory; of photographs of several sizes, up to eight.

        Args:
          tile_px: width of the tiles that are scored one by one; 0: no tiles.
          reconstructs: whether the predictions of whole photographs have their
            reconstructions.
          pads: whether one or two photographs, too, are scored as a full batch. One
            program then computes all scores. Default: one by one, which is faster.

        Raises:
          ValueError: a photograph is too elongated; see `datasets.framing`.
        """
        if tile_px:
            for photograph in photographs:
                yield self._predict_tiled(photograph, self.tile_size(tile_px))
            return
        framed = (self._framed(each) for each in photographs)
        yield from self._predict_framed(framed, reconstructs=reconstructs, pads=pads)

    def _framed(self, photograph: UInt8[np.ndarray, "H W 3"]) -> "_Framed":
        """The photograph at a size that the networks see.

        Raises:
          ValueError: the photograph is too elongated.
        """
        frame = self.framing.frame(photograph.shape)
        if frame != Frame(self.size, 0, 0, *self.size) and not self._has_told_of_frames:
            self._has_told_of_frames = True
            self._tell_of_frames(photograph.shape)
        return _Framed(self.framing.put(photograph, frame), frame)

    def _tell_of_frames(self, shape: tuple[int, ...]) -> None:
        height, width = self.size
        how = f"are scaled into {width} x {height} px, and the rest is filled"
        if self.framing.is_texture:
            how = f"are scored at one of {2 * MOST_STEPS + 1} sizes, each compiled once"
        log.warning(
            "%s: photographs of other proportions than the shots, such as %d x %d px, "
            "%s",
            *(self.record.category, shape[1], shape[0], how),
        )

    def _predict_tiled(
        self, photograph: UInt8[np.ndarray, "H W 3"], size: tuple[int, int]
    ) -> RawPrediction:
        """Score every tile separately; an image score is the maximum over the tiles."""
        height, width = photograph.shape[:2]
        parts = tiles((height, width), size)
        framed = (self._framed(tile.of(photograph)) for tile in parts)
        if len(parts) == 1 and size == (height, width):
            return next(self._predict_framed(framed))
        mosaic, scores = Mosaic((height, width)), []
        for tile, raw in zip(parts, self._predict_framed(framed), strict=True):
            mosaic.add(tile, to_mask_resolution(raw.map, (tile.height, tile.width)))
            scores.append(raw.calibration_scores)
        highest = {name: max(each[name] for each in scores) for name in scores[0]}
        map_max = highest.pop("map_max")
        return RawPrediction(mosaic.map(), highest, map_max=map_max)

    def _predict_framed(
        self,
        framed: "Iterable[_Framed]",
        *,
        reconstructs: bool = False,
        pads: bool = False,
    ) -> Iterator[RawPrediction]:
        """Predictions in order. Images of one size wait for a full batch of it."""
        size = self.record.score.batch_size
        waiting: dict[Any, list[tuple[int, _Framed]]] = {}
        done: dict[int, RawPrediction] = {}
        following = 0

        def score(key: Any) -> None:
            numbers, images = zip(*waiting.pop(key), strict=True)
            scored = self._predict_group(images, reconstructs=reconstructs, pads=pads)
            done.update(zip(numbers, scored, strict=True))

        for number, image in enumerate(framed):
            waiting.setdefault(image.program, []).append((number, image))
            if len(waiting[image.program]) == size:
                score(image.program)
            elif sum(map(len, waiting.values())) == _MOST_WAITING * size:
                score(next(iter(waiting)))
            while following in done:
                yield done.pop(following)
                following += 1
        for key in list(waiting):
            score(key)
        yield from (done[number] for number in sorted(done))

    def _predict_group(
        self, images: "Sequence[_Framed]", *, reconstructs: bool, pads: bool
    ) -> Iterator[RawPrediction]:
        """Predictions for at most a batch of images that share a program."""
        size = self.record.score.batch_size
        at_once = 1 if len(images) < size and len(images) <= _FEW and not pads else size
        for batch, count in filled(images, at_once):
            yield from self._predict_batch(batch, count, reconstructs)

    def _predict_batch(
        self, batch: "list[_Framed]", count: int, reconstructs: bool
    ) -> Iterator[RawPrediction]:
        """Predictions for the first `count` images of a batch of a compiled size."""
        frames = [image.frame for image in batch]
        inside = None
        if not frames[0].is_whole:
            inside = np.stack([frame.inside for frame in frames])
        scored = self._score(np.stack([image.pixels for image in batch]), inside)
        maps, scores = jax.device_get((scored.maps, _with_map_max(scored)))
        reconstructions = None
        if reconstructs and scored.reconstructions is not None:
            reconstructions = np.round(np.asarray(scored.reconstructions) * 255)
        map_max = scores.pop("map_max")
        for i in range(count):
            yield RawPrediction(
                map=frames[i].cut(maps[i]),
                scores={name: float(each[i]) for name, each in scores.items()},
                reconstruction=frames[i].cut(reconstructions[i]).astype(np.uint8)
                if reconstructions is not None
                else None,
                map_max=float(map_max[i]),
            )

    def score_batch(
        self, images: UInt8[np.ndarray, "b h w 3"]
    ) -> tuple[Float[np.ndarray, "b h w"], dict[str, Float[np.ndarray, "b"]]]:
        """Maps and scores of images of the networks' size, as one batch."""
        scored = self._score(images)
        return jax.device_get((scored.maps, _with_map_max(scored)))

    def _score(
        self,
        images: UInt8[np.ndarray, "b h w 3"],
        inside: Bool[np.ndarray, "b h w"] | None = None,
    ) -> Scored:
        """Score a batch; each shape of batch is compiled once, by one thread."""
        program = *images.shape, inside is None
        score = functools.partial(self.scorer, self.variables, images, inside=inside)
        with self._compiling:
            if program not in self._compiled:
                scored = score()
                self._compiled.add(program)
                return scored
        return score()

    def reconstruct(self, images: UInt8[np.ndarray, "n h w 3"]) -> Reconstruction:
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


class _Framed(NamedTuple):
    """An image of a size that the networks see, and where the photograph lies in it."""

    pixels: UInt8[np.ndarray, "h w 3"]
    frame: Frame

    @property
    def program(self) -> tuple[Any, ...]:
        """What decides which compiled program scores the image."""
        return self.frame.size, self.frame.is_whole


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
