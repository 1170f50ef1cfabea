"""The formats of an export: how each is written, and how it is opened and run.

Every graph takes uint8 images [b h w 3] and returns OUTPUTS. Weights and thresholds are
part of the graph.
"""

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from lfq_jax.export.graph_rewrite import plain_graph
from lfq_jax.inference.detector import Detector
from lfq_jax.inference.detector_files import (
    read_detector,
    read_thresholds,
    save_detector,
)
from lfq_jax.inference.predictor import Predictor, scoring_program

Format = Literal["stablehlo", "onnx", "safetensors"]
OUTPUTS = ("map", "score", "calibrated", "is_anomalous", "mask")
PLATFORMS = ("cpu", "cuda")
OPSET = 26  # the first with BitCast, which the nearest-neighbour search needs
GRAPH_FILES: dict[Format, str] = {
    "stablehlo": "model.stablehlo",
    "onnx": "model.onnx",
    "safetensors": "detector",
}
_NOISY_LOGGER = "onnx_ir.serde"  # warns a hundred times of shapes that are implied
_ONNX_INSTALL = (
    "pip install -c constraints.txt -e '.[onnx]' && "
    "pip install -c constraints.txt --no-deps jax2onnx"
)

Program = Callable[[UInt8[np.ndarray, "b h w 3"]], tuple[np.ndarray, ...]]


def decision_program(detector: Detector) -> Callable[[Any], tuple[Any, ...]]:
    """The function from uint8 images to OUTPUTS, with weights and thresholds inside."""
    thresholds = detector.thresholds
    scale = thresholds.good.as_table()
    known = jnp.asarray(scale.log_odds, jnp.float32)
    shares = jnp.asarray(scale.shares, jnp.float32)
    widths = jnp.maximum(jnp.diff(known), 1e-6)  # equal scores make a steep ramp
    networks = detector.predictor
    program = scoring_program(networks.scorer)

    def decide(images: Any) -> tuple[Any, ...]:
        maps, scores = program(networks.variables, images)
        score = scores[thresholds.image_score]
        inside = jnp.clip(score, scale.edge, 1 - scale.edge)
        odds = jnp.log(inside) - jnp.log1p(-inside)
        # A sum of ramps interpolates without a search, which few formats have.
        ramps = jnp.clip((odds[:, None] - known[:-1]) / widths, 0.0, 1.0)
        within = shares[0] + ramps @ jnp.diff(shares)
        beyond = jnp.exp(-jnp.maximum(odds - known[-1], 0.0) / scale.tail_scale)
        above = 1.0 - (1.0 - shares[-1]) * beyond
        return (
            maps,
            score,
            jnp.where(odds >= known[-1], above, within),
            score >= jnp.float32(thresholds.image_threshold),
            maps >= jnp.float32(thresholds.pixel_threshold),
        )

    return decide


def _spec(detector: Detector, batch: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((batch, *detector.predictor.size, 3), np.uint8)


def _write_stablehlo(detector: Detector, folder: Path, batch_size: int) -> None:
    """Write model.stablehlo. A `batch_size` of 0 allows any number of images."""
    try:
        import flatbuffers  # noqa: F401  jax.export needs it and does not install it
    except ImportError as error:
        raise ValueError(
            "format stablehlo needs flatbuffers, which is not installed: "
            "pip install -c constraints.txt flatbuffers"
        ) from error
    count: Any = batch_size or jax.export.symbolic_shape("b")[0]
    exported = jax.export.export(
        jax.jit(decision_program(detector)), platforms=PLATFORMS
    )(_spec(detector, count))
    (folder / GRAPH_FILES["stablehlo"]).write_bytes(exported.serialize())


def _open_stablehlo(folder: Path, threads: int) -> Program:
    data = bytearray((folder / GRAPH_FILES["stablehlo"]).read_bytes())
    call = jax.jit(jax.export.deserialize(data).call)
    return lambda images: tuple(map(np.asarray, call(images)))


def _write_onnx(detector: Detector, folder: Path, batch_size: int) -> None:
    if not batch_size:
        raise ValueError("batch_size must be at least 1 for onnx, got 0")
    try:
        import jax2onnx
        import onnx
        import onnxruntime  # noqa: F401  (the parity report runs it)
    except ImportError as error:
        raise ValueError(
            f"format onnx needs {error.name}, which is not installed: {_ONNX_INSTALL}"
        ) from error
    spec = _spec(detector, batch_size)
    graph = plain_graph(decision_program(detector), spec)
    with _only_errors(_NOISY_LOGGER):
        model = jax2onnx.to_onnx(
            graph,
            [spec],
            opset=OPSET,
            input_names=["images"],
            output_names=list(OUTPUTS),
        )
    onnx.save(model, folder / GRAPH_FILES["onnx"])


@contextlib.contextmanager
def _only_errors(name: str) -> Iterator[None]:
    """Let another package's logger log only errors."""
    logger = logging.getLogger(name)
    previous = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(previous)


def _open_onnx(folder: Path, threads: int) -> Program:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # only errors, not every constant that is removed
    session = onnxruntime.InferenceSession(
        folder / GRAPH_FILES["onnx"], options, providers=["CPUExecutionProvider"]
    )

    def run(images: np.ndarray) -> tuple[np.ndarray, ...]:
        outputs = session.run(list(OUTPUTS), {"images": images})
        return tuple(np.asarray(output) for output in outputs)

    return run


def _write_safetensors(detector: Detector, folder: Path, batch_size: int) -> None:
    save_detector(
        folder / GRAPH_FILES["safetensors"],
        detector.record,
        thresholds=detector.thresholds,
        validation=np.zeros((0, *_spec(detector, 1).shape[1:]), np.uint8),
    )


def _open_safetensors(folder: Path, threads: int) -> Program:
    detector = folder / GRAPH_FILES["safetensors"]
    networks = Predictor(read_detector(detector))
    call = jax.jit(decision_program(Detector(networks, read_thresholds(detector))))
    return lambda images: tuple(map(np.asarray, call(images)))


WRITERS = {
    "stablehlo": _write_stablehlo,
    "onnx": _write_onnx,
    "safetensors": _write_safetensors,
}
_READERS = {
    "stablehlo": _open_stablehlo,
    "onnx": _open_onnx,
    "safetensors": _open_safetensors,
}


def open_export(folder: Path, *, threads: int = 0) -> Program:
    """The function of an exported folder: uint8 images [b h w 3] to OUTPUTS.

    Args:
      folder: the exported folder.
      threads: threads of onnxruntime; 0: one per core.

    Raises:
      ValueError: if the folder is not an export.
    """
    path = folder / "export.json"
    if not path.is_file():
        raise ValueError(f"{folder} holds no export: it has no export.json")
    return _READERS[json.loads(path.read_text())["format"]](folder, threads)
