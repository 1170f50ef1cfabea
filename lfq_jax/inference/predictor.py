"""A trained detector's networks over any number of photographs, before any decision."""

import functools
import threading
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Shaped, UInt8

from datasets.images import to_square
from lfq_jax.calibration.scores import Scores
from lfq_jax.inference.detector_files import DetectorRecord
from lfq_jax.inference.tiling import Mosaic, tiles
from lfq_jax.model.lfquiad import Model
from lfq_jax.model.scoring import Scorer
from lfq_jax.model.variables import Variables
from lfq_jax.ops.batches import filled
from lfq_jax.ops.resize import to_mask_resolution

_FEW = 2  # images up to which one at a time costs less than a padded batch


class RawPrediction(NamedTuple):
    """What the networks make of one image, before anything is decided."""

    map: Float[np.ndarray, "h w"]
    """At the networks' resolution; of a tiled image at the image's own."""
    scores: dict[str, float]
    """Every image score by its name, and `map_max`."""


class Predictor:
    """The compiled networks. Any number of threads may call them at once."""

    def __init__(self, saved: DetectorRecord) -> None:
        self.saved = saved
        model = Model(saved.model, is_texture=saved.kind == "texture")
        self.scorer = Scorer(model, saved.score)
        self.variables = jax.device_put(saved.variables)
        self._compiled: set[int] = set()
        self._compiling = threading.Lock()

    @property
    def image_px(self) -> int:
        """Side of the square that the networks see."""
        return self.saved.model.image_px

    def tile_size(self, tile_px: int) -> tuple[int, int]:
        """Height and width of tiles `tile_px` wide, of the shots' own proportions."""
        height, width = self.saved.photograph_px
        return max(1, round(tile_px * height / width)), tile_px

    def analyse(
        self,
        photographs: Iterable[UInt8[np.ndarray, "_ _ 3"]],
        *,
        tile_px: int = 0,
    ) -> Iterator[RawPrediction]:
        """Maps and scores, in the images' order; holds one batch in memory.

        Args:
          tile_px: width of the tiles that are scored each on its own; 0: none.
        """
        if tile_px:
            for photograph in photographs:
                yield self._tiled(photograph, self.tile_size(tile_px))
            return
        squares = (to_square(each, self.image_px) for each in photographs)
        yield from self._analysed(squares)

    def _tiled(
        self, photograph: UInt8[np.ndarray, "H W 3"], size: tuple[int, int]
    ) -> RawPrediction:
        """Each tile as an image of its own; a score is the largest of any tile's."""
        height, width = photograph.shape[:2]
        parts = tiles((height, width), size)
        squares = (to_square(tile.of(photograph), self.image_px) for tile in parts)
        if len(parts) == 1 and size == (height, width):
            return next(self._analysed(squares))
        mosaic, scores = Mosaic((height, width)), []
        for tile, found in zip(parts, self._analysed(squares), strict=True):
            mosaic.add(tile, to_mask_resolution(found.map, (tile.height, tile.width)))
            scores.append(found.scores)
        highest = {name: max(each[name] for each in scores) for name in scores[0]}
        return RawPrediction(mosaic.map(), highest)

    def _analysed(self, squares: Iterable[np.ndarray]) -> Iterator[RawPrediction]:
        size = self.saved.score.batch_size
        for batch, count in filled(squares, size):
            if count < size and count <= _FEW:
                for square in batch[:count]:
                    yield from self._batch([square], 1)
            else:
                yield from self._batch(batch, count)

    def _batch(self, squares: list[np.ndarray], count: int) -> Iterator[RawPrediction]:
        """The first `count` of one batch of a compiled size."""
        maps, scores = self.run_batch(np.stack(squares))
        for i in range(count):
            yield RawPrediction(
                maps[i], {n: float(each[i]) for n, each in scores.items()}
            )

    def run_batch(
        self, images: UInt8[np.ndarray, "b p p 3"]
    ) -> tuple[Float[np.ndarray, "b p p"], dict[str, Float[np.ndarray, "b"]]]:
        """Maps and scores of images of the networks' size, all at once."""
        return jax.device_get(self._scoring(len(images))(self.variables, images))

    def _scoring(self, size: int) -> Any:
        """The program for `size` images: compiled once, by one thread."""
        program = maps_and_scores(self.scorer)
        with self._compiling:
            if size not in self._compiled:
                px = self.image_px
                program(self.variables, np.zeros((size, px, px, 3), np.uint8))
                self._compiled.add(size)
        return program


@functools.cache
def maps_and_scores(scorer: Scorer) -> Any:
    """The program of a detector: bytes in, maps and scores out."""

    def program(variables: Any, images: Any) -> tuple[Any, dict[str, Any]]:
        scored = scorer(variables, images)
        scores = {str(name): value for name, value in scored.scores.items()}
        return scored.maps, scores | {"map_max": scored.maps.max((1, 2))}

    return jax.jit(program)


class ImagePrediction(NamedTuple):
    """One image's result, at the model's resolution."""

    map: Float[np.ndarray, "h w"]
    scores: dict[str, float]
    """By name; of the networks, those of `ImageScore`."""
    reconstruction: UInt8[np.ndarray, "h w 3"] | None = None
    """None where a method makes none."""


def predict(
    scorer: Scorer,
    variables: Variables,
    images: Iterable[UInt8[np.ndarray, "H W 3"]],
    *,
    batch_size: int,
) -> Iterator[ImagePrediction]:
    """Score images of any size, in their order. Holds one batch in memory."""
    px = scorer.model.config.image_px
    squares = (to_square(image, px) for image in images)
    for batch, count in filled(squares, batch_size):
        scored = scorer(variables, np.stack(batch))
        maps = np.asarray(scored.maps)
        scores = {name: np.asarray(value) for name, value in scored.scores.items()}
        reconstructions = np.round(np.asarray(scored.reconstructions) * 255)
        for i in range(count):
            yield ImagePrediction(
                map=maps[i],
                scores={name: float(value[i]) for name, value in scores.items()},
                reconstruction=reconstructions[i].astype(np.uint8),
            )


def score_in_batches(
    scorer: Scorer,
    variables: Variables,
    images: UInt8[np.ndarray, "n h w 3"],
    references: Shaped[np.ndarray, "n gh gw c"] | None,
) -> tuple[Float[np.ndarray, "n h w"], Scores]:
    """Maps and scores of any number of images of the model's size."""
    count = len(images)
    parts = []
    for chunk, _ in filled(range(count), min(scorer.config.batch_size, count)):
        known = None if references is None else references[chunk].astype(np.float32)
        parts.append(jax.device_get(scorer(variables, images[chunk], known)))
    maps = np.concatenate([part.maps for part in parts])[:count]
    scores = {
        str(name): np.concatenate([part.scores[name] for part in parts])[:count]
        for name in parts[0].scores
    }
    scores["map_max"] = maps.max((1, 2))
    return maps, {name: values.tolist() for name, values in scores.items()}
