"""Text of a file in Markdown: it is shown as it is, and makes no link, no picture and no tag."""

from __future__ import annotations

import re

_ACTED_ON = re.compile(r"[\\|]|<(?=[A-Za-z/!?])|\](?=[(\[:])")


def as_text(text: str) -> str:
    r"""One line of text in a paragraph, a heading, or a cell of a table.

    Only what Markdown would act on is escaped: numbers and intervals stay as they are.

    >>> print(as_text("![x](http://a.example/x.png) <img src=x> a|b"))
    ![x\](http://a.example/x.png) \<img src=x> a\|b
    >>> as_text("Nodule/Mass (> 3 cm) 0.5 [0.4, 0.6]")
    'Nodule/Mass (> 3 cm) 0.5 [0.4, 0.6]'
    """
    return _ACTED_ON.sub(r"\\\g<0>", text)


def as_code(text: str) -> str:
    """One line of text as code: fenced by more backticks than it has in a row.

    >>> as_code("model.pt"), as_code("a`b")
    ('`model.pt`', '`` a`b ``')
    """
    if "`" not in text:
        return f"`{text}`"
    fence = "`" * (1 + max(map(len, re.findall("`+", text))))
    return f"{fence} {text} {fence}"
