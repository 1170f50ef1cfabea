"""Data sets cut from photographs: places, defects, and error messages."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import datasets
from experiments import cut_textures
from experiments.cut_textures import DEFECTS, CutTextures, defective, read_texture
from tests.refusals import refused

SIDE = 64


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    """Two textures, one in portrait format. Their left third is blue."""
    rng = np.random.default_rng(0)
    paths = []
    for name, (height, width) in {"sand": (80, 200), "moss": (90, 190)}.items():
        pixels = rng.integers(60, 200, (height, width, 3), np.uint8)
        pixels[:, :SIDE, 2] = 255
        pixels[:, SIDE:, 2] = 100
        if name == "moss":
            pixels = pixels.transpose(1, 0, 2)
        paths.append(tmp_path / f"{name}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def cut_arguments(out: Path, *arguments: object) -> list[str]:
    return [str(flag) for flag in [*arguments, "--out", out, "--side-px", SIDE]]


def cut(out: Path, *arguments: object) -> Path:
    cut_textures.main(cut_arguments(out, *arguments))
    return out


def test_the_data_set_is_read_in_mvtecs_layout(photographs, tmp_path, capsys):
    out = cut(tmp_path / "cut", "--photographs", *photographs, "--defects", 2)
    assert capsys.readouterr().out == f"{out}\n"
    where = {"data_dir": out, "cache_dir": tmp_path / "cache"}
    assert datasets.categories("folder", out) == ("moss", "sand")
    test = list(datasets.load("folder", "moss", "test", **where))
    assert len(test) == 10 + 2 * len(DEFECTS)
    assert {example.defect for example in test if example.label} == set(DEFECTS)
    assert all(example.image.shape == (SIDE, SIDE, 3) for example in test)
    assert all(example.mask.any() == bool(example.label) for example in test)
    shots = datasets.shots("folder", "moss", 2, 0, **where).examples
    assert all((shot.image[..., 2] == 255).all() for shot in shots)
    assert (shots[0].image != shots[1].image).any()
    good = [example.image for example in test if not example.label]
    assert all((image[..., 2] == 100).all() for image in good)


def test_a_folder_of_photographs_is_read(photographs, tmp_path, capsys):
    (tmp_path / "source").mkdir()
    for path in photographs:
        path.rename(tmp_path / "source" / path.name)
    (tmp_path / "source/readme.txt").write_text("hello")
    flags = ["--photographs", tmp_path / "source", "--good", 1, "--defects", 1]
    out = cut(tmp_path / "cut", *flags)
    assert {path.name for path in out.iterdir()} == {"moss", "sand"}
    assert "readme.txt is not read: text" in capsys.readouterr().err
    (tmp_path / "source/moss.png").unlink()
    with pytest.raises(SystemExit):
        cut(tmp_path / "again", *flags)
    assert "must be two or more" in capsys.readouterr().err


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(
    photographs, tmp_path
):
    def bytes_of(out: str, seed: int) -> dict[str, bytes]:
        folder = cut(tmp_path / out, "--photographs", *photographs, "--seed", seed)
        images = sorted(folder.rglob("*.png"))
        return {str(path.relative_to(folder)): path.read_bytes() for path in images}

    first = bytes_of("a", 3)
    assert first == bytes_of("b", 3)
    assert first != bytes_of("c", 4)


def test_parts_can_be_taller_than_wide(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / "sand.png", tmp_path / "moss.png"]
    for path in paths:
        Image.fromarray(rng.integers(60, 200, (240, 300, 3), np.uint8)).save(path)
    flags = ["--photographs", *paths, "--proportion", 2.5, "--defects", 1]
    out = cut(tmp_path / "cut", *flags)
    where = {"data_dir": out, "cache_dir": tmp_path / "cache"}
    test = list(datasets.load("folder", "moss", "test", **where))
    assert {example.image.shape for example in test} == {(160, SIDE, 3)}
    assert all(example.mask.any() == bool(example.label) for example in test)


@pytest.mark.parametrize("shape", [(96, 96, 3), (160, 64, 3)], ids=["square", "tall"])
@pytest.mark.parametrize("kind", DEFECTS)
def test_a_mask_marks_the_changed_pixels_and_the_change_is_visible(kind, shape):
    rng = np.random.default_rng(1)
    image, other = rng.integers(60, 200, (2, *shape), np.uint8)
    for _ in range(8):
        part = defective(DEFECTS[kind], image, other, rng)
        assert part is not None
        changed = np.abs(part.image.astype(int) - image).max(-1)
        assert not changed[~part.mask].any()
        assert changed[part.mask].min() >= 4
        assert changed[part.mask].mean() >= 8
        assert 0 < part.mask.mean() < 0.15


def test_a_photograph_in_portrait_format_is_cut_along_its_length(photographs):
    settings = CutTextures(tuple(photographs), Path("cut"), side_px=SIDE)
    upright = read_texture(photographs[1], settings)
    assert upright.image.shape == (90, 190, 3)


def test_a_texture_that_shows_no_defect_is_refused_without_leaving_files(
    photographs, tmp_path, capsys
):
    Image.new("RGB", (200, 80)).save(tmp_path / "black.png")
    black = tmp_path / "black.png"
    arguments = cut_arguments(tmp_path / "cut", "--photographs", black, photographs[0])
    message = refused(capsys, cut_textures.main, arguments)
    assert f"--photographs {tmp_path / 'black.png'} shows no stain" in message
    assert not list(tmp_path.glob("cut*"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["sand.png"], "--photographs must be two or more with different names"),
        (["sand.png", "sand.png"], "got sand twice"),
        (["sand.png", "no.png"], "no.png does not exist"),
        (["sand.png", "small.png"], "must be at least 128 x 80 pixels for 2 shots"),
        (["sand.png", "low.png"], "got 200 x 70"),
        (["sand.png", "text.png"], "text.png cannot be read as an image"),
        (["sand.png", "moss.png", "--side-px", "8"], "--side-px must be at least 64"),
        (["sand.png", "moss.png", "--proportion", "0.5"], "--proportion must be at"),
        (["sand.png", "moss.png", "--proportion", "2"], "2 shots of 64 x 128 px"),
        (["sand.png", "moss.png", "--shots", "0"], "--shots must be at least 1, got 0"),
        (["sand.png", "moss.png", "--defect", "3"], "--defect"),
    ],
)
def test_a_mistake_prints_one_line_and_exits_with_2(
    photographs, tmp_path, capsys, monkeypatch, arguments, expected
):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (100, 80)).save("small.png")
    Image.new("RGB", (200, 70)).save("low.png")
    Path("text.png").write_text("no image")
    out = ["--side-px", "64", "--out", "cut"]
    message = refused(capsys, cut_textures.main, [*out, "--photographs", *arguments])
    assert expected in message
    assert not Path("cut").exists()


def test_a_folder_that_exists_is_not_changed(photographs, tmp_path, capsys):
    (tmp_path / "cut").mkdir()
    arguments = cut_arguments(tmp_path / "cut", "--photographs", *photographs)
    message = refused(capsys, cut_textures.main, arguments)
    assert "exists: choose another folder" in message
    assert not list((tmp_path / "cut").iterdir())
