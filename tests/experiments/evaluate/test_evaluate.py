"""`python -m experiments.evaluate`: maps of any detector, scored on a data set."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.evaluate.__main__ import main
from lfq_jax.metrics.evaluation import ExactPixelMetrics, to_mask_resolution
from tests.refusals import refused

DEFECTS = {"good": 4, "crack": 3, "hole": 2}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A category of 9 test images of 40 x 60, and maps of half their size."""
    rng = np.random.default_rng(0)
    data, maps = tmp_path / "data" / "nut", tmp_path / "maps" / "nut"
    grey = np.zeros((40, 60), np.uint8)
    (data / "train" / "good").mkdir(parents=True)
    Image.fromarray(grey).save(data / "train" / "good" / "0.png")
    for defect, count in DEFECTS.items():
        for folder in (data / "test", data / "ground_truth", maps):
            (folder / defect).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(grey).save(data / "test" / defect / f"{i}.png")
            mask = np.zeros((40, 60), bool)
            if defect != "good":
                mask[10 : 20 + i, 20:30] = True
                masks = data / "ground_truth" / defect
                Image.fromarray(mask).convert("L").save(masks / f"{i}_mask.png")
            anomaly_map = rng.random((20, 30)) + 0.7 * mask[::2, ::2]
            np.save(maps / defect / f"{i}.npy", anomaly_map.astype(np.float32))
    return tmp_path


def _evaluate(root: Path, *flags: str) -> dict:
    out = root / "figures.json"
    out.unlink(missing_ok=True)
    arguments = ["--maps", str(root / "maps"), "--data-dir", str(root / "data")]
    main([*arguments, "--replicates", "20", "--out", str(out), *flags])
    return json.loads(out.read_text())["rows"][0]


def _expected(root: Path) -> dict[str, float]:
    metrics = ExactPixelMetrics()
    for path in sorted((root / "maps" / "nut").glob("*/*.npy")):
        mask = np.zeros((40, 60), bool)
        if path.parent.name != "good":
            mask[10 : 20 + int(path.stem), 20:30] = True
        metrics.update([to_mask_resolution(np.load(path), mask.shape)], [mask])
    return metrics.compute().values


def test_metrics_are_those_of_the_maps_and_masks(root: Path, capsys):
    row = _evaluate(root)
    for name, value in _expected(root).items():
        assert row["metrics"][name] == pytest.approx(value, abs=1e-6), name
    assert row["images"] == 9 and row["anomalous_images"] == 5
    printed = capsys.readouterr().out
    assert f"{row['metrics']['pro']:.3f}" in printed
    low, high = row["intervals"]["pixel_auroc"]
    assert f"{low:.3f}-{high:.3f}" in printed
    assert "aupimo not computed: the normal images have too few pixels" in printed


def _rewrite(root: Path, suffix: str) -> None:
    """Store the maps of the fixture in another file format."""
    for path in (root / "maps" / "nut").glob("*/*.npy"):
        values = np.load(path)
        if suffix == ".png":
            image = Image.fromarray((values * 30000).astype(np.uint16))
        else:
            image = Image.fromarray(values)
        image.save(path.with_suffix(suffix))
        path.unlink()


@pytest.mark.parametrize("suffix", [".tiff", ".png"])
def test_maps_may_be_tiff_or_png_of_16_bits(root: Path, suffix: str):
    before = _evaluate(root)["metrics"]
    _rewrite(root, suffix)
    after = _evaluate(root)["metrics"]
    for name in ("image_auroc", "pixel_auroc", "pixel_ap", "pro"):
        assert after[name] == pytest.approx(before[name], abs=1e-4), name


def test_the_layout_of_mvtec_submissions_is_accepted(root: Path):
    before = _evaluate(root)["metrics"]
    maps = root / "maps" / "nut"
    shutil.move(maps, root / "moved")
    maps.mkdir()
    shutil.move(root / "moved", maps / "test")
    assert _evaluate(root)["metrics"] == before


def test_hidden_maps_are_left_out(root: Path):
    before = _evaluate(root)["metrics"]
    (root / "maps" / "nut" / "crack" / "._0.npy").write_bytes(b"metadata of macOS")
    assert _evaluate(root)["metrics"] == before


def test_a_published_result_can_be_compared_under_its_own_rule(root: Path):
    own = _evaluate(root)["metrics"]
    flags = ("--rule", "resized-above-zero", "--evaluation-px", "16")
    other = _evaluate(root, *flags)["metrics"]
    assert other["pixel_auroc"] != own["pixel_auroc"]
    assert other["image_auroc"] == own["image_auroc"]


