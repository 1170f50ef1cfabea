"""Exports decide as the detector does, and run without this project."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from PIL import ExifTags, Image

import lfq_jax
from experiments import export as command
from lfq_jax.export import writer as exporting
from lfq_jax.export.formats import open_export
from lfq_jax.export.graph_rewrite import plain_graph
from lfq_jax.export.writer import Parity
from lfq_jax.inference.detector_files import read_validation
from tests.odd_image_files import png16
from tests.refusals import refused
from tests.tiny_detector import part, write_run


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", "plate")


def refusal(capsys, *arguments: str) -> str:
    return refused(capsys, command.main, arguments)


def needs_onnx():
    for name in ("jax2onnx", "onnx", "onnxruntime"):
        pytest.importorskip(name)


@pytest.mark.parametrize(
    ("format", "kind", "batch"),
    [
        ("stablehlo", "object", 1),
        # An exported folder that runs without this project compares an object, too.
        pytest.param("onnx", "object", 1, marks=pytest.mark.slow),
        # An ONNX graph takes as many images as it was exported for.
        pytest.param("onnx", "texture", 3, marks=pytest.mark.slow),
        ("safetensors", "object", 1),
    ],
)
def test_an_export_decides_as_the_detector_does(
    format, kind, batch, capsys, caplog, tmp_path
):
    if format == "onnx":
        needs_onnx()
    run = write_run(tmp_path / "run", "plate", kind=kind)
    command.main(["--run", str(run), "--format", format, "--batch-size", str(batch)])
    assert not [r for r in caplog.records if r.name.startswith("onnx")], "log noise"
    said = capsys.readouterr().out
    assert "over 8 validation images" in said
    assert "0 differ" in said
    out = run / "plate" / f"export-{format}"
    stored = json.loads((out / "parity.json").read_text())
    assert stored["map_difference"] <= stored["tolerance"] == 1e-4
    detector, program = lfq_jax.load(run), open_export(out)
    images = read_validation(run / "plate" / "detector")
    decisions = set()
    for first in (*range(0, len(images) - batch, batch), len(images) - batch):
        some = images[first : first + batch]
        found = detector(list(some))
        for i, each in enumerate(zip(*program(some), strict=True)):
            heat_map, score, calibrated, is_anomalous, mask = each
            assert np.abs(heat_map - found[i].heat_map).max() < 1e-4
            assert score == pytest.approx(found[i].score, abs=1e-5)
            assert calibrated == pytest.approx(found[i].calibrated, abs=1e-4)
            assert bool(is_anomalous) == found[i].is_anomalous
            assert np.mean(mask != found[i].mask) < 0.01
            decisions.add(found[i].is_anomalous)
    assert decisions == {True, False}


@pytest.mark.parametrize("format", ["stablehlo", "onnx"])
def test_the_exported_folder_runs_without_this_project(run, format, tmp_path):
    if format == "onnx":
        needs_onnx()
    command.main(["--run", str(run), "--format", format])
    upside_down = Image.Exif()
    upside_down[ExifTags.Base.Orientation] = 3
    for name, spot in (("good", False), ("bad", True)):
        image = Image.fromarray(np.rot90(part(300, px=47, spot=spot), 2))
        image.save(tmp_path / f"{name}.png", exif=upside_down)
    png16(tmp_path / "wide.png", np.full((47, 47, 3), 999, np.uint16))
    Image.fromarray(part(300, px=(47, 90))).save(tmp_path / "long.png")
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "folder").mkdir()
    elsewhere = tmp_path / "moved"
    (run / "plate" / f"export-{format}").rename(elsewhere)
    code = (
        "import runpy, sys\n"
        "sys.argv = ['run.py', 'good.png', 'wide.png', 'cut.png', 'none.png', "
        "'folder', 'text.png', 'long.png', 'bad.png']\n"
        "try:\n"
        f"    runpy.run_path({str(elsewhere / 'run.py')!r}, run_name='__main__')\n"
        "finally:\n"
        "    loaded = {'lfq_jax', 'datasets', 'experiments'} & set(sys.modules)\n"
        "    assert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: wide.png: must be grey or RGB of 8 bits, got 16 bits",
        f"error: cut.png: {_reason(tmp_path / 'cut.png')}",
        "error: none.png: No such file or directory",
        "error: folder: Is a directory",
        "error: text.png: cannot identify image file",
        "error: long.png: must have the proportion of 32 x 32 px, to a factor of 1.22, "
        "got 90 x 47 px: cut it",
    ]
    detector = lfq_jax.load(run)
    good, bad = done.stdout.splitlines()
    for line, spot in ((good, False), (bad, True)):
        found = detector(part(300, px=47, spot=spot))
        assert line.startswith("anomalous" if found.is_anomalous else "good")
        assert float(line.split()[2]) == pytest.approx(found.score, abs=2e-6)
    assert bad.startswith("anomalous")


def _reason(path):
    """What Pillow says of a file that was cut short."""
    with Image.open(path) as image, pytest.raises(OSError) as refused:
        image.load()
    return str(refused.value)


def test_a_stablehlo_export_can_take_any_number_of_images(run):
    command.main(["--run", str(run), "--batch-size", "0"])
    program = open_export(run / "plate" / "export-stablehlo")
    images = read_validation(run / "plate" / "detector")
    together = program(images)[1]
    alone = [program(image[None])[1][0] for image in images[:2]]
    assert together.shape == (8,)
    assert np.allclose(together[:2], alone, atol=1e-5)


def test_an_export_that_differs_is_refused_and_not_kept(run, capsys, monkeypatch):
    def spoilt(detector, program, images, *, batch_size):
        found = measured(detector, program, images, batch_size=batch_size)
        return found._replace(map_difference=2e-4)

    measured = exporting.parity
    monkeypatch.setattr(exporting, "parity", spoilt)
    message = refusal(capsys, "--run", str(run))
    assert "the stablehlo export differs from the detector by 0.0002" in message
    assert list(run.glob("plate/*export*")) == []
    monkeypatch.setattr(
        exporting,
        "parity",
        lambda *a, **k: measured(*a, **k)._replace(score_difference=float("nan")),
    )
    assert "differs from the detector by nan" in refusal(capsys, "--run", str(run))
    monkeypatch.setattr(exporting, "parity", spoilt)
    command.main(["--run", str(run), "--tolerance", "0.001"])
    assert (run / "plate" / "export-stablehlo" / "parity.json").is_file()


def test_parity_detects_different_weights(run):
    """An export with other weights must not pass: the check can fail."""
    command.main(["--run", str(run), "--format", "safetensors"])
    out = run / "plate" / "export-safetensors"
    weights = out / "detector" / "weights.safetensors"
    tensors = safetensors.numpy.load_file(weights)
    tensors["logistic_head/bias"] += np.float32(0.01)
    safetensors.numpy.save_file(tensors, weights)
    images = read_validation(run / "plate" / "detector")
    found: Parity = exporting.parity(
        lfq_jax.load(run), open_export(out), images, batch_size=1
    )
    assert found.map_difference > 1e-4
    assert found.score_difference > 1e-5


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    run, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    message = refusal(capsys, "--run", str(run), "--format", "onnx")
    assert "needs jax2onnx, which is not installed: pip install" in message
    assert "'.[onnx]'" in message
    assert list(run.glob("plate/*export*")) == []


def test_exporting_from_an_export_is_refused(run, capsys):
    command.main(["--run", str(run), "--format", "safetensors"])
    again = run / "plate" / "export-safetensors"
    message = refusal(capsys, "--run", str(again))
    assert f"{again / 'detector'} has no validation images" in message
    assert "export from the run" in message
    assert not list(again.glob("*export-stablehlo*"))


def test_thresholds_for_tiles_are_not_exported(run, capsys):
    path = run / "plate" / "detector" / "thresholds.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tile_px": 32}))
    message = refusal(capsys, "--run", str(run))
    assert "those of tiles of 32 px" in message and "tile_px 0 first" in message
    assert list(run.glob("plate/*export*")) == []


def test_mistakes_are_refused_in_one_line(run, tmp_path, capsys):
    assert "--run must name" in refusal(capsys)
    assert "does not exist" in refusal(capsys, "--run", str(tmp_path / "no"))
    assert "onnxx" in refusal(capsys, "--run", str(run), "--format", "onnxx")
    usual = ("--run", str(run))
    assert "at least 0, got -1" in refusal(capsys, *usual, "--batch-size", "-1")
    assert "--tolerance must be" in refusal(capsys, *usual, "--tolerance", "-1")
    assert "rule must be one of" in refusal(capsys, *usual, "--rule", "labelled")
    (tmp_path / "taken").mkdir()
    taken = ("--out", str(tmp_path / "taken"))
    assert "exists, and is not overwritten" in refusal(capsys, *usual, *taken)
    onnx = ("--format", "onnx", "--batch-size", "0")
    assert "must be at least 1 for onnx, got 0" in refusal(capsys, *usual, *onnx)
    with pytest.raises(ValueError, match="holds no export"):
        open_export(tmp_path)


def test_the_plain_graph_gives_the_same_bits():
    def function(x):
        windows = jax.lax.reduce_window(
            x, 0.0, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME"
        )
        none = jnp.zeros((*windows.shape[:-1], 0))
        joined = jnp.concatenate([windows, none], axis=-1)
        mapped = jax.lax.map(lambda each: each * 2 + jnp.arange(3), joined)
        return mapped, jax.nn.relu(x)

    x = np.random.default_rng(0).normal(size=(2, 7, 8, 3)).astype(np.float32)
    spec = jax.ShapeDtypeStruct(x.shape, np.float32)
    plain = plain_graph(function, spec)
    for ours, theirs in zip(plain(x), function(x), strict=True):
        assert np.array_equal(ours, theirs)
    names = {e.primitive.name for e in jax.make_jaxpr(plain)(x).jaxpr.eqns}
    assert not names & {"scan", "reduce_window", "custom_jvp_call", "iota"}


def test_a_scan_with_a_carry_is_unrolled_and_a_cond_stays():
    def function(x):
        def body(total, row):
            return jax.lax.cond(
                row.sum() > 0, lambda t: t + row.max(), lambda t: t, total
            ), row * 2

        return jax.lax.scan(body, x.sum() * 0, x)

    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5)), jnp.float32)
    plain = plain_graph(function, jax.ShapeDtypeStruct(x.shape, x.dtype))
    found, expected = plain(x), jax.tree.leaves(function(x))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    names = str(jax.make_jaxpr(plain)(x))
    assert "scan" not in names
