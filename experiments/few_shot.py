"""The main job: train a detector on a few good parts, measure it, show what it found.

    python -m experiments.few_shot --shots 2

The loop below is the experiment. For every category: pick the shots, make anomalies
from them, train, score the test images, measure, write one line and the pictures.
"""

import dataclasses
import functools
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, cast

import tyro

from agm_torch.config import GeneratorConfig
from experiments.at_once import Job, leave_running, lines_of, shows_bars
from experiments.command_line import (
    flag_value,
    flat,
    names,
    read_command_line,
    require_at_least,
)
from experiments.hosts import HostsConfig, join, throwaway
from experiments.run import (
    INTERRUPTED,
    RunFolder,
    cache_folder,
    data_source,
    interruption,
    keep_compiled,
    make_or_open,
)
from lfq_jax.config import (
    PRESETS,
    ModelConfig,
    ScoreConfig,
    TrainConfig,
    as_json,
    from_json,
)

if TYPE_CHECKING:  # these import jax, which --help must not wait for
    from datasets import Shots
    from datasets.example import Example
    from experiments.patchcore import PatchCore
    from lfq_jax.training.loop import Trained

PresetName = Literal["best", "cpu", "paper"]


@dataclass(frozen=True)
class FewShot:
    """Train a few-shot anomaly detector, measure it, and draw what it finds."""

    shots: int = 2
    """Good parts to learn from, a category."""
    seed: int = 0
    """Chooses the shots, the anomalies, the initial weights and every draw."""
    dataset: str = "rendered_ad"
    """A data set's name, or `folder` for your own images."""
    data_dir: Path | None = None
    """Where the data lies: its folder, or its archive. For `folder`: one sub-folder a
    category, in MVTec layout."""
    kind: Literal["auto", "texture", "object"] = "auto"
    """For `folder`: whether the photographs show a texture or an object."""
    allow_partial: bool = False
    """Take a sample of a published data set: do not check its numbers of images."""
    on_leak: Literal["refuse", "warn", "ignore"] = "warn"
    """What to do where a test image is also a training image, pixel by pixel."""
    categories: tuple[str, ...] = ()
    """Categories to run. None named: all of them."""
    preset: PresetName = "best"
    """`best`: what has been most accurate so far. `cpu`: the same with textures at 256
    px. `paper`: the paper's sizes and schedule, from scratch."""
    encoder: str = "scratch"
    """`pretrained:PATH`: compare the features of the pretrained network in this file
    (.npz or .safetensors), too. `scratch`: nothing was ever trained on other images."""
    out: Path | None = None
    """The run's folder. None named: runs/<date>-<time>-<what>."""
    resume: Path | None = None
    """Go on with the run in this folder, with the settings it was started with."""
    cache_dir: Path = field(default_factory=cache_folder)
    """Prepared data and synthetic anomalies are kept here for the next run."""
    agm_python: Annotated[Path | None, tyro.conf.arg(aliases=("--agm.python",))] = None
    """The Python that runs the generator, where torch lives in another environment."""
    agm_workers: Annotated[int, tyro.conf.arg(aliases=("--agm.workers",))] = 1
    """Processes that make anomalies at the same time; with several GPUs each takes one.
    The anomalies are the same with any number."""
    agm: GeneratorConfig = field(default_factory=GeneratorConfig)
    """How synthetic anomalies are made."""
    anomalies: int = 192
    """Synthetic anomalies to train on, a category."""
    validation_anomalies: int = 24
    """Synthetic anomalies held out to choose the best step and the threshold."""
    devices: int = 1
    """Devices that share every batch, on each host. 0: all of them. Without an
    accelerator as many as there are cores may be asked for, each with threads of its
    own. With --resume: those of the run, unless named."""
    hosts: HostsConfig = field(default_factory=HostsConfig)
    """Several machines that train together."""
    at_once: int = 1
    """Categories that are run at the same time, on one device. Each comes out as it
    does alone."""
    profile: bool = False
    """Write a trace of one logging interval, of every category, for jax's profiler."""
    pictures: int = 40
    """Test images to draw at most, a category."""
    texture_px: int = PRESETS["best"].texture_px
    """Textures are seen as large as the shots are, but up to this side of the square;
    objects, and shots that are smaller, at --model.image-px. 0, or an --model.image-px
    that is named: always at that."""
    model: ModelConfig = PRESETS["best"].model
    """The networks."""
    train: TrainConfig = PRESETS["best"].train
    """The optimisation."""
    score: ScoreConfig = PRESETS["best"].score
    """From maps to decisions."""

    def __post_init__(self) -> None:
        require_at_least(self, shots=1, anomalies=1, validation_anomalies=1, at_once=1)
        require_at_least(
            self, agm_workers=1, seed=0, devices=0, texture_px=0, pictures=0
        )
        if self.at_once > 1:
            self._check_shared_device()
        if not self.encoder_path and self.encoder != "scratch":
            raise ValueError(
                "--encoder must be scratch, or pretrained: and the path of a file of "
                f"weights, got {self.encoder}"
            )
        if self.out and self.resume:
            raise ValueError(
                "--out and --resume exclude each other: a run keeps its folder"
            )

    def _check_shared_device(self) -> None:
        """Refuse what several categories at once would mix up."""
        for flag, value, needed in (
            ("devices", self.devices, 1),  # two threads would wait for each other's
            ("hosts.count", self.hosts.count, 1),  # the hosts' orders would differ
            ("profile", self.profile, False),  # jax traces one thing at a time
        ):
            if value != needed:
                given = f"--{flag}" if value is True else f"--{flag} {value}"
                raise ValueError(
                    f"--at-once must be 1 with {given}, got {self.at_once}"
                )

    def of_category(self, kind: str, sides_px: Sequence[int]) -> "FewShot":
        """The settings for one category.

        Args:
          kind: `texture` or `object`.
          sides_px: all sides of the shots.
        """
        if kind != "texture":
            return self
        px = min(self.texture_px, *sides_px)
        px -= px % self.model.px_divisor
        return self._at(max(px, self.model.image_px))

    def of_shots(self, shots: "Shots") -> "FewShot":
        """The settings for the category that `shots` show."""
        sides_px = [side for each in shots.examples for side in each.image.shape[:2]]
        return self.of_category(shots.examples[0].kind, sides_px)

    def _at(self, image_px: int) -> "FewShot":
        model = dataclasses.replace(self.model, image_px=image_px)
        return dataclasses.replace(self, model=model, texture_px=0)

    @property
    def encoder_path(self) -> Path | None:
        """The pretrained network's weights."""
        source, _, path = self.encoder.partition(":")
        return Path(path) if source == "pretrained" and path else None

    @property
    def data(self) -> dict[str, Any]:
        """Where `datasets` finds the data and keeps its prepared copy."""
        partial = self.allow_partial
        return data_source(
            self.data_dir, self.cache_dir, self.kind, allow_partial=partial
        )

    @classmethod
    def of_preset(cls, name: PresetName, *, has_accelerator: bool = False) -> "FewShot":
        preset = PRESETS[name]
        model = preset.model
        if has_accelerator:
            model = dataclasses.replace(model, compute_dtype="bfloat16")
        return cls(
            preset=name,
            texture_px=preset.texture_px,
            model=model,
            train=preset.train,
            score=preset.score,
        )


