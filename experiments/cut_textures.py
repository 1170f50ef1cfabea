"""Cut a data set in MVTec layout from photographs of textures, with drawn defects.

    python -m experiments.cut_textures --photographs DIR/*.jpg --out textures
    python -m experiments.few_shot --dataset folder --kind texture --data-dir textures

Each photograph becomes a category, as in DTD-Synthetic (Aota et al. 2023). The shots
are cut from its left side and the test images from the rest. Some test images get a
defect. The code that draws the defects is not the generator that detectors are trained
with, so that no detector has seen similar anomalies.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from experiments.run.command_line import read_flags, require_at_least
from experiments.run.image_folder import print_notes

PROG = "python -m experiments.cut_textures"
LEAST_PX = 64
_LEAST_CHANGE = 8.0  # mean grey levels inside a defect, so that it is visible
_LEAST_PIXEL_CHANGE = 4.0  # grey levels; other pixels are not part of a defect
_DRAWS = 100  # attempts to draw a visible defect
_OVERSAMPLING = 4  # lines are drawn at this factor and averaged

Image8 = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class CutTextures:
    """Cut a data set in MVTec layout from photographs of textures."""

    photographs: tuple[Path, ...]
    """Image files, or folders of them, each of one even texture. The file's name
    becomes the category's."""
    out: Path
    """The data set's new folder."""
    side_px: int = 200
    """Width of the parts to cut. A photograph's longer side must be at least twice as
    long."""
    proportion: float = 1.0
    """Height of a part divided by its width: 1 cuts squares, 2.5 tall parts. A
    photograph's shorter side must be at least a part's height, plus a quarter of it for
    every shot but the first."""
    shots: int = 2
    """Good parts to learn from, per category."""
    good: int = 10
    """Good parts to test on, per category."""
    defects: int = 6
    """Defective parts to test on, for each of the three kinds of defect."""
    seed: int = 0
    """Chooses the places to cut and the defects."""

    def __post_init__(self) -> None:
        require_at_least(self, side_px=LEAST_PX, proportion=1, shots=1, good=1)
        require_at_least(self, defects=1, seed=0)
        if any(path.is_dir() for path in self.photographs):
            return  # checked again with the files of the folder
        stems = [path.stem for path in self.photographs]
        if len(set(stems)) < max(2, len(stems)):
            twice = [stem for stem in stems if stems.count(stem) > 1]
            got = f"{twice[0]} twice" if twice else ", ".join(stems) or "none"
            raise ValueError(
                "--photographs must be two or more with different names, since spots "
                f"of one are put on another, got {got}"
            )

    @property
    def part_shape(self) -> tuple[int, int]:
        """Height and width of a part."""
        return round(self.side_px * self.proportion), self.side_px


class Defective(NamedTuple):
    """An image of a part with a defect, and the defect's mask."""

    image: Image8
    mask: Bool[np.ndarray, "h w"]


Grey = Float32[np.ndarray, "h w 3"]
"""Grey levels that are not rounded yet."""
DrawDefect = Callable[[Image8, Image8, np.random.Generator], Grey]


def _scale(image: Image8) -> float:
    """The side of a square of the image's area, in pixels. Defects have this scale."""
    height, width = image.shape[:2]
    return math.sqrt(height * width)


def spot(image: Image8, rng: np.random.Generator) -> Float32[np.ndarray, "h w"]:
    """1 in a ragged blob that covers 1 to 5 % of an image, 0 outside."""
    from scipy import ndimage

    shape, scale = image.shape[:2], _scale(image)
    rows, columns = np.mgrid[: shape[0], : shape[1]] / scale
    row, column = rng.uniform(0.2, 0.8, 2) * (np.array(shape) / scale)
    ragged = ndimage.gaussian_filter(rng.standard_normal(shape), scale / 14)
    height = 0.04 * ragged / ragged.std() - np.hypot(rows - row, columns - column)
    inside = height >= np.quantile(height, 1 - rng.uniform(0.01, 0.05))
    return inside.astype(np.float32)


def foreign(image: Image8, other: Image8, rng: np.random.Generator) -> Grey:
    """A spot of another texture, opaque or translucent."""
    from scipy import ndimage

    share = ndimage.gaussian_filter(spot(image, rng), 1.0)[..., None]
    share *= np.float32(rng.uniform(0.5, 1.0))
    return image + share * (other.astype(np.float32) - image)


def stain(image: Image8, other: Image8, rng: np.random.Generator) -> Grey:
    """A darker or brighter spot with a soft rim."""
    from scipy import ndimage

    share = ndimage.gaussian_filter(spot(image, rng), 2.0)[..., None]
    share *= np.float32(rng.choice([-1, 1]) * rng.uniform(0.25, 0.5))
    return image * (1 + share)


def scratch(image: Image8, other: Image8, rng: np.random.Generator) -> Grey:
    """A winding line, dark or bright, 1 to 3 pixels wide; wider above 256 px."""
    from PIL import Image, ImageDraw

    size = np.array(image.shape[1::-1]) * _OVERSAMPLING  # width and height
    side = _scale(image) * _OVERSAMPLING
    canvas = Image.new("L", tuple(size.tolist()))
    point, heading = rng.uniform(0.15, 0.85, 2) * size, rng.uniform(0, 2 * np.pi)
    points = [tuple(point)]
    for _ in range(12):
        heading += rng.normal(0, 0.25)
        step = np.array([np.cos(heading), np.sin(heading)])
        point = point + step * side * rng.uniform(0.02, 0.05)
        points.append(tuple(point))
    width = round(_OVERSAMPLING * rng.uniform(1, 3) * max(1.0, _scale(image) / 256))
    ImageDraw.Draw(canvas).line(points, fill=255, width=width, joint="curve")
    line = np.asarray(canvas.reduce(_OVERSAMPLING), np.float32)[..., None] / 255
    line *= np.float32(rng.uniform(0.5, 0.9))
    return image + line * (np.float32(rng.choice([20, 235])) - image)


