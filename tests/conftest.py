"""What every test runs under: shapes checked, one torch thread, no hub, no GPU wait."""

import os
import shutil
import signal
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch and BLAS; set before they load
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if os.environ["JAX_PLATFORMS"] == "cpu":  # tiny networks compile longer than they run
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Eight virtual devices, so that data parallelism is tested without hardware.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
if os.environ.get("JAX_DISABLE_MOST_OPTIMIZATIONS") == "1":
    # Without it, compiling takes half as long again.
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"

# Compiled programs are shared by both workers, by the commands that tests start, by
# functions that are alike, and by later runs of the suite. jax finds a program by the
# hash of its source, the compiler's flags and the versions. Only the first process
# comes here without the variable.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    compiled = Path(__file__).parents[1] / ".pytest_cache" / "compiled"
    if sum(path.stat().st_size for path in compiled.glob("*")) > 2**30:
        shutil.rmtree(compiled)  # mostly programs of earlier versions of the code
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(compiled)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

# A suite in the background of a script ignores Ctrl-C, and all that it starts does too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from jaxtyping import install_import_hook

# Shapes are annotations; tests check them, users do not pay for it.
install_import_hook("lfq_jax", "beartype.beartype")


# Tests in one process share what jax has traced and compiled in it. These train with
# equal settings; each other file is a group of its own. Long groups come first, so that
# two processes end at about the same time.
LONG_GROUPS = (
    "tests/experiments/few_shot/",
    "tests/lfq_jax/training/",
    "tests/lfq_jax/export/",
    "tests/experiments/accuracy/",
    "tests/agm_torch/engine/",
    "tests/experiments/quantizers/",
    "tests/experiments/bench/",
    "tests/lfq_jax/quantizers/",
    "tests/lfq_jax/memory_bank/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests, and name the group of each for `--dist loadgroup`."""

    def rank(item: pytest.Item) -> int:
        places = [i for i, start in enumerate(LONG_GROUPS) if group(item) == start]
        return places[0] if places else len(LONG_GROUPS)

    def group(item: pytest.Item) -> str:
        file = item.nodeid.split("::")[0]
        return next((start for start in LONG_GROUPS if file.startswith(start)), file)

    for item in items:
        item.add_marker(pytest.mark.xdist_group(group(item)))
    items.sort(key=rank)
