"""Progress for a parent process, and signals."""

import json
import os
import signal
import time

import pytest

from agm_torch.reporting import JsonReport, StopOnSignal


def events(output: str) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


def test_the_second_signal_stops_at_once():
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        stops = StopOnSignal()
        os.kill(os.getpid(), signal.SIGINT)
        assert stops() and stops.exit_status == 130
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_heartbeats_are_sent_during_a_long_record(monkeypatch, capsys):
    monkeypatch.setattr("agm_torch.reporting.HEARTBEAT_SECONDS", 0.02)
    report = JsonReport(10)
    report.progress(4)
    time.sleep(0.2)
    report.end("done", path="somewhere")
    told = events(capsys.readouterr().out)
    beats = [event for event in told if event["event"] == "heartbeat"]
    assert len(beats) >= 2 and all(event["done"] == 4 for event in beats)
    time.sleep(0.1)
    assert told[-1]["event"] == "done" and not capsys.readouterr().out