DEFECTS: dict[str, DrawDefect] = {
    "foreign": foreign,
    "stain": stain,
    "scratch": scratch,
}


def defective(
    draw: DrawDefect, image: Image8, other: Image8, rng: np.random.Generator
) -> Defective | None:
    """`image` with a visible defect, and the mask of the changed pixels.

    None if no draw is visible on the texture, for example a stain on black.
    """
    for _ in range(_DRAWS):
        drawn = draw(image, other, rng).round().clip(0, 255).astype(np.uint8)
        change = np.abs(drawn.astype(np.float32) - image).max(axis=-1)
        mask = change >= _LEAST_PIXEL_CHANGE
        if mask.any() and change[mask].mean() >= _LEAST_CHANGE:
            return Defective(np.where(mask[..., None], drawn, image), mask)
    return None


class Texture(NamedTuple):
    """A photograph whose longer side is horizontal."""

    path: Path
    image: UInt8[np.ndarray, "h w 3"]

    def shots(self, settings: CutTextures) -> Iterator[Image8]:
        """The shots, cut from the left side, evenly spaced from top to bottom."""
        height, width = settings.part_shape
        tops = np.linspace(0, self.image.shape[0] - height, settings.shots)
        return (self._cut(round(top), 0, height, width) for top in tops)

    def part(self, settings: CutTextures, rng: np.random.Generator) -> Image8:
        """One part, cut at random to the right of the shots."""
        height, width = settings.part_shape
        top = int(rng.integers(self.image.shape[0] - height + 1))
        left = int(rng.integers(width, self.image.shape[1] - width + 1))
        return self._cut(top, left, height, width)

    def _cut(self, top: int, left: int, height: int, width: int) -> Image8:
        return self.image[top : top + height, left : left + width]


def read_texture(path: Path, settings: CutTextures) -> Texture:
    """The photograph, turned so that its longer side is horizontal.

    Raises:
      ValueError: if it cannot be read or is too small.
    """
    from datasets.images import read_image

    if not path.is_file():
        raise ValueError(f"--photographs {path} does not exist")
    image = read_image(path)
    height, width = image.shape[:2]
    part_height, part_width = settings.part_shape
    length = 2 * part_width
    least = part_height + (settings.shots - 1) * -(-part_height // 4)
    if max(height, width) < length or min(height, width) < least:
        raise ValueError(
            f"--photographs {path} must be at least {length} x {least} pixels for "
            f"{settings.shots} shots of {part_width} x {part_height} px (--side-px, "
            f"--proportion), got {width} x {height}"
        )
    is_landscape = width >= height
    return Texture(path, image if is_landscape else image.transpose(1, 0, 2))


def files(
    texture: Texture, others: Sequence[Texture], settings: CutTextures, number: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Every image of a category, with its path in the category's folder.

    Args:
      others: textures of the foreign spots.
      number: number of the category, which seeds its random stream together with
        `settings.seed`.

    Raises:
      ValueError: if a defect is not visible on the texture.
    """
    rng = np.random.default_rng((settings.seed, number))
    for i, image in enumerate(texture.shots(settings)):
        yield f"train/good/{i:03}.png", image
    for i in range(settings.good):
        yield f"test/good/{i:03}.png", texture.part(settings, rng)
    for kind, draw in DEFECTS.items():
        for i in range(settings.defects):
            other = others[int(rng.integers(len(others)))].part(settings, rng)
            part = defective(draw, texture.part(settings, rng), other, rng)
            if part is None:
                raise ValueError(
                    f"--photographs {texture.path} shows no {kind}: none of {_DRAWS} "
                    f"draws changed it by {_LEAST_CHANGE:g} grey levels"
                )
            yield f"test/{kind}/{i:03}.png", part.image
            mask = part.mask.astype(np.uint8) * np.uint8(255)
            yield f"ground_truth/{kind}/{i:03}_mask.png", mask


def cut(settings: CutTextures) -> None:
    """Read the photographs and write the data set.

    Raises:
      ValueError: if a photograph cannot be used.
      FileExistsError: if the data set's folder exists.
    """
    write([read_texture(path, settings) for path in settings.photographs], settings)


def write(textures: Sequence[Texture], settings: CutTextures) -> None:
    """Write the data set. Its folder gets its final name after the last file.

    Raises:
      FileExistsError: if the folder exists.
    """
    from PIL import Image

    from datasets.files import filled_atomically

    with filled_atomically(settings.out) as partial:
        for number, texture in enumerate(textures):
            others = [*textures[:number], *textures[number + 1 :]]
            for name, pixels in files(texture, others, settings, number):
                path = partial / texture.path.stem / name
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)


def _with_files(settings: CutTextures) -> CutTextures:
    """The settings with the files of the named folders instead of the folders."""
    from datasets.listing import photographs_of

    paths, lines = photographs_of(settings.photographs, "--photographs")
    print_notes(lines)
    return replace(settings, photographs=tuple(paths))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command: write the data set and print its folder."""
    settings = read_flags(CutTextures, prog=PROG, argv=argv)
    from datasets.errors import one_line_errors

    with one_line_errors():
        if settings.out.exists():
            raise ValueError(f"--out {settings.out} exists: choose another folder")
        settings = _with_files(settings)
        cut(settings)
        print(settings.out)


if __name__ == "__main__":
    main()
