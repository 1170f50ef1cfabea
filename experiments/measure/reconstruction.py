"""How well good parts and defects are reconstructed.

The question is the paper's. An autoencoder that copies any input (the identical
shortcut) also reconstructs defects, and so hides them from the discriminator.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from PIL import Image

from datasets.framing import Framing
from lfq_jax.inference.predictor import Predictor, Reconstruction
from lfq_jax.metrics.evaluation import StreamingPixelMetrics
from lfq_jax.training.data import Photographs
from lfq_jax.training.losses import ssim

if TYPE_CHECKING:
    from datasets.example import Example


def training_images(
    examples: "Iterable[Example]", framing: Framing
) -> tuple[np.ndarray, np.ndarray]:
    """The examples' images of the training size, u8 [n h w 3], and masks, bool [n h w].

    A pixel is defective if the mask is set at its centre. Each example is read once.
    """
    images, masks = [], []
    for example in examples:
        frame = framing.training_frame(example.image.shape)
        images.append(framing.put(example.image, frame))
        mask = Image.fromarray(example.mask).resize(
            (frame.width, frame.height), Image.Resampling.NEAREST
        )
        masks.append(np.pad(np.asarray(mask), frame.margins()))
    return np.stack(images), np.stack(masks)


def fidelity(found: Reconstruction, labels: np.ndarray) -> dict[str, float | None]:
    """Mean PSNR in dB and mean SSIM, over good images and over defective images."""
    error = ((found.images - found.reconstructions) ** 2).mean((1, 2, 3))
    psnr = -10 * np.log10(np.maximum(error, 1e-10))
    maps = ssim(jnp.asarray(found.images), jnp.asarray(found.reconstructions))
    similarity = np.asarray(maps).mean((1, 2, 3))
    groups = {"good": labels == 0, "defective": labels != 0}
    return {
        f"{name}_{group}": _mean(values[chosen])
        for name, values in (("psnr", psnr), ("ssim", similarity))
        for group, chosen in groups.items()
    }


def shortcut(found: Reconstruction, masks: np.ndarray) -> dict[str, float | None]:
    """Reconstruction errors inside and outside of defects.

    Returns:
      `error_inside` and `error_outside`: squared error of a pixel inside and outside
      of the defects, averaged over an image's pixels, then over the images with a
      defect. `error_ratio`: the first divided by the second. `error_pixel_auroc`: pixel
      AUROC of the squared error, over all images.
    """
    error = ((found.images - found.reconstructions) ** 2).mean(-1)
    shown = np.flatnonzero(masks.any((1, 2)) & ~masks.all((1, 2)))
    inside = _mean([error[i][masks[i]].mean() for i in shown])
    outside = _mean([error[i][~masks[i]].mean() for i in shown])
    pixels = StreamingPixelMetrics()
    pixels.update(list(error), list(masks))
    return {
        "error_inside": inside,
        "error_outside": outside,
        "error_ratio": inside / outside if inside and outside else None,
        "error_pixel_auroc": pixels.compute().values.get("pixel_auroc"),
    }


def survival(predictor: Predictor, held_out: Photographs) -> float | None:
    """Share of a synthetic defect that the reconstruction copies.

    Let a be an image with a defect of mask M, n the same image without the defect, and
    R the reconstruction. The result is the mean over the images of
    sum_M (R(a) - R(n)).(a - n) / sum_M |a - n|^2. 1 is the identical shortcut, 0 a
    complete repair.
    """
    with_defect = predictor.reconstruct(held_out.images)
    without = predictor.reconstruct(held_out.normals)
    sources = held_out.sources
    change = with_defect.images - without.images[sources]
    repeated = with_defect.reconstructions - without.reconstructions[sources]
    inside = (held_out.masks > 0)[..., None]
    whole = (change**2 * inside).sum((1, 2, 3))
    kept = (repeated * change * inside).sum((1, 2, 3))
    return _mean(kept[whole > 0] / whole[whole > 0])


def _mean(values: Any) -> float | None:
    return float(np.mean(values)) if len(values) else None
