"""Where the numbers come from: method, model, radiograph, and what a reviewer should know."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from cxr_explain.explaining.provenance import Provenance
from cxr_explain.figures.content import Content
from cxr_explain.figures.lettering import wrap
from cxr_explain.figures.output import DISCLAIMER
from cxr_explain.figures.page import BODY, HEADING, SMALL, Page
from cxr_explain.figures.palette import ALERT, QUIET

_TITLE = 0.22
_LINE = 0.116
_GAP = 0.035
_LABEL = 0.78
_COLUMN_GAP = 0.3
_MOST_LINES = 14
_MOST_WARNINGS = 12
_LINES_EACH = 3

Fact = tuple[str, str]


@dataclass
class Facts:
    """Method, model and radiograph, in three columns or in one.

    Args:
        content: what to describe.
        width: in inches.
        columns: 3, or 1 where they stand below each other.
    """

    content: Content
    width: float
    columns: int = 3

    @property
    def height(self) -> float:
        """In inches."""
        heights = [
            _TITLE + sum(_LINE * len(lines) + _GAP for _, lines in facts) for _, facts in self._wrapped
        ]
        return max(heights) if self.columns > 1 else sum(heights) + 0.08 * (len(heights) - 1)

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        for title, facts in self._wrapped:
            bottom = self._column(page, x, y, title, facts)
            if self.columns > 1:
                x += self._column_width + _COLUMN_GAP
            else:
                y = bottom + 0.08

    def _column(
        self, page: Page, x: float, y: float, title: str, facts: list[tuple[str, list[str]]]
    ) -> float:
        page.heading(x, y, title, room=self._column_width)
        y += _TITLE
        for label, lines in facts:
            page.text(x, y + 0.09, label, size=SMALL, colour=QUIET, room=_LABEL - 0.05)
            for number, line in enumerate(lines):
                page.text(x + _LABEL, y + 0.09 + _LINE * number, line, size=SMALL)
            y += _LINE * len(lines) + _GAP
        return y

    @property
    def _column_width(self) -> float:
        return (self.width - _COLUMN_GAP * (self.columns - 1)) / self.columns

    @cached_property
    def _wrapped(self) -> list[tuple[str, list[tuple[str, list[str]]]]]:
        limit = self._column_width - _LABEL
        return [
            (
                title,
                [
                    (label, wrap(text, limit, SMALL, lines=2 if label == "id" else _MOST_LINES) or ["–"])
                    for label, text in facts
                ],
            )
            for title, facts in (
                ("Method", _method(self.content)),
                ("Model", _model(self.content)),
                (self.content.subject, _radiograph(self.content)),
            )
        ]


@dataclass
class Closing:
    """Warnings and notes, then the intended use.

    Args:
        content: what to describe.
        width: in inches.
    """

    content: Content
    width: float

    @property
    def height(self) -> float:
        """In inches."""
        warnings = sum(len(lines) for lines in self._warnings)
        return (_TITLE + _LINE * warnings + 0.12 if warnings else 0.0) + 0.22

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        if self._warnings:
            page.text(x, y + 0.12, "Warnings and notes", size=HEADING, face="bold", colour=ALERT)
            y += _TITLE
        for lines in self._warnings:
            page.text(x, y + 0.09, "•", size=SMALL, colour=ALERT)
            for line in lines:
                page.text(x + 0.12, y + 0.09, line, size=SMALL)
                y += _LINE
        y += 0.12 if self._warnings else 0.0
        page.rule(x, y, self.width)
        page.text(x, y + 0.17, f"{DISCLAIMER}.", size=BODY, face="bold", colour=ALERT)
        version = f"cxr-explain {self.content.explanation.provenance.package_version}"
        page.text(x + self.width, y + 0.17, version[:40], size=SMALL, colour=QUIET, align="right")

    @cached_property
    def _warnings(self) -> list[list[str]]:
        explanation = self.content.explanation
        provenance = explanation.provenance
        every = (
            *provenance.warnings,
            *self.content.radiograph.warnings,
            *explanation.ranking.notes,
            *provenance.notes,
        )
        texts = [text for text in dict.fromkeys(every) if text.strip()]
        shown = [wrap(text, self.width - 0.12, SMALL, lines=_LINES_EACH) for text in texts[:_MOST_WARNINGS]]
        if len(texts) > _MOST_WARNINGS:
            rest = len(texts) - _MOST_WARNINGS
            shown.append([f"{rest} more in the explanation's provenance."])
        return [lines for lines in shown if lines]


def _method(content: Content) -> list[Fact]:
    explanation = content.explanation
    provenance = explanation.provenance
    by = "sigmoid probability" if explanation.ranking.by == "probability" else "calibrated value"
    top_k = provenance.ranking_settings.top_k
    asked = "" if top_k == explanation.ranking.k else f" ({top_k} asked for)"
    return [
        ("method", provenance.method),
        ("K", f"{explanation.ranking.k}{asked}, ranked by {by}"),
        ("fusion", _fusion(provenance)),
        ("gradient", f"{provenance.gradient}, at {provenance.target_layer}")
        if provenance.gradient != "none"
        else ("layer", f"{provenance.target_layer}; the method needs no gradient"),
        ("maps", f"{' x '.join(map(str, explanation.maps.shape[1:]))} cells, relative within image"),
    ]


def _fusion(provenance: Provenance) -> str:
    settings = provenance.map_settings
    how = f"normalisation {settings.normalisation}, activation {settings.activation}"
    return how if settings.fused else f"none; class maps scaled together, {how}"


def _model(content: Content) -> list[Fact]:
    provenance = content.explanation.provenance
    sha = provenance.weights_sha256
    return [
        ("model", provenance.model),
        ("weights", f"SHA-256 {sha[:12]}" if sha else "no file: the model came as an object"),
        ("trained on", _training(content)),
        ("software", f"cxr-explain {provenance.package_version}, torch {provenance.torch_version}"),
        ("arithmetic", f"{provenance.map_settings.dtype} on {provenance.device}"),
        ("scores", "probabilities are sigmoids, not calibrated"),
        ("operating point", "the probability from which the weights' authors call a pathology positive"),
    ]


def _training(content: Content) -> str:
    sets = ", ".join(content.explanation.provenance.training_sets)
    if not content.phantom_only:
        return sets or "unknown"
    return "phantoms only, no radiograph" + (f": {sets}" if sets not in ("", "phantoms") else "")


def _radiograph(content: Content) -> list[Fact]:
    radiograph = content.radiograph
    height, width = radiograph.shape
    return [
        ("id", content.explanation.id),
        ("file", f"{radiograph.format}, {width} x {height} pixels, SHA-256 {radiograph.sha256[:12]}"),
        ("view", f"{radiograph.view} (from header)" if radiograph.view else "unknown"),
        ("laterality", f"{radiograph.laterality} (from header)" if radiograph.laterality else "unknown"),
        ("preprocessing", "; ".join(content.explanation.provenance.steps)),
    ]
