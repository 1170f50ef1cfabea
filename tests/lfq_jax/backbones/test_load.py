"""What is refused before any network is recognised: one line with path and rule."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from lfq_jax.backbones import load_backbone


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("weights.pth", b"x", "must end in .npz or .safetensors"),
        ("weights.npz", None, "does not exist"),
        ("weights.npz", b"", "is damaged"),
        ("weights.npz", b"not an archive", "is damaged"),
        ("weights.npz", b"PK\x03\x04 cut off", "is damaged"),
        ("weights.safetensors", b"", "is damaged"),
        ("weights.safetensors", b"\xff" * 64, "is damaged"),
    ],
)
def test_a_file_that_holds_no_weights_is_told_by_path_and_rule(
    tmp_path: Path, name: str, content: bytes | None, rule: str
):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rule) as caught:
        load_backbone(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_array_that_was_saved_alone_is_no_archive(tmp_path: Path):
    with (tmp_path / "weights.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="is damaged"):
        load_backbone(tmp_path / "weights.npz")


def test_pickled_objects_are_not_loaded(tmp_path: Path):
    objects = np.asarray([{"a": 1}], dtype=object)
    np.savez(tmp_path / "weights.npz", allow_pickle=True, conv1=objects)
    with pytest.raises(ValueError, match="is damaged or of a type not read"):
        load_backbone(tmp_path / "weights.npz")


def test_tensors_of_another_network_are_told_with_what_is_known(tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file({"encoder.0": np.zeros(3, np.float32)}, path)
    with pytest.raises(ValueError, match=r"SqueezeNet.* got encoder\.0"):
        load_backbone(path)