def _finds_accelerator() -> bool:
    import jax

    return jax.default_backend() != "cpu"


def read_settings(
    argv: Sequence[str], *, has_accelerator: Callable[[], bool] = _finds_accelerator
) -> FewShot:
    """The settings that `argv` asks for; exits 2 on a mistake.

    The preset decides the defaults of the other flags, so it is looked at first. On an
    accelerator convolutions are in bfloat16, unless a flag says otherwise.
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
    _share_cores(settings)
    if not has_accelerator():
        return settings
    default = _default(argv, has_accelerator=True)
    return read_command_line(default, prog=prog, argv=argv)


def _default(argv: Sequence[str], *, has_accelerator: bool = False) -> FewShot:
    """What `argv` changes: the settings of the preset that it names."""
    named = flag_value(argv, "--preset")
    name = cast(PresetName, named) if named in PRESETS else "best"
    of_preset = FewShot.of_preset(name, has_accelerator=has_accelerator)
    if flag_value(argv, "--model.image-px") is None:
        return of_preset
    return dataclasses.replace(of_preset, texture_px=0)


def _share_cores(settings: FewShot) -> None:
    if settings.devices > 1:
        from lfq_jax.training.sharding import share_cores

        share_cores(settings.devices)


_KEPT_UNLESS_NAMED = ("agm_python", "agm_workers", "cache_dir", "devices")
_OF_THE_MACHINE = {*_KEPT_UNLESS_NAMED, "at_once", "hosts", "out", "resume"}


def _resumed(settings: FewShot, argv: Sequence[str]) -> FewShot:
    """The settings of the run to go on with, but for the machine's.

    Raises:
      ValueError: where it cannot be gone on with, or `argv` asks for something else.
    """
    if not settings.resume:
        return settings
    config = RunFolder.open(settings.resume, "few_shot").config
    earlier = (
        f"--resume {settings.resume} was started by another command, or by an "
        "earlier version, whose detectors were others: run it anew"
    )
    try:
        started = from_json(FewShot, config)
    except ValueError as error:
        raise ValueError(f"{earlier} ({error})") from error
    if as_json(started) != config:  # what is new would have its default
        raise ValueError(earlier)
    at_start, asked = flat(config), flat(as_json(settings))
    for name, value in asked.items():
        is_of_machine = name.partition(".")[0] in _OF_THE_MACHINE
        is_asked = names(argv, name) and not is_of_machine
        if is_asked and at_start.get(name) != value:
            flag = name.replace("_", "-")
            raise ValueError(
                f"--resume keeps the settings that a run was started with: --{flag} "
                f"was {at_start.get(name)}, got {value}"
            )
    named = {
        name: getattr(settings, name)
        for name in _KEPT_UNLESS_NAMED
        if names(argv, name) or names(argv, name.replace("_", ".", 1))
    }
    resumed = dataclasses.replace(
        started,
        **named,
        out=None,
        resume=settings.resume,
        hosts=settings.hosts,
        at_once=settings.at_once,
    )
    _share_cores(resumed)
    return resumed


def _with_encoder(settings: FewShot) -> FewShot:
    """The settings that compare the features of `--encoder`."""
    if settings.encoder_path is None:
        return settings
    from experiments.pretrained import with_encoder

    model = with_encoder(settings.model, settings.encoder_path)
    return dataclasses.replace(settings, model=model)


def _check_machine(settings: FewShot) -> None:
    """Refuse what these devices cannot do, before anything is prepared."""
    from lfq_jax.training.sharding import make_mesh

    make_mesh(settings.devices, batch_size=settings.train.batch_size)


def check_networks(settings: FewShot, shots: "Iterable[Shots]") -> None:
    """Refuse networks that cannot be trained on these shots, and more categories at
    once than there is memory for."""
    from lfq_jax.model.lfquiad import Model
    from lfq_jax.training.memory_budget import require_memory
    from lfq_jax.training.step import Trainer

    kinds = dict.fromkeys(
        (settings.of_shots(chosen).model, chosen.examples[0].kind == "texture")
        for chosen in shots
    )
    models = [Model(config, is_texture=is_texture) for config, is_texture in kinds]
    steps = settings.train.steps(settings.shots)
    for model in models:
        Trainer(model, settings.train, steps=steps, is_texture=model.is_texture)
    if settings.at_once > 1 and models:
        # of one size an object is the larger: it is searched for in place as well
        largest = max(models, key=lambda m: (m.config.image_px, not m.is_texture))
        require_memory(
            settings.at_once,
            largest,
            settings.train,
            anomalies=settings.anomalies + settings.validation_anomalies,
            shots=settings.shots,
        )


def _check_categories(settings: FewShot) -> None:
    """Refuse to go on without a category of the run; tell which ones are none of it."""
    import datasets

    if not settings.resume or not settings.categories:
        return
    known = datasets.categories(settings.dataset, settings.data_dir)
    for category in settings.categories:
        if category not in known:
            raise ValueError(
                f"--resume {settings.resume} needs its category {category}, but the "
                f"data has {', '.join(known)} now: put it back, or start a new run"
            )
    others = [category for category in known if category not in settings.categories]
    if others:
        print(
            f"left out, as this run was started without: {', '.join(others)}",
            file=sys.stderr,
        )


def _folder(settings: FewShot, categories: Sequence[str]) -> RunFolder:
    """Make the run's folder, or open the one to go on with.

    Args:
      categories: what the run consists of, whatever the data holds later.
    """
    if settings.hosts.index:
        return throwaway(settings.resume)
    name = f"{settings.dataset}-{settings.shots}shot-seed{settings.seed}"
    settings = dataclasses.replace(settings, categories=tuple(categories))
    return make_or_open(
        as_json(settings),
        command="few_shot",
        out=settings.out,
        resume=settings.resume,
        name=name,
    )


def _train(
    settings: FewShot,
    category: str,
    shots: "Shots",
    *,
    folder: Path,
    should_stop: Callable[[], bool],
) -> "tuple[Trained, dict[str, Any]]":
    """Anomalies from the shots, and a detector from both."""
    from tqdm import tqdm

    import datasets
    from experiments.sidecar import ensure_shards
    from lfq_jax.backbones import load_backbone
    from lfq_jax.inference.appearance import appearance
    from lfq_jax.inference.detector_files import DetectorRecord, save_detector
    from lfq_jax.inference.run_folder import DETECTOR
    from lfq_jax.training.data import load_shards, split
    from lfq_jax.training.loop import train

    started = time.monotonic()
    normals = [example.image for example in shots.examples]
    kind = shots.examples[0].kind
    shards = ensure_shards(
        normals,
        category=category,
        kind=kind,
        count=settings.anomalies + settings.validation_anomalies,
        seed=settings.seed,
        image_px=settings.model.image_px,
        config=settings.agm,
        cache_dir=settings.cache_dir / "anomalies",
        python=settings.agm_python,
        workers=settings.agm_workers,
        show_progress=shows_bars(settings.at_once),
        should_stop=should_stop,
    )
    data, held_out = split(load_shards(shards), held_out=settings.validation_anomalies)
    inputs = {
        "shots": shots.by_key,
        "shards": shards.name,
    }
    generated = time.monotonic() - started
    preparing = f"{category}: comparing with the shots and compiling, a minute"
    with tqdm(
        desc=preparing,
        bar_format="{desc}",
        unit="step",
        leave=False,
        disable=not shows_bars(settings.at_once),
    ) as bar:

        def on_step(step: int, steps: int, figures: dict[str, float]) -> None:
            bar.total, bar.bar_format = steps, None
            bar.set_description(f"{category}: training", refresh=False)
            bar.set_postfix(loss=f"{figures['loss']:.3f}", refresh=False)
            bar.update(step - bar.n)

        trained = train(
            data,
            held_out,
            model_config=settings.model,
            train_config=settings.train,
            score_config=settings.score,
            is_texture=kind == "texture",
            seed=settings.seed,
            folder=folder,
            devices=settings.devices,
            at_once=settings.at_once,
            profile=folder / "profile" if settings.profile else None,
            encoder=load_backbone(settings.encoder_path)
            if settings.encoder_path
            else None,
            inputs=inputs,
            on_step=on_step,
            should_stop=should_stop,
        )
    save_detector(
        folder / DETECTOR,
        DetectorRecord(
            category=category,
            kind=kind,
            shots=settings.shots,
            seed=settings.seed,
            photograph_px=(normals[0].shape[0], normals[0].shape[1]),
            bit_depth=datasets.camera_bits(
                settings.dataset, category, settings.data_dir
            ),
            model=settings.model,
            score=settings.score,
            appearance=appearance(data.normals),
            variables=trained.variables,
        ),
        thresholds=trained.thresholds,
        validation=trained.validation_images,
    )
    seconds = {"generate": generated, "train": trained.seconds}
    return trained, {"inputs": inputs, "seconds": seconds}


def _test(
    settings: FewShot,
    trained: "Trained",
    examples: "Sequence[Example]",
    *,
    folder: Path,
    category: str,
) -> dict[str, Any]:
    """Score the test images, draw them, measure them."""
    from tqdm import tqdm

    from experiments.code_report import draw_codes_of_test
    from experiments.curve_file import write_curves
    from experiments.measure import measure
    from experiments.pictures import draw_predictions
    from experiments.truths import Truth, photographs
    from lfq_jax.inference.predictor import predict

    started = time.monotonic()
    progress = tqdm(
        examples,
        desc=f"{category}: scoring",
        unit="image",
        leave=False,
        disable=not shows_bars(settings.at_once),
    )
    truths: list[Truth] = []
    predictions = list(
        predict(
            trained.scorer,
            trained.variables,
            photographs(progress, truths),
            batch_size=settings.score.batch_size,
        )
    )
    seconds = time.monotonic() - started
    measured = measure(truths, predictions, image_score=settings.score.image_score)
    write_curves(folder, truths, predictions)
    draw_predictions(
        folder,
        examples,
        truths,
        predictions,
        image_score=settings.score.image_score,
        limit=settings.pictures,
    )
    model = trained.scorer.model
    draw_codes_of_test(folder, model, trained.variables, examples, truths)
    return {**measured._asdict(), "seconds": {"predict": seconds}}


def run_category(
    settings: FewShot,
    category: str,
    shots: "Shots",
    *,
    folder: Path,
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    """One category from photographs to its line of results.jsonl."""
    import datasets
    from experiments.pictures import training_curves
    from experiments.pretrained import encoder_name
    from lfq_jax.quantizers import name_of

    started = time.monotonic()
    kind = shots.examples[0].kind
    settings = settings.of_shots(shots)
    folder.mkdir(parents=True, exist_ok=True)
    trained, made = _train(
        settings, category, shots, folder=folder, should_stop=should_stop
    )
    training_curves(folder / "metrics.jsonl", folder / "training_curves.png")
    test = datasets.load(
        settings.dataset, category, "test", on_leak=settings.on_leak, **settings.data
    )
    tested = _test(settings, trained, test, folder=folder, category=category)
    seconds = made["seconds"] | tested.pop("seconds")
    seconds["total"] = time.monotonic() - started
    return {
        "dataset": settings.dataset,
        "preset": settings.preset,
        "category": category,
        "kind": kind,
        "image_px": settings.model.image_px,
        "shots": settings.shots,
        "seed": settings.seed,
        "encoder": encoder_name(settings.model),
        "quantizer": name_of(settings.model.quantizer),
        "image_score": settings.score.image_score,
        **tested,
        "validation": trained.validation,
        "threshold": trained.thresholds.image_threshold,
        "threshold_rule": trained.thresholds.rule,
        "thresholds": {
            rule: dataclasses.asdict(each)
            for rule, each in trained.thresholds.image.items()
        },
        "best_step": trained.step,
        "inputs": {**made["inputs"], "test_images": len(test)},
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
    }


def pick_shots(settings: "FewShot | PatchCore") -> "dict[str, Shots]":
    """The shots of every category: mistakes are found before anything is trained."""
    import datasets

    known = datasets.categories(settings.dataset, settings.data_dir)
    return {
        category: datasets.shots(
            settings.dataset,
            category,
            settings.shots,
            settings.seed,
            **settings.data,
        )
        for category in settings.categories or known
    }


class Run(NamedTuple):
    """A run that is to be made whole."""

    settings: FewShot
    shots: "dict[str, Shots]"
    """Of every category."""
    folder: RunFolder


def run(settings: FewShot, shots: "dict[str, Shots]", folder: RunFolder) -> None:
    """Every category that `folder` has no result of, then the table and the report."""
    run_together({"": Run(settings, shots, folder)}, at_once=settings.at_once)


def run_together(runs: Mapping[str, Run], *, at_once: int) -> None:
    """Every category that its run has no result of, `at_once` at a time, of whichever
    runs; the table and the report of a run as soon as it is whole.

    Args:
      runs: by what they are called where it is told of their categories.
    """
    from tqdm.contrib.logging import logging_redirect_tqdm

    from lfq_jax.training.sharding import any_host

    with interruption() as should_stop, logging_redirect_tqdm():
        jobs: dict[str, Job] = {}
        run_of: dict[str, Run] = {}
        for run_name, run in runs.items():
            left = _jobs(run, should_stop)
            for category, job in left.items():
                name = f"{run_name} {category}" if run_name else category
                jobs[name], run_of[name] = job, run
            if not left:
                finish(run)

        def stops() -> bool:
            return any_host(should_stop())

        for name, line in lines_of(jobs, at_once=at_once, should_stop=stops):
            run = run_of[name]
            run.folder.add_result(line, order=list(run.shots))
            if len(run.folder.results()) == len(run.shots):
                finish(run)


def finish(run: Run) -> None:
    """The table of a run that is whole, and its report."""
    from experiments.report import write_report
    from experiments.table import results_table

    place = run.folder.path
    print(results_table(run.folder.results()))
    print(f"\npictures  {place}/<category>/pictures")
    print(f"report    {write_report(place)}")


def _jobs(run: Run, should_stop: Callable[[], bool]) -> dict[str, Job]:
    """What is to be done, by category."""
    done = {line["category"] for line in run.folder.results()}
    return {
        category: functools.partial(
            run_category,
            run.settings,
            category,
            chosen,
            folder=run.folder.path / category,
            should_stop=should_stop,
        )
        for category, chosen in run.shots.items()
        if category not in done
    }


def how_to_go_on(settings: FewShot, folder: RunFolder) -> str:
    """What a stopped run says: the command, on the host that keeps the run."""
    if settings.hosts.index:
        return "stopped; the first host says how to go on"
    at_once = f" --at-once {settings.at_once}" if settings.at_once > 1 else ""
    return (
        f"stopped; go on with: python -m experiments.few_shot --resume {folder.path}"
        f"{at_once}"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """The command line; returns normally only where the run is whole."""
    argv = sys.argv[1:] if argv is None else argv
    settings = read_settings(argv)
    from datasets.errors import one_line_errors

    with one_line_errors():
        settings = _resumed(settings, argv)
        settings = _with_encoder(settings)
        keep_compiled(settings.cache_dir)
        _check_machine(settings)
        _check_categories(settings)
        shots = pick_shots(settings)
        check_networks(settings, shots.values())
        folder = _folder(settings, list(shots))
        try:
            run(settings, shots, folder)
        except KeyboardInterrupt:
            print(how_to_go_on(settings, folder), file=sys.stderr)
            leave_running(INTERRUPTED)
            raise SystemExit(INTERRUPTED) from None


if __name__ == "__main__":
    main()
