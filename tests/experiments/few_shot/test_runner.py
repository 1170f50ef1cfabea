"""Tiny runs to their end: results, errors and stops, one by one and at once."""

import re
import signal
import subprocess
import sys
import time

import pytest

from experiments.few_shot.__main__ import main
from tests.tiny_run import (
    TINY,
    blank_figures,
    elsewhere,
    parts,
    refusal,
    shared_anomalies,
    without_times,
)

__all__ = ["blank_figures", "elsewhere", "parts", "shared_anomalies"]  # fixtures


@pytest.mark.usefixtures("shared_anomalies")
def test_a_run_writes_table_pictures_and_report_whether_alone_or_at_once(
    capsys, parts, tmp_path
):
    tables = []
    for name, at_once in (("one", "1"), ("two", "2")):
        main(
            [
                *("--dataset", "folder", "--data-dir", str(parts), *TINY),
                *("--out", str(tmp_path / name), "--at-once", at_once),
            ]
        )
        said = capsys.readouterr().out.replace(str(tmp_path / name), "")
        tables.append(re.sub(r"\d+:\d\d", "time", said))
    assert tables[0] == tables[1]
    assert "plate" in tables[0]
    assert "mean" in tables[0]
    run = tmp_path / "one"
    for written in ("config.json", "results.jsonl", "report.html"):
        assert (run / written).is_file()
    for category in ("plate", "ring"):
        assert (run / category / "training_curves.png").is_file()
        assert (run / category / "codes.png").is_file()
        assert (run / category / "images.png").is_file()
        assert list((run / category / "pictures").iterdir())
    lines = [without_times(tmp_path / name) for name in ("one", "two")]
    assert lines[0] == lines[1]
    for same in ("metrics.jsonl", "predictions.jsonl", "codes.png"):
        for category in ("plate", "ring"):
            one, two = (tmp_path / name / category / same for name in ("one", "two"))
            assert one.read_bytes() == two.read_bytes()
    assert [line["category"] for line in lines[0]] == ["plate", "ring"]
    assert lines[0][0]["preset"] == "cpu"


@pytest.mark.usefixtures("blank_figures", "shared_anomalies")
def test_an_error_of_one_category_keeps_the_other_one_and_the_run_can_be_resumed(
    capsys, parts, tmp_path
):
    out, leak = tmp_path / "half", parts / "plate" / "test" / "good" / "leak.png"
    leak.write_bytes((parts / "plate" / "train" / "good" / "0.png").read_bytes())
    arguments = ("--dataset", "folder", "--data-dir", str(parts), *TINY)
    refuse = ("--on-leak", "refuse", "--at-once", "2", "--out", str(out))
    said = refusal(capsys, *arguments, *refuse)
    assert (
        "error: 1 test images are also training images: good/leak"
        in said.splitlines()[-1]
    )
    assert [x["category"] for x in without_times(out)] == ["ring"]
    leak.unlink()
    main(["--resume", str(out), "--at-once", "2"])
    assert [x["category"] for x in without_times(out)] == ["plate", "ring"]


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_stops_all_categories_at_once_and_leaves_what_resume_needs(
    parts, tmp_path, times
):
    out = tmp_path / "stopped"
    long = [*TINY, "--train.epochs", "4000"]
    arguments = ["--dataset", "folder", "--data-dir", str(parts), *long]
    with (tmp_path / "said").open("w+") as said:
        flags = [*arguments, "--at-once", "2", "--out", str(out)]
        command = [sys.executable, "-m", "experiments.few_shot", *flags]
        running = subprocess.Popen(command, stderr=said)
        logs = [out / category / "metrics.jsonl" for category in ("plate", "ring")]
        while not all(log.exists() and log.stat().st_size for log in logs):
            assert running.poll() is None
            time.sleep(0.1)
        for _ in range(times):
            running.send_signal(signal.SIGINT)
            time.sleep(0.3)
        assert running.wait(60) == 130
        said.seek(0)
        text = said.read()
    assert "Traceback" not in text
    assert f"--resume {out} --at-once 2" in text.splitlines()[-1]
    kept = [log.parent / "checkpoints" for log in logs]
    if times == 1:
        assert all(any(folder.iterdir()) for folder in kept)
