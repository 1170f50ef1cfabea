"""The page of commands: every command is on it, without the boxes of its help text."""

import runpy

from tests.docs.pages import DOCS, PROJECT

HOOK = runpy.run_path(str(DOCS / "hooks" / "cli_page.py"))
BOX = """usage: python -m some.command [-h] [OPTIONS]

╭─ options ──────────────────────────╮
│ -h, --help   show this help        │
│ ────────────────────────────────── │
│ --shots INT  Good parts to         │
│              learn from.           │
╰────────────────────────────────────╯
"""


def test_the_boxes_are_taken_away():
    assert HOOK["without_boxes"](BOX).splitlines() == [
        "usage: python -m some.command [-h] [OPTIONS]",
        "",
        "options",
        "  -h, --help   show this help",
        "  --shots INT  Good parts to",
        "               learn from.",
    ]


def test_every_command_is_on_the_page():
    programs = [
        path.relative_to(PROJECT).with_suffix("")
        for path in (PROJECT / "experiments").rglob("*.py")
        if '\nif __name__ == "__main__":' in path.read_text()
    ]
    commands = {".".join(p.parts).removesuffix(".__main__") for p in programs}
    listed = set(HOOK["COMMANDS"])
    assert commands == {name for name in listed if name.startswith("experiments.")}
    assert any(name.startswith("agm_torch") for name in listed)


def test_a_command_answers():
    page = HOOK["page"](("experiments.evaluate",))
    assert "## experiments.evaluate" in page and "--data-dir" in page
