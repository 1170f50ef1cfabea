"""A demonstration of LFQ training: a small autoencoder of patches of four textures.

    python -m experiments.quantizers.lfq_training

The autoencoder is no part of the detector. It is trained on patches of the good
training images of rendered_ad, with one hidden layer on either side of the quantizer.
The curves are measured on patches of the good *test* images: how many codes these
patches use, and how well they are reconstructed.
"""

import functools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import tyro

from agm_torch.cache_folder import cache_folder
from experiments.quantizers.settings import VARIANTS_HELP
from experiments.run.command_line import read_command_line, require_at_least
from experiments.run.folder import RunFolder, new_run_path
from lfq_jax.config import as_json

if TYPE_CHECKING:
    import numpy as np

    from lfq_jax.quantizers import Quantizer

TEXTURES = ("woven_cloth", "wood_grain", "stone", "brushed_metal")


@dataclass(frozen=True)
class LFQTraining:
    """Train patch autoencoders, and draw use of codes and PSNR over the steps."""

    variants: Annotated[tuple[str, ...], tyro.conf.arg(help=VARIANTS_HELP)] = (
        "lfq:entropy_weight=0.1",
        "lfq",
        "lfq:entropy_weight=0.1,bits=1",
        "lfq:bits=1",
    )
    categories: tuple[str, ...] = TEXTURES
    """Categories of rendered_ad."""
    patch_px: int = 8
    """Side of a patch, in pixels of images of 320 pixels."""
    hidden: int = 256
    """Width of the hidden layers."""
    steps: int = 2000
    """Optimisation steps."""
    batch_size: int = 1024
    """Patches per step."""
    held_out: int = 8192
    """Patches of test images to measure on."""
    learning_rate: float = 1e-3
    """Learning rate of Adam."""
    log_every: int = 50
    """Steps between two measurements."""
    seed: int = 0
    """Chooses patches and initial weights."""
    out: Path | None = None
    """The run's folder. Default: runs/<date>-<time>-lfq-training."""
    cache_dir: Path = field(default_factory=cache_folder)
    """Prepared images are stored here for the next run."""

    def __post_init__(self) -> None:
        require_at_least(self, patch_px=1, hidden=1, steps=1, batch_size=1, held_out=1)
        require_at_least(self, log_every=1, seed=0)
        if self.patch_px > 64:
            raise ValueError(f"--patch-px must be at most 64, got {self.patch_px}")
        if not self.learning_rate > 0:
            raise ValueError(
                f"--learning-rate must be positive, got {self.learning_rate}"
            )
        for name in ("variants", "categories"):
            if not getattr(self, name):
                raise ValueError(f"--{name} must be one or more, got none")


class Point(NamedTuple):
    """Measurements on the held-out patches after some training steps."""

    step: int
    perplexity: float
    used_codes: float
    psnr: float


def patches(settings: LFQTraining, split: str, count: int) -> "np.ndarray":
    """Random patches of a split's good images: f32 [count d], in [-1, 1]."""
    import numpy as np

    import datasets

    rng = np.random.default_rng((settings.seed, split == "test"))
    side, chosen = settings.patch_px, []
    for i, category in enumerate(settings.categories):
        examples: Any = datasets.load(
            "rendered_ad",
            category,
            "test" if split == "test" else "train",
            cache_dir=settings.cache_dir / "datasets",
        )
        images = np.stack([example.image for example in examples if not example.label])
        share = count // len(settings.categories)
        share += i < count % len(settings.categories)
        which = rng.integers(0, len(images), share)
        top, left = (
            rng.integers(0, size - side + 1, share) for size in images.shape[1:3]
        )
        rows = top[:, None, None] + np.arange(side)[:, None]
        columns = left[:, None, None] + np.arange(side)
        chosen.append(images[which[:, None, None], rows, columns])
    flat = np.concatenate(chosen).reshape(count, -1).astype(np.float32)
    return rng.permutation(flat / 127.5 - 1.0)


def _initial(quantizer: "Quantizer", size: int, hidden: int, keys: Any) -> Any:
    """Parameters of the autoencoder, and the quantizer's state.

    Args:
      size: values of a patch.
      keys: five random keys.
    """
    import jax
    import jax.numpy as jnp

    dim = quantizer.dim
    shapes = [(size, hidden), (hidden, dim), (dim, hidden), (hidden, size)]
    weights = [
        jax.random.normal(k, shape) * (2 / shape[0]) ** 0.5
        for k, shape in zip(keys, shapes, strict=False)
    ]
    biases = [jnp.zeros(shape[1]) for shape in shapes]
    quantizer_params, state = quantizer.init(keys[4])
    return {"weights": weights, "biases": biases, "quantizer": quantizer_params}, state


def _loss(
    quantizer: "Quantizer",
    params: Any,
    state: Any,
    x: Any,
    *,
    training: bool,
    **draws: Any,
) -> Any:
    """The loss of a batch; its squared error, and what the quantizer returned."""
    import jax
    import jax.numpy as jnp

    def layer(i: int, x: Any) -> Any:
        return x @ params["weights"][i] + params["biases"][i]

    z = layer(1, jax.nn.relu(layer(0, x)))
    quantized = quantizer.quantize(
        params["quantizer"], state, z, training=training, **draws
    )
    decoded = jax.nn.relu(layer(2, quantized.z_q))
    error = jnp.mean((layer(3, decoded) - x) ** 2)
    return error + quantized.loss, (error, quantized)


