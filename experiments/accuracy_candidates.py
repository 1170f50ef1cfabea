"""Who takes part in the evaluation, and one candidate's run on one data set."""

import contextlib
import dataclasses
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from agm_torch.config import ContentWeights, ShapeWeights
from experiments import few_shot, patchcore
from experiments.few_shot import FewShot
from experiments.patchcore import PatchCore
from experiments.run import RunFolder
from lfq_jax.config import as_json
from lfq_jax.quantizers.config import NoneConfig

Candidate = Literal["main", "draem", "patchcore", "patchcore_unit"]
Job = FewShot | PatchCore
OURS = (
    *("shots", "seed", "dataset", "data_dir", "kind", "categories"),
    *("out", "resume", "cache_dir"),
)
"""Flags of the main job that the evaluation sets itself."""


def main_job(flags: Sequence[str]) -> FewShot:
    """The main job as `flags` have it; exits 2 on one that it does not know.

    Raises:
      ValueError: where they change what the evaluation itself decides.
    """

    asked = few_shot.read_settings(flags)
    default = FewShot()
    for name in OURS:
        if getattr(asked, name) != getattr(default, name):
            flag = name.replace("_", "-")
            raise ValueError(f"--{flag} behind -- is the evaluation's own to choose")
    if asked.encoder_path is None:
        return asked
    from experiments.pretrained import with_encoder

    model = with_encoder(asked.model, asked.encoder_path)
    return dataclasses.replace(asked, model=model)


def as_draem(job: FewShot) -> FewShot:
    """DRAEM within the main job's steps and sizes, at `--model.image-px`.

    A continuous bottleneck, image and reconstruction for the discriminator, and DRAEM's
    anomalies: thresholded Perlin noise anywhere on the image, filled with textures.
    Without `--agm.dtd-dir` the textures are drawn, not photographs.
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
        job, model=model, texture_px=0, agm=agm, encoder="scratch"
    )


def _only(weights: Any, *names: str) -> Any:
    """Weights of 1 for `names` and of 0 for all others."""
    fields = [each.name for each in dataclasses.fields(weights)]
    return weights(**{name: float(name in names) for name in fields})


def of_candidate(
    candidate: Candidate, flags: Sequence[str], features: Path | None
) -> Job:
    """A candidate's settings, but for data and seed.

    Args:
      flags: the main job's.
      features: weights of PatchCore's encoder.
    """
    if candidate == "main":
        return main_job(flags)
    if candidate == "draem":
        return as_draem(main_job(flags))
    if features is None:
        raise ValueError(f"--candidates {candidate} needs --features")
    job = PatchCore(features=features, unit_length=candidate == "patchcore_unit")
    patchcore.read_encoder(job)  # a wrong file is told of now
    return job


def open_run(job: Job, place: Path) -> RunFolder:
    """The folder of a run, made or found. Of a run that is not begun it is made anew:
    its commit is the one that it is measured at.

    Raises:
      ValueError: where `place` was started with other settings.
    """
    import jax

    config = as_json(job)
    command = "few_shot" if isinstance(job, FewShot) else "patchcore"
    folder = RunFolder(place)
    if not _is_begun(folder):
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


def _is_begun(folder: RunFolder) -> bool:
    """Whether it holds more than its settings, and what a killed writing left."""
    if not folder.path.is_dir():
        return False
    names = {path.name for path in folder.path.iterdir()}
    return any(not name.startswith(".") for name in names - {folder.config_path.name})


def run_jobs(jobs: Mapping[str, Job], folders: Mapping[str, RunFolder]) -> None:
    """What the runs' folders lack; categories of several runs at the same time, where
    the main job has several `at_once`.

    Args:
      jobs, folders: by the name of the run, of one candidate.

    Raises:
      ValueError: where there is too little memory for that.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # the evaluation has its own table
        runs: dict[str, few_shot.Run] = {}
        for name, job in jobs.items():
            shots = few_shot.pick_shots(job)
            if isinstance(job, FewShot):
                runs[name] = few_shot.Run(job, shots, folders[name])
            else:
                print(name, file=sys.stderr)
                patchcore.run(job, shots, folders[name])
        if runs:
            one = next(iter(runs.values())).settings  # they differ in data and seed
            shots = [each for run in runs.values() for each in run.shots.values()]
            few_shot.check_networks(one, shots)
            few_shot.run_together(runs, at_once=one.at_once)


def _decisive(config: dict[str, Any]) -> dict[str, Any]:
    """Settings without those that change no figure."""
    free = ("agm_workers", "at_once", "cache_dir", "out", "resume")
    return {k: v for k, v in config.items() if k not in free}
