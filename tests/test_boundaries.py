"""Who imports whom: torch and jax never meet, and --help loads neither."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
FORBIDDEN = {
    "agm_torch": {"jax", "flax", "optax", "orbax", "lfq_jax", "experiments"},
    "datasets": {"jax", "torch", "lfq_jax", "agm_torch", "experiments", "tensorflow"},
    "lfq_jax": {"torch", "agm_torch", "experiments", "diffusers", "tensorflow"},
    "experiments": {"torch", "diffusers", "tensorflow"},
}
# These measure or feed torch itself.
TORCH_ALLOWED = {"experiments/bench"}


def _imported(path: Path) -> set[str]:
    """Top-level packages that a file imports, anywhere in it."""
    return {module.split(".")[0] for module in _modules(path)}


def _modules(path: Path) -> set[str]:
    """Modules that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_a_package_imports_nothing_that_is_not_its_business(package: str):
    found = {
        str(path.relative_to(PROJECT)): sorted(_imported(path) & FORBIDDEN[package])
        for path in (PROJECT / package).rglob("*.py")
        if not any(str(path.relative_to(PROJECT)).startswith(a) for a in TORCH_ALLOWED)
    }
    assert {path: names for path, names in found.items() if names} == {}


def test_four_files_of_the_learning_side_read_data_sets():
    readers = {
        str(path.relative_to(PROJECT / "lfq_jax"))
        for path in (PROJECT / "lfq_jax").rglob("*.py")
        if _data_sets(_modules(path))
    }
    assert readers == {
        "training/data.py",
        "inference/image_input.py",
        "inference/predictor.py",
        "inference/preprocessing.py",
    }


DECLARED_BY: dict[str, tuple[str, ...]] = {
    "agm_torch": ("agm", "ray"),
    "datasets/weights": ("backbone",),
    "experiments/bench": ("agm", "peers"),
    "lfq_jax/export": ("onnx",),
}
"""The extras whose packages a folder may import, beside those of the base install."""
NOT_DECLARED = {"jax2onnx"}  # installed with --no-deps, see the Makefile


def _declared(*extras: str) -> set[str]:
    """Names of the packages that the base install and these extras require."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"]]
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    return {re.split(r"[^\w.-]", each)[0].lower().replace("_", "-") for each in wanted}


def test_every_package_that_is_imported_is_declared():
    ours = {*FORBIDDEN, *sys.stdlib_module_names} | NOT_DECLARED
    homes = importlib.metadata.packages_distributions()
    for package in FORBIDDEN:
        for path in (PROJECT / package).rglob("*.py"):
            place = str(path.relative_to(PROJECT))
            extras = [e for at, es in DECLARED_BY.items() if at in place for e in es]
            for name in _imported(path) - ours:
                names = {each.lower().replace("_", "-") for each in homes.get(name, [])}
                assert names & _declared(*extras), f"{place} imports {name}"


def test_what_jax_export_serialises_with_is_declared():
    assert "flatbuffers" in _declared()
    pinned = (PROJECT / "constraints.txt").read_text()
    assert "\nflatbuffers==" in pinned


def _data_sets(modules: set[str]) -> set[str]:
    """The modules that are about data sets. Files, of weights or not, are not."""
    of_datasets = {name for name in modules if name.split(".")[0] == "datasets"}
    return {
        name
        for name in of_datasets - {"datasets.file_names", "datasets.files"}
        if not name.startswith("datasets.weights.")
    }


COMMANDS = (
    "accuracy",
    "backbones",
    "calibrate",
    "few_shot",
    "patchcore",
    "predict",
    "quantizers",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_answers_at_once_and_never_imports_jax(command: str):
    code = (
        "import runpy, sys\n"
        "sys.argv = ['command', '--help']\n"
        f"try: runpy.run_module('experiments.{command}', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'jax', 'torch', 'matplotlib', 'tensorflow_datasets'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=PROJECT, stdout=subprocess.DEVNULL
    )
    seconds = time.monotonic() - started
    assert seconds < 10, "one second on an idle machine; see experiments/bench"
