"""PatchCore on a frozen backbone: the result that a detector has to beat.

    python -m experiments.patchcore --features efficientnet_lite0 --shots 2

Nothing is trained. For every category: store the shots' patches in a memory bank, score
the test images by their distance to the bank, measure, write one line and the pictures.

This is the published baseline: Euclidean distances, the largest distance re-weighted as
the image score, and no detector for later use. `experiments.few_shot --method knn`
compares by cosine distance, rotates the shots of objects, scores by the mean of the
highest 1 %, and makes a detector with thresholds and exports.
"""

import sys
from collections.abc import Sequence

from experiments.patchcore.runner import read_encoder, run
from experiments.patchcore.settings import PatchCore, read_settings
from experiments.run.compile_cache import keep_compiled
from experiments.run.data_options import pick_shots
from experiments.run.folder import RunFolder, make_or_open
from lfq_jax.config import as_json


def make_folder(settings: PatchCore) -> RunFolder:
    """The run's new folder, with its settings and their provenance."""
    keep_compiled(settings.cache_dir)
    name = f"{settings.dataset}-{settings.shots}shot-seed{settings.seed}-patchcore"
    return make_or_open(
        as_json(settings),
        command="patchcore",
        out=settings.out,
        resume=None,
        name=name,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command: every category, then the table and the report."""
    settings = read_settings(sys.argv[1:] if argv is None else argv)
    from datasets.errors import one_line_errors

    with one_line_errors():
        read_encoder(settings)  # refuses mistakes before the folder is created
        shots = pick_shots(settings, shots=settings.shots, seed=settings.seed)
        folder = make_folder(settings)
        with folder.in_use():
            run(settings, shots, folder)
        from experiments.report.page import write_report
        from experiments.report.results_table import results_table

        print(results_table(folder.results()))
        print(f"\nreport    {write_report(folder.path)}")


if __name__ == "__main__":
    main()
