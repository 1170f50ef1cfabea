"""Decide about photographs with this folder, numpy, Pillow and onnxruntime only.

python run.py photograph.png ...
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

FOLDER = Path(__file__).resolve().parent
ABOUT = json.loads((FOLDER / "export.json").read_text())


def prepared(path: str) -> np.ndarray:
    """A photograph as the graph's input: upright, 8 bits, without transparency."""
    image = Image.open(path)
    # Pillow decodes colours of 16 bits to 8, and calls them RGB.
    is_wide = any(";16" in str(tile[3]) for tile in image.tile)
    mode = "16 bits" if is_wide else image.mode
    image = ImageOps.exif_transpose(image)
    if mode not in ("1", "L", "P", "RGB") or "transparency" in image.info:
        sys.exit(f"error: {path} must be grey or RGB of 8 bits, got {mode}")
    image = image.convert("RGB")
    width, height = ABOUT["preprocessing"]["resize_to"]
    shrinks = min(image.size) >= width
    how = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return np.asarray(image.resize((width, height), how))


options = onnxruntime.SessionOptions()
options.log_severity_level = 3  # only errors, not every constant that is removed
session = onnxruntime.InferenceSession(
    FOLDER / ABOUT["file"], options, providers=["CPUExecutionProvider"]
)
size = ABOUT["batch_size"]
for name in sys.argv[1:]:
    batch = np.repeat(prepared(name)[None], size, axis=0)
    outputs = session.run(["score", "calibrated", "is_anomalous"], {"images": batch})
    score, calibrated, is_anomalous = (np.asarray(output)[0] for output in outputs)
    verdict = "anomalous" if is_anomalous else "good"
    print(f"{verdict}  score {score:.6f}  calibrated {calibrated:.4f}  {name}")
