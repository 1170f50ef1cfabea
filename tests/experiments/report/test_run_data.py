"""A run folder as the object that the report shows: pictures and published results."""

import pytest

from experiments.report import run_data
from experiments.report.run_data import published, read_run
from tests.fake_run import result_line, write_run


def test_a_picture_that_cannot_be_read_is_left_out_and_logged(tmp_path, caplog):
    folder = write_run(tmp_path / "run")
    (folder / "gear" / "pictures" / "good_000.png").write_bytes(b"no picture")
    (folder / "gear" / "pictures" / "crack_000.png").unlink()
    (gear, _) = read_run(folder)["categories"]
    without = {i["key"] for i in gear["images"] if i["panels"] is None}
    assert without == {"good/000", "crack/000"}
    assert "good_000.png is left out of the report" in caplog.text


def test_good_parts_have_no_outline(tmp_path):
    folder = write_run(tmp_path / "run")
    (gear, _) = read_run(folder)["categories"]
    panels = {image["key"]: set(image["panels"]) for image in gear["images"]}
    all_panels = {"image", "reconstruction", "heat map", "ground truth"}
    assert panels["good/000"] == all_panels
    assert panels["crack/000"] == all_panels | {"outline"}


def test_pictures_above_the_limit_are_embedded_smaller(tmp_path, monkeypatch):
    def size(data):
        images = [i for c in data["categories"] for i in c["images"]]
        return sum(len(uri) for i in images for uri in i["panels"].values())

    run = write_run(tmp_path / "run")
    whole = size(read_run(run))
    monkeypatch.setattr(run_data, "PICTURES_LIMIT", whole - 1)
    assert size(read_run(run)) < whole


def rows_of(dataset, shots, categories):
    return [
        result_line(name, {}) | {"dataset": dataset, "shots": shots}
        for name in categories
    ]


def test_the_papers_results_are_shown_only_for_its_data_sets():
    assert published(rows_of("rendered_ad", 2, ["gear"])) is None
    assert published(rows_of("folder", 2, ["leather"])) is None
    assert published(rows_of("mvtec_ad", 8, ["leather"])) is None
    mixed = rows_of("mvtec_ad", 2, ["leather"]) + rows_of("visa", 2, ["candle"])
    assert published(mixed) is None
    found = published(rows_of("mvtec_ad", 2, ["leather", "wood"]))
    assert found is not None
    assert found["run"]["image_auroc"] == pytest.approx(90.0)
    assert (found["categories"], found["categories_of_paper"]) == (2, 15)
    (lfquiad,) = [m for m in found["methods"] if m["name"] == "LFQUIAD"]
    assert [lfquiad[k] for k in ("image_auroc", "pixel_auroc", "pro")] == [
        *(97.9, 96.9, 93.1)
    ]
