"""The command line and the weight-free generator import nothing heavy."""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def run(*arguments, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        *arguments, cwd=PROJECT, capture_output=True, text=True, timeout=60, **options
    )


def test_help_imports_nothing_heavy():
    code = (
        "import sys, agm_torch.__main__ as main\n"
        "sys.argv = ['agm_torch', 'generate', '--help']\n"
        "try: main.main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'jax', 'numpy', 'scipy') if m in sys.modules])"
    )
    done = run([sys.executable, "-c", code])
    assert done.stdout.splitlines()[-1] == "[]"
    assert "--beta-max" in done.stdout


def test_the_weight_free_generator_never_imports_torch_or_jax():
    code = (
        "import sys, numpy as np\n"
        "from agm_torch.generator import AnomalyGenerator\n"
        "from tests.agm_images import part\n"
        "AnomalyGenerator()(part(), category='x', rng=np.random.default_rng(0))\n"
        "print([m for m in ('torch', 'jax', 'diffusers') if m in sys.modules])"
    )
    done = run([sys.executable, "-c", code])
    assert done.stdout.strip() == "[]", done.stderr
