"""Pickled torch files: equal to torch's own reader, and no code in them runs."""

import collections
import io
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lfq_jax.backbones.torch_pickle import read_torch_file

FORMATS = {"zip": True, "legacy": False}


def _tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    shared = torch.randn(3, 4, 5)
    return {
        "float": torch.randn(2, 3),
        "double": torch.randn(4, dtype=torch.float64),
        "half": torch.randn(5).half(),
        "bfloat16": torch.randn(2, 2).bfloat16(),
        "long": torch.tensor(7),
        "bool": torch.tensor([True, False]),
        "empty": torch.empty(0, 3),
        "part": shared[1:, ::2],
        "transposed": shared.transpose(0, 2),
        "parameter": torch.nn.Parameter(torch.randn(2)),
    }


def _save(content: Any, path: Path, *, kind: str) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=FORMATS[kind])
    return path


@pytest.mark.parametrize("kind", FORMATS)
def test_every_tensor_equals_torchs(kind: str, tmp_path: Path):
    tensors = _tensors()
    ordered = collections.OrderedDict(tensors)
    vars(ordered)["_metadata"] = {"": {"version": 1}}  # as state_dict() has it
    found = read_torch_file(_save(ordered, tmp_path / "w.pth", kind=kind))
    assert list(found) == list(tensors)
    for name, tensor in tensors.items():
        wanted = tensor.detach()
        wanted = wanted.float() if name == "bfloat16" else wanted
        np.testing.assert_array_equal(found[name], wanted.numpy())
        assert found[name].dtype == wanted.numpy().dtype


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (lambda folder: {"w": _Evil(folder)}, "wants posix.mkdir: only tensors"),
        (lambda _: torch.nn.Linear(2, 2), "wants torch.nn.modules.linear.Linear"),
        (lambda _: {"w": np.zeros(2)}, "wants numpy._core.multiarray._reconstruct"),
        (lambda _: [torch.zeros(2)], "holds a list: only tensors"),
        (lambda _: {"epoch": 3, "w": torch.zeros(2)}, "holds a int under 'epoch'"),
        (lambda _: {"model": {"w": torch.zeros(2)}}, "holds a dict under 'model'"),
    ],
)
def test_anything_else_is_refused_by_its_name(kind, content, wanted, tmp_path: Path):
    path = _save(content(tmp_path / "made"), tmp_path / "w.pth", kind=kind)
    with pytest.raises(ValueError, match=wanted) as caught:
        read_torch_file(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "made").exists()


def test_a_pickle_cannot_change_the_functions_that_rebuild_tensors(tmp_path: Path):
    """The opcode BUILD sets attributes of an object, here of a function."""
    stream = io.BytesIO()
    for header in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(header, stream, protocol=2)
    stream.write(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n")
    stream.write(b"N}X\x04\x00\x00\x00evilK\x01s\x86b.")
    path = tmp_path / "w.pth"
    path.write_bytes(stream.getvalue())
    with pytest.raises(ValueError, match="is damaged or not a torch file"):
        read_torch_file(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_file_is_one_line_wherever_it_ends(kind: str, tmp_path: Path):
    whole = _save(_tensors(), tmp_path / "w.pth", kind=kind).read_bytes()
    path = tmp_path / "cut.pth"
    for length in (0, 1, 3, 20, *range(40, len(whole), 211), len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cut\.pth is damaged") as caught:
            read_torch_file(path)
        assert "\n" not in str(caught.value)


def test_a_count_that_the_file_does_not_hold_reserves_no_memory(tmp_path: Path):
    whole = _save({"w": torch.zeros(4)}, tmp_path / "w.pth", kind="legacy").read_bytes()
    at = whole.rindex(struct.pack("<q", 4))
    path = tmp_path / "huge.pth"
    path.write_bytes(whole[:at] + struct.pack("<q", 1 << 60) + whole[at + 8 :])
    with pytest.raises(ValueError, match="has 1152921504606846976 numbers, not 4"):
        read_torch_file(path)


def test_an_archive_of_something_else_is_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("photograph.png", b"no tensors")
    with pytest.raises(ValueError, match=r"an archive without data\.pkl"):
        read_torch_file(tmp_path / "w.pth")
