"""Where the numbers come from: method, model, radiograph, and what a reviewer should know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from cxr_explain.explaining.provenance import Provenance
from cxr_explain.figures.content import Content, ContentBlock
from cxr_explain.figures.page import HEADING, SMALL, Page
from cxr_explain.figures.style import BODY, LIGHT, Style
from cxr_explain.figures.texts import (
    Fact,
    from_header,
    fusion_text,
    operating_point_text,
    ranked_by_text,
    scores_text,
    software_text,
    training_text,
    view_text,
    weights_text,
)
from cxr_explain.figures.wording import ENGLISH, Wording

_TITLE = 0.22
_LINE = 0.116
_GAP = 0.035
_COLUMN_GAP = 0.3
_MOST_LINES = 14
_MOST_WARNINGS = 12
_LINES_EACH = 3


@dataclass
class FactLists:
    """Titled lists of facts, beside each other or in one column.

    Args:
        lists: titles, and the facts below each.
        width: width of the block in inches.
        stacked: one list below the other rather than beside it.
        label_width: width of the facts' names in inches, or more where they need it.
        look: how the figure looks.
    """

    lists: Sequence[tuple[str, Sequence[Fact]]]
    width: float
    stacked: bool = False
    label_width: float = 0.78
    look: Style = LIGHT

    @property
    def height(self) -> float:
        """Height in inches."""
        heights = [
            _TITLE + sum(_LINE * len(lines) + _GAP for _, lines in facts) for _, facts in self._wrapped
        ]
        return sum(heights) + 0.08 * (len(heights) - 1) if self.stacked else max(heights)

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        for title, facts in self._wrapped:
            bottom = self._list(page, x, y, title, facts)
            if self.stacked:
                y = bottom + 0.08
            else:
                x += self._column_width + _COLUMN_GAP

    def _list(self, page: Page, x: float, y: float, title: str, facts: list[tuple[str, list[str]]]) -> float:
        page.heading(x, y, title, room=self._column_width)
        y += _TITLE
        for name, lines in facts:
            page.text(x, y + 0.09, name, size=SMALL, colour=page.style.quiet, room=self._names_width - 0.05)
            for number, line in enumerate(lines):
                page.text(x + self._names_width, y + 0.09 + _LINE * number, line, size=SMALL)
            y += _LINE * len(lines) + _GAP
        return y

    @property
    def _column_width(self) -> float:
        columns = 1 if self.stacked else len(self.lists)
        return (self.width - _COLUMN_GAP * (columns - 1)) / columns

    @cached_property
    def _names_width(self) -> float:
        names = [name for _, facts in self.lists for name, _ in facts]
        widest = max((self.look.typeface.width(name, SMALL) for name in names), default=0.0)
        return min(max(self.label_width, widest + 0.08), 0.4 * self._column_width)

    @cached_property
    def _wrapped(self) -> list[tuple[str, list[tuple[str, list[str]]]]]:
        limit = self._column_width - self._names_width
        return [
            (
                title,
                [
                    (
                        name,
                        self.look.typeface.wrap(
                            text,
                            limit,
                            SMALL,
                            lines=2 if name == self.look.words("fact: id") else _MOST_LINES,
                        )
                        or ["–"],
                    )
                    for name, text in facts
                ],
            )
            for title, facts in self.lists
        ]


@dataclass
class Closing(ContentBlock):
    """Warnings and notes, then the intended use and the version, as far as the figure has them."""

    @property
    def height(self) -> float:
        """Height in inches."""
        warnings = sum(len(lines) for lines in self._warnings)
        return (_TITLE + _LINE * warnings + 0.12 if warnings else 0.0) + (0.22 if self._has_footer else 0.0)

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        if self._warnings:
            title = self.content.words("warnings and notes")
            page.text(x, y + 0.12, title, size=HEADING, face="bold", colour=page.style.alert)
            y += _TITLE
        for lines in self._warnings:
            page.text(x, y + 0.09, "•", size=SMALL, colour=page.style.alert)
            for line in lines:
                page.text(x + 0.12, y + 0.09, line, size=SMALL)
                y += _LINE
        y += 0.12 if self._warnings else 0.0
        if self._has_footer:
            page.rule(x, y, self.width)
        if self.content.disclaimer:
            intended = self.content.words("research use only")
            page.text(x, y + 0.17, intended, size=BODY, face="bold", colour=page.style.alert)
        if "facts" in self.content.parts:
            version = f"cxr-explain {self.content.explanation.provenance.package_version}"[:40]
            page.text(x + self.width, y + 0.17, version, size=SMALL, colour=page.style.quiet, align="right")

    @property
    def _has_footer(self) -> bool:
        return self.content.disclaimer or "facts" in self.content.parts

    @cached_property
    def _warnings(self) -> list[list[str]]:
        if "notes" not in self.content.parts:
            return []
        explanation = self.content.explanation
        every = (
            *self._letters_warning,
            *explanation.provenance.warnings,
            *self.content.radiograph.warnings,
            *explanation.ranking.notes,
            *explanation.provenance.notes,
        )
        texts = [text for text in dict.fromkeys(every) if text.strip()]
        shown = [
            self.content.look.typeface.wrap(text, self.width - 0.12, SMALL, lines=_LINES_EACH)
            for text in texts[:_MOST_WARNINGS]
        ]
        if len(texts) > _MOST_WARNINGS:
            shown.append([self.content.words("more warnings", count=len(texts) - _MOST_WARNINGS)])
        return [lines for lines in shown if lines]

    @property
    def _letters_warning(self) -> tuple[str, ...]:
        """Which letters are shown by their numbers."""
        numbers = ", ".join(f"U+{ord(c):04X}" for c in self.content.unknown_letters)
        return (self.content.words("letters without a font", letters=numbers),) if numbers else ()


def figure_facts(content: Content) -> tuple[tuple[str, list[Fact]], ...]:
    """What a figure says of the method, the model and the radiograph."""
    words = content.words
    provenance = content.explanation.provenance
    model = [
        *model_facts(provenance, words),
        (words("fact: scores"), scores_text(provenance.probability_kind, words)),
        (words("operating point"), operating_point_text(provenance.tuning, words)),
    ]
    return (
        (words("method"), _method(content)),
        (words("model"), model),
        (content.subject, _radiograph(content)),
    )


def model_facts(provenance: Provenance, words: Wording = ENGLISH) -> list[Fact]:
    """Which model it was, what it was trained on, and what it ran on."""
    training = training_text(provenance.training_sets, words, phantom_only=provenance.phantom_only)
    arithmetic = words(
        "arithmetic on a device", dtype=provenance.map_settings.dtype, device=provenance.device
    )
    return [
        (words("fact: model"), provenance.model),
        (words("fact: weights"), weights_text(provenance.weights_sha256, words)),
        (words("fact: trained on"), training),
        (words("fact: software"), software_text(provenance)),
        (words("fact: arithmetic"), arithmetic),
    ]


def map_facts(provenance: Provenance, k: int, words: Wording = ENGLISH) -> list[Fact]:
    """How the class maps of K pathologies were made and fused."""
    layer, gradient = provenance.target_layer, provenance.gradient
    if gradient == "none":
        source = (words("fact: layer"), words("layer without gradient", layer=layer))
    else:
        source = (words("fact: gradient"), words("gradient at a layer", gradient=gradient, layer=layer))
    settings = provenance.map_settings
    fusion = fusion_text(settings, k, words)
    return [(words("fact: fusion"), fusion), source]


def _method(content: Content) -> list[Fact]:
    explanation, words = content.explanation, content.words
    k, asked = explanation.ranking.k, explanation.provenance.ranking_settings.top_k
    ranked_by = ranked_by_text(explanation.ranking.by, explanation.provenance.probability_kind, words)
    how_many = "K, ranked by" if asked == k else "K of those asked for, ranked by"
    cells = " x ".join(map(str, explanation.maps.shape[1:]))
    return [
        (words("fact: method"), explanation.provenance.method),
        (words("fact: K"), words(how_many, k=k, asked=asked, by=ranked_by)),
        *map_facts(explanation.provenance, k, words),
        (words("fact: maps"), words("cells", cells=cells)),
        *_stability(content),
    ]


def _stability(content: Content) -> Iterator[Fact]:
    """What the numbers below the class maps mean, where they were asked for."""
    words, found = content.words, content.stabilities
    said = [
        words("what stability is", count=len(each.over))
        if key == "stability"
        else words("what stability across models is", models=", ".join(each.over))
        for key, each in found.items()
    ]
    if said:
        yield words("fact: stability"), "; ".join(said)


def _radiograph(content: Content) -> list[Fact]:
    radiograph, words = content.radiograph, content.words
    height, width = radiograph.shape
    digest = radiograph.sha256[:12]
    file = words("file", format=radiograph.format, width=width, height=height, digest=digest)
    return [
        (words("fact: id"), content.explanation.id),
        (words("fact: file"), file),
        (words("fact: view"), view_text(radiograph.view, content.labels.view, words)),
        (words("fact: laterality"), from_header(radiograph.laterality, words)),
        (words("fact: preprocessing"), "; ".join(content.explanation.provenance.steps)),
    ]
