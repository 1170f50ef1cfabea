"""Makes torchvision's ordinary wheel importable beside a CPU-only torch.

The compiled part of the wheel links CUDA. Where CUDA cannot be loaded,
`import torchvision` ends in "operator torchvision::nms does not exist", although
nothing here needs the compiled part. Declaring the operator with a small Python kernel
is enough for transforms, models and (batched) non-maximum suppression.
"""

import functools
import importlib.util
from pathlib import Path

import torch
from torch import Tensor


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Indices of the boxes that greedy non-maximum suppression keeps, best first.

    `boxes` is n x 4 as (x1, y1, x2, y2), `scores` has n entries.
    """
    order = torch.argsort(scores, descending=True, stable=True)
    x1, y1, x2, y2 = boxes.unbind(1)
    area = (x2 - x1) * (y2 - y1)
    kept: list[Tensor] = []
    while order.numel():
        best, rest = order[0], order[1:]
        kept.append(best)
        width = torch.minimum(x2[best], x2[rest]) - torch.maximum(x1[best], x1[rest])
        height = torch.minimum(y2[best], y2[rest]) - torch.maximum(y1[best], y1[rest])
        shared = width.clamp(min=0) * height.clamp(min=0)
        order = rest[shared / (area[best] + area[rest] - shared) <= iou_threshold]
    return torch.stack(kept) if kept else torch.empty(0, dtype=torch.long)


def _compiled_part_loads() -> bool:
    """Whether torchvision's own operators can be loaded into this torch."""
    if torch.version.cuda is not None:
        return True
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        return True  # the import of torchvision names what is missing
    library = next(Path(found.origin).parent.glob("_C*.so"), None)
    try:
        if library is not None:
            torch.ops.load_library(str(library))
    except OSError:
        return False
    return library is not None


@functools.cache
def install() -> torch.library.Library | None:
    """Declare missing operators. To be called before torchvision is imported.

    Returns:
      The library that holds them, or None where torchvision's own can be loaded.
    """
    if _compiled_part_loads():
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):  # the import of torchvision looks up both
        library.define(
            f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        )
    library.impl("nms", nms, "CPU")
    import torchvision.ops.boxes as boxes

    # only this check: roi_align keeps its own and uses its Python version
    boxes._assert_has_ops = lambda: None
    return library
