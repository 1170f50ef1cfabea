"""The settings of the main job, and how they are read from the command line."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from experiments.few_shot.hosts import HostsConfig, join, share_cores
from experiments.run.anomaly_options import AnomalyOptions
from experiments.run.command_line import (
    flag_value,
    read_command_line,
    require_at_least,
)
from experiments.run.data_options import CheckedDataOptions
from experiments.run.image_size import sized_for_shots
from lfq_jax.backbones.published import PUBLISHED
from lfq_jax.backbones.search import check_name
from lfq_jax.config import (
    PRESETS,
    TRAINING_FREE_SCORE,
    KnnConfig,
    ModelConfig,
    ReconstructionConfig,
    ScoreConfig,
    SubspaceConfig,
    TrainConfig,
    TrainingFreeConfig,
)

if TYPE_CHECKING:  # imports jax, which --help must not wait for
    from datasets import Shots

PresetName = Literal["best", "cpu", "paper"]
AUTO = "auto"
"""The preset's own backbone."""
Method = Literal["lfquiad", "knn", "subspace", "reconstruction"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True, kw_only=True)
class FewShot(AnomalyOptions, CheckedDataOptions):
    """Train a few-shot anomaly detector, measure it, and draw its predictions."""

    shots: int = 2
    """Good images to learn from, per category."""
    seed: int = 0
    """Seed of the shots, the anomalies, the initial weights and every random draw."""
    method: Method = "lfquiad"
    """How a detector is made. `lfquiad`: networks are trained on synthetic anomalies.
    The others need no anomalies. They compare features with those of the shots: `knn`
    by the nearest patch (AnomalyDINO, PatchCore), `subspace` by the residual outside
    the principal subspace (SubspaceAD), `reconstruction` by the residual after a
    quantized bottleneck (the paper's reconstruction, of features)."""
    preset: PresetName = "best"
    """`best`: the most accurate settings so far. `cpu`: as `best`, with textures at 256
    px. `paper`: the paper's sizes and schedule, trained from scratch."""
    backbone: str = AUTO
    """Pretrained network whose features are also compared with those of the shots: a
    name that `python -m experiments.backbones` lists, or a file of weights. `none`:
    only the shots are learnt from, no other images. `auto`: efficientnet_lite0 with
    preset `best` if its weights are installed, else none."""
    offline: bool = False
    """Never open a connection: missing weights are an error."""
    out: Path | None = None
    """The run's folder. Default: runs/<date>-<time>-<what>."""
    resume: Path | None = None
    """Resume the run in this folder, with the settings it was started with."""
    devices: int = 1
    """Devices that share every batch, on each host. 0: all of them. Without an
    accelerator, up to one device per core: each device gets its own threads. With
    --resume, the default is the run's number."""
    hosts: HostsConfig = field(default_factory=HostsConfig)
    """Several machines that train together."""
    at_once: int = 1
    """Categories that run at the same time, on one device. The results do not depend on
    this number."""
    profile: bool = False
    """Write a trace of one logging interval per category, for jax's profiler."""
    pictures: int = 40
    """Largest number of test images to draw, per category."""
    texture_px: int = PRESETS["best"].texture_px
    """Textures are seen at the size of their shots, but with at most the area of a
    square of this side, and with at least that of --model.image-px. 0, and the default
    where --model.image-px is given: --model.image-px."""
    object_px: int = PRESETS["best"].object_px
    """As --texture-px, for objects."""
    model: ModelConfig = PRESETS["best"].model
    """The networks."""
    train: TrainConfig = PRESETS["best"].train
    """The optimisation."""
    score: ScoreConfig = PRESETS["best"].score
    """From anomaly maps to decisions."""
    knn: KnnConfig = field(default_factory=KnnConfig)
    """Nearest neighbours, for `--method knn`."""
    subspace: SubspaceConfig = field(default_factory=SubspaceConfig)
    """The principal subspace, for `--method subspace`."""
    reconstruction: ReconstructionConfig = field(default_factory=ReconstructionConfig)
    """The quantized bottleneck, for `--method reconstruction`."""

    def __post_init__(self) -> None:
        require_at_least(self, shots=1, anomalies=1, validation_anomalies=1, at_once=1)
        require_at_least(
            self, agm_workers=1, seed=0, devices=0, texture_px=0, pictures=0
        )
        require_at_least(self, object_px=0)
        if self.at_once > 1:
            self._check_shared_device()
        if self.backbone != AUTO:
            check_name(self.backbone, "--backbone")
        if self.method != "lfquiad" and self.model.memory_bank is None:
            raise ValueError(
                f"--method {self.method} needs a preset that compares images with the "
                "shots, best or cpu: --preset paper does not"
            )
        if self.out and self.resume:
            raise ValueError(
                "--out and --resume exclude each other: a run keeps its folder"
            )

    def _check_shared_device(self) -> None:
        """Refuse what does not work with several categories at the same time."""
        for flag, value, needed in (
            ("devices", self.devices, 1),  # two threads would wait for each other
            ("hosts.count", self.hosts.count, 1),  # hosts' orders would differ
            ("profile", self.profile, False),  # jax traces one thing at a time
        ):
            if value != needed:
                given = f"--{flag}" if value is True else f"--{flag} {value}"
                raise ValueError(
                    f"--at-once must be 1 with {given}, got {self.at_once}"
                )

    def for_shots(self, shots: "Shots") -> "FewShot":
        """The settings for the category that `shots` show: with its image size.

        Raises:
          ValueError: the shots are too elongated.
        """
        is_texture = shots.examples[0].kind == "texture"
        largest_px = self.texture_px if is_texture else self.object_px
        model = sized_for_shots(self.model, shots, largest_px=largest_px)
        return dataclasses.replace(self, model=model, texture_px=0, object_px=0)

    @property
    def training_free(self) -> TrainingFreeConfig | None:
        """The detector of a `--method` other than `lfquiad`, which has None.

        It has the backbone and the image size of the networks that it is measured
        beside.
        """
        bank = self.model.memory_bank
        if self.method == "lfquiad" or bank is None:
            return None
        return TrainingFreeConfig(
            image_px=self.model.image_px,
            fit=self.model.fit,
            size_px=self.model.size_px,
            levels=bank.levels,
            backbone=bank.backbone,
            comparison=getattr(self, self.method),
        )

    @classmethod
    def of_preset(
        cls,
        name: PresetName,
        *,
        method: Method = "lfquiad",
        has_accelerator: bool = False,
    ) -> "FewShot":
        """The default settings of a preset; with bfloat16 on an accelerator."""
        preset = PRESETS[name]
        model = preset.model
        if has_accelerator:
            model = dataclasses.replace(model, compute_dtype="bfloat16")
        return cls(
            method=method,
            preset=name,
            texture_px=preset.texture_px,
            object_px=preset.object_px,
            model=model,
            train=preset.train,
            score=preset.score if method == "lfquiad" else TRAINING_FREE_SCORE,
        )


