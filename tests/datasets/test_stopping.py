"""The first Ctrl-C or SIGTERM ends a command in seconds, whatever it is doing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datasets.errors import one_line_errors
from datasets.stopping import noted_signals, stopping

PACKAGE = Path(__file__).resolve().parents[2] / "datasets"
# Imports the two modules without the data sets, which take seconds to import.
CODE = f"""
import hashlib, sys, time, types
datasets = types.ModuleType("datasets")
datasets.__path__ = [{str(PACKAGE)!r}]
sys.modules["datasets"] = datasets
from datasets import stopping
stopping.GRACE_SECONDS = 0.3
with stopping.stopping(), stopping.last_words("stopped; resume with: again"):
    {{work}}
"""
# A call that Python's signal handlers wait for.
WORK = """with stopping.noted_signals():
        print("started", flush=True)
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_long_call_of_a_library_is_ended(number):
    process = subprocess.Popen(
        [sys.executable, "-c", CODE.format(work=WORK)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "started\n"
    started = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - started < 5
    assert process.returncode == 130
    assert said.splitlines()[-1] == "stopped; resume with: again"


def test_sigterm_ends_a_command_as_ctrl_c_does(capsys):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, one_line_errors():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert ended.value.code == 130 and capsys.readouterr().err == "stopped\n"
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_first_signal_is_noted_and_the_second_one_stops():
    with stopping(), noted_signals() as should_stop:
        assert not should_stop()
        os.kill(os.getpid(), signal.SIGTERM)
        assert should_stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
