"""Sizes of files in messages."""


def file_size(size_bytes: int | None) -> str:
    """`46.8 MB`, or `1.2 GB` from a gigabyte on; None is a size that is not known."""
    if size_bytes is None:
        return "size not known"
    if size_bytes < 1e9:
        return f"{size_bytes / 1e6:.1f} MB"
    return f"{size_bytes / 1e9:.1f} GB"
