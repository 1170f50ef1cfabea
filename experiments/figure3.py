"""A row of the paper's figure 3: image, reconstruction, heat map, ground truth."""

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont

PANELS = ("image", "reconstruction", "heat map", "ground truth")
GAP_PX = 4
BACKGROUND = (24, 24, 24)
ABSENT = (60, 60, 60)
TEXT = (225, 225, 225)
OPACITY = 0.75


@functools.cache
def turbo() -> UInt8[np.ndarray, "256 3"]:
    """matplotlib's colour map `turbo` (Mikhailov 2019)."""
    import matplotlib

    colours = matplotlib.colormaps["turbo"](np.arange(256), bytes=True)
    return np.asarray(colours, np.uint8)[:, :3]


def overlay(
    image: UInt8[np.ndarray, "h w 3"],
    heat_map: Float[np.ndarray, "h w"],
    *,
    opacity: float = OPACITY,
) -> UInt8[np.ndarray, "h w 3"]:
    """The heat map in turbo's colours over the image.

    The colour covers the image in proportion to the map, up to `opacity` where the map
    is 1, so that the part stays visible wherever the map is low.

    Args:
      image: the photograph.
      heat_map: in [0, 1], of the image's size.
      opacity: of the colour where the map is 1; in [0, 1].

    Raises:
      ValueError: where the sizes differ, or a value is outside its range.
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


def figure3(
    image: UInt8[np.ndarray, "h w 3"],
    reconstruction: UInt8[np.ndarray, "a b 3"] | None,
    heat_map: Float[np.ndarray, "c d"],
    mask: Bool[np.ndarray, "h w"] | None,
    *,
    panel_px: int = 192,
) -> Image.Image:
    """One row: image, reconstruction, heat map over the image, ground truth.

    The panels are squares of `panel_px` with GAP_PX between two of them; an image that
    is not square keeps its shape inside, and all four lie on each other exactly. What
    is None is an empty panel that says so.

    Raises:
      ValueError: where the map is not in [0, 1], the mask has not the image's size, or
        `panel_px` is less than 16.
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

    def resized(pixels: np.ndarray, how: Image.Resampling) -> Image.Image:
        return Image.fromarray(pixels).resize((width, height), how)

    def truth(mask: np.ndarray) -> Image.Image:
        # white where any defect is, so that thin ones do not vanish
        covered = resized(mask.astype(np.float32), Image.Resampling.BOX)
        return Image.fromarray(np.asarray(covered) > 0)

    smooth = Image.Resampling.LANCZOS
    small = resized(image, smooth)
    heat = resized(heat_map.astype(np.float32), Image.Resampling.BILINEAR)
    coloured = overlay(np.asarray(small), np.clip(np.asarray(heat), 0.0, 1.0))
    panels = (
        small,
        None if reconstruction is None else resized(reconstruction, smooth),
        Image.fromarray(coloured),
        None if mask is None else truth(mask),
    )
    row = Image.new("RGB", (4 * panel_px + 3 * GAP_PX, panel_px), BACKGROUND)
    for i, panel in enumerate(panels):
        left, name = i * (panel_px + GAP_PX), PANELS[i]
        content = absent_panel(name, panel_px) if panel is None else panel
        at = (left + (panel_px - content.width) // 2, (panel_px - content.height) // 2)
        row.paste(content.convert("RGB"), at)
    return row


def absent_panel(name: str, side_px: int) -> Image.Image:
    """What `figure3` draws in the place of a panel that it did not get."""
    panel = Image.new("RGB", (side_px, side_px), ABSENT)
    middle = (side_px / 2, side_px / 2)
    font = ImageFont.load_default(max(8, side_px / 14))
    text = f"no {name}"
    ImageDraw.Draw(panel).text(middle, text, fill=TEXT, font=font, anchor="mm")
    return panel


def split_figure3(row: Image.Image) -> dict[str, Image.Image]:
    """The panels of a row that `figure3` made, by their names in PANELS.

    Raises:
      ValueError: where the picture has not the size of such a row.
    """
    side = row.height
    if row.width != 4 * side + 3 * GAP_PX:
        raise ValueError(
            f"row must be four square panels with {GAP_PX} px between two of them, "
            f"got {row.width} x {row.height} px"
        )
    lefts = {name: i * (side + GAP_PX) for i, name in enumerate(PANELS)}
    return {n: row.crop((left, 0, left + side, side)) for n, left in lefts.items()}


def contact_sheet(rows: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Rows of `figure3` under each other, each under its title.

    Args:
      rows: title and picture; all pictures of one size.

    Raises:
      ValueError: where there is none, or their sizes differ.
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
    for i, name in enumerate(PANELS):
        at = (i * (height + GAP_PX) + height / 2, line / 2)
        draw.text(at, name, fill=TEXT, font=font, anchor="mm")
    for i, (title, picture) in enumerate(rows):
        top = line + i * (line + height)
        draw.text((GAP_PX, top + line / 2), title, fill=TEXT, font=font, anchor="lm")
        sheet.paste(picture, (0, top + line))
    return sheet
