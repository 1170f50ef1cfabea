"""The shared evaluation: AUROC, AP, F1-max and PRO of anybody's maps. numpy only.

The ground-truth rule: a map is brought to its mask's own resolution
(`to_mask_resolution`), masks are boolean, regions are 8-connected.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Bool, Float, Float64
from PIL import Image
from scipy import ndimage

from lfq_jax import curves
from lfq_jax.curves import Counts

Mode = Literal["streaming", "exact"]
EIGHT_CONNECTED = np.ones((3, 3), int)
_DROPPED_BITS = 12
_BINS = 1 << (32 - _DROPPED_BITS)


@dataclass(frozen=True)
class Evaluation:
    """Figures of one category. One that cannot be computed is None, with its reason."""

    image_auroc: float | None = None
    image_ap: float | None = None
    image_f1_max: float | None = None
    image_threshold: float | None = None
    """Score from which an image is called anomalous, for the largest F1."""
    pixel_auroc: float | None = None
    pixel_ap: float | None = None
    pixel_f1_max: float | None = None
    pixel_threshold: float | None = None
    pro: float | None = None
    not_computed: dict[str, str] = field(default_factory=dict)

    def asdict(self) -> dict[str, float | dict[str, str] | None]:
        return dataclasses.asdict(self)


def to_mask_resolution(
    anomaly_map: Float[np.ndarray, "h w"], shape: tuple[int, int]
) -> Float[np.ndarray, "H W"]:
    """Bilinear, half-pixel centres, edges repeated (paper 3.5)."""
    if anomaly_map.shape == tuple(shape):
        return np.asarray(anomaly_map, np.float32)
    image = Image.fromarray(np.asarray(anomaly_map, np.float32))
    height, width = shape
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def region_weights(mask: Bool[np.ndarray, "h w"]) -> Float64[np.ndarray, "n"]:
    """1 / (size of its region) for every anomalous pixel, in the mask's own order."""
    labels, count = ndimage.label(mask, structure=EIGHT_CONNECTED)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    return 1.0 / sizes[labels[mask]]


def _check_pair(anomaly_map: np.ndarray, mask: np.ndarray, index: int) -> None:
    if anomaly_map.shape != mask.shape:
        raise ValueError(
            f"maps[{index}] must have its mask's shape {mask.shape}, "
            f"got {anomaly_map.shape}"
        )
    if mask.dtype != bool:
        raise ValueError(f"masks[{index}] must be boolean, got {mask.dtype}")
    if not np.isfinite(anomaly_map).all():
        raise ValueError(f"maps[{index}] must be finite, got NaN or infinity")


class PixelMetrics(Protocol):
    """Counts of pixels, gathered image by image."""

    def update(
        self, maps: Iterable[np.ndarray], masks: Iterable[np.ndarray]
    ) -> None: ...

    def counts(self) -> Counts: ...


def _bin(scores: Float[np.ndarray, "n"]) -> np.ndarray:
    """Bin of each float32 score: the upper 20 bits of its order-preserving integer."""
    bits = np.ascontiguousarray(scores, np.float32).view(np.uint32)
    # -0.0 and 0.0 are one score; negative numbers order the other way round.
    bits = np.where(bits == 0x80000000, 0, bits)
    negative = bits >> 31 == 1
    ordered = np.where(negative, ~bits, bits | 0x80000000)
    return (ordered >> _DROPPED_BITS).astype(np.int32)


def _bin_scores() -> Float64[np.ndarray, "b"]:
    """The smallest score of each bin."""
    ordered = np.arange(_BINS, dtype=np.uint32) << _DROPPED_BITS
    negative = ordered < 0x80000000
    bits = np.where(negative, ~ordered, ordered & 0x7FFFFFFF)
    with np.errstate(invalid="ignore"):  # the outermost bins hold no finite score
        return bits.view(np.float32).astype(np.float64)


class StreamingPixelMetrics:
    """Pixel counts in constant memory, mergeable, without score bounds in advance.

    A bin is the upper 20 bits of the float32 score: sign, exponent and 11 bits of the
    mantissa, so scores that differ by more than 1 in 2,048 are never mistaken for
    equal, whatever their range. All other figures are exact, and those of tied scores
    are the exact ones. `error_bound` bounds the error that remains.
    """

    def __init__(self) -> None:
        self.normal = np.zeros(_BINS, np.int64)
        self.anomalous = np.zeros(_BINS, np.int64)
        self.covered = np.zeros(_BINS, np.float64)
        self.images = 0

    def update(self, maps: Iterable[np.ndarray], masks: Iterable[np.ndarray]) -> None:
        """Add images: maps float [h w], masks bool [h w].

        Raises:
          ValueError: where a map is not finite, or has not its mask's shape.
        """
        for anomaly_map, mask in zip(maps, masks, strict=True):
            _check_pair(anomaly_map, mask, self.images)
            bins = _bin(anomaly_map.ravel()).reshape(mask.shape)
            found = np.bincount(bins.ravel(), minlength=_BINS)
            if mask.any():
                inside = bins[mask]
                of_anomalous = np.bincount(inside, minlength=_BINS)
                self.anomalous += of_anomalous
                found -= of_anomalous
                self.covered += np.bincount(
                    inside, weights=region_weights(mask), minlength=_BINS
                )
            self.normal += found
            self.images += 1

    def merge(self, other: "StreamingPixelMetrics") -> None:
        """Add what another process has counted."""
        self.normal += other.normal
        self.anomalous += other.anomalous
        self.covered += other.covered
        self.images += other.images

    def counts(self) -> Counts:
        used = np.flatnonzero(self.normal + self.anomalous)[::-1]
        return Counts(
            thresholds=_bin_scores()[used],
            normal=self.normal[used].astype(np.float64),
            anomalous=self.anomalous[used].astype(np.float64),
            covered=self.covered[used],
        )

    def error_bound(self) -> float:
        """Largest possible error of the pixel AUROC: half of what the bins tie."""
        counts = self.counts()
        tied = counts.normal * counts.anomalous
        pairs = counts.normal.sum() * counts.anomalous.sum()
        return float(tied.sum() / pairs / 2) if pairs else 0.0


