"""Preparation is reproducible and complete or absent; decoding is lazy."""

import contextlib
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core import shuffle

import datasets
from datasets.errors import one_line_errors
from datasets.examples import read_examples
from datasets.folder.builder import Folder
from datasets.images import decode
from datasets.load import Split, prepare
from datasets.lock import locked_folder
from datasets.rendered_ad.builder import RenderedAd
from tests.dataset_files import mvtec_category

PROJECT = Path(datasets.__file__).parent.parent
VERSION = str(Folder.VERSION)


@pytest.fixture
def few_rendered(monkeypatch):
    """Make the rendered data set small."""
    for name, value in {"IMAGE_PX": 64, "TRAIN_GOOD": 3, "TEST_GOOD": 2}.items():
        monkeypatch.setattr(f"datasets.rendered_ad.builder.{name}", value)
    monkeypatch.setattr("datasets.rendered_ad.builder.TEST_PER_DEFECT", 1)


def load_stone(cache, split: Split = "train"):
    return datasets.load("rendered_ad", "stone", split, cache_dir=cache, progress=False)


def test_datasets_is_this_project_and_not_the_package_of_the_same_name():
    assert (PROJECT / "lfq_jax").is_dir() and (PROJECT / "pyproject.toml").is_file()


def test_rendering_twice_gives_the_same_bytes(tmp_path, few_rendered):
    prepared = []
    for name in ("first", "second"):
        load_stone(tmp_path / name)
        found = (tmp_path / name).rglob("*.array_record*")
        prepared.append({path.name: path.read_bytes() for path in found})
    assert len(prepared[0]) == 2 and prepared[0] == prepared[1]


def test_order_and_bytes_equal_those_of_tfds_without_its_memory_limit(
    tmp_path, few_rendered, monkeypatch
):
    def prepared(name):
        load_stone(tmp_path / name)
        found = (tmp_path / name).rglob("*.array_record*")
        return {path.name: path.read_bytes() for path in found}

    with monkeypatch.context() as patched:
        nothing = contextlib.nullcontext
        patched.setattr("datasets.builder.shuffling_on_disk", nothing)
        by_tfds = prepared("by TFDS")
        patched.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 10_000)
        with pytest.raises(ModuleNotFoundError, match="tensorflow"):
            prepared("above the limit")
    monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 10_000)
    assert prepared("on disk") == by_tfds


def test_every_category_is_rendered_with_masks(tmp_path, few_rendered, monkeypatch):
    monkeypatch.setattr("datasets.rendered_ad.builder.IMAGE_PX", 128)
    for category in datasets.categories("rendered_ad"):
        test = datasets.load(
            "rendered_ad", category, "test", cache_dir=tmp_path, progress=False
        )
        assert not test.unmasked_defects
        assert [e.mask.any() for e in test] == [bool(e.label) for e in test]
        assert len({e.defect for e in test}) >= 5


def test_nothing_is_decoded_before_it_is_accessed(tmp_path, few_rendered, monkeypatch):
    load_stone(tmp_path)
    decoded = []

    def counting(data):
        decoded.append(len(data))
        return decode(data)

    monkeypatch.setattr("datasets.examples.decode", counting)
    train = load_stone(tmp_path)
    assert len(train) == 3 and train.keys[0] == "good/000" and not decoded
    assert (
        train[-1].key == train[2].key and len(decoded) == 2
    )  # good images have no mask to decode
    with pytest.raises(IndexError):
        train[3]


@pytest.fixture
def thirty(tmp_path):
    mvtec_category(tmp_path / "data/part", train=30)
    folders = {"data_dir": tmp_path / "data", "cache_dir": tmp_path / "cache"}
    return datasets.load("folder", "part", "train", progress=False, **folders)