def test_mode_score_limit_and_intervals_can_be_chosen(root: Path):
    row = _evaluate(
        root, "--mode", "exact", "--image-score", "mean", "--pro-fpr-limit", "0.1"
    )
    assert row["metrics"]["pro"] == row["metrics"]["pro@0.1"]
    assert {"pro@0.3", "pro@0.05"} <= set(row["metrics"])
    assert _evaluate(root, "--replicates", "0")["intervals"] == {}


def test_a_defect_without_a_mask_counts_only_for_image_metrics(root: Path, capsys):
    path = root / "data/nut/ground_truth/hole/0_mask.png"
    Image.new("L", (60, 40)).save(path)  # marks nothing
    empty = _evaluate(root)
    path.unlink()
    row = _evaluate(root)
    assert row["without_mask"] == 1 and row["metrics"] == empty["metrics"]
    assert "nut: 1 defective images have no mask" in capsys.readouterr().out


def test_good_images_alone_give_no_metrics_and_a_reason(root: Path, capsys):
    for part in ("data/nut/test", "data/nut/ground_truth", "maps/nut"):
        for defect in ("crack", "hole"):
            shutil.rmtree(root / part / defect)
    row = _evaluate(root)
    assert row["metrics"]["image_auroc"] is None and row["metrics"]["pro"] is None
    assert "there is no anomalous image" in capsys.readouterr().out


def _refused(root: Path, capsys, *flags: str) -> str:
    message = refused(capsys, lambda _: _evaluate(root, *flags), [])
    assert not (root / "figures.json").exists()
    return message


def test_maps_and_images_that_do_not_pair_are_listed(root: Path, capsys):
    maps = root / "maps/nut"
    for i in range(4):
        shutil.move(maps / f"good/{i}.npy", maps / f"good/other{i}.npy")
    message = _refused(root, capsys)
    assert message.count("\n") == 1
    assert "4 test images of nut have no map" in message
    assert "good/2.png" in message and "good/3.png" not in message
    assert "4 maps match no test image" in message and "other2.npy" in message
    assert "other3.npy" not in message


def test_the_masks_in_a_folder_are_united(root: Path):
    before = _evaluate(root)["metrics"]
    mask = root / "data/nut/ground_truth/crack/1_mask.png"
    levels = np.asarray(Image.open(mask)).copy()
    (mask.parent / "1").mkdir()
    for i, rows in enumerate((slice(0, 15), slice(15, 40))):
        half = np.zeros_like(levels)
        half[rows] = levels[rows]
        Image.fromarray(half).save(mask.parent / f"1/{i}.png")
    mask.unlink()
    assert _evaluate(root)["metrics"] == before
    Image.fromarray(levels[:30]).save(mask.parent / "1/1.png")
    with pytest.raises(SystemExit):
        _evaluate(root)


def test_what_is_not_scored_is_named(root: Path, capsys):
    shutil.copytree(root / "data/nut", root / "data/bolt")
    shutil.copytree(root / "maps/nut", root / "maps/blot")
    (root / "maps/nut/readme.txt").write_text("hello")
    (root / "data/nut/test/crack/readme.txt").write_text("hello")
    _evaluate(root)
    error = capsys.readouterr().err
    assert "has no folder of category bolt: not scored" in error
    assert "no category of --data-dir, not read: blot" in error
    assert "maps/nut/readme.txt is not read: text" in error
    assert "data/nut/test/crack/readme.txt is not read: text" in error


def test_what_may_be_a_map_is_refused(root: Path, capsys):
    maps = root / "maps/nut/crack"
    Image.new("L", (30, 20)).save(maps / "1.jpg")
    (maps / "2.exr").write_bytes(b"\0")
    message = _refused(root, capsys)
    assert (
        "2 entries of" in message
        and "crack/1.jpg (.jpg is not expected here" in message
    )


def test_maps_of_sub_folders_pair_by_path(root: Path):
    for folder in ("maps/nut", "data/nut/test", "data/nut/ground_truth"):
        (root / folder / "hole").rename(root / folder / "day2")
        (root / folder / "hole").mkdir()
        (root / folder / "day2").rename(root / folder / "hole/day2")
    assert _evaluate(root)["images"] == 9


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_map_that_is_not_finite_is_named(root: Path, capsys, value: float):
    path = root / "maps/nut/hole/1.npy"
    values = np.load(path)
    values[3, 4] = value
    np.save(path, values)
    message = _refused(root, capsys)
    assert f"error: {path} must hold finite scores, got {value}" in message
    assert "row 3, column 4" in message


