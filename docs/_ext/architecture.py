"""The picture of the rooms, drawn from the imports that are there: `python docs/_ext/architecture.py`.

A square in row A and column B says how many modules of room A import from room B. Rooms stand in the order in
which they may know each other, so that every square lies below the diagonal; the exceptions, which
`tests/test_rooms.py` holds with their reasons, are drawn as rings above it.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs" / "explanation" / "architecture.svg"

STEP, LEFT, TOP, MARGIN = 30, 118, 98, 12
INK, QUIET, LINE, BLUE, ORANGE = "#1a1a1a", "#666666", "#d8d8d8", "#0072B2", "#D55E00"
FONT = "font-family='DejaVu Sans, Verdana, sans-serif' font-size='13'"
_LEAST, _LARGEST = 0.35, 1.0  # opacity of one import, and of the most


def picture(rooms: tuple[str, ...], imports: Counter[tuple[str, str]]) -> str:
    """The matrix of rooms as SVG.

    Args:
        rooms: in their order.
        imports: by (room, room it imports from), how many modules do.
    """
    side = STEP * len(rooms)
    width, height = LEFT + side + MARGIN, TOP + side + MARGIN
    drawn = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' role='img'>",
        "<title>Which room imports from which</title>",
        f"<rect width='{width}' height='{height}' fill='#ffffff'/>",
    ]
    for at, room in enumerate(rooms):
        drawn += _names(at, room, side)
    most = max(imports.values(), default=1)
    for (room, other), count in sorted(imports.items()):
        drawn.append(_cell(rooms.index(room), rooms.index(other), count, most))
    return "\n".join((*drawn, "</svg>", ""))


def _names(at: int, room: str, side: int) -> list[str]:
    middle = at * STEP + STEP / 2
    x, y = LEFT + middle, TOP + middle
    return [
        f"<line x1='{LEFT}' y1='{y:g}' x2='{LEFT + side}' y2='{y:g}' stroke='{LINE}' stroke-width='0.5'/>",
        f"<line x1='{x:g}' y1='{TOP}' x2='{x:g}' y2='{TOP + side}' stroke='{LINE}' stroke-width='0.5'/>",
        f"<text x='{LEFT - 8}' y='{y + 4:g}' text-anchor='end' fill='{INK}' {FONT}>{room}</text>",
        f"<text transform='translate({x + 4:g} {TOP - 8}) rotate(-60)' fill='{INK}' {FONT}>{room}</text>",
        f"<rect x='{x - 3:g}' y='{y - 3:g}' width='6' height='6' fill='{QUIET}'/>",
    ]


def _cell(row: int, column: int, count: int, most: int) -> str:
    x, y = LEFT + column * STEP + STEP / 2, TOP + row * STEP + STEP / 2
    if column > row:
        return f"<circle cx='{x:g}' cy='{y:g}' r='9' fill='none' stroke='{ORANGE}' stroke-width='3'/>"
    opacity = _LEAST + (_LARGEST - _LEAST) * (count / most) ** 0.5
    box = (
        f"<rect x='{x - 12:g}' y='{y - 12:g}' width='24' height='24' rx='3' fill='{BLUE}' "
        f"fill-opacity='{opacity:.2f}'/>"
    )
    ink = "#ffffff" if opacity > 0.55 else INK  # white on pale blue could not be read
    number = f"<text x='{x:g}' y='{y + 4:g}' text-anchor='middle' fill='{ink}' {FONT}>{count}</text>"
    return box + number


def draw() -> str:
    """The picture of the package as it is."""
    sys.path.insert(0, str(ROOT / "tests"))
    import test_rooms

    return picture(*test_rooms.rooms_and_imports())


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
