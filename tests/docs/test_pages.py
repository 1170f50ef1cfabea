"""Links lead somewhere, every page is in the navigation, names are today's."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, PROJECT, pages

GENERATED = DOCS / "reference" / "cli.md"
OLD_NAMES = re.compile(r"`--encoder|--model\.reference|reader-share|score-share\b")
LIST_ITEM = re.compile(r"(\d+\.|[-*]) ")


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", pages(), ids=lambda p: str(p.relative_to(PROJECT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", _without_code(page.read_text())):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if found == GENERATED:
            continue
        assert found.is_file(), target
        if anchor:
            assert anchor in _anchors(found), target


def _anchors(page: Path) -> set[str]:
    """What Python-Markdown makes of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", _without_code(page.read_text()), re.MULTILINE)
    kept = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings)
    return {re.sub(r"[-\s]+", "-", heading) for heading in kept}


def test_the_navigation_names_every_page_but_the_dated_notes():
    text = (PROJECT / "mkdocs.yml").read_text()
    named = set(re.findall(r": (\S+\.md)$", text, re.MULTILINE))
    written = {p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md")}
    dated = {name for name in written if name.startswith("lab_notes/2")}
    assert named == (written - dated) | {"reference/cli.md"}


def test_the_list_of_lab_notes_names_every_note():
    index = (DOCS / "lab_notes" / "index.md").read_text()
    for note in DOCS.glob("lab_notes/2*.md"):
        assert f"({note.name})" in index


@pytest.mark.parametrize("page", pages(), ids=lambda p: str(p.relative_to(PROJECT)))
def test_a_page_uses_todays_names(page: Path):
    if page == DOCS / "lab_notes" / "index.md":  # it explains the old ones
        return
    assert not OLD_NAMES.search(page.read_text())


@pytest.mark.parametrize("page", pages(), ids=lambda p: str(p.relative_to(PROJECT)))
def test_no_list_continues_a_list_of_another_kind(page: Path):
    """Python-Markdown would number the bullets, or take the numbers away."""
    before = ""
    for line in filter(None, _without_code(page.read_text()).splitlines()):
        now = LIST_ITEM.match(line)
        kind = now[1][-1] if now else ""
        assert not (before and kind and kind != before), line
        if not line.startswith(" "):
            before = kind
