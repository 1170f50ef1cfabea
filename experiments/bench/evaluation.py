"""Measures how fast pixel metrics are computed, and in how much memory.

    python -m experiments.bench.evaluation

Maps are rendered: a smooth background, grain, and a response over each defect that does
not match its mask exactly. Each method runs in its own process with one thread, over
the same maps. Rendering is not timed. `streaming` and `exact` compute AUROC, AP, F1-max
and PRO. `global_sort` computes the same metrics from all pixels at once, as anomalib
does. It sorts only once, while anomalib sorts again for every metric and every region.
`sklearn` computes the AUROC only.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from experiments.run.command_line import read_flags

Method = Literal["streaming", "exact", "global_sort", "sklearn"]


@dataclass(frozen=True)
class Settings:
    """Measure the methods streaming, exact, sklearn and global sort in one run."""

    maps: int = 1000
    """Number of maps."""
    map_px: int = 512
    """Side of a map."""
    methods: tuple[Method, ...] = ("streaming", "exact", "global_sort", "sklearn")
    """Methods to measure."""
    streaming_maps: tuple[int, ...] = (4000,)
    """Further numbers of maps, for `streaming` only: its memory should not grow."""
    sklearn_maps: int | None = None
    """Number of maps for `sklearn`, which needs 15 MiB for each. Default: `maps`."""
    worker: Method | None = None
    """Internal: measure this method in this process and print its row."""


def main() -> None:
    """Measure and print one JSON object."""
    settings = read_flags(Settings, prog="python -m experiments.bench.evaluation")
    from datasets.errors import one_line_errors

    with one_line_errors():
        _measure(settings)


def _measure(settings: Settings) -> None:
    """Measure every method in its own process, or one of them in this process."""
    if settings.worker:
        print(json.dumps(_row(settings.worker, settings)))
        return
    counts = {"sklearn": settings.sklearn_maps or settings.maps}
    runs: list[tuple[Method, int]] = [
        (method, counts.get(method, settings.maps)) for method in settings.methods
    ]
    for count in settings.streaming_maps:
        runs.append(("streaming", count))
    rows = []
    for method, count in runs:
        rows.append(_row_from_process(method, count, settings.map_px))
        print(json.dumps(rows[-1]), file=sys.stderr)  # all rows take minutes
    print(json.dumps({"map_px": settings.map_px, "rows": rows}, indent=1))


def _row_from_process(method: Method, count: int, map_px: int) -> dict[str, Any]:
    """One row, measured in its own process so that memory peaks stay separate."""
    command = [sys.executable, "-m", "experiments.bench.evaluation"]
    command += ["--worker", method, "--maps", str(count), "--map-px", str(map_px)]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=os.environ | one_thread, stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout)


def rendered(count: int, px: int) -> Iterator[tuple[Any, Any]]:
    """`count` pairs of a map, f32 [px px] in [0, 1], and a mask with 1 to 5 regions.

    Only a few fields are drawn from noise. Maps are shifted mixtures of them, so that
    rendering a map takes milliseconds.
    """
    import numpy as np
    from scipy import ndimage

    rng = np.random.default_rng(0)
    fields = [
        ndimage.gaussian_filter(rng.normal(size=(px, px)), px / 32, mode="wrap")
        for _ in range(8)
    ]
    fields = [(field / field.std()).astype(np.float32) for field in fields]
    grains = [rng.normal(0, 0.3, (px, px)).astype(np.float32) for _ in range(4)]
    y, x = np.mgrid[:px, :px].astype(np.float32)
    for _ in range(count):
        mask = np.zeros((px, px), bool)
        logit = _shifted(fields, rng) + _shifted(grains, rng) - 4
        for _ in range(rng.integers(1, 6)):
            centre_y, centre_x = rng.uniform(0.1 * px, 0.9 * px, 2)
            radius = rng.uniform(0.01, 0.08) * px
            top, left = (max(0, int(c - 3 * radius)) for c in (centre_y, centre_x))
            window = np.s_[top : top + int(6 * radius), left : left + int(6 * radius)]
            radii = np.hypot(y[window] - centre_y, x[window] - centre_x) / radius
            mask[window] |= radii < 1
            response = rng.uniform(1, 6) * np.exp(
                -((radii / rng.uniform(0.7, 1.3)) ** 4)
            )
            logit[window] += response
        yield 1 / (1 + np.exp(-logit)), mask


def _shifted(fields: list[Any], rng: Any) -> Any:
    """One of the fields, shifted cyclically."""
    import numpy as np

    field = fields[rng.integers(len(fields))]
    return np.roll(field, rng.integers(0, len(field), 2), (0, 1))


def _row(method: Method, settings: Settings) -> dict[str, Any]:
    """Seconds, peak memory and metrics of one method."""
    measure = {
        "streaming": _streaming,
        "exact": _exact,
        "global_sort": _global_sort,
        "sklearn": _sklearn,
    }[method]
    import resource

    seconds, figures = measure(rendered(settings.maps, settings.map_px))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "method": method,
        "maps": settings.maps,
        "seconds": round(seconds, 2),
        "peak_mib": round(peak),
        **{name: round(value, 7) for name, value in figures.items()},
    }


def _streaming(pairs: Iterator[tuple[Any, Any]]) -> tuple[float, dict[str, float]]:
    from lfq_jax.metrics.evaluation import StreamingPixelMetrics

    return _update_and_compute(StreamingPixelMetrics(), pairs)


def _exact(pairs: Iterator[tuple[Any, Any]]) -> tuple[float, dict[str, float]]:
    from lfq_jax.metrics.evaluation import ExactPixelMetrics

    return _update_and_compute(ExactPixelMetrics(), pairs)


def _update_and_compute(
    metrics: Any, pairs: Iterator[tuple[Any, Any]]
) -> tuple[float, dict[str, float]]:
    """Seconds and all pixel metrics.

    Besides what `metrics` stores, one map at a time is in memory.
    """
    clock = _Clock()
    for anomaly_map, mask in pairs:
        with clock:
            metrics.update([anomaly_map], [mask])
    with clock:
        result = metrics.compute()
    errors = {f"{k}_error_bound": v for k, v in result.error_bounds.items()}
    return clock.seconds, result.values | errors


def _global_sort(pairs: Iterator[tuple[Any, Any]]) -> tuple[float, dict[str, float]]:
    """Seconds and metrics, from one descending sort and cumulative sums."""
    import numpy as np
    from scipy import ndimage

    scores, weights, clock = [], [], _Clock()
    for anomaly_map, mask in pairs:
        with clock:
            labelled: Any = ndimage.label(mask, structure=np.ones((3, 3)))
            labels = labelled[0]
            sizes = np.bincount(labels.ravel())
            weight = np.where(mask, 1 / sizes[labels], 0).astype(np.float32)
            scores.append(anomaly_map.ravel())
            weights.append(weight.ravel())
    with clock:
        figures = _from_one_sort(_joined(scores), _joined(weights))
    return clock.seconds, figures


def _joined(parts: list[Any]) -> Any:
    """The parts in one array. Empties the list, so that no part is stored twice."""
    import numpy as np

    whole = np.concatenate(parts)
    parts.clear()
    return whole


def _from_one_sort(scores: Any, weights: Any) -> dict[str, float]:
    """Pixel metrics from flat arrays.

    Args:
      weights: 1 / size of the region for anomalous pixels, 0 for good ones.
    """
    import numpy as np

    order = np.flip(np.argsort(scores))
    scores = scores[order]
    weights = weights[order]
    del order  # as early as possible: each of these arrays takes gigabytes
    last_of_ties = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)
    del scores
    true = np.cumsum(weights > 0)[last_of_ties].astype(np.float64)
    covered = np.cumsum(weights, dtype=np.float64)[last_of_ties]
    del weights
    accepted = (last_of_ties + 1).astype(np.float64)
    del last_of_ties
    figures = {
        "pixel_ap": float(
            np.sum(np.diff(true, prepend=0) * (true / accepted)) / true[-1]
        ),
        "pixel_f1_max": float(np.max(2 * true / (accepted + true[-1]))),
    }
    fpr = accepted - true
    del accepted
    fpr /= fpr[-1]
    figures["pixel_auroc"] = _area(fpr, true / true[-1], 1.0)
    del true
    covered /= covered[-1]
    for limit in (0.3, 0.05):
        figures[f"pro@{limit:g}"] = _area(fpr, covered, limit) / limit
    return figures


def _area(x: Any, y: Any, limit: float) -> float:
    """Area under the curve from (0, 0) through these points, up to x = `limit`."""
    import numpy as np

    end = int(np.searchsorted(x, limit, "right"))
    last = np.interp(limit, x[end - 1 : end + 1], y[end - 1 : end + 1])
    x = np.concatenate([[0.0], x[:end], [limit]])
    y = np.concatenate([[0.0], y[:end], [last]])
    return float(np.trapezoid(y, x))


def _sklearn(pairs: Iterator[tuple[Any, Any]]) -> tuple[float, dict[str, float]]:
    from sklearn.metrics import roc_auc_score

    maps, masks = [], []
    for anomaly_map, mask in pairs:
        maps.append(anomaly_map.ravel())
        masks.append(mask.ravel())
    scores, anomalous = _joined(maps), _joined(masks)
    clock = _Clock()
    with clock:
        auroc = float(roc_auc_score(anomalous, scores))
    return clock.seconds, {"pixel_auroc": auroc}


class _Clock:
    """Adds up the processor seconds of this process inside `with`."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        import time

        self._started = time.process_time()

    def __exit__(self, *_: object) -> None:
        import time

        self.seconds += time.process_time() - self._started


if __name__ == "__main__":
    main()
