"""Writing, reading and verifying shards."""

import errno
import json
import os

import numpy as np
import pytest

from datasets import shards as shards_module
from datasets.images import image_sha256
from datasets.shards import (
    MANIFEST,
    NORMALS,
    SCHEMA_VERSION,
    Records,
    ShardWriter,
    content_key,
    open_shards,
    read_manifest,
    shard_name,
    verify_shards,
)

COUNT, PER_SHARD, PX = 7, 3, 8


def records(numbers) -> Records:
    """Records whose fields all encode the record's number."""
    images = np.stack([np.full((PX, PX, 3), n, np.uint8) for n in numbers])
    masks = np.stack([np.full((PX, PX), 255 * (n % 2), np.uint8) for n in numbers])
    sources = np.array([n % 2 for n in numbers], np.int32)
    return Records(images, masks, sources, [{"number": n} for n in numbers])


def fill(folder, *, order=None):
    writer = ShardWriter(folder, count=COUNT, records_per_shard=PER_SHARD)
    for shard in order or range(writer.shard_count):
        writer.write(shard, records(writer.record_numbers(shard)))
    normals = np.stack([np.full((PX, PX, 3), n, np.uint8) for n in (100, 200)])
    return writer.finish(normals, {"category": "test"})


@pytest.fixture
def folder(tmp_path):
    return fill(tmp_path / "key")


def test_records_are_read_in_order(tmp_path):
    shards = open_shards(fill(tmp_path / "key", order=[2, 0, 1]))
    assert len(shards) == COUNT
    assert shards.images[:, 0, 0, 0].tolist() == list(range(COUNT))
    assert shards.masks[:, 0, 0].tolist() == [0, 255, 0, 255, 0, 255, 0]
    assert shards.sources.tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert shards.sources.dtype == np.int32
    assert [entry["number"] for entry in shards.provenance] == list(range(COUNT))
    assert shards.normals[:, 0, 0, 0].tolist() == [100, 200]
    assert shards.manifest["category"] == "test"


def test_parts_are_views_of_the_files_and_not_copies(folder):
    shards = open_shards(folder)
    base = shards.parts[0].images
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    assert not isinstance(base, np.ndarray)  # an mmap
    assert not shards.parts[0].images.flags.writeable


def test_the_order_of_writing_does_not_change_a_byte(tmp_path):
    first = fill(tmp_path / "a")
    second = fill(tmp_path / "b", order=[2, 1, 0])
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_an_unfinished_folder_is_not_opened(tmp_path):
    writer = ShardWriter(tmp_path / "key", count=COUNT, records_per_shard=PER_SHARD)
    writer.write(0, records(writer.record_numbers(0)))
    with pytest.raises(FileNotFoundError, match="no manifest"):
        open_shards(tmp_path / "key")
    with pytest.raises(FileNotFoundError, match="no manifest"):
        open_shards(writer.partial)


def test_an_unfinished_shard_is_read_and_then_replaced(tmp_path):
    writer = ShardWriter(tmp_path / "key", count=COUNT, records_per_shard=PER_SHARD)
    writer.write(1, records([3, 4]))
    begun = writer.begun(1)
    assert begun is not None and begun.images[:, 0, 0, 0].tolist() == [3, 4]
    writer.write(1, records([3, 4, 5]))
    assert [path.name for path in writer.partial.iterdir()] == [shard_name(1)]


def test_a_shard_truncated_by_a_crash_is_deleted(tmp_path):
    writer = ShardWriter(tmp_path / "key", count=COUNT, records_per_shard=PER_SHARD)
    writer.write(0, records([0, 1, 2]))
    path = writer.partial / shard_name(0)
    path.write_bytes(path.read_bytes()[:-50])
    assert writer.begun(0) is None
    assert not path.exists()


def test_leftovers_of_killed_processes_are_removed(tmp_path):
    partial = tmp_path / "key.partial"
    partial.mkdir()
    (partial / ".shard-00001.safetensors.4711").write_bytes(b"half")
    folder = fill(tmp_path / "key")
    expected = {MANIFEST, NORMALS, *map(shard_name, range(3))}
    assert {path.name for path in folder.iterdir()} == expected


@pytest.mark.parametrize("name", [shard_name(1), NORMALS])
def test_one_flipped_bit_is_found_and_the_file_named(folder, name):
    path = folder / name
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"{name}.*sha256"):
        open_shards(folder)


def test_a_flipped_bit_is_found_after_an_earlier_check(folder):
    open_shards(folder)
    path = folder / shard_name(2)
    stat = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 128
    path.write_bytes(data)
    with pytest.raises(ValueError, match=shard_name(2)):
        open_shards(folder)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as a failing disk does
    with pytest.raises(ValueError, match=shard_name(2)):
        verify_shards(folder, again=True)


def test_verified_files_are_not_read_again(folder, monkeypatch):
    read = []
    checksum = shards_module.file_sha256
    monkeypatch.setattr(
        shards_module, "file_sha256", lambda path: read.append(path) or checksum(path)
    )
    open_shards(folder)
    assert len(read) == 4
    open_shards(folder)
    assert len(read) == 4


def test_a_truncated_shard_is_named(folder):
    path = folder / shard_name(2)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"{shard_name(2)}.*cut short"):
        open_shards(folder)
    with pytest.raises(ValueError, match=shard_name(2)):
        open_shards(folder, verify=False)


def test_a_missing_shard_is_named(folder):
    (folder / shard_name(0)).unlink()
    with pytest.raises(ValueError, match=f"{shard_name(0)} is missing"):
        open_shards(folder)


def test_a_newer_schema_is_refused_with_both_versions(folder):
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["schema_version"] = SCHEMA_VERSION + 1
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=f"version {SCHEMA_VERSION + 1}.*up to"):
        open_shards(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"count": 3}'])
def test_a_damaged_manifest_is_named(folder, text):
    (folder / MANIFEST).write_text(text)
    with pytest.raises(ValueError, match=MANIFEST):
        read_manifest(folder)


def test_a_manifest_with_another_count_is_refused(folder):
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["count"] = COUNT + 1
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=f"lists {COUNT + 1}.*{COUNT}"):
        open_shards(folder)


def test_a_full_disk_leaves_no_half_file(tmp_path, monkeypatch):
    writer = ShardWriter(tmp_path / "key", count=COUNT, records_per_shard=PER_SHARD)
    writer.write(0, records([0, 1, 2]))

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        writer.write(1, records([3, 4, 5]))
    assert [path.name for path in writer.partial.iterdir()] == [shard_name(0)]


@pytest.mark.parametrize(("count", "per_shard"), [(0, 1), (-1, 1), (1, 0)])
def test_counts_below_one_are_refused(tmp_path, count, per_shard):
    with pytest.raises(ValueError, match="at least 1"):
        ShardWriter(tmp_path / "key", count=count, records_per_shard=per_shard)


def test_the_content_key_depends_on_values_and_not_on_order():
    assert content_key({"a": 1, "b": [2]}) == content_key({"b": [2], "a": 1})
    assert content_key({"a": 1, "b": [2]}) != content_key({"a": 1, "b": [3]})


def test_the_image_hash_depends_on_the_size():
    flat = np.zeros((2, 6, 3), np.uint8)
    assert image_sha256(flat) != image_sha256(flat.reshape(6, 2, 3))
    assert image_sha256(flat) == image_sha256(flat[::1])