def test_files_that_are_not_maps_are_named(root: Path, capsys):
    path = root / "maps/nut/hole/1.npy"
    np.save(path, np.zeros((3, 20, 30)))
    assert "must hold one map [h w], got shape (3, 20, 30)" in _refused(root, capsys)
    path.write_bytes(b"not an array")
    assert f"{path} cannot be read as a map" in _refused(root, capsys)
    path.unlink()
    for mode in ("RGB", "P"):
        Image.new(mode, (30, 20)).save(path.with_suffix(".png"))
        assert "is an image in colour" in _refused(root, capsys)


def test_a_map_with_too_many_pixels_is_named(root: Path, capsys, monkeypatch):
    _rewrite(root, ".tiff")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)  # twice as many are refused
    with pytest.raises(SystemExit):
        _evaluate(root)
    error = capsys.readouterr().err
    assert "0.tiff cannot be read as a map: Image size (600 pixels)" in error


def test_a_good_photograph_with_an_exif_rotation_has_its_rotated_shape(
    root: Path,
):
    before = _evaluate(root)["metrics"]
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    rotated = Image.fromarray(np.zeros((60, 40), np.uint8))
    rotated.save(root / "data" / "nut" / "test" / "good" / "0.png", exif=exif)
    assert _evaluate(root)["metrics"] == before


@pytest.mark.parametrize(
    ("colours", "remark"),
    [
        ((0, 200), "has the values 0 and 200: 200 is the defect"),
        ((0, 2), "has the values 0 and 2: 2 is the defect"),
        (((0, 0, 0), (255, 0, 0)), "is in colour: every colour but"),
        (((9, 9, 9, 0), (9, 9, 9, 255)), "its opacity is the mask"),
    ],
)
def test_masks_are_read_however_they_were_saved_with_one_warning(
    root: Path, capsys, colours, remark: str
):
    before = _evaluate(root)["metrics"]
    capsys.readouterr()
    for i in range(2):
        path = root / f"data/nut/ground_truth/hole/{i}_mask.png"
        numbers = np.asarray(Image.open(path)) // 255
        Image.fromarray(np.array(colours, np.uint8)[numbers]).save(path)
    assert _evaluate(root)["metrics"] == before
    warnings = capsys.readouterr().err
    assert warnings.count("warning: ") == 1 and remark in warnings
    assert "(1 other likewise: 1_mask.png)" in warnings


def test_a_mask_of_another_size_than_its_photograph_is_named(root: Path, capsys):
    path = root / "data/nut/ground_truth/hole/0_mask.png"
    Image.new("L", (30, 20)).save(path)
    error = _refused(root, capsys)
    assert f"{path} must have the size of" in error and "60x40, got 30x20" in error


def test_an_empty_mask_is_not_called_missing(root: Path, capsys):
    Image.new("L", (60, 40)).save(root / "data/nut/ground_truth/hole/0_mask.png")
    _evaluate(root)
    assert "1 defective images have no mask or an empty mask" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--maps", "{root}/nothing"], "--maps {root}/nothing does not exist"),
        (["--maps", "{root}/empty"], "--maps {root}/empty is empty"),
        (["--maps", "{root}/data/nut/test"], "has no folder of category nut"),
        (["--data-dir", "{root}/nothing"], "--data-dir {root}/nothing does not exist"),
        (["--categories", "bolt"], "--categories bolt is not in"),
        (["--out", "{root}/data/nut/train/good/0.png"], "is not overwritten"),
    ],
)
def test_bad_input_gets_one_line(root: Path, capsys, flags: list[str], message: str):
    (root / "empty").mkdir()
    error = _refused(root, capsys, *(flag.format(root=root) for flag in flags))
    assert error.startswith("error: ") and error.count("\n") == 1
    assert message.format(root=root) in error


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--pro-fpr-limit", "0"], "--pro-fpr-limit must be in (0, 1], got 0.0"),
        (["--replicates", "-1"], "--replicates must be at least 0, got -1"),
        (["--seed", "-1"], "--seed must be at least 0, got -1"),
        (["--confidence", "95"], "--confidence must be in (0, 1), got 95.0"),
        (["--evaluation-px", "0"], "--evaluation-px must be at least 1, got 0"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_rule(
    root: Path, capsys, flags: list[str], message: str
):
    assert message in _refused(root, capsys, *flags)


def test_a_folder_must_be_named(capsys):
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert capsys.readouterr().err == "error: --maps must name a folder, got none\n"


def test_neither_jax_nor_torch_is_loaded(root: Path):
    program = (
        "import sys; from experiments.evaluate.__main__ import main; "
        "main(sys.argv[1:]); "
        "sys.exit(bool({'jax', 'torch', 'tensorflow'} & set(sys.modules)))"
    )
    arguments = ["--maps", str(root / "maps"), "--data-dir", str(root / "data")]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
