"""Ctrl-C and SIGTERM end every command within seconds.

A command notes the signal and stops where its work can be resumed. Python runs a signal
handler only between two of its own instructions, so a long call of a library, such as
the compilation of a program, would delay the stop. A thread therefore ends the process
if it has not stopped after GRACE_SECONDS. Files are complete at any moment, so a
process may end anywhere.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from datasets.progress import last_line

INTERRUPTED = 130
"""The exit status that shells report after SIGINT. SIGTERM has the same."""
GRACE_SECONDS = 4.0
"""Time that a command has to stop by itself after the first signal."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)

_last_words = ["stopped"]


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """Make the first Ctrl-C or SIGTERM end the block, in GRACE_SECONDS at most.

    Both raise `KeyboardInterrupt` in the main thread, unless the block has installed
    handlers of its own. In other threads, and inside another such block, nothing
    changes.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or _is_watched():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    if before[signal.SIGTERM] == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _watched():
            yield
    finally:
        signal.signal(signal.SIGTERM, before[signal.SIGTERM])


@contextlib.contextmanager
def last_words(text: str) -> Iterator[None]:
    """What is printed if the process is ended in this block: how to resume, say."""
    _last_words.append(text)
    try:
        yield
    finally:
        _last_words.pop()


@contextlib.contextmanager
def noted_signals() -> Iterator[Callable[[], bool]]:
    """Only note the first Ctrl-C or SIGTERM, so that the state can be saved.

    Yields a function that returns whether to stop. A second signal raises
    `KeyboardInterrupt`.
    """
    is_asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal is_asked
        if is_asked:
            raise KeyboardInterrupt
        is_asked = True
        # print() may be interrupted by this handler, and does not allow a second call.
        with contextlib.suppress(OSError):
            os.write(2, b"\nstopping; again to stop at once\n")

    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield lambda: is_asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_watched() -> bool:
    descriptor = signal.set_wakeup_fd(-1)
    if descriptor != -1:
        signal.set_wakeup_fd(descriptor)
    return descriptor != -1


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """End the process if it still runs this block GRACE_SECONDS after a signal."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    has_ended = threading.Event()

    def watch() -> None:
        while data := os.read(reader, 64):
            if has_ended.is_set():
                return
            if set(data) & set(SIGNALS):
                if not has_ended.wait(GRACE_SECONDS):
                    _end_process()
                return

    watcher = threading.Thread(target=watch, name="signals", daemon=True)
    watcher.start()
    # The system's handler writes the number of a signal here, even in a long call.
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        has_ended.set()
        os.write(writer, b"\0")  # wakes the thread
        watcher.join()
        os.close(reader)
        os.close(writer)


def _end_process() -> None:
    """End this process at once, after the line that says how to resume."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    with contextlib.suppress(Exception):
        last_line(_last_words[-1])
    os._exit(INTERRUPTED)
