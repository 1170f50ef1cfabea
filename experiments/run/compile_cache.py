"""The cache folder of compiled programs."""

import os
import sys
import tempfile
from pathlib import Path


def keep_compiled(cache_dir: Path) -> None:
    """Let jax store compiled programs, so that a second run or category starts at once.

    If the folder is not writable, one line on stderr says so and nothing is stored. A
    folder that $JAX_COMPILATION_CACHE_DIR names is used as it is.
    """
    import jax

    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    folder = cache_dir / "xla"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        print(
            f"{folder} cannot be written to, so every start compiles again: "
            f"{error.strerror or error}; name another folder with --cache-dir or "
            "LFQUIAD_CACHE",
            file=sys.stderr,
        )
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
