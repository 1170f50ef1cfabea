"""Pairs masks with photographs by their names, for every command."""

from collections.abc import Mapping
from pathlib import Path, PurePath

from datasets.listing import Listing, stem_of_mask
from datasets.remarks import counted, named

Masks = tuple[Path, ...]


def pair_masks(
    photographs: Mapping[PurePath, Path], listing: Listing, *, among: Path
) -> dict[PurePath, Masks]:
    """The masks of every photograph that has one.

    The mask of `<name>` is `<name>` or `<name>_mask`, with any ending and in the same
    sub-folder. Instead, a folder `<name>` may hold several masks, as in MVTec LOCO AD;
    a pixel is anomalous if one of them marks it.

    Args:
      photographs: the photographs by their path below `among` without ending.
      listing: the masks, from `list_masks`; whoever calls names what is skipped.
      among: folder of the photographs.

    Raises:
      ValueError: an entry of the masks' folder cannot be used, a mask matches no
        photograph, or two masks that do not share a folder match the same one.
    """
    listing.require_readable()
    folder = listing.folder
    found: dict[PurePath, Masks] = {}
    orphans = []
    for path in listing.files:
        key, is_shared = _match(path.relative_to(folder), photographs)
        if key is None:
            orphans.append(path)
            continue
        others = found.get(key, ())
        if others and not (is_shared and others[0].parent == path.parent):
            raise ValueError(
                f"{path} and {others[0]} are both masks of {photographs[key]}"
            )
        found[key] = (*others, path)
    if orphans:
        raise ValueError(
            f"{counted(orphans, 'mask')} of {folder} without a photograph of that name "
            f"in {among}: {named([path.relative_to(folder) for path in orphans])}"
        )
    return found


def _match(
    name: PurePath, photographs: Mapping[PurePath, Path]
) -> tuple[PurePath | None, bool]:
    """The photograph of a mask; True if its folder names the photograph."""
    for key in (name.parent / name.stem, name.parent / stem_of_mask(name.stem)):
        if key != name.parent and key in photographs:
            return key, False
    return (name.parent, True) if name.parent in photographs else (None, False)
