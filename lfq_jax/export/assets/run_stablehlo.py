"""Decide about photographs with this folder, jax, flatbuffers, numpy and Pillow.

python run.py photograph.png ...

A photograph that cannot be used is named in one line, the others are still decided, and
the exit status is 1.
"""

import json
import struct
import sys
from pathlib import Path

try:
    import flatbuffers  # noqa: F401  jax.export reads the graph with it
    import jax
    import numpy as np
    from PIL import Image, ImageOps
except ImportError as error:
    sys.exit(
        f"error: {error.name} is missing: pip install jax flatbuffers numpy pillow"
    )

FOLDER = Path(__file__).resolve().parent
ABOUT = json.loads((FOLDER / "export.json").read_text())


def prepared(path: str) -> np.ndarray:
    """A photograph as the graph's input: upright, 8 bits, without transparency.

    Raises:
      ValueError: the photograph has another mode or proportion, or is damaged.
      OSError: it cannot be opened.
    """
    try:
        with Image.open(path) as opened:
            # Pillow decodes colours of 16 bits to 8, and calls them RGB.
            is_wide = any(";16" in str(tile[3]) for tile in opened.tile)
            mode = "16 bits" if is_wide else opened.mode
            image = ImageOps.exif_transpose(opened)
            if mode not in ("1", "L", "P", "RGB") or "transparency" in image.info:
                raise ValueError(f"must be grey or RGB of 8 bits, got {mode}")
            image = image.convert("RGB")
    except (SyntaxError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise ValueError(f"is damaged or too large: {error}") from error
    about = ABOUT["preprocessing"]
    height, width = about["resize_to"]["height"], about["resize_to"]["width"]
    stretch = image.width * height / (image.height * width)
    largest = about["largest_stretch"]  # null: photographs of any proportion
    if largest and not 1 / largest <= stretch <= largest:
        raise ValueError(
            f"must have the proportion of {width} x {height} px, to a factor of "
            f"{largest:.2f}, got {image.width} x {image.height} px: cut it"
        )
    shrinks = image.width >= width and image.height >= height
    how = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return np.asarray(image.resize((width, height), how))


def shown(name: str) -> str:
    """A name for the output, in one line; what cannot be printed is escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in name
    )


def reason(error: Exception, path: str) -> str:
    """Why a photograph cannot be used, on one line that names it once."""
    text = error.strerror if isinstance(error, OSError) else ""
    words = " ".join((text or str(error)).replace(repr(path), "").split())
    return f"error: {shown(path)}: {words}"


graph = jax.export.deserialize(bytearray((FOLDER / ABOUT["file"]).read_bytes()))
size = 1 if ABOUT["batch_size"] == "any" else ABOUT["batch_size"]
names, failed = sys.argv[1:], 0
if not names:
    sys.exit("error: name one photograph or more: python run.py photograph.png ...")
for name in names:
    try:
        batch = np.repeat(prepared(name)[None], size, axis=0)
    except (OSError, ValueError) as error:
        print(reason(error, name), file=sys.stderr)
        failed += 1
        continue
    _, score, calibrated, is_anomalous, _ = (output[0] for output in graph.call(batch))
    verdict = "anomalous" if is_anomalous else "good"
    print(f"{verdict}  score {score:.6f}  calibrated {calibrated:.4f}  {shown(name)}")
sys.exit(1 if failed else 0)
