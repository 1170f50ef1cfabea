"""Equations as MathML, which browsers draw themselves: no script, no connection.

Pages use GitHub's notation: a fence named `math`, and $`...`$ inside a sentence.
"""

import re

from latex2mathml.converter import convert

_DISPLAY = re.compile(r"^```math\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"\$`([^`]+)`\$")


def on_page_markdown(markdown: str, **_) -> str:
    """Replace every equation of a page by MathML."""
    markdown = _DISPLAY.sub(
        lambda found: f'<div class="equation">{_mathml(found[1], "block")}</div>',
        markdown,
    )
    # In a span, since a line that begins with a bare element ends its paragraph.
    return _INLINE.sub(
        lambda found: f"<span>{_mathml(found[1], 'inline')}</span>", markdown
    )


def _mathml(latex: str, display: str) -> str:
    return convert(" ".join(latex.split()), display=display)
