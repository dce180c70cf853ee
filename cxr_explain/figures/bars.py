"""Predictions as bars with operating points."""

from __future__ import annotations

from collections.abc import Sequence

from cxr_explain.explaining.ranking import Prediction
from cxr_explain.figures.marks import Field
from cxr_explain.figures.palette import ClassStyle
from cxr_explain.figures.style import BODY
from cxr_explain.figures.texts import format_probability

ROW = 0.27
"""Height of a prediction."""

_BAR = 0.055


def predictions(field: Field, *, top: Sequence[Prediction], styles: Sequence[ClassStyle]) -> None:
    """The ranked pathologies from the top: rank, name and probability, and a bar below.

    Args:
        field: where to draw.
        top: what the model says of them, the best rank first.
        styles: how each is drawn.
    """
    look = field.style
    rows = max(1, int((field.height + 0.02) / ROW))
    shown = top if len(top) <= rows else top[: rows - 1]
    for at, (prediction, style) in enumerate(zip(shown, styles, strict=False)):
        y = at * ROW + 0.1
        value = format_probability(prediction.probability)
        field.text(0.0, y, str(style.rank), size=BODY, face="bold", align="left")
        room = field.width - 0.17 - field.text_width(value, BODY)
        name = look.typeface.shorten(look.name_of(prediction.pathology), room, BODY)
        field.text(0.13, y, name, size=BODY, align="left")
        field.text(field.width, y, value, size=BODY, align="right")
        _bar(field, y + 0.085, prediction.probability, prediction.operating_point, style.colour)
    if not top:
        text = look.words("no pathology to explain")
        for at, line in enumerate(look.typeface.wrap(text, field.width, BODY, lines=4)):
            field.text(0.0, 0.1 + 0.14 * at, line, size=BODY, align="left")
    elif len(shown) < len(top):
        text = look.words("more pathologies", count=len(top) - len(shown))
        field.text(0.0, len(shown) * ROW + 0.1, text, size=field.small, align="left", colour=look.quiet)


def _bar(field: Field, y: float, value: float, point: float | None, colour: str) -> None:
    field.box(0.0, y, field.width, _BAR, facecolor=field.style.track, linewidth=0)
    field.box(0.0, y, field.width * value, _BAR, facecolor=colour, linewidth=0)
    if point is not None:
        x = field.width * point
        ends = [y - 0.025, y + _BAR + 0.025]
        field.line([x, x], ends, colour=field.style.paper, weight=2.4, shadow=False)
        field.line([x, x], ends, colour=field.style.ink, weight=1.1, shadow=False)