def train(
    settings: LFQTraining, variant: str, training: "np.ndarray", test: "np.ndarray"
) -> Iterator[Point]:
    """Train one autoencoder; a point before the first step and after every interval.

    The function is long because its compiled parts share the quantizer, the optimizer
    and the random streams.
    """
    import jax
    import jax.numpy as jnp
    import optax

    from experiments.quantizers.variants import read_variant
    from lfq_jax.quantizers import make

    quantizer = make(read_variant(variant), dim=16)
    key = jax.random.key(settings.seed)
    keys = jax.random.split(key, 5)
    params, state = _initial(quantizer, training.shape[1], settings.hidden, keys)
    loss = functools.partial(_loss, quantizer)
    optimizer = optax.adam(settings.learning_rate)

    @jax.jit
    def step(params: Any, state: Any, moments: Any, x: Any, number: Any) -> Any:
        draws = {"key": jax.random.fold_in(key, number), "step": number}
        gradient, (_, quantized) = jax.grad(loss, has_aux=True)(
            params, state, x, training=True, **draws
        )
        updates, moments = optimizer.update(gradient, moments, params)
        return optax.apply_updates(params, updates), quantized.state, moments

    @jax.jit
    def measure(params: Any, state: Any) -> Any:
        draws = {"key": key, "step": settings.steps}
        _, (error, _) = loss(params, state, test, training=False)
        _, (_, quantized) = loss(params, state, test, training=True, **draws)
        return error, quantized.statistics

    def point(number: int) -> Point:
        error, statistics = jax.device_get(measure(params, state))
        return Point(
            step=number,
            perplexity=float(statistics.get("perplexity", 0.0)),
            used_codes=float(statistics.get("used_codes", 0.0)),
            psnr=float(10 * jnp.log10(4.0 / error)),  # in [-1, 1] the peak is 2
        )

    moments = optimizer.init(params)
    order = jax.random.randint(
        keys[4], (settings.steps, settings.batch_size), 0, len(training)
    )
    yield point(0)
    for i in range(settings.steps):
        params, state, moments = step(params, state, moments, training[order[i]], i)
        if (i + 1) % settings.log_every == 0 or i + 1 == settings.steps:
            yield point(i + 1)


def draw(path: Path, curves: dict[str, list[Point]], held_out: int) -> None:
    """Draw perplexity and PSNR over the steps into `path`."""
    from experiments.report.plotting import new_figure, write_figure

    figure = new_figure(9.6, 3.6)
    axes: Any = figure.subplots(1, 2)
    for variant, points in curves.items():
        steps = [point.step for point in points]
        axes[0].plot(steps, [point.perplexity for point in points], label=variant)
        axes[1].plot(steps, [point.psnr for point in points], label=variant)
    axes[0].set(yscale="log", title=f"perplexity of {held_out} held-out patches")
    axes[1].set(title="PSNR of their reconstruction, dB")
    for panel in axes:
        panel.title.set_fontsize(9)
        panel.set_xlabel("step")
        panel.legend(fontsize=8)
    write_figure(figure, path)


_CELLS = [
    (name, digits, i)
    for name, digits in (("perplexity", 1), ("used_codes", 0), ("psnr", 2))
    for i in (0, -1)
]
"""Columns of the table: field of a point, decimals, index of the point."""


def table(curves: dict[str, list[Point]]) -> str:
    """The table of every variant's first and last point."""
    from experiments.report.results_table import aligned

    heads = ["variant", "steps", "perplexity", "", "codes", "", "PSNR, dB", ""]
    lines = [
        [
            variant,
            str(points[-1].step),
            *(f"{getattr(points[i], name):.{digits}f}" for name, digits, i in _CELLS),
        ]
        for variant, points in curves.items()
    ]
    return aligned(heads, lines)


def run(settings: LFQTraining) -> Path:
    """The run's folder, after training every variant.

    Writes the points and curve.png, and prints the table.

    Raises:
      ValueError: if a variant is wrong, or the folder exists.
    """
    import jax

    from experiments.quantizers.variants import read_variant

    for variant in settings.variants:
        read_variant(variant)  # refuses mistakes before a folder is created
    if settings.out and settings.out.exists():
        raise ValueError(f"--out {settings.out} must not exist yet")
    training = patches(settings, "train", 64 * settings.batch_size)
    test = patches(settings, "test", settings.held_out)
    device = f"{jax.devices()[0].device_kind} x {jax.device_count()}"
    path = settings.out or new_run_path(Path("runs"), "lfq-training")
    folder = RunFolder.create(path, as_json(settings), device, command="lfq_training")
    with folder.in_use():
        curves = _curves(settings, training, test, folder)
    draw(path / "curve.png", curves, settings.held_out)
    print(table(curves))
    print(f"\ncurve  {path / 'curve.png'}")
    return path


def _curves(
    settings: LFQTraining,
    training: "np.ndarray",
    test: "np.ndarray",
    folder: RunFolder,
) -> dict[str, list[Point]]:
    """The points of every variant, which are also added to the run's results."""
    from datasets.progress import Bar

    curves: dict[str, list[Point]] = {}
    for variant in settings.variants:
        points = train(settings, variant, training, test)
        total = -(-settings.steps // settings.log_every) + 1
        curves[variant] = list(Bar(points, desc=variant, total=total))
        rows = [point._asdict() for point in curves[variant]]
        folder.add_result({"variant": variant, "points": rows})
    return curves


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    argv = sys.argv[1:] if argv is None else argv
    prog = "python -m experiments.quantizers.lfq_training"
    settings = read_command_line(LFQTraining(), prog=prog, argv=argv)
    from datasets.errors import one_line_errors

    with one_line_errors():
        run(settings)


if __name__ == "__main__":
    main()