def _finds_accelerator() -> bool:
    import jax

    return jax.default_backend() != "cpu"


def read_settings(
    argv: Sequence[str], *, has_accelerator: Callable[[], bool] = _finds_accelerator
) -> FewShot:
    """The settings in `argv`; a mistake exits with status 2.

    The preset decides the defaults of the other flags, so it is read first. On an
    accelerator convolutions are in bfloat16, unless a flag says otherwise. Looking
    for an accelerator starts jax. So hosts are joined and cores are shared first.
    """
    prog = "python -m experiments.few_shot"
    default = _default(argv)
    settings = read_command_line(default, prog=prog, argv=argv)
    if settings.hosts.count > 1:
        from datasets.errors import one_line_errors

        with one_line_errors():
            join(settings.hosts)
    if settings.resume:
        return settings
    share_cores(settings.devices)
    if not has_accelerator():
        return settings
    default = _default(argv, has_accelerator=True)
    return read_command_line(default, prog=prog, argv=argv)


def _default(argv: Sequence[str], *, has_accelerator: bool = False) -> FewShot:
    """The settings of the preset and the method that `argv` names."""
    named = flag_value(argv, "--preset")
    name = cast(PresetName, named) if named in PRESETS else "best"
    method = flag_value(argv, "--method")
    of_preset = FewShot.of_preset(
        name,
        # A training-free method has no preset `paper`: `FewShot` refuses both together.
        method=cast(Method, method)
        if method in METHODS and name != "paper"
        else "lfquiad",
        has_accelerator=has_accelerator,
    )
    if flag_value(argv, "--model.image-px") is not None:
        return dataclasses.replace(of_preset, texture_px=0, object_px=0)
    entry = PUBLISHED.get(flag_value(argv, "--backbone") or "")
    if entry is None or entry.image_px is None:
        return of_preset
    model = dataclasses.replace(of_preset.model, image_px=entry.image_px)
    return dataclasses.replace(of_preset, model=model)
