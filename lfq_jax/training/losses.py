"""Losses of the two subnetworks: MSE + SSIM (eq. 2) and Dice + Focal (eq. 3)."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lfq_jax.config import LossConfig
from lfq_jax.model.variables import Outputs
from lfq_jax.ops.gaussian import smooth_planes
from lfq_jax.training.data import Sample

# Wang et al. 2004, for a dynamic range of 1. DRAEM derives the range from the data, so
# that an image's loss depends on the other images of its batch.
SSIM_C1 = 0.01**2
SSIM_C2 = 0.03**2


@jax.named_scope("ssim")
def ssim(
    x: Float[Array, "b h w c"],
    y: Float[Array, "b h w c"],
    *,
    window_px: int = 11,
    sigma_px: float = 1.5,
) -> Float[Array, "b h w c"]:
    """Structural similarity in each pixel of two images in [0, 1]; in [-1, 1].

    Source: Wang et al. 2004, eq. 13, with a Gaussian window.
    """
    smooth = functools.partial(smooth_planes, window_px=window_px, sigma_px=sigma_px)
    # Channels first, so that each axis is one matrix product over contiguous rows: half
    # the time of channels last, gradient included (2 CPU cores). The maps of y are
    # smoothed separately, since training differentiates nothing through them.
    x, y = (jnp.moveaxis(image, -1, 1) for image in (x, y))
    mean_x, mean_xx, mean_xy = jnp.split(smooth(jnp.concatenate([x, x * x, x * y])), 3)
    mean_y, mean_yy = jnp.split(smooth(jnp.concatenate([y, y * y])), 2)
    variance_x = mean_xx - mean_x**2
    variance_y = mean_yy - mean_y**2
    covariance = mean_xy - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + SSIM_C1) / (mean_x**2 + mean_y**2 + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (variance_x + variance_y + SSIM_C2)
    return jnp.moveaxis(luminance * structure, 1, -1)


def ssim_loss(
    x: Float[Array, "b h w c"], y: Float[Array, "b h w c"], **window
) -> Array:
    """1 - mean SSIM: 0 for equal images, at most 2."""
    return 1.0 - ssim(x, y, **window).mean()


def dice_loss(
    probability: Float[Array, "b h w"], mask: Float[Array, "b h w"]
) -> Float[Array, ""]:
    """1 - Dice overlap of the whole batch, smoothed by one pixel; in [0, 1].

    The overlap is computed over the batch, since an image without an anomaly has none
    of its own. Source: paper eq. 3; Milletari et al. 2016. Under jit, optax's version
    takes only logits (0.2.8), and its gradients round differently.
    """
    overlap = (probability * mask).sum()
    return 1.0 - (2 * overlap + 1.0) / (probability.sum() + mask.sum() + 1.0)


def focal_loss(
    logits: Float[Array, "b h w 2"], mask: Float[Array, "b h w"], *, gamma: float = 2.0
) -> Float[Array, ""]:
    """Mean of -(1 - p)^gamma log p, with p the probability of the true class.

    `mask` is 1 where anomalous. Source: paper eq. 3; Lin et al. 2017, eq. 4, alpha 1.
    optax's version (0.2.8) takes eight times as long, gradient included (2 CPU cores),
    and its gradients round differently.
    """
    margin = logits[..., 1] - logits[..., 0]
    log_p = jax.nn.log_sigmoid(jnp.where(mask > 0.5, margin, -margin))
    return (-((-jnp.expm1(log_p)) ** gamma) * log_p).mean()


def losses(outputs: Outputs, batch: Sample, config: LossConfig) -> dict[str, Array]:
    """The weighted terms of the total loss, by name (eqs. 2 and 3).

    With a backbone there is one more term, of our own: the squared error of its
    reconstructed features.
    """
    window = {"window_px": config.ssim_window_px, "sigma_px": config.ssim_sigma_px}
    error = jnp.mean((outputs.reconstruction - batch.normal) ** 2)
    similarity = ssim_loss(outputs.reconstruction, batch.normal, **window)
    dice = dice_loss(outputs.probability, batch.mask)
    focal = focal_loss(outputs.logits, batch.mask, gamma=config.focal_gamma)
    terms = {
        "mse": config.mse_weight * error,
        "ssim": config.ssim_weight * similarity,
        "dice": config.dice_weight * dice,
        "focal": config.focal_weight * focal,
        "quantizer": outputs.quantizer_loss,
    }
    clean_features = batch.distance_maps.clean_features
    if clean_features.shape[-1]:
        squared = (outputs.reconstructed_features - clean_features) ** 2
        terms["features"] = config.feature_weight * jnp.mean(squared)
    return terms
