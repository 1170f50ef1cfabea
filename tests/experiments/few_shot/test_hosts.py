"""Hosts that are not the first keep nothing."""

import subprocess
import sys
from pathlib import Path

from experiments.few_shot.hosts import HostsConfig
from experiments.few_shot.resume import how_to_resume
from experiments.few_shot.settings import FewShot
from experiments.run.folder import RunFolder

PROJECT = Path(__file__).resolve().parents[3]


def test_a_host_that_is_not_the_first_keeps_nothing_and_prints_no_command():
    code = (
        "from experiments.few_shot.hosts import temporary_folder;"
        "run = temporary_folder(None);"
        "(run.path / 'plate').mkdir(); print(run.path)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    folder = Path(done.stdout.decode().strip())
    assert folder.name.startswith("lfquiad-host-") and not folder.exists()
    for index, said in ((0, f"--resume {folder}"), (1, "the first host says")):
        hosts = HostsConfig("first:9000", count=2, index=index)
        told = how_to_resume(FewShot(hosts=hosts), RunFolder(folder))
        assert said in told and ("--resume" in told) == (index == 0)
