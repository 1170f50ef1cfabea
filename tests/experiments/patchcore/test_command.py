"""PatchCore's command: its error messages, and one complete run."""

import json

import pytest

from experiments.patchcore import __main__ as patchcore
from tests.dataset_files import elpv_folder
from tests.refusals import refused
from tests.tiny_encoder import write_squeezenet
from tests.tiny_run import elsewhere, parts, read

__all__ = ["elsewhere", "parts", "read"]  # fixtures


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_squeezenet(tmp_path_factory.mktemp("w") / "s.npz"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "--features"),
        (["--features", "nowhere.npz"], "nowhere.npz does not exist"),
        (["--features", "net.pth"], "does not exist: it must be a file of weights"),
        (["--feature", "net.npz"], "--features"),
        (["--features", "W", "--stages", "layer2"], "stages must be some of fire2"),
        (["--features", "W", "--coreset", "0"], "--coreset must be in (0, 1], got 0"),
        (["--features", "W", "--shots", "0"], "--shots must be at least 1, got 0"),
        (["--features", "W", "--seed", "-1"], "--seed must be at least 0, got -1"),
        (["--features", "W", "--neighbours", "1"], "--neighbours must be at least 2"),
        (["--features", "W", "--smoothing-px", "nan"], "--smoothing-px must be at"),
        (["--features", "W", "--image-px", "8"], "--image-px must be at least 32"),
        (["--features", "W", "--dataset", "folder"], "needs --data-dir"),
    ],
)
def test_a_mistake_prints_one_line_and_exits_with_2(
    capsys, tmp_path, weights, arguments, expected
):
    completed = [weights if word == "W" else word for word in arguments]
    message = refused(capsys, patchcore.main, completed)
    assert expected in message
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_is_not_empty_is_refused_without_offering_to_resume(
    capsys, parts, weights
):
    where = ("--features", weights, "--dataset", "folder", "--data-dir", str(parts))
    with pytest.raises(SystemExit):
        patchcore.main([*where, "--out", str(parts)])
    message = capsys.readouterr().err
    assert "already holds something: choose another folder\n" in message


def test_a_run_writes_rows_table_pictures_and_report(
    capsys, parts, tmp_path, weights, read
):
    out = tmp_path / "run"
    patchcore.main(
        [
            *("--features", weights, "--dataset", "folder", "--data-dir", str(parts)),
            *("--image-px", "64", "--out", str(out), "--pictures", "3"),
        ]
    )
    output = capsys.readouterr().out
    assert "method PatchCore, backbone squeezenet1_1" in output
    rows = [
        json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()
    ]
    assert [row["category"] for row in rows] == ["plate", "ring"]
    assert read.total() == 2 * (6 + 3), "once to score, once where it is drawn"
    for row in rows:
        assert row["backbone"] == "squeezenet1_1"
        assert row["stages"] == ["fire5", "fire9"]
        assert set(row["image_auroc_by_score"]) == {"max", "reweighted"}
        assert row["metrics"]["image_auroc"] == 1.0
        assert row["metrics"]["pixel_auroc"] > 0.8
        assert list(row["per_defect"]) == ["hole"]
        assert list((out / row["category"] / "pictures").iterdir())
    assert "squeezenet1_1" in (out / "report.html").read_text()


def test_a_data_set_with_image_labels_alone_has_a_table_and_a_report(
    capsys, tmp_path, weights
):
    data, out = (
        elpv_folder(tmp_path / "elpv", "mono", side=40, most=3),
        tmp_path / "run",
    )
    where = ("--dataset", "elpv", "--data-dir", str(data), "--allow-partial")
    small = ("--image-px", "32", "--categories", "mono", "--pictures", "2")
    patchcore.main(["--features", weights, *where, *small, "--out", str(out)])
    output = capsys.readouterr().out
    (line,) = [x for x in output.splitlines() if x.startswith("mono ")]
    assert line.split()[4:8] == ["-"] * 4
    message = "P-AUROC, P-AP, P-F1max, PRO not computed: no defective test image has a"
    assert message in " ".join(output.split())
    assert (out / "report.html").is_file()
    row = json.loads((out / "results.jsonl").read_text())
    assert row["metrics"]["image_auroc"] is not None
    assert row["metrics"]["pro"] is None and row["kind"] == "texture"
