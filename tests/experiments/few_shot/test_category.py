"""One category of a tiny run: images read, image size, no test images."""

import json

from experiments.few_shot.__main__ import main
from tests.tiny_run import TINY, elsewhere, parts, read, without_times

__all__ = ["elsewhere", "parts", "read"]  # fixtures


def test_a_test_image_is_read_once_each_to_score_to_draw_and_to_count_codes(
    parts, tmp_path, read
):
    flags = ("--dataset", "folder", "--data-dir", str(parts), "--categories", "plate")
    main([*flags, *TINY, "--pictures", "2", "--out", str(tmp_path / "run")])
    drawn = len(list((tmp_path / "run" / "plate" / "pictures").iterdir()))
    assert drawn == 2
    assert sorted(read.values()) == [2] * 4 + [3] * drawn


def test_without_test_images_a_category_trains_and_metrics_are_not_computed(
    capsys, parts, tmp_path
):
    for path in sorted(parts.rglob("*"), reverse=True):
        if path.is_file() and "train" not in path.parts:
            path.unlink()
    main(
        [
            *("--dataset", "folder", "--data-dir", str(parts), *TINY),
            *("--categories", "plate", "--out", str(tmp_path / "blind")),
        ]
    )
    line = without_times(tmp_path / "blind")[0]
    assert line["metrics"]["image_auroc"] is None
    assert "image_auroc" in line["not_computed"]
    assert "-" in capsys.readouterr().out


def test_a_texture_is_trained_and_scored_at_its_own_size(capsys, parts, tmp_path):
    where = ("--dataset", "folder", "--data-dir", str(parts), "--kind", "texture")
    flags = (*where, *TINY, "--texture-px", "40", "--categories", "plate")
    main([*flags, "--out", str(tmp_path / "run")])
    capsys.readouterr()
    (line,) = without_times(tmp_path / "run")
    assert line["image_px"] == 40
    detector = tmp_path / "run" / "plate" / "detector"
    assert json.loads((detector / "config.json").read_text())["model"]["image_px"] == 40
