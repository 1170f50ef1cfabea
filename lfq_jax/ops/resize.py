"""Anomaly maps at the resolution of their masks."""

import numpy as np
from jaxtyping import Shaped


def to_mask_resolution(
    anomaly_map: Shaped[np.ndarray, "h w"], shape: tuple[int, int]
) -> Shaped[np.ndarray, "H W"]:
    """The map resized to `shape`, bilinearly (paper 3.5); float32 or float64.

    Half-pixel centres, edges repeated: `align_corners=False` without antialiasing in
    other libraries. A map that already has `shape` is returned unchanged.

    Raises:
      ValueError: if the map has no pixels or is not [h w].
    """
    if anomaly_map.ndim != 2 or not anomaly_map.size:
        raise ValueError(
            f"anomaly_map must be [h w] with pixels in it, got {anomaly_map.shape}"
        )
    if anomaly_map.dtype not in (np.float32, np.float64):
        is_narrow = anomaly_map.dtype.itemsize <= 2  # float32 holds every such value
        anomaly_map = anomaly_map.astype(np.float32 if is_narrow else np.float64)
    if anomaly_map.shape == tuple(shape):
        return anomaly_map
    height, width = shape
    # Columns first: their access is strided, and the map is still small.
    return _stretch(_stretch(anomaly_map.T, width).T, height)


def _stretch(values: Shaped[np.ndarray, "n m"], size: int) -> Shaped[np.ndarray, "N m"]:
    """`values` interpolated linearly to `size` rows."""
    rows = len(values)
    if rows == size:
        return values
    centres = (np.arange(size) + 0.5) * (rows / size) - 0.5
    centres = np.clip(centres, 0, rows - 1)
    lower = np.floor(centres).astype(np.intp)
    upper = np.minimum(lower + 1, rows - 1)
    share = (centres - lower).astype(values.dtype)[:, None]
    below = values[lower]
    return below + share * (values[upper] - below)
