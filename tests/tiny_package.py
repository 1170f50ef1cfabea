"""An installed package that holds a file, and whose code must not be imported."""

from pathlib import Path

import pytest


def install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, name: str, path: str, data: bytes
) -> Path:
    """Install version 0.1.0 of the package `name` in `folder`, which is then searched.

    Args:
      path: the file's path in `folder`.

    Returns:
      The file that holds `data`.
    """
    file = folder / path
    file.parent.mkdir(parents=True)
    file.write_bytes(data)
    module = folder / path.split("/")[0]
    (module / "__init__.py").write_text("raise AssertionError('imported')\n")
    record = folder / f"{name.replace('-', '_')}-0.1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    return file
