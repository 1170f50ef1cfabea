"""Photographs of different parts, none of which the detector was trained on.

A rate of false alarms is a promise about independent parts: a copy is no further part,
and a shot is no new one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # these import what --help must not wait for
    from datasets.copies import Look
    from datasets.mask_pairs import Masks
    from lfq_jax.inference.detector_files import DetectorRecord


def different_parts(
    record: "DetectorRecord",
    good: list[Path],
    defective: list[Path],
    masks: "list[Masks]",
) -> "tuple[list[Path], list[Path], list[Masks]]":
    """The arguments without copies of other photographs: each part counts once.

    A warning names the copies. Defective parts are compared pixel by pixel alone: a
    small defect may have been painted into a photograph of a good part.

    Args:
      record: the detector, whose shots are refused.
      masks: the masks of each defective part.

    Raises:
      ValueError: a photograph is a shot of the detector, or is good and defective.
    """
    from datasets.copies import copy_of

    good_looks = _looks(good, record, "--good")
    bad_looks = _looks(defective, record, "--defective")
    _refuse_shots(record, good, good_looks, "--good", near=True)
    _refuse_shots(record, defective, bad_looks, "--defective", near=False)
    for path, seen in zip(defective, bad_looks, strict=True):
        match = copy_of(seen, good_looks, near=False)
        if match:
            raise ValueError(
                f"{good[match[0]]} of --good and {path} of --defective are one "
                "photograph"
            )
    kept = _first_of_copies(good, good_looks, "--good", near=True)
    kept_bad = _first_of_copies(defective, bad_looks, "--defective", near=False)
    return (
        [good[i] for i in kept],
        [defective[i] for i in kept_bad],
        [masks[i] for i in kept_bad],
    )


def _refuse_shots(
    record: "DetectorRecord",
    paths: Sequence[Path],
    looks: "Sequence[Look]",
    flag: str,
    *,
    near: bool,
) -> None:
    """Refuse photographs that the detector was trained on, if its shots are stored."""
    from datasets.copies import Look, copy_of

    if record.shot_looks is None:
        return
    pairs = zip(record.shot_sha256s, record.shot_looks, strict=True)
    shots = [Look(sha256, grey) for sha256, grey in pairs]
    for path, seen in zip(paths, looks, strict=True):
        match = copy_of(seen, shots, near=near)
        if match:
            how = "is one of its shots" if match[1] == "exact" else "is a copy of one"
            raise ValueError(
                f"{flag} must hold photographs that the detector was not trained on, "
                f"but {path} {how}"
            )


def _looks(paths: Sequence[Path], record: "DetectorRecord", flag: str) -> "list[Look]":
    """What copies of each photograph are recognised by. Reads all of them."""
    from datasets.copies import look
    from datasets.images import read_image
    from datasets.progress import Bar

    bar = Bar(paths, desc=f"comparing {flag}", unit="image")
    return [look(read_image(path, depth=record.wide_bit_depth)) for path in bar]


def _first_of_copies(
    paths: Sequence[Path], looks: "Sequence[Look]", flag: str, *, near: bool
) -> list[int]:
    """Indices of the photographs that are no copy of an earlier one."""
    from datasets.copies import copies, named_copies
    from datasets.progress import write_line

    found = copies(looks, near=near)
    if found:
        named = named_copies(found, [path.name for path in paths])
        write_line(
            f"warning: {len(found)} of {len(paths)} photographs of {flag} are copies "
            f"({named}): each part counts once"
        )
    return [i for i in range(len(paths)) if i not in found]
