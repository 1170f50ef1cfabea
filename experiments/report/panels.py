"""Rows of panels, as in the paper's figure 3.

The panels are image, reconstruction, heat map over the image, and ground truth. A
detector that reconstructs nothing has rows without the second panel.
"""

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont

PANELS = ("image", "reconstruction", "heat map", "ground truth")
WITHOUT_RECONSTRUCTION = ("image", "heat map", "ground truth")
GAP_PX = 4
BACKGROUND = (24, 24, 24)
ABSENT = (60, 60, 60)
TEXT = (225, 225, 225)
OPACITY = 0.75


@functools.cache
def turbo() -> UInt8[np.ndarray, "256 3"]:
    """The 256 colours of matplotlib's colour map `turbo` (Mikhailov 2019)."""
    import matplotlib

    colours = matplotlib.colormaps["turbo"](np.arange(256), bytes=True)
    return np.asarray(colours, np.uint8)[:, :3]


def overlay(
    image: UInt8[np.ndarray, "h w 3"],
    heat_map: Float[np.ndarray, "h w"],
    *,
    opacity: float = OPACITY,
) -> UInt8[np.ndarray, "h w 3"]:
    """The image, with the heat map over it in the colours of turbo.

    The colour's opacity is proportional to the map and reaches `opacity` where the map
    is 1. The part stays visible wherever the map is low.

    Args:
      image: the photograph.
      heat_map: in [0, 1], of the image's size.
      opacity: opacity of the colour where the map is 1, in [0, 1].

    Raises:
      ValueError: if the sizes differ, or a value is outside its range.
    """
    _check_map(heat_map, image.shape[:2])
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be in [0, 1], got {opacity}")
    colour = turbo()[np.round(heat_map * 255).astype(np.uint8)]
    alpha = (opacity * np.asarray(heat_map, np.float32))[..., None]
    return np.round(image * (1 - alpha) + colour * alpha).astype(np.uint8)


def _check_map(heat_map: np.ndarray, shape: tuple[int, ...]) -> None:
    if heat_map.shape != tuple(shape):
        raise ValueError(
            f"heat_map must have the image's size {tuple(shape)}, got {heat_map.shape}"
        )
    low, high = float(heat_map.min()), float(heat_map.max())
    if not (low >= 0 and high <= 1):  # also refuses NaN
        raise ValueError(f"heat_map must be in [0, 1], got values {low} to {high}")


