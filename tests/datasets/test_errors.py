"""Mistakes of a user are one line; defects of the project keep their traceback."""

import pytest

from datasets.errors import one_line_errors


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError("Unable to allocate 9 PiB"), "Unable to allocate 9 PiB"),
        (MemoryError(), "not enough memory"),
        (OSError(28, "No space left"), "[Errno 28] No space left"),
    ],
)
def test_what_the_system_refuses_is_one_line(capsys, error, said):
    with pytest.raises(SystemExit, match="2"), one_line_errors():
        raise error
    told = capsys.readouterr().err
    assert told.startswith(f"error: {said}") and told.count("\n") == 1
