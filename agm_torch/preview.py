"""A contact sheet like figure 2 of the paper: normal, mask, content, result."""

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from agm_torch.command_line import Preview
from agm_torch.engine.job import Job
from agm_torch.generator import Anomaly, AnomalyGenerator
from agm_torch.reporting import read_job
from datasets.files import write_atomically

_ROW = 3
"""Records side by side."""
_COLUMNS = ("normal", "mask", "content", "result")
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_GAP, _CAPTION = 6, 14
_BACKGROUND, _TEXT = (24, 24, 24), (225, 225, 225)


def preview_command(command: Preview) -> int:
    """Run `python -m agm_torch preview`, and print the path of the picture."""
    suffix = command.out.suffix.lower()
    if suffix not in _FORMATS:
        raise ValueError(f"out must end in {', '.join(_FORMATS)}, got {command.out}")
    if not command.out.parent.is_dir():
        raise FileNotFoundError(f"out: the folder {command.out.parent} does not exist")
    sheet = contact_sheet(read_job(command, count=command.count))
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, format=_FORMATS[suffix], quality=88)
    write_atomically(command.out, buffer.getvalue())
    print(command.out)
    return 0


def contact_sheet(job: Job) -> UInt8[np.ndarray, "h w 3"]:
    """The first records of a job: normal image, mask, content and result of each.

    The content column shows A of the blending equation, before it is mixed with the
    normal image; black outside the mask.
    """
    generator = AnomalyGenerator(job.config, kind=job.kind)
    scenes = generator.scenes(list(job.normals), category=job.category)
    panels = []
    for number in range(job.count):
        rng = np.random.default_rng((job.seed, number))
        scene = scenes[number % len(scenes)]
        (anomaly,) = generator.draw([scene], [rng])
        panels.append(_panel(scene.image, anomaly))
    return _grid(panels)


def unblended(
    normal: UInt8[np.ndarray, "h w 3"], anomaly: Anomaly
) -> UInt8[np.ndarray, "h w 3"]:
    """The content A of a blended record, black outside the mask.

    Solves S = N + (1 - beta) M (A - N) for A. Where M is small, rounding makes A
    coarse.
    """
    weight = anomaly.soft_mask * (1 - anomaly.provenance["beta"])
    change = anomaly.image.astype(np.float32) - normal
    content = normal + change / np.maximum(weight, 0.05)[:, :, None]
    shown = np.where(anomaly.mask[:, :, None] > 0, content, 0)
    return shown.round().clip(0, 255).astype(np.uint8)


def _panel(
    normal: UInt8[np.ndarray, "h w 3"], anomaly: Anomaly
) -> UInt8[np.ndarray, "h w 3"]:
    """Four pictures side by side, with content and shape written above."""
    mask = np.repeat(anomaly.mask[:, :, None], 3, axis=2)
    pictures = (normal, mask, unblended(normal, anomaly), anomaly.image)
    height, width = normal.shape[:2]
    panel = Image.new(
        "RGB", (len(pictures) * (width + 2), height + _CAPTION), _BACKGROUND
    )
    draw = ImageDraw.Draw(panel)
    made = anomaly.provenance
    captions = [*_COLUMNS[:3], f"{made['content']} in {made['shape']}"]
    for column, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left = column * (width + 2)
        panel.paste(Image.fromarray(picture), (left, _CAPTION))
        draw.text((left + 2, 1), caption, fill=_TEXT)
    return np.asarray(panel)


def _grid(panels: Sequence[UInt8[np.ndarray, "h w 3"]]) -> UInt8[np.ndarray, "h w 3"]:
    """One picture of all panels, `_ROW` to a row."""
    height, width = panels[0].shape[:2]
    across = min(_ROW, len(panels))
    down = -(-len(panels) // across)
    sheet = np.empty((down * (height + _GAP), across * (width + _GAP), 3), np.uint8)
    sheet[:] = _BACKGROUND
    for number, panel in enumerate(panels):
        row, column = divmod(number, across)
        top, left = row * (height + _GAP), column * (width + _GAP)
        sheet[top : top + height, left : left + width] = panel
    return sheet