def test_iteration_equals_indexing(thirty, monkeypatch):
    def slowly(data):
        time.sleep(len(data) % 4 / 500)  # so that threads finish out of order
        return decode(data)

    monkeypatch.setattr("datasets.examples.decode", slowly)
    read = list(thirty)
    assert tuple(example.key for example in read) == thirty.keys
    for one, other in zip(read, (thirty[i] for i in range(30)), strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert one.sha256 == other.sha256


def test_iteration_decodes_a_few_ahead_and_no_more(thirty, monkeypatch):
    decoded = []
    monkeypatch.setattr(
        "datasets.examples.decode", lambda data: decoded.append(0) or decode(data)
    )
    iterator = iter(thirty)
    assert not decoded
    next(iterator)
    iterator.close()
    assert 1 <= len(decoded) <= 9  # the image itself and two per thread, at most four


def test_a_decoding_error_is_raised_at_its_image(thirty, monkeypatch):
    broken = thirty._source[thirty._rows[5].position]["image"]

    def refusing(data):
        if data == broken:
            raise ValueError("the sixth is broken")
        return decode(data)

    monkeypatch.setattr("datasets.examples.decode", refusing)
    read = []
    with pytest.raises(ValueError, match="the sixth is broken"):
        for example in thirty:
            read.append(example.key)
    assert tuple(read) == thirty.keys[:5]


def test_a_slice_is_a_list_of_examples(tmp_path, few_rendered):
    train = load_stone(tmp_path)
    assert [e.key for e in train[1:]] == list(train.keys[1:])
    np.testing.assert_array_equal(train[1:][0].image, train[1].image)


def test_tfds_reads_the_prepared_copy(tmp_path, few_rendered):
    ours = load_stone(tmp_path)
    builder = tfds.builder("rendered_ad/stone", data_dir=tmp_path)
    source: Any = tfds.data_source(
        "rendered_ad/stone", split="train", data_dir=tmp_path
    )
    assert {x["key"].decode() for x in source} == set(ours.keys)
    assert read_examples(builder, "train").sha256s == ours.sha256s


def in_a_process(
    code: str, *arguments: object, within: tuple[str, ...] = ()
) -> subprocess.Popen:
    command = [*within, sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen) -> tuple[int, str]:
    """Exit status and stderr of a process that has ended."""
    error = process.communicate(timeout=60)[1]
    return process.returncode, error


LOAD = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import datasets
from datasets.errors import one_line_errors
with one_line_errors():
    datasets.load("folder", "part", "train", data_dir=Path(sys.argv[1]),
                  cache_dir=Path(sys.argv[2]), progress=False)
"""


NO_LARGE_FILES = ("bash", "-c", 'ulimit -f 58; exec "$@"', "limited")


def test_a_full_disk_ends_in_one_line_and_leaves_no_records(tmp_path):
    mvtec_category(tmp_path / "data/part", train=30, side=64)
    folders = (tmp_path / "data", tmp_path / "cache")
    code, error = finished(in_a_process(LOAD, *folders, within=NO_LARGE_FILES))
    assert code == 2
    assert re.fullmatch(rf"error: .*part/{VERSION} cannot be written: .*\n", error)
    assert not list((tmp_path / "cache").rglob("*.array_record*"))
    assert finished(in_a_process(LOAD, *folders)) == (0, "")  # now with enough space


def test_a_killed_preparation_starts_again(tmp_path):
    slow = "import time, datasets.photographs as p\nread = p.read_image\n"
    slow += "p.read_image = lambda *a, **k: (time.sleep(0.2), read(*a, **k))[1]\n"
    mvtec_category(tmp_path / "data/part", train=30)
    cache = tmp_path / "cache"
    process = in_a_process(slow + LOAD, tmp_path / "data", cache)
    deadline = time.monotonic() + 60
    while not list(cache.rglob("*incomplete*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    finished(process)
    assert list(cache.rglob("*incomplete*"))  # killed before the end
    assert not list(cache.rglob(VERSION))
    train = datasets.load(
        "folder",
        "part",
        "train",
        data_dir=tmp_path / "data",
        cache_dir=cache,
        progress=False,
    )
    assert len(train) == 30
    assert not list(cache.rglob("*incomplete*"))


def test_of_two_processes_one_prepares_and_the_other_waits(tmp_path):
    mvtec_category(tmp_path / "data/part", train=60, side=64)
    folders = (tmp_path / "data", tmp_path / "cache")
    processes = [in_a_process(LOAD, *folders) for _ in range(2)]
    codes, errors = zip(*map(finished, processes), strict=True)
    assert codes == (0, 0)
    lines = "".join(errors).splitlines()
    assert len(lines) < 2 and all("waiting for process" in x for x in lines)


def test_a_waiting_builder_reads_the_copy_of_another_process(
    tmp_path, few_rendered, caplog
):
    first, second = (
        RenderedAd(config="stone", data_dir=str(tmp_path)) for _ in range(2)
    )
    first.shows_progress = False
    with ThreadPoolExecutor() as pool:
        with locked_folder(Path(second.data_dir).parent, leftovers="incomplete.*"):
            waiting = pool.submit(prepare, second)
            while not caplog.messages:  # the message that it waits
                time.sleep(0.01)
            first.download_and_prepare()
        waiting.result()
    assert read_examples(second, "train").keys == read_examples(first, "train").keys


def test_an_unwritable_cache_ends_in_one_line(tmp_path, few_rendered, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as ended, one_line_errors():
        load_stone(tmp_path / "file/cache")
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert "file/cache" in error


def test_importing_the_package_imports_no_jax_torch_or_tensorflow():
    code = "import sys, datasets; print(*sys.modules, file=sys.stderr)"
    _, modules = finished(in_a_process(code))
    assert "datasets.load" in modules.split()
    assert not {"jax", "torch", "tensorflow"} & set(modules.split())
