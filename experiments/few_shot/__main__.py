"""The main job: train a detector on a few good parts, measure it, draw its predictions.

    python -m experiments.few_shot --shots 2

`main` below is the experiment. It checks everything first, so that a mistake costs
seconds. Then it runs every category (`category.run_category`): generate anomalies from
the shots, train, score the test images, measure, write the results and the pictures.
With another `--method`, a detector is fitted to the shots alone.
"""

import dataclasses
import sys
from collections.abc import Sequence

from experiments.few_shot.checks import (
    check_machine,
    check_networks,
    tell_of_one_shot,
)
from experiments.few_shot.hosts import temporary_folder
from experiments.few_shot.method_flags import refuse_unused, refuse_without_backbone
from experiments.few_shot.resume import check_categories, how_to_resume, resumed
from experiments.few_shot.runner import run
from experiments.few_shot.settings import FewShot, read_settings
from experiments.run.compile_cache import keep_compiled
from experiments.run.data_options import pick_shots
from experiments.run.folder import RunFolder, make_or_open
from experiments.run.interruption import resumable
from lfq_jax.config import as_json


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; return only when the run is complete."""
    argv = sys.argv[1:] if argv is None else argv
    settings = read_settings(argv)
    from datasets.errors import one_line_errors

    with one_line_errors():
        from experiments.few_shot.backbone_option import with_backbone
        from experiments.run.backbone_weights import forbid_connections

        settings = resumed(settings, argv)
        if settings.offline:
            forbid_connections()
        refuse_unused(settings.method, argv)
        settings = with_backbone(settings)
        refuse_without_backbone(settings.backbone, argv)
        keep_compiled(settings.cache_dir)
        check_machine(settings)
        check_categories(settings)
        shots = pick_shots(settings, shots=settings.shots, seed=settings.seed)
        check_networks(settings, shots.values())
        tell_of_one_shot(settings, shots)
        folder = _folder(settings, list(shots))
        with resumable(how_to_resume(settings, folder)):
            run(settings, shots, folder)


def _folder(settings: FewShot, categories: Sequence[str]) -> RunFolder:
    """Make the run's folder, or open the folder to resume.

    Args:
      categories: written down in a new folder. They stay the run's categories, even if
        the data has other categories later.
    """
    if settings.hosts.index:
        return temporary_folder(settings.resume)
    name = f"{settings.dataset}-{settings.shots}shot-seed{settings.seed}"
    if settings.method != "lfquiad":
        name = f"{name}-{settings.method}"
    settings = dataclasses.replace(settings, categories=tuple(categories))
    return make_or_open(
        as_json(settings),
        command="few_shot",
        out=settings.out,
        resume=settings.resume,
        name=name,
    )


if __name__ == "__main__":
    main()
