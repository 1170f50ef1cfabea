"""A killed training resumes to the same bits; a damaged checkpoint is named."""

import dataclasses
import itertools
import json
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lfq_jax.training import loop
from lfq_jax.training.loop import Hooks, Machine
from lfq_jax.training.metrics_log import MetricsFile
from tests.lfq_jax.training.tiny_training import PLAIN, TRAIN, run

PROJECT = Path(__file__).resolve().parents[3]
_TRAINING = """
import hashlib, os, sys
from pathlib import Path
folder, cache, epochs = sys.argv[1:]
os.environ["XLA_FLAGS"] = ""
os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
import dataclasses
import jax, numpy as np
from experiments.run.compile_cache import keep_compiled
keep_compiled(Path(cache))
from lfq_jax.training import loop
from tests.lfq_jax.training.tiny_training import TRAIN, run
loop.SECONDS_BETWEEN_CHECKPOINTS = 0.0
config = dataclasses.replace(TRAIN, epochs=int(epochs), log_every=2)
trained = run(
    Path(folder),
    train_config=config,
    hooks=loop.Hooks(on_step=lambda step, *_: print(step, flush=True)),
)
digest = hashlib.sha256()
for leaf in jax.tree.leaves(trained.variables):
    digest.update(np.asarray(leaf).tobytes())
print("bits", digest.hexdigest())
"""


def _train(folder: Path, cache: Path, *, epochs: int, lines: int | None) -> str:
    """Bits at the end; or "" where it was killed, a moment after `lines` intervals."""
    arguments = (str(folder), str(cache), str(epochs))
    started = subprocess.Popen(
        [sys.executable, "-c", _TRAINING, *arguments],
        cwd=PROJECT,
        text=True,
        stdout=subprocess.PIPE,
    )
    assert started.stdout
    if lines is not None:
        read = list(itertools.islice(started.stdout, lines))
        assert len(read) == lines, "the training ended before it was killed"
        time.sleep(random.random() * 0.2)
        started.kill()
        started.communicate()
        return ""
    out, _ = started.communicate(timeout=300)
    assert started.returncode == 0
    return out.splitlines()[-1]


def _killed(tmp_path: Path, *, epochs: int, kills: list[int]) -> None:
    cache = tmp_path / "cache"
    whole = _train(tmp_path / "whole", cache, epochs=epochs, lines=None)
    for lines in kills:
        _train(tmp_path / "killed", cache, epochs=epochs, lines=lines)
    assert _train(tmp_path / "killed", cache, epochs=epochs, lines=None) == whole
    logs = [(tmp_path / n / "metrics.jsonl").read_text() for n in ("whole", "killed")]
    assert logs[0] == logs[1]


@pytest.mark.slow  # test_loop.py resumes an interrupted training to the same bits
def test_a_training_killed_at_a_random_moment_ends_with_the_same_bits(tmp_path):
    _killed(tmp_path, epochs=2, kills=[random.randint(1, 5)])


@pytest.mark.slow
def test_a_training_killed_again_and_again_ends_with_the_same_bits(tmp_path):
    _killed(tmp_path, epochs=12, kills=[random.randint(1, 6) for _ in range(6)])


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a training with the settings that tiny_training.py compiles."""
    folder = tmp_path_factory.mktemp("finished")
    run(folder, train_config=TRAIN)
    return folder


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_checkpoint_cut_short_is_named_with_what_to_do(finished, tmp_path):
    for part in ("progress/ocdbt.process_0/d/", "config/metadata", "progress/_META"):
        folder = tmp_path / part.replace("/", "-")
        shutil.copytree(finished, folder)
        cut = [p for p in _files(folder / "checkpoints") if part in str(p)]
        assert cut, part
        for path in cut:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ValueError, match=r"cannot be read: remove that folder"):
            run(folder, train_config=TRAIN)


WILD = dataclasses.replace(
    TRAIN, reconstructive_learning_rate=1e30, discriminative_learning_rate=1e30
)


def test_a_diverging_training_names_its_step(tmp_path):
    said = r"at step 2: .*, loss.* is not finite; no checkpoint had been written yet"
    with pytest.raises(ValueError, match=said) as refused:
        run(tmp_path, model_config=PLAIN, train_config=WILD)
    named = "z, which the encoder gives the quantizer, .* is not finite"
    assert re.search(named, str(refused.value))


def test_a_diverging_training_keeps_its_last_good_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    step_by_step = dataclasses.replace(WILD, log_every=1)
    steps = []
    for _ in range(2):  # the second one resumes, and ends in the same way
        said = r"at step 2: .* is not finite; the last good checkpoint is kept"
        with pytest.raises(ValueError, match=said):
            run(
                tmp_path,
                model_config=PLAIN,
                train_config=step_by_step,
                hooks=Hooks(on_step=lambda step, *_: steps.append(step)),
            )
        assert [each.name for each in (tmp_path / "checkpoints").iterdir()] == ["1"]
    assert steps == [1]


@pytest.mark.slow
def test_an_out_of_memory_error_names_the_fields_that_lower_the_need(tmp_path):
    vast = dataclasses.replace(TRAIN, batch_size=3_000_000)
    said = r"out of memory: .* needs \d+\.\d GiB .* lower train.batch_size \(3000000\)"
    with pytest.raises(ValueError, match=said):
        run(tmp_path, train_config=vast)


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [1, 6])  # one interval, and several
def test_a_trace_for_the_profiler_is_written(tmp_path, epochs):
    config = dataclasses.replace(TRAIN, epochs=epochs)
    machine = Machine(profile=tmp_path)
    run(tmp_path, model_config=PLAIN, train_config=config, machine=machine)
    (trace,) = tmp_path.rglob("*.xplane.pb")
    assert trace.stat().st_size > 1000


def test_a_log_cut_short_loses_its_last_line_alone(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 8}\n{"step": 16}\n{"st')
    MetricsFile(path, step=16).close()
    lines = path.read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [8, 16]


def test_data_sent_by_the_host_gives_the_same_bits(finished, tmp_path, caplog):
    config = dataclasses.replace(TRAIN, data_on="host")
    with caplog.at_level("WARNING"):
        run(tmp_path, train_config=config)
    assert "on the host, sent step by step" in caplog.text
    logs = [(each / "metrics.jsonl").read_text() for each in (finished, tmp_path)]
    assert logs[0] == logs[1]
