"""What a command prints where its user made a mistake."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest


def refused(
    capsys, main: Callable[..., Any], arguments: Sequence[str] | None = None
) -> str:
    """The message of a command, which must end with status 2 and without a traceback.

    Args:
      arguments: of `main`. None: it reads them from `sys.argv`.
    """
    with pytest.raises(SystemExit) as stopped:
        main() if arguments is None else main(list(arguments))
    message = capsys.readouterr().err
    assert stopped.value.code == 2
    assert "Traceback" not in message
    return message
