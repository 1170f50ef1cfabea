"""python -m agm_torch generate | preview | export | cache | weights"""

import os
import sys

import tyro

from agm_torch.command_line import (
    Cache,
    Command,
    Export,
    Generate,
    Preview,
    Weights,
)
from agm_torch.usage import parsed

# many small matrix products: threads would only wait for each other
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")


def main() -> int:
    """Parse the command line, then import what the command needs."""
    command = parsed(
        lambda: tyro.cli(
            Command,  # pyright: ignore[reportArgumentType]
            prog="python -m agm_torch",
            description="Normal image -> anomalous image and mask.",
        )
    )
    from datasets.errors import one_line_errors

    with one_line_errors():
        match command:
            case Generate():
                from agm_torch.reporting import generate_command

                return generate_command(command)
            case Preview():
                from agm_torch.preview import preview_command

                return preview_command(command)
            case Export():
                from agm_torch.export import export_command

                return export_command(command)
            case Cache():
                from agm_torch.cache_command import cache_command

                return cache_command(command)
            case Weights():
                from agm_torch.weights_command import weights_command

                return weights_command(command)
    raise AssertionError(command)


if __name__ == "__main__":
    sys.exit(main())
