"""Several jobs at the same time: order, errors and stops, without training."""

import threading

import pytest

from experiments.run.concurrency import Job, run_concurrently

PATIENCE = 10.0


def never() -> bool:
    return False


def finished(jobs: dict[str, Job], *, at_once: int, should_stop=never) -> list[str]:
    """The categories in the order in which their results are yielded."""
    lines = run_concurrently(jobs, at_once=at_once, should_stop=should_stop)
    return [check(name, line) for name, line in lines]


def check(name: str, line: dict) -> str:
    assert line["category"] == name
    return name


def job(category: str, *, after: threading.Event | None = None) -> Job:
    def work() -> dict:
        assert after is None or after.wait(PATIENCE)
        return {"category": category}

    return work


def failing(error: BaseException, *, sets: threading.Event | None = None) -> Job:
    def work() -> dict:
        if sets:
            sets.set()
        raise error

    return work


def test_one_at_a_time_runs_in_the_callers_thread(capsys):
    threads = []

    def work() -> dict:
        threads.append(threading.current_thread())
        return {"category": "a"}

    assert finished({"a": work}, at_once=1) == ["a"]
    assert threads == [threading.main_thread()]
    assert "a: finished, 0 of 1 categories left" in capsys.readouterr().err


def test_one_at_a_time_a_stop_starts_no_other_job_and_keeps_finished_results():
    stopped = threading.Event()

    def last() -> dict:
        stopped.set()
        return {"category": "a"}

    jobs = {"a": last, "b": failing(AssertionError("it was started"))}
    given = []
    with pytest.raises(KeyboardInterrupt):
        for _, line in run_concurrently(jobs, at_once=1, should_stop=stopped.is_set):
            given.append(line["category"])
    assert given == ["a"]
    assert finished({"a": last}, at_once=1, should_stop=never) == ["a"]


def test_at_most_at_once_jobs_run_at_the_same_time():
    both, running, most = threading.Barrier(2), set(), []

    def counted(category: str) -> Job:
        def work() -> dict:
            running.add(category)
            both.wait(PATIENCE)  # passes where two run at the same time alone
            most.append(len(running))
            both.wait(PATIENCE)
            running.discard(category)
            return {"category": category}

        return work

    jobs = {name: counted(name) for name in "abcd"}
    assert sorted(finished(jobs, at_once=2)) == ["a", "b", "c", "d"]
    assert max(most) == 2


def test_after_an_error_running_jobs_finish_and_no_other_starts(capsys):
    failed = threading.Event()
    jobs = {
        "slow": job("slow", after=failed),
        "bad": failing(ValueError("of bad"), sets=failed),
        "never": failing(AssertionError("it was started")),
    }
    given = []
    with pytest.raises(ValueError, match="of bad"):
        for _, line in run_concurrently(jobs, at_once=2, should_stop=never):
            given.append(line["category"])
    assert given == ["slow"]
    capsys.readouterr()


def test_the_first_jobs_error_is_raised_rather_than_a_stop():
    first = threading.Event()
    stopped = failing(KeyboardInterrupt(), sets=first)

    def late() -> dict:
        assert first.wait(PATIENCE)
        raise ValueError("of b")

    jobs = {"a": stopped, "b": late, "c": failing(OSError("of c"))}
    with pytest.raises(ValueError, match="of b"):
        finished(jobs, at_once=3)


def test_after_a_stop_no_job_starts_and_keyboard_interrupt_is_raised():
    started, stopped = threading.Event(), threading.Event()

    def first() -> dict:
        assert started.wait(PATIENCE)
        stopped.set()
        return {"category": "a"}

    def second() -> dict:
        started.set()
        assert stopped.wait(PATIENCE)
        return {"category": "b"}

    jobs = {"a": first, "b": second, "c": failing(AssertionError("it was started"))}
    given = []
    with pytest.raises(KeyboardInterrupt):
        for _, line in run_concurrently(jobs, at_once=2, should_stop=stopped.is_set):
            given.append(line["category"])
    assert sorted(given) == ["a", "b"]
