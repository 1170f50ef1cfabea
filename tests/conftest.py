"""What every test runs under: shapes checked, one torch thread, no hub, no GPU wait."""

import gc
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch and BLAS; set before they load
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if os.environ["JAX_PLATFORMS"] == "cpu":  # tiny networks compile longer than they run
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Eight virtual devices, so that data parallelism is tested without hardware.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
if os.environ.get("JAX_DISABLE_MOST_OPTIMIZATIONS") == "1":
    # Without the first, compiling takes half as long again, and without the second, a
    # twelfth.
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"
    os.environ["XLA_FLAGS"] += " --xla_cpu_parallel_codegen_split_count=1"

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

# Tracing makes many small objects that stay. To look for garbage among them every 700
# objects takes a ninth of the suite's time.
gc.set_threshold(200_000, 50, 100)

# Tests in one process share what jax has traced and compiled in it. Those of a group
# have equal settings; each other file is a group of its own. Long groups come first, so
# that two processes end at about the same time.
LONG_GROUPS = (
    ("tests/experiments/few_shot/", "tests/experiments/accuracy/"),
    ("tests/lfq_jax/training/",),
    ("tests/lfq_jax/export/", "tests/lfq_jax/inference/", "tests/experiments/predict/"),
    ("tests/lfq_jax/memory_bank/",),
    ("tests/agm_torch/engine/",),
    ("tests/experiments/quantizers/",),
    ("tests/experiments/bench/",),
    ("tests/lfq_jax/quantizers/",),
)


def _group(nodeid: str) -> tuple[int, str]:
    """A group's place in the order, and its name."""
    file = nodeid.split("::")[0]
    for place, folders in enumerate(LONG_GROUPS):
        if file.startswith(folders):
            return place, folders[0]
    return len(LONG_GROUPS), file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests: long groups first, in their order."""
    items.sort(key=lambda item: _group(item.nodeid)[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a process a whole group at a time.

    `--dist loadgroup` would do so, but xdist 3.8 gives pytest 9.2 the groups' names in
    a way that it ignores.
    """
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)[1]

    return GroupScheduling(config, log)