def panel_row(
    image: UInt8[np.ndarray, "h w 3"],
    reconstruction: UInt8[np.ndarray, "a b 3"] | None,
    heat_map: Float[np.ndarray, "c d"],
    mask: Bool[np.ndarray, "h w"] | None,
    *,
    panel_px: int = 192,
) -> Image.Image:
    """One row: image, reconstruction, heat map over the image, ground truth.

    Each panel is a square of `panel_px`, with GAP_PX between two panels. An image that
    is not square keeps its aspect ratio, and the panels are aligned to the pixel.
    Without a reconstruction the row has three panels. Without a mask the last panel is
    empty and names what is missing.

    Raises:
      ValueError: if the map is not in [0, 1], the mask has not the size of the image,
        or `panel_px` is less than 16.
    """
    if panel_px < 16:
        raise ValueError(f"panel_px must be at least 16, got {panel_px}")
    if mask is not None and mask.shape != image.shape[:2]:
        raise ValueError(
            f"mask must have the image's size {image.shape[:2]}, got {mask.shape}"
        )
    _check_map(heat_map, heat_map.shape)
    scale = panel_px / max(image.shape[:2])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    size = (width, height)
    small = _resized(image, size, Image.Resampling.LANCZOS)
    small_map = _resized(heat_map.astype(np.float32), size, Image.Resampling.BILINEAR)
    coloured = overlay(np.asarray(small), np.clip(np.asarray(small_map), 0.0, 1.0))
    panels = {
        "image": small,
        "heat map": Image.fromarray(coloured),
        "ground truth": None if mask is None else _resized_mask(mask, size),
    }
    names = WITHOUT_RECONSTRUCTION
    if reconstruction is not None:
        names = PANELS
        resized = _resized(reconstruction, size, Image.Resampling.LANCZOS)
        panels["reconstruction"] = resized
    row = Image.new("RGB", (_row_px(len(names), panel_px), panel_px), BACKGROUND)
    for i, name in enumerate(names):
        panel = panels[name]
        content = absent_panel(name, panel_px) if panel is None else panel
        left = i * (panel_px + GAP_PX) + (panel_px - content.width) // 2
        row.paste(content.convert("RGB"), (left, (panel_px - content.height) // 2))
    return row


def _row_px(count: int, panel_px: int) -> int:
    """Width of a row of panels."""
    return count * panel_px + (count - 1) * GAP_PX


def panel_names(size: tuple[int, int]) -> tuple[str, ...]:
    """The names of the panels in a row of `size` (width, height).

    Raises:
      ValueError: if `panel_row` returns no row of this size.
    """
    width, side = size
    for names in (PANELS, WITHOUT_RECONSTRUCTION):
        if width == _row_px(len(names), side):
            return names
    raise ValueError(
        f"row must be three or four square panels with {GAP_PX} px between two of "
        f"them, got {width} x {side} px"
    )


def _resized(
    pixels: np.ndarray, size: tuple[int, int], method: Image.Resampling
) -> Image.Image:
    return Image.fromarray(pixels).resize(size, method)


def _resized_mask(mask: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """The mask, white wherever a pixel covers any defect: thin defects stay visible."""
    covered = _resized(mask.astype(np.float32), size, Image.Resampling.BOX)
    return Image.fromarray(np.asarray(covered) > 0)


def absent_panel(name: str, side_px: int) -> Image.Image:
    """The panel that `panel_row` draws for a missing one: grey, with "no <name>"."""
    panel = Image.new("RGB", (side_px, side_px), ABSENT)
    middle = (side_px / 2, side_px / 2)
    font = ImageFont.load_default(max(8, side_px / 14))
    text = f"no {name}"
    ImageDraw.Draw(panel).text(middle, text, fill=TEXT, font=font, anchor="mm")
    return panel


def split_panel_row(row: Image.Image) -> dict[str, Image.Image]:
    """The panels of a row that `panel_row` returned, by their names.

    Raises:
      ValueError: if the size of the picture is not that of such a row.
    """
    side = row.height
    names = panel_names(row.size)
    lefts = {name: i * (side + GAP_PX) for i, name in enumerate(names)}
    return {n: row.crop((left, 0, left + side, side)) for n, left in lefts.items()}


def contact_sheet(rows: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Rows of `panel_row` below each other, each with its title above it.

    Args:
      rows: title and picture of each row; all pictures have one size.

    Raises:
      ValueError: if there is no row, or if their sizes differ or are no row's.
    """
    if not rows:
        raise ValueError("rows must hold at least one picture, got none")
    sizes = sorted({picture.size for _, picture in rows})
    if len(sizes) > 1:
        raise ValueError(f"rows must be pictures of one size, got {sizes}")
    width, height = sizes[0]
    text_px = max(10, height / 16)
    font, line = ImageFont.load_default(text_px), round(1.5 * text_px)
    sheet = Image.new("RGB", (width, line + len(rows) * (line + height)), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for i, name in enumerate(panel_names(sizes[0])):
        at = (i * (height + GAP_PX) + height / 2, line / 2)
        draw.text(at, name, fill=TEXT, font=font, anchor="mm")
    for i, (title, picture) in enumerate(rows):
        top = line + i * (line + height)
        draw.text((GAP_PX, top + line / 2), title, fill=TEXT, font=font, anchor="lm")
        sheet.paste(picture, (0, top + line))
    return sheet
