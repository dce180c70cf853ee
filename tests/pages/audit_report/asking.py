"""Questions to a page that is open in the browser."""

from __future__ import annotations

from typing import Any

MISSING = "!document.getElementById('case-missing').hidden"


def until(page: Any, said: str) -> None:
    """Wait for an expression to hold; asked from outside, as the page's policy lets nothing evaluate text."""
    for _ in range(400):
        if page.evaluate(f"Boolean({said})"):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"never: {said}")
