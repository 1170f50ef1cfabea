"""A public name of `lfq_jax` without an entry in `reference/python.md` is a warning,
which a strict build takes for an error."""

import logging
import re
from typing import Any

import lfq_jax

log = logging.getLogger("mkdocs.hooks.public_names")


def on_page_markdown(markdown: str, page: Any, **_) -> None:
    """Warn of every missing name."""
    if page.file.src_uri != "reference/python.md":
        return
    for name in missing(markdown):
        log.warning(f"reference/python.md has no entry for lfq_jax.{name}")


def missing(markdown: str) -> list[str]:
    """The public names that no entry ends with; of a package, that no entry is from."""
    entries = re.findall(r"^::: (\S+)$", markdown, re.MULTILINE)
    documented = {entry.rpartition(".")[2] for entry in entries}
    documented |= {entry.split(".")[1] for entry in entries if entry.count(".") > 2}
    return [name for name in lfq_jax.__all__ if name not in documented]
