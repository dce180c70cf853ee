"""Predictions as bars with operating points."""

from __future__ import annotations

from collections.abc import Sequence

from cxr_explain.explaining.ranking import Prediction
from cxr_explain.figures.fitting import fitted
from cxr_explain.figures.marks import Field
from cxr_explain.figures.palette import ClassStyle
from cxr_explain.figures.style import BODY
from cxr_explain.figures.texts import format_probability

ROW = 0.27
"""Height of a prediction."""

_BAR = 0.055
_NAME = 0.13  # where a name begins, after a short rank
_GAP = 0.04
_LINE = 0.13


def predictions(field: Field, *, top: Sequence[Prediction], styles: Sequence[ClassStyle]) -> None:
    """The ranked pathologies from the top: rank, name and probability, and a bar below.

    Args:
        field: where to draw.
        top: what the model says of them, the best rank first.
        styles: how each is drawn.
    """
    look = field.style
    values = [format_probability(prediction.probability) for prediction in top]
    names = [look.name_of(prediction.pathology) for prediction in top]
    left = _GAP + max(field.text_width(str(style.rank), BODY, "bold") for style in styles) if styles else 0.0
    left = max(left, _NAME)
    sizes = [
        fitted(look, name, max(field.width - left - _GAP - field.text_width(value, BODY), 0.05), BODY)
        for name, value in zip(names, values, strict=True)
    ]
    size = min((size for _, size in sizes), default=BODY)
    beside = all(len(lines) == 1 for lines, _ in sizes)
    shown, y = 0, 0.0
    for prediction, style, name, value in zip(top, styles, names, values, strict=False):
        room = field.width - left - (_GAP + field.text_width(value, BODY) if beside else 0.0)
        lines = look.typeface.wrap(name, max(room, 0.05), size)
        height = ROW + _LINE * (len(lines) - beside)
        last = shown + 1 == len(top)
        if shown and y + height + (0.0 if last else _LINE) > field.height + 0.03:
            break
        field.text(0.0, y + 0.1, str(style.rank), size=size, face="bold", align="left")
        for at, line in enumerate(lines):
            field.text(left, y + 0.1 + _LINE * at, line, size=size, align="left")
        field.text(field.width, y + height - ROW + 0.1, value, size=min(BODY, size), align="right")
        y += height
        _bar(field, y - ROW + 0.185, prediction.probability, prediction.operating_point, style.colour)
        shown += 1
    if not top:
        text = look.words("no pathology to explain")
        for at, line in enumerate(look.typeface.wrap(text, field.width, BODY, lines=4)):
            field.text(0.0, 0.1 + 0.14 * at, line, size=BODY, align="left")
    elif shown < len(top):
        text = look.words("more pathologies", count=len(top) - shown)
        field.text(0.0, y + 0.1, text, size=field.small, align="left", colour=look.quiet)


def _bar(field: Field, y: float, value: float, point: float | None, colour: str) -> None:
    field.box(0.0, y, field.width, _BAR, facecolor=field.style.track, linewidth=0)
    field.box(0.0, y, field.width * value, _BAR, facecolor=colour, linewidth=0)
    if point is not None:
        x = field.width * point
        ends = [y - 0.025, y + _BAR + 0.025]
        field.line([x, x], ends, colour=field.style.paper, weight=2.4, shadow=False)
        field.line([x, x], ends, colour=field.style.ink, weight=1.1, shadow=False)
