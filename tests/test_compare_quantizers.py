"""The comparison of quantizers: its figures by hand, its mistakes, one tiny run."""

import json
import math
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import lfq_training, quantizer_report, quantizers
from experiments.code_use import code_use
from experiments.quantizer_table import (
    Spread,
    cell,
    comparison_table,
    pareto_front,
    spread,
)
from experiments.quantizer_variants import read_variant
from experiments.reconstruction import Reconstructed, fidelity, shortcut, survival
from lfq_jax.config import ModelConfig
from lfq_jax.quantizers import make
from lfq_jax.quantizers.config import FSQConfig, LFQConfig, NoneConfig
from lfq_jax.training.data import Photographs
from tests.test_few_shot import read

__all__ = ["read"]  # a fixture

TINY = (
    *("--model.image-px", "32", "--model.reconstructive-widths", "6", "8"),
    *("--model.discriminative-widths", "6", "8", "--steps", "6", "--anomalies", "4"),
    *("--validation-anomalies", "2", "--categories", "capsule", "--seeds", "0", "1"),
    *("--train.log-every", "2", "--variants", "lfq:bits=4"),
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Runs and caches go to a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LFQUIAD_CACHE", str(tmp_path / "cache"))


def test_a_variant_is_a_name_and_fields():
    assert read_variant("lfq") == LFQConfig()
    assert read_variant("none") == NoneConfig()
    named = read_variant("lfq:bits=3,normalisation=layer,temperature=2")
    assert named == LFQConfig(bits=3, normalisation="layer", temperature=2.0)
    assert read_variant("fsq:levels=(8,5)") == FSQConfig(levels=(8, 5))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--variants", "lqf"], "got 'lqf', did you mean 'lfq'?"),
        (["--variants", "lfq:bitz=3"], "a field of lfq must be one of bits,"),
        (["--variants", "lfq:bits=x"], "bits of lfq must be of type int, got 'x'"),
        (["--variants", "lfq:bits"], "a variant must be NAME or NAME:FIELD=VALUE"),
        (["--variants", "lfq:"], "a variant must be NAME or NAME:FIELD=VALUE"),
        (["--variants", "lfq:bits=0"], "bits must be in [1, 64], got 0"),
        (["--variants", "lfq:bits=-2"], "bits must be in [1, 64], got -2"),
        (["--variants", "lfq:bits=44"], "takes 196,608.0 GiB"),
        (["--variants", "fsq:levels=(8,1)"], "levels must be 2 or more each"),
        (["--train.crop-px", "100"], "train.crop_px must be a multiple of 8 and at"),
        (["--variants", "lfq", "lfq"], "--variants must all differ, got lfq lfq"),
        (["--variants"], "--variants must be one or more, got none"),
        (["--variant", "lfq"], "--variants"),
        (["--seeds", "-1"], "--seeds must be at least 0 each, got -1"),
        (["--shots", "0"], "--shots must be at least 1, got 0"),
        (["--steps", "0"], "--steps must be at least 1, got 0"),
        (["--categories", "capsul"], "did you mean capsule"),
        (["--dataset", "folder", "--data-dir", "nowhere"], "nowhere does not exist"),
        (["--resume", "nothing"], "nothing holds no run"),
    ],
)
def test_a_mistake_gets_one_line_and_status_2(capsys, tmp_path, arguments, said):
    with pytest.raises(SystemExit) as stopped:
        quantizers.main(arguments)
    message = capsys.readouterr().err
    assert stopped.value.code == 2
    assert said in message
    assert "Traceback" not in message
    assert not (tmp_path / "runs").exists()


def test_psnr_and_ssim_are_means_over_good_and_over_defective_images():
    images = np.full((3, 16, 16, 3), 0.5, np.float32)
    reconstructions = images.copy()
    reconstructions[0] += 0.1  # 20 dB
    reconstructions[1] += 0.01  # 40 dB
    found = Reconstructed(images, reconstructions, np.zeros(0))
    figures = fidelity(found, np.array([0, 0, 1]))
    assert figures["psnr_good"] == pytest.approx(30.0, abs=1e-3)
    assert figures["psnr_defective"] == pytest.approx(100.0)
    assert figures["ssim_defective"] == pytest.approx(1.0, abs=1e-6)
    assert fidelity(found, np.array([0, 0, 0]))["psnr_defective"] is None