class ExactPixelMetrics:
    """Pixel counts at every distinct score. Memory grows with the pixels."""

    def __init__(self) -> None:
        self._scores: list[np.ndarray] = []
        self._anomalous: list[np.ndarray] = []
        self._covered: list[np.ndarray] = []

    def update(self, maps: Iterable[np.ndarray], masks: Iterable[np.ndarray]) -> None:
        """As `StreamingPixelMetrics.update`."""
        for anomaly_map, mask in zip(maps, masks, strict=True):
            _check_pair(anomaly_map, mask, len(self._scores))
            covered = np.zeros(mask.shape)
            if mask.any():
                covered[mask] = region_weights(mask)
            self._scores.append(np.asarray(anomaly_map, np.float64).ravel())
            self._anomalous.append(mask.ravel())
            self._covered.append(covered.ravel())

    def merge(self, other: "ExactPixelMetrics") -> None:
        """Add what another process has gathered."""
        self._scores += other._scores
        self._anomalous += other._anomalous
        self._covered += other._covered

    def counts(self) -> Counts:
        if not self._scores:
            return Counts(*(np.zeros(0) for _ in Counts._fields))
        return count_scores(
            np.concatenate(self._scores),
            np.concatenate(self._anomalous),
            np.concatenate(self._covered),
        )


def count_scores(
    scores: Float[np.ndarray, "n"],
    anomalous: Bool[np.ndarray, "n"],
    covered: Float64[np.ndarray, "n"] | None = None,
) -> Counts:
    """Counts at every distinct score, from the highest down."""
    values, place = np.unique(scores, return_inverse=True)
    size = len(values)
    positives = np.bincount(place, weights=anomalous, minlength=size)
    everything = np.bincount(place, minlength=size)
    weights = np.zeros(len(scores)) if covered is None else covered
    shares = np.bincount(place, weights=weights, minlength=size)
    return Counts(
        thresholds=values[::-1].astype(np.float64),
        normal=(everything - positives)[::-1],
        anomalous=positives[::-1],
        covered=shares[::-1],
    )


def _missing_class(counts: Counts, what: str) -> str | None:
    """Why no figure can be computed, or None."""
    if not len(counts.thresholds):
        return f"there is no {what}"
    if not counts.anomalous.any():
        return f"there is no anomalous {what}"
    if not counts.normal.any():
        return f"there is no normal {what}"
    return None


def evaluate(
    scores: Float[np.ndarray, "n"],
    labels: np.ndarray,
    maps: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    *,
    mode: Mode = "streaming",
    pro_fpr_limit: float = 0.3,
) -> Evaluation:
    """Every figure of one category.

    Args:
      scores: one a image; the higher the more anomalous.
      labels: 1 where the image is anomalous, else 0.
      maps: float [h w], at each mask's own resolution; none leaves the pixels out.
      masks: bool [h w], True where anomalous.
      mode: how pixels are counted. Images are always counted exactly.
      pro_fpr_limit: false-positive rate up to which PRO is integrated.

    Raises:
      ValueError: scores or maps that are not finite, lengths or shapes that differ.
    """
    scores = np.asarray(scores, np.float64)
    is_anomalous = np.asarray(labels).astype(bool)
    if scores.shape != is_anomalous.shape:
        raise ValueError(
            f"scores and labels must have one length, got {scores.shape} and "
            f"{is_anomalous.shape}"
        )
    if not np.isfinite(scores).all():
        bad = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ValueError(f"scores must be finite, got {scores[bad]} for image {bad}")
    if not 0 < pro_fpr_limit <= 1:
        raise ValueError(f"pro_fpr_limit must be in (0, 1], got {pro_fpr_limit}")
    figures: dict[str, float] = {}
    reasons: dict[str, str] = {}
    images = count_scores(scores, is_anomalous)
    reason = _missing_class(images, "image")
    if reason:
        reasons |= dict.fromkeys(("image_auroc", "image_ap", "image_f1_max"), reason)
    else:
        figures["image_auroc"] = curves.auroc(images)
        figures["image_ap"] = curves.average_precision(images)
        best, threshold = curves.f1_max(images)
        figures |= {"image_f1_max": best, "image_threshold": threshold}
    gathered: PixelMetrics = (
        StreamingPixelMetrics() if mode == "streaming" else ExactPixelMetrics()
    )
    gathered.update(maps, masks)
    pixels = gathered.counts()
    reason = _missing_class(pixels, "pixel")
    if reason:
        names = ("pixel_auroc", "pixel_ap", "pixel_f1_max", "pro")
        reasons |= dict.fromkeys(names, reason)
    else:
        figures["pixel_auroc"] = curves.auroc(pixels)
        figures["pixel_ap"] = curves.average_precision(pixels)
        best, threshold = curves.f1_max(pixels)
        figures |= {"pixel_f1_max": best, "pixel_threshold": threshold}
        figures["pro"] = curves.pro(pixels, fpr_limit=pro_fpr_limit)
    return Evaluation(**figures, not_computed=reasons)
