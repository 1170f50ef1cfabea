"""What is written about a scored photograph: a row of the table, overlay, raw map."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

if TYPE_CHECKING:
    from lfq_jax.inference.detector import Prediction

MapFormat = Literal["none", "npy", "png", "tiff"]
OverlayFormat = Literal["none", "jpg", "png"]
COLUMNS = (
    *("file", "decision", "score", "calibrated", "threshold"),
    *("box_left", "box_top", "box_width", "box_height", "seconds", "error"),
)
GOOD, ANOMALOUS, UNREADABLE = "good", "anomalous", "unreadable"
JPEG_QUALITY = 90
OUTLINE = (255, 255, 255)
_FULL = 2.0  # value of the last colour, in multiples of the pixel threshold


class Box(NamedTuple):
    """A rectangle in an image, in pixels."""

    left: int
    top: int
    width: int
    height: int


def largest_box(mask: Bool[np.ndarray, "h w"]) -> Box | None:
    """The box around the largest connected region of a mask; None if it is empty."""
    from scipy import ndimage

    labels = np.zeros(mask.shape, np.int32)
    count = ndimage.label(mask, structure=np.ones((3, 3), int), output=labels)
    if not count:
        return None
    areas = np.bincount(labels.ravel())[1:]
    rows, columns = ndimage.find_objects(labels)[int(np.argmax(areas))]
    width, height = columns.stop - columns.start, rows.stop - rows.start
    return Box(int(columns.start), int(rows.start), int(width), int(height))


def row_of(
    name: str, prediction: "Prediction", *, threshold: float, seconds: float
) -> dict[str, Any]:
    """The row of a scored photograph, for scores.csv and scores.json."""
    from datasets.file_names import printable

    box = largest_box(prediction.mask)
    return {
        "file": printable(name),
        "decision": ANOMALOUS if prediction.is_anomalous else GOOD,
        "score": round(prediction.score, 7),
        "calibrated": round(prediction.calibrated, 5),
        "threshold": threshold,
        **{f"box_{side}": getattr(box, side, None) for side in Box._fields},
        "seconds": round(seconds, 4),
        "error": None,
    }


def unreadable_row(name: str, reason: str) -> dict[str, Any]:
    """The row of a file that could not be scored."""
    from datasets.file_names import printable

    return dict.fromkeys(COLUMNS) | {
        "file": printable(name),
        "decision": UNREADABLE,
        "error": printable(reason),
    }


def draw_overlay(
    image: UInt8[np.ndarray, "h w 3"],
    heat_map: Float[np.ndarray, "h w"],
    mask: Bool[np.ndarray, "h w"],
    *,
    pixel_threshold: float,
) -> UInt8[np.ndarray, "h w 3"]:
    """The photograph with its heat map, and a white outline around defects.

    A colour means the same in all pictures of a detector. The first colour stands for
    0, the middle one for the pixel threshold, the last one for twice the threshold.

    Args:
      image: the photograph.
      heat_map: probability that a pixel is anomalous.
      mask: True where the detector marks a defect.
      pixel_threshold: the heat map's value at which a pixel is marked.
    """
    from scipy import ndimage

    from experiments.report.panels import overlay

    scale = _FULL * max(pixel_threshold, 1e-6)
    drawn = overlay(image, np.clip(heat_map / scale, 0.0, 1.0))
    if mask.any():
        width = max(1, round(max(mask.shape) / 400))
        grown = ndimage.binary_dilation(mask, iterations=width)
        drawn[grown & ~mask] = OUTLINE
    return drawn


class ImageFiles:
    """Writes overlays and raw maps, named after the photographs by `OutputNames`."""

    def __init__(self, out: Path, *, overlays: OverlayFormat, maps: MapFormat) -> None:
        from datasets.file_names import OutputNames

        self.out = out
        self.overlays: OverlayFormat = overlays
        self.maps: MapFormat = maps
        self._names = OutputNames(f".{overlays}", f".{maps}")

    def reserve(self, names: Iterable[str]) -> None:
        """Keep the files of these photographs, which an earlier command has written."""
        for name in names:
            self._names.of(name)

    def write(
        self,
        name: str,
        image: UInt8[np.ndarray, "h w 3"],
        prediction: "Prediction",
        *,
        pixel_threshold: float,
    ) -> None:
        """Write the requested files of one image.

        An interrupted call leaves no partial file.
        """
        if self.overlays != "none":
            heat_map, mask = prediction.heat_map, prediction.mask
            drawn = draw_overlay(image, heat_map, mask, pixel_threshold=pixel_threshold)
            self._save(
                "overlays", name, self.overlays, image_bytes(drawn, self.overlays)
            )
        if self.maps != "none":
            self._save(
                "maps", name, self.maps, map_bytes(prediction.heat_map, self.maps)
            )

    def _save(self, folder: str, name: str, suffix: str, data: bytes) -> None:
        from datasets.files import make_folder, write_atomically

        path = self.out / folder / f"{self._names.of(name)}.{suffix}"
        make_folder(path.parent)
        write_atomically(path, data)


def image_bytes(image: UInt8[np.ndarray, "h w 3"], suffix: str) -> bytes:
    """The image as a PNG or JPEG file."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    kind = {"jpg": "JPEG", "png": "PNG"}[suffix]
    Image.fromarray(image).save(buffer, format=kind, quality=JPEG_QUALITY)
    return buffer.getvalue()


def map_bytes(heat_map: Float[np.ndarray, "h w"], suffix: MapFormat) -> bytes:
    """The map as a file: float32 for npy; 16 bit for png and tiff, 65535 for 1."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    if suffix == "npy":
        np.save(buffer, heat_map)
    else:
        levels = np.round(heat_map * 65535).astype(np.uint16)
        Image.fromarray(levels).save(buffer, format=suffix.upper())
    return buffer.getvalue()
