"""The candidates of the evaluation, and one candidate's run on one data set."""

import contextlib
import dataclasses
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from agm_torch.config import ContentWeights, ShapeWeights
from experiments.few_shot.checks import check_networks
from experiments.few_shot.runner import Run, run_together
from experiments.few_shot.settings import FewShot, read_settings
from experiments.patchcore import runner as patchcore
from experiments.patchcore.settings import PatchCore
from experiments.run.command_line import flag_value
from experiments.run.data_options import pick_shots
from experiments.run.folder import RunFolder
from lfq_jax.config import as_json
from lfq_jax.config.training_free import COMPARISONS
from lfq_jax.quantizers.config import NoneConfig

Candidate = Literal[
    "main",
    "knn",
    "subspace",
    "reconstruction",
    "draem",
    "patchcore",
    "patchcore_unit",
]
Job = FewShot | PatchCore
RESERVED_FLAGS = (
    *("shots", "seed", "dataset", "data_dir", "kind", "categories"),
    *("out", "resume", "cache_dir"),
)
"""Settings of the main job that the evaluation decides itself."""


def main_job(flags: Sequence[str]) -> FewShot:
    """The main job's settings from `flags`. Exits with status 2 on an unknown flag.

    Raises:
      ValueError: if `flags` set what the evaluation decides itself.
    """
    asked = read_settings(flags)
    default = FewShot()
    for name in RESERVED_FLAGS:
        if getattr(asked, name) != getattr(default, name):
            flag = name.replace("_", "-")
            raise ValueError(
                f"--{flag} must not follow --: the evaluation sets it itself"
            )
    from experiments.few_shot.backbone_option import with_backbone

    return with_backbone(asked)


def as_draem(job: FewShot) -> FewShot:
    """DRAEM with the main job's steps and sizes, at `--model.image-px`.

    The bottleneck is continuous, and the discriminator gets image and reconstruction.
    Anomalies are DRAEM's: thresholded Perlin noise anywhere on the image, filled with
    textures. Without `--agm.dtd-dir` the textures are drawn, not photographs.
    """
    model = dataclasses.replace(
        job.model,
        quantizer=NoneConfig(),
        memory_bank=None,
        discriminator_input="both",
    )
    textures = ("dtd",) if job.agm.dtd_dir else ("noise", "pattern")
    agm = dataclasses.replace(
        job.agm,
        generator="texture",
        masks="perlin",
        shapes=_only(ShapeWeights, "perlin"),
        content=_only(ContentWeights, *textures),
    )
    return dataclasses.replace(
        job, model=model, texture_px=0, object_px=0, agm=agm, backbone="none"
    )


def _only(weights: Any, *names: str) -> Any:
    """An instance of `weights` with weight 1 for `names` and 0 for all other fields."""
    fields = [item.name for item in dataclasses.fields(weights)]
    return weights(**{name: float(name in names) for name in fields})


def candidate_job(
    candidate: Candidate, flags: Sequence[str], features: str | None
) -> Job:
    """A candidate's settings, except data and seed.

    Args:
      flags: the main job's flags.
      features: PatchCore's backbone: a name, or a file of weights.

    Raises:
      ValueError: if PatchCore lacks `features`, or cannot use the file.
    """
    if candidate == "main":
        return main_job(flags)
    if candidate in COMPARISONS:
        return _training_free_job(candidate, flags)
    if candidate == "draem":
        return as_draem(main_job(flags))
    if features is None:
        raise ValueError(f"--candidates {candidate} needs --features")
    job = PatchCore(features=features, unit_length=candidate == "patchcore_unit")
    patchcore.read_encoder(job)  # refuses a wrong file before anything runs
    return job


def _training_free_job(method: str, flags: Sequence[str]) -> FewShot:
    """The main job with another method. The training's flags do not apply to it."""
    if flag_value(flags, "--method") is not None:
        raise ValueError(f"--method must not follow --: --candidates {method} sets it")
    return main_job(["--method", method, *flags])


def open_run(job: Job, place: Path) -> RunFolder:
    """The run's folder at `place`, created if it does not exist.

    A folder without results is created again, so that it records the commit at which
    the run is measured.

    Raises:
      ValueError: if the run in `place` was started with other settings.
    """
    import jax

    config = as_json(job)
    command = "few_shot" if isinstance(job, FewShot) else "patchcore"
    folder = RunFolder(place)
    if not _has_started(folder):
        if folder.config_path.is_file():
            folder.config_path.unlink()
        device = f"{jax.devices()[0].device_kind} x {jax.device_count()}"
        return RunFolder.create(place, config, device, command=command)
    RunFolder.open(place, command)
    if _decisive(folder.config) != _decisive(config):
        raise ValueError(
            f"{place} was started with other settings than this version has: "
            "choose another --out"
        )
    return folder


def _has_started(folder: RunFolder) -> bool:
    """Whether the folder contains more than its settings.

    Hidden files do not count: an interrupted write may have left them.
    """
    if not folder.path.is_dir():
        return False
    names = {path.name for path in folder.path.iterdir()}
    return any(not name.startswith(".") for name in names - {folder.config_path.name})


def run_jobs(jobs: Mapping[str, Job], folders: Mapping[str, RunFolder]) -> None:
    """Run every category that the folders lack.

    With the main job's `at_once` above 1, categories of several runs run at the same
    time.

    Args:
      jobs: one candidate's jobs, by the name of the run.
      folders: the runs' folders, by the name of the run.

    Raises:
      ValueError: if there is too little memory for `at_once` categories.
    """
    # The evaluation prints its own tables.
    with contextlib.redirect_stdout(io.StringIO()):
        runs: dict[str, Run] = {}
        for name, job in jobs.items():
            shots = pick_shots(job, shots=job.shots, seed=job.seed)
            if isinstance(job, FewShot):
                runs[name] = Run(job, shots, folders[name])
            else:
                print(name, file=sys.stderr)
                patchcore.run(job, shots, folders[name])
        if runs:
            # All runs share these settings: they differ only in data and seed.
            settings = next(iter(runs.values())).settings
            shots = [chosen for run in runs.values() for chosen in run.shots.values()]
            check_networks(settings, shots)
            run_together(runs, at_once=settings.at_once)


def _decisive(config: dict[str, Any]) -> dict[str, Any]:
    """The settings that can change a result."""
    free = ("agm_workers", "at_once", "cache_dir", "out", "resume")
    return {k: v for k, v in config.items() if k not in free}