def test_errors_inside_and_outside_of_defects_are_told_apart():
    images = np.zeros((2, 4, 4, 3), np.float32)
    masks = np.zeros((2, 4, 4), bool)
    masks[1, :2, :2] = True
    reconstructions = np.full_like(images, 0.1)
    reconstructions[1, :2, :2] = 0.4
    found = Reconstructed(images, reconstructions, np.zeros(0))
    figures = shortcut(found, masks)
    assert figures["error_inside"] == pytest.approx(0.16)
    assert figures["error_outside"] == pytest.approx(0.01)
    assert figures["error_ratio"] == pytest.approx(16.0, rel=1e-4)
    assert figures["error_pixel_auroc"] == pytest.approx(1.0)
    without = shortcut(found, np.zeros_like(masks))
    assert without["error_inside"] is None
    assert without["error_pixel_auroc"] is None


@pytest.mark.parametrize(("share", "expected"), [(1.0, 1.0), (0.25, 0.25), (0.0, 0.0)])
def test_survival_is_the_share_of_a_defect_that_is_repeated(
    monkeypatch, share, expected
):
    rng = np.random.default_rng(0)
    normals = rng.integers(0, 200, (2, 8, 8, 3)).astype(np.uint8)
    masks = np.zeros((3, 8, 8), np.uint8)
    masks[:, 2:5, 3:6] = 1
    sources = np.array([0, 1, 1], np.int32)
    images = normals[sources] + 50 * masks[..., None]

    def repeats(model, variables, shown):
        """A reconstruction that keeps `share` of a defect, and blurs the rest away."""
        unit = shown / np.float32(255)
        plain = normals[sources if len(shown) == 3 else [0, 1]] / np.float32(255)
        return Reconstructed(unit, 0.3 * plain + share * (unit - plain), np.zeros(0))

    monkeypatch.setattr("experiments.reconstruction.reconstruct", repeats)
    held_out = Photographs(normals, images, masks, sources)
    nothing: dict = {}
    assert survival(nothing, nothing, held_out) == pytest.approx(  # pyright: ignore
        expected, abs=1e-5
    )


def test_code_use_counts_every_code_and_ranks_the_maps():
    lfq = make("lfq", bits=3)
    codes = np.zeros((1, 2, 4, 3), bool)
    codes[0, 0, :, 2] = True  # index 1 four times, index 0 three times, index 7 once
    codes[0, 1, 3] = True
    use = code_use(lfq, codes)
    assert use is not None
    assert use.counts.tolist() == [4, 3, 1]
    assert use.maps.tolist() == [[[0, 0, 0, 0], [1, 1, 1, 2]]]
    share = np.array([4, 3, 1]) / 8
    perplexity = math.exp(-(share * np.log(share)).sum())
    assert use.figures["perplexity"] == pytest.approx(perplexity)
    assert use.figures["used_codes"] == 3
    assert use.bit_means is not None
    np.testing.assert_allclose(use.bit_means, [-0.75, -0.75, 0.25])
    assert use.figures["bit_correlation"] == pytest.approx(1.0)
    assert use.figures["dead_bits"] == 0


def test_code_use_of_codes_without_bits_and_of_none():
    fsq = make("fsq", levels=(3, 3))
    z = jax.random.normal(jax.random.key(0), (2, 4, 4, 2))
    codes = np.asarray(fsq.quantize({}, (), z, training=False).codes)
    use = code_use(fsq, codes)
    assert use is not None and use.bit_means is None
    assert use.counts.sum() == 32
    assert code_use(make("none", dim=2), np.zeros((2, 4, 4, 0), bool)) is None


def row(variant: str, seed: int, category: str, psnr: float | None) -> dict:
    return {
        "variant": variant,
        "seed": seed,
        "category": category,
        "dataset": "rendered_ad",
        "shots": 2,
        "steps": 10,
        "reconstruction": {"psnr_good": psnr},
    }


def test_spread_is_over_seeds_of_means_over_categories():
    path = ("reconstruction", "psnr_good")
    rows = [
        row("lfq", 0, "bolt", 10.0),
        row("lfq", 0, "gear", 20.0),
        row("lfq", 1, "bolt", 12.0),
        row("lfq", 1, "gear", 22.0),
    ]
    assert spread(rows, path) == pytest.approx((16.0, math.sqrt(2)))
    # a seed that is not whole is left out, rather than compared over other images
    assert spread([*rows, row("lfq", 2, "bolt", 99.0)], path) == spread(rows, path)
    assert spread(rows[:1], path) == Spread(10.0, None)
    assert spread([row("lfq", 0, "bolt", None)], path) is None
    assert cell(Spread(1.234, 0.5), 2) == "1.23 ±0.50"
    assert cell(Spread(1.234, None), 1) == "1.2"
    assert cell(None, 1) == "-"


def test_the_table_has_a_line_a_variant():
    rows = [row("lfq:bits=1", 0, "bolt", 10.0), row("none", 0, "bolt", 20.0)]
    text = comparison_table(rows)
    assert "lfq:bits=1" in text and "20.00" in text
    with pytest.raises(ValueError, match="at least one result, got none"):
        comparison_table([])


