"""Figures whose bytes two processes compare."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from synthetic import synthetic_explanation, synthetic_radiograph

from cxr_explain.figures import ExplanationFigure, draw_explanation
from cxr_explain.figures.output import FORMATS
from cxr_explain.figures.page import Page
from cxr_explain.figures.palette import class_styles
from cxr_explain.figures.style import Style

COLOURED = ["flu", "Support Devices", "Mass", "肺炎", *map(str, range(20))]


def small_figure() -> ExplanationFigure:
    """A record figure of a small radiograph."""
    radiograph = synthetic_radiograph((96, 96), patient_orientation=("L", "F"))
    return draw_explanation(synthetic_explanation(radiograph), radiograph, reference_labels="Mass", dpi=60)


def digests(names: Sequence[str]) -> list[str]:
    """Of a figure and of a page of names in each format, and of the colours of names."""
    page = Page(4, 4, 100, Style(fonts=("DejaVu Serif",)))
    for at, name in enumerate(names):
        page.text(0.1, 0.3 * (at + 1), f"{name} Mass")
    drawn = [each.to_bytes(kind) for each in (small_figure(), page.figure) for kind in FORMATS]
    return [hashlib.sha256(each).hexdigest() for each in (*drawn, str(class_styles(COLOURED)).encode())]
