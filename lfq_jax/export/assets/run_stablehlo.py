"""Decide about photographs with this folder, jax, flatbuffers, numpy and Pillow.

python run.py photograph.png ...
"""

import json
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
    """A photograph as the graph's input: upright, 8 bits, without transparency."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode not in ("1", "L", "P", "RGB") or "transparency" in image.info:
        sys.exit(f"error: {path} must be grey or RGB of 8 bits, got {image.mode}")
    image = image.convert("RGB")
    width, height = ABOUT["preprocessing"]["resize_to"]
    shrinks = min(image.size) >= width
    how = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return np.asarray(image.resize((width, height), how))


graph = jax.export.deserialize(bytearray((FOLDER / ABOUT["file"]).read_bytes()))
size = 1 if ABOUT["batch_size"] == "any" else ABOUT["batch_size"]
for name in sys.argv[1:]:
    batch = np.repeat(prepared(name)[None], size, axis=0)
    _, score, calibrated, is_anomalous, _ = (output[0] for output in graph.call(batch))
    verdict = "anomalous" if is_anomalous else "good"
    print(f"{verdict}  score {score:.6f}  calibrated {calibrated:.4f}  {name}")
