"""Files that are not weights are refused in one line with path and rule."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from lfq_jax.backbones import load_backbone


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("weights.h5", b"x", r"a file of weights \(.npz, .*got .*weights.h5"),
        ("weights.pth", b"x", "is damaged or not a torch file"),
        ("weights.bin", None, "does not exist"),
        ("weights.npz", None, "does not exist"),
        ("weights.npz", b"", "is damaged"),
        ("weights.npz", b"not an archive", "is damaged"),
        ("weights.npz", b"PK\x03\x04 cut off", "is damaged"),
        ("weights.safetensors", b"", "is damaged"),
        ("weights.safetensors", b"\xff" * 64, "is damaged"),
    ],
)
def test_a_file_without_weights_is_refused_with_path_and_rule(
    tmp_path: Path, name: str, content: bytes | None, rule: str
):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rule) as caught:
        load_backbone(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_single_saved_array_is_refused(tmp_path: Path):
    with (tmp_path / "weights.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="is damaged"):
        load_backbone(tmp_path / "weights.npz")


def test_pickled_objects_are_not_loaded(tmp_path: Path):
    objects = np.asarray([{"a": 1}], dtype=object)
    np.savez(tmp_path / "weights.npz", allow_pickle=True, conv1=objects)
    with pytest.raises(ValueError, match="is damaged or of a type not read"):
        load_backbone(tmp_path / "weights.npz")


def test_an_unknown_architecture_is_refused_with_the_supported_ones(tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file({"encoder.0": np.zeros(3, np.float32)}, path)
    with pytest.raises(ValueError, match=r"SqueezeNet.* got encoder\.0"):
        load_backbone(path)
