"""Mistakes of a user are one line; defects of the project keep their traceback."""

import pytest

from datasets.errors import one_line_errors


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            np._core._exceptions._ArrayMemoryError((9,), np.dtype(int)),
            "Unable to alloc",
        ),
        (MemoryError(), "not enough memory"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
    ],
)
def test_what_the_system_refuses_is_one_line(capsys, error, said):
    with pytest.raises(SystemExit, match="2"), one_line_errors():
        raise error
    told = capsys.readouterr().err
    assert told.startswith(f"error: {said}") and told.count("\n") == 1
