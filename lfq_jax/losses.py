"""Losses of the two subnetworks: MSE + SSIM (eq. 2) and Dice + Focal (eq. 3)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Wang et al. 2004 for a dynamic range of 1. DRAEM derives the range from the data,
# which makes the loss of one image depend on the others of its batch.
SSIM_C1 = 0.01**2
SSIM_C2 = 0.03**2


@functools.cache
def _window_matrix(size: int, window_px: int, sigma_px: float) -> np.ndarray:
    """Banded matrix [size size] that smooths one axis with a Gaussian window.

    At the borders the window is cut and its weights are normalised again. As two
    matrix products an 11 x 11 window costs a thirtieth of a depthwise convolution.
    """
    offset = np.arange(size)[:, None] - np.arange(size)[None, :]
    weights = np.exp(-0.5 * (offset / sigma_px) ** 2)
    weights[np.abs(offset) > window_px // 2] = 0.0
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def gaussian_smooth(
    x: Float[Array, "b h w c"], *, window_px: int, sigma_px: float
) -> Float[Array, "b h w c"]:
    """Separable Gaussian smoothing; at the borders the cut window weighs 1 again."""
    rows = jnp.asarray(_window_matrix(x.shape[1], window_px, sigma_px))
    columns = jnp.asarray(_window_matrix(x.shape[2], window_px, sigma_px))
    return jnp.einsum("ih,bhwc,jw->bijc", rows, x, columns)


@jax.named_scope("ssim")
def ssim(
    x: Float[Array, "b h w c"],
    y: Float[Array, "b h w c"],
    *,
    window_px: int = 11,
    sigma_px: float = 1.5,
) -> Float[Array, "b h w c"]:
    """Structural similarity of two images in [0, 1], a value in [-1, 1] a pixel.

    Source: Wang et al. 2004, eq. 13, with a Gaussian window.
    """
    smooth = functools.partial(_smooth_planes, window_px=window_px, sigma_px=sigma_px)
    # Channels first: each axis is then one matrix product over contiguous rows, and
    # takes half the time of channels last, gradient included (2 CPU cores). The maps
    # of y are apart, for nothing is differentiated through them in training.
    x, y = (jnp.moveaxis(image, -1, 1) for image in (x, y))
    mean_x, mean_xx, mean_xy = jnp.split(smooth(jnp.concatenate([x, x * x, x * y])), 3)
    mean_y, mean_yy = jnp.split(smooth(jnp.concatenate([y, y * y])), 2)
    variance_x = mean_xx - mean_x**2
    variance_y = mean_yy - mean_y**2
    covariance = mean_xy - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + SSIM_C1) / (mean_x**2 + mean_y**2 + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (variance_x + variance_y + SSIM_C2)
    return jnp.moveaxis(luminance * structure, 1, -1)


def _smooth_planes(
    x: Float[Array, "b c h w"], *, window_px: int, sigma_px: float
) -> Float[Array, "b c h w"]:
    """As `gaussian_smooth`, of planes."""
    b, c, h, w = x.shape
    columns = jnp.asarray(_window_matrix(w, window_px, sigma_px))
    rows = jnp.asarray(_window_matrix(h, window_px, sigma_px))
    turned = (x.reshape(-1, w) @ columns.T).reshape(-1, h, w).swapaxes(1, 2)
    both = turned.reshape(-1, h) @ rows.T
    return both.reshape(b, c, w, h).swapaxes(2, 3)


def ssim_loss(
    x: Float[Array, "b h w c"], y: Float[Array, "b h w c"], **window
) -> Array:
    """1 - mean SSIM: 0 for equal images, 2 at most."""
    return 1.0 - ssim(x, y, **window).mean()


def dice_loss(
    probability: Float[Array, "b h w"], mask: Float[Array, "b h w"]
) -> Float[Array, ""]:
    """1 - Dice overlap of the whole batch, smoothed by one pixel; in [0, 1].

    Taken over the batch, so that images without an anomaly do not each demand an
    overlap that they cannot have. Source: paper eq. 3; Milletari et al. 2016.
    """
    overlap = (probability * mask).sum()
    return 1.0 - (2 * overlap + 1.0) / (probability.sum() + mask.sum() + 1.0)


def focal_loss(
    logits: Float[Array, "b h w 2"], mask: Float[Array, "b h w"], *, gamma: float = 2.0
) -> Float[Array, ""]:
    """Mean of -(1 - p)^gamma log p, with p the probability of the true class.

    `mask` is 1 where anomalous. Source: paper eq. 3; Lin et al. 2017, eq. 4, alpha 1.
    """
    margin = logits[..., 1] - logits[..., 0]
    log_p = jax.nn.log_sigmoid(jnp.where(mask > 0.5, margin, -margin))
    return (-((-jnp.expm1(log_p)) ** gamma) * log_p).mean()
