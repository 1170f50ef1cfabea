"""Measures how long an image takes to be compared with a memory bank, part by part.

    python -m experiments.bench.memory_bank --kind object --backbone efficientnet_lite0

The shots are noise: the time depends on their number and size, not on what they show.
Prints a row a part, and one JSON object. Seconds of the processor count more than those
of the clock: they are less sensitive to what else the machine does.
"""

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from experiments.run.command_line import read_flags, require_at_least

if TYPE_CHECKING:
    from lfq_jax.config import MemoryBankConfig
    from lfq_jax.memory_bank.bank import MemoryBank

Row = dict[str, float]


@dataclass(frozen=True)
class Settings:
    """Time the features and the searches of one memory bank."""

    kind: Literal["object", "texture"] = "object"
    """Objects are also compared in place."""
    backbone: str = "efficientnet_lite0"
    """A published name, a file of weights, or `none`."""
    image_px: int = 256
    """Side of the images."""
    shots: int = 2
    """Images in the bank."""
    repetitions: int = 5
    """Measurements of each part, of which the fastest counts."""

    def __post_init__(self) -> None:
        require_at_least(self, image_px=32, shots=1, repetitions=1)


def main() -> None:
    """Measure and print a table and one JSON object."""
    settings = read_flags(Settings, prog="python -m experiments.bench.memory_bank")
    from datasets.errors import one_line_errors

    with one_line_errors():
        rows = measure(settings)
        print(table(rows))
        print(json.dumps(dataclasses.asdict(settings) | {"ms": rows}))


def table(rows: dict[str, Row]) -> str:
    """A row for each part, with milliseconds of the processor and of the clock."""
    lines = ["| part | processor, ms | clock, ms |", "|---|---|---|"]
    lines += [
        f"| {part} | {row['processor']:.1f} | {row['clock']:.1f} |"
        for part, row in rows.items()
    ]
    return "\n".join(lines)


def measure(settings: Settings) -> dict[str, Row]:
    """Milliseconds of every part, for one image."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from lfq_jax.memory_bank.distances import distance_maps_of
    from lfq_jax.memory_bank.features import extract

    side, rng = settings.image_px, np.random.default_rng(0)
    shots = rng.integers(0, 256, (settings.shots, side, side, 3), np.uint8)
    bank, config, stride = _bank(settings, shots)
    image = jnp.asarray(rng.random((1, side, side, 3)), jnp.float32)

    def features(bank: "MemoryBank", image: jax.Array) -> Any:
        return extract(bank.extractor, image, config, stride=stride)

    def whole(bank: "MemoryBank", image: jax.Array) -> Any:
        return distance_maps_of(bank, image, config, stride=stride)

    queries = [each[0] for each in jax.jit(features)(bank, image).by_source]
    parts = {"all features": (features, (bank, image))}
    parts |= _searches(bank, queries, config, stride)
    parts["the whole comparison"] = (whole, (bank, image))
    return {
        name: _fastest(jax.jit(function), arguments, settings.repetitions)
        for name, (function, arguments) in parts.items()
    }


def _searches(
    bank: "MemoryBank", queries: list, config: "MemoryBankConfig", stride: int
) -> dict[str, tuple[Callable[..., Any], tuple]]:
    """The search of every source anywhere and in place, by name."""
    from lfq_jax.memory_bank.distances import window_radii
    from lfq_jax.memory_bank.nearest_neighbours import (
        nearest_anywhere,
        nearest_in_window,
        window_tiles,
    )

    names = ["filter bank"] if config.filter_levels else []
    names += list(config.backbone.stages) if config.backbone else []
    names += ["deepest stage, not averaged"] if config.compares_deepest else []
    parts: dict[str, tuple[Callable[..., Any], tuple]] = {}
    radii = window_radii(config, stride)
    for name, radius, source, query in zip(
        names, radii, bank.by_source, queries, strict=True
    ):

        def in_window(query: Any, in_place: Any, radius: int = radius) -> Any:
            return nearest_in_window(query, window_tiles(in_place, radius))

        if len(source.anywhere):
            parts[f"{name}, anywhere"] = nearest_anywhere, (query, source.anywhere)
        if len(source.in_place):
            parts[f"{name}, in place"] = in_window, (query, source.in_place)
    return parts


def _bank(settings: Settings, shots: Any) -> "tuple[MemoryBank, MemoryBankConfig, int]":
    """The bank of preset `best`, its config, and the side of a cell in pixels."""
    from experiments.few_shot.backbone_option import add_backbone
    from lfq_jax.backbones import load_backbone
    from lfq_jax.backbones.published import NONE
    from lfq_jax.config import PRESETS
    from lfq_jax.memory_bank.bank import build_memory_bank
    from lfq_jax.memory_bank.features import fit_feature_extractor

    model = dataclasses.replace(PRESETS["best"].model, image_px=settings.image_px)
    backbone = None
    if settings.backbone != NONE:
        model = add_backbone(model, settings.backbone)
        backbone = load_backbone(settings.backbone)
    config, stride = model.memory_bank, model.stem
    assert config is not None, "preset best has a memory bank"
    extractor = fit_feature_extractor(shots, config, stride=stride, backbone=backbone)
    bank = build_memory_bank(
        extractor,
        list(shots),
        config,
        stride=stride,
        is_texture=settings.kind == "texture",
        seed=0,
    )
    return bank, config, stride


def _fastest(function: Callable[..., Any], arguments: tuple, repetitions: int) -> Row:
    """Milliseconds of the fastest call, after one that compiles."""
    import jax

    jax.block_until_ready(function(*arguments))
    rows = []
    for _ in range(repetitions):
        clock, processor = time.perf_counter(), time.process_time()
        jax.block_until_ready(function(*arguments))
        processor = time.process_time() - processor
        rows.append((1e3 * processor, 1e3 * (time.perf_counter() - clock)))
    processor, clock = (min(column) for column in zip(*rows, strict=True))
    return {"processor": processor, "clock": clock}


if __name__ == "__main__":
    main()