def test_the_pareto_front_holds_what_no_other_beats():
    points = [(1.0, 5.0), (2.0, 6.0), (3.0, 4.0), (2.0, 3.0)]
    assert pareto_front(points, lower_x=True) == [0, 1]
    assert pareto_front(points, lower_x=False) == [1, 2]
    assert pareto_front([(1.0, 1.0), (1.0, 1.0)], lower_x=True) == [0, 1]
    assert pareto_front([], lower_x=True) == []


def test_a_comparison_runs_to_its_page_and_resume_adds_nothing(tmp_path, capsys, read):
    out = tmp_path / "compared"
    quantizers.main([*TINY, "--out", str(out)])
    table = capsys.readouterr().out
    assert "lfq:bits=4" in table and "±" in table
    lines = (out / "results.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["seed"] for row in rows] == [0, 1]
    assert set(read.values()) == {2 * 2}, "two rows: to reconstruct and to score"
    assert rows[0]["steps"] == 6
    assert rows[0]["codes"]["used_codes"] <= 16
    for group in ("reconstruction", "shortcut", "metrics", "cost"):
        assert all(value is not None for value in rows[0][group].values()), group
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3  # pareto, curves, codes
    assert page.count("data:image/jpeg;base64,") == 1  # test images
    assert "http" not in page.replace("http://www.w3.org", "")
    # a row that is missing is made again, a finished one is not
    (out / "results.jsonl").write_text(lines[0] + "\n")
    quantizers.main(["--resume", str(out)])
    again = [
        json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()
    ]
    assert again[0] == rows[0]
    for group in ("reconstruction", "shortcut", "metrics", "codes"):
        assert again[1][group] == rows[1][group], "a training gone on with is the same"


def test_the_page_refuses_what_is_no_comparison(tmp_path, capsys):
    def refusal(folder: Path) -> str:
        with pytest.raises(SystemExit) as stopped:
            quantizer_report.main([str(folder)])
        assert stopped.value.code == 2
        return capsys.readouterr().err

    assert "there is no run folder" in refusal(tmp_path / "nowhere")
    config, results = tmp_path / "config.json", tmp_path / "results.jsonl"
    config.write_text('{"command": "lfq_training", "config": {"variants": ["lfq"]}}')
    said = "a run of experiments.lfq_training, not of experiments.quantizers"
    assert said in refusal(tmp_path)
    config.write_text('{"config": {"variants": ["lfq"]}')
    assert f"{config} is damaged: " in refusal(tmp_path)
    config.write_text('{"config": {"variants": ["lfq"]}}')
    assert "has no finished row yet" in refusal(tmp_path)
    results.write_text('{"variant": "lfq", "points": []}\n')
    assert f"{results} line 1 has no category" in refusal(tmp_path)


def test_every_default_variant_fits_the_default_networks():
    settings = quantizers.CompareQuantizers()
    for variant in settings.variants:
        ModelConfig(quantizer=read_variant(variant))
    assert settings.schedule.steps(shots=2) == settings.steps


def test_lfq_training_writes_its_curve_and_its_points(tmp_path, capsys):
    lfq_training.main(
        [
            *("--categories", "stone", "--steps", "200", "--log-every", "100"),
            *("--batch-size", "64", "--held-out", "256", "--hidden", "64"),
            *("--variants", "lfq:bits=6,entropy_weight=0.1", "none"),
            *("--out", str(tmp_path / "run")),
        ]
    )
    assert "lfq:bits=6" in capsys.readouterr().out
    assert (tmp_path / "run" / "curve.png").stat().st_size > 5000
    lines = (tmp_path / "run" / "results.jsonl").read_text().splitlines()
    for line in map(json.loads, lines):
        points = line["points"]
        assert [point["step"] for point in points] == [0, 100, 200]
        assert points[-1]["psnr"] > points[0]["psnr"] + 1
    of_lfq = json.loads(lines[0])["points"]
    assert of_lfq[-1]["perplexity"] > 1.5, "the codes have not collapsed"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--steps", "0"], "--steps must be at least 1, got 0"),
        (["--variants", "lqf"], "did you mean 'lfq'"),
        (["--categories", "clot"], "woven_cloth"),
        (["--seed", "-1"], "--seed must be at least 0, got -1"),
        (["--patch-px", "500"], "--patch-px must be at most 64, got 500"),
        (["--out", "."], "--out . must not exist yet"),
    ],
)
def test_lfq_training_refuses_mistakes_in_one_line(capsys, tmp_path, arguments, said):
    with pytest.raises(SystemExit) as stopped:
        lfq_training.main(arguments)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
