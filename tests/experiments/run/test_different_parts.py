"""Photographs to calibrate with: each part once, and none that was trained on."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from datasets.copies import look
from experiments.run.different_parts import different_parts
from tests.tiny_detector import part


class Trained(NamedTuple):
    """What is asked about a detector."""

    shot_sha256s: tuple[str, ...] = ()
    shot_looks: np.ndarray | None = None
    wide_bit_depth: int = 16


@pytest.fixture
def record() -> Any:
    """A detector that was trained on part(0) and part(1)."""
    looks = [look(part(0)), look(part(1))]
    sha256s = tuple(each.sha256 for each in looks)
    return Trained(sha256s, np.stack([each.grey for each in looks]))


def written(folder: Path, **images: np.ndarray) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{name}.png" for name in images]
    for path, image in zip(paths, images.values(), strict=True):
        Image.fromarray(image).save(path)
    return paths


@pytest.mark.parametrize(
    ("changed", "how"), [(0, "is one of its shots"), (1, "is a copy of one")]
)
def test_a_shot_is_no_good_part_to_calibrate_with(tmp_path, record, changed, how):
    shot = part(1) + np.uint8(changed)
    good = written(tmp_path / "good", a=part(7), b=shot)
    with pytest.raises(ValueError, match="that the detector was not trained") as found:
        different_parts(record, good, [], [])
    assert str(found.value).startswith("--good must hold photographs")
    assert str(found.value).endswith(f"{good[1]} {how}")


def test_a_shot_is_no_defective_part_unless_a_defect_was_painted_in(tmp_path, record):
    good = written(tmp_path / "good", a=part(7))
    painted = part(1).copy()
    painted[5, 5] += 9
    bad = written(tmp_path / "bad", c=painted)
    assert different_parts(record, good, bad, [()]) == (good, bad, [()])
    bad += written(tmp_path / "bad", d=part(1))
    with pytest.raises(ValueError, match=r"--defective must .*d\.png is one of its"):
        different_parts(record, good, bad, [(), ()])


def test_shots_of_an_older_detector_are_not_known(tmp_path):
    unknown: Any = Trained()
    good = written(tmp_path / "good", a=part(0))
    assert different_parts(unknown, good, [], []) == (good, [], [])


def test_one_photograph_is_not_good_and_defective(tmp_path, record):
    good = written(tmp_path / "good", a=part(7), x=part(8))
    bad = written(tmp_path / "bad", c=part(8))
    with pytest.raises(ValueError, match="are one photograph") as found:
        different_parts(record, good, bad, [()])
    assert str(found.value).startswith(f"{good[1]} of --good and {bad[0]} of")


def test_masks_stay_with_the_defective_parts_that_are_kept(tmp_path, record, capsys):
    good = written(tmp_path / "good", a=part(7))
    bad = written(tmp_path / "bad", c=part(9, spot=True), e=part(8, spot=True))
    bad.insert(1, bad[0].with_name("d.png"))
    shutil.copy(bad[0], bad[1])
    masks = [(Path("c"),), (Path("d"),), (Path("e"),)]
    kept = different_parts(record, good, bad, list(masks))
    assert kept == (good, [bad[0], bad[2]], [masks[0], masks[2]])
    assert (
        capsys.readouterr()
        .err.strip()
        .endswith(
            "warning: 1 of 3 photographs of --defective are copies (d.png is c.png "
            "(exact)): each part counts once"
        )
    )
