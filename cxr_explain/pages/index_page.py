"""One static HTML page beside the figures: what was explained, by which model, and what failed.

The page is text and relative links: no script, nothing from elsewhere, and a policy that forbids both.
Everything that came from a file is put on one line without control and direction marks, then escaped.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Self

from markupsafe import Markup

from cxr_explain.errors import CxrExplainError, OutputError
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.explaining.provenance import Provenance
from cxr_explain.figures.comparison import Agreement, ComparisonRow, comparison_rows
from cxr_explain.figures.facts import map_facts, model_facts
from cxr_explain.figures.lettering import display_name, one_line
from cxr_explain.figures.palette import ClassStyle, class_styles
from cxr_explain.figures.texts import (
    Fact,
    format_probability,
    operating_point_text,
    phantom_texts,
    probability_text,
    ranked_by_text,
    view_text,
)
from cxr_explain.pages.templating import allowed, environment, spoken_list
from cxr_explain.pathologies import LabelState, ReferenceLabels, ReferenceLabelsLike
from cxr_explain.radiograph import PHANTOM_WARNING, Radiograph
from cxr_explain.support.whole_file import write_output

PAGE_NAME = "index.html"

MOST_SHOWN = 500
"""Radiographs, and failures, that one page lists: enough to look at, and memory stays flat beyond."""

EAGER = 20
"""Figures that load with the page; the others load as they are scrolled to."""

_HEAD = 2048
_COLUMNS = ("Pathology", "Probability", "Operating point", "Reference label", "Agreement")
_SHOWN_BY_BROWSERS = (".png", ".svg")


@dataclass(frozen=True)
class IndexEntry:
    """What the page says of one explained radiograph: text only, no pixels and no maps.

    Args:
        id: name of the explanation.
        figure: file name of the figure, beside the page.
        explanation: file name of the explanation's JSON, beside the page; None where it was not saved.
        rows: predictions beside reference labels, one a pathology.
        label_source: where the reference labels come from; None where none were given.
        boxes: pathologies whose reference boxes the figure outlines.
        file: format and size of the radiograph.
        view: the projection and where it is known from, for example "PA (from header)".
        without_evidence: ranked pathologies that have a map, and that the fused map does not show anywhere.
        ranked_by: "probability" or "calibrated".
        provenance: how the explanation came about.
        figure_size: width and height of the figure in pixels, so that a browser can lay out before it loads.
        html: file name of the page with controls, beside this one; None where it was not written.
    """

    id: str
    figure: str
    explanation: str | None
    rows: tuple[ComparisonRow, ...]
    label_source: str | None
    boxes: tuple[str, ...]
    file: str
    view: str
    without_evidence: tuple[str, ...]
    ranked_by: str
    provenance: Provenance
    figure_size: tuple[int, int] | None = None
    html: str | None = None

    @classmethod
    def of(
        cls,
        explanation: Explanation,
        radiograph: Radiograph,
        reference_labels: ReferenceLabelsLike = None,
        *,
        figure: str,
        saved: str | None = None,
        figure_size: tuple[int, int] | None = None,
        html: str | None = None,
    ) -> Self:
        """Take from an explanation what the page says of it.

        Args:
            explanation: the explanation.
            radiograph: the radiograph that it explains.
            reference_labels: reference labels, in any form that `ReferenceLabels.coerce` takes.
            figure: file name of the figure.
            saved: file name of the explanation's JSON.
            figure_size: width and height of the figure in pixels.
            html: file name of the page with controls.
        """
        predicted = [prediction.pathology for prediction in explanation.ranking.predictions]
        labels = ReferenceLabels.coerce(reference_labels, further=predicted)
        height, width = radiograph.shape
        return cls(
            id=explanation.id,
            figure=figure,
            explanation=saved,
            rows=comparison_rows(explanation.ranking, labels),
            label_source=labels.source if labels.states else None,
            boxes=tuple(dict.fromkeys(box.pathology for box in labels.boxes)),
            file=f"{radiograph.format}, {width} × {height} pixels",
            view=view_text(radiograph.view, labels.view),
            without_evidence=explanation.without_evidence,
            ranked_by=explanation.ranking.by,
            provenance=explanation.provenance,
            figure_size=figure_size,
            html=html,
        )

    @property
    def explained(self) -> tuple[ComparisonRow, ...]:
        """The rows of the K pathologies whose evidence the figure shows."""
        return tuple(row for row in self.rows if row.rank is not None)

    @property
    def styles(self) -> tuple[ClassStyle, ...]:
        """How the figure draws each of the K pathologies, in the order of their ranks."""
        return class_styles([row.pathology for row in self.explained])

    @property
    def fused(self) -> bool:
        """Several class maps were fused into what the figure shows."""
        return self.provenance.map_settings.fused and len(self.explained) > 1

    @property
    def positives(self) -> tuple[str, ...]:
        """Pathologies with a positive reference label."""
        return tuple(row.pathology for row in self.rows if row.state is LabelState.POSITIVE)

    @property
    def is_image(self) -> bool:
        """Whether a browser can show the figure within the page; it cannot show a PDF."""
        return self.figure.lower().endswith(_SHOWN_BY_BROWSERS)

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings and notes, each once; that it is a phantom, the page says elsewhere."""
        every = dict.fromkeys((*self.provenance.warnings, *self.provenance.notes))
        return tuple(note for note in every if note != PHANTOM_WARNING)

    @property
    def alternative(self) -> str:
        """What the figure shows, for those who do not see it."""
        shown = "; ".join(_spoken(row) for row in self.explained) or "no pathology to explain"
        kind = "Computed chest phantom" if self.provenance.phantom else "Chest radiograph"
        k = len(self.explained)
        of_them = "pathology" if k == 1 else f"{k} pathologies"
        maps = "fused map" if self.fused else "class map" if k == 1 else "class maps"
        boxes = f" Reference boxes are outlined for {spoken_list(self.boxes)}." if self.boxes else ""
        return (
            f"{kind} {self.id}, beside the same image under the {maps} of its "
            f"ranked {of_them}: {shown}.{boxes}"
        )


@dataclass(frozen=True)
class FailedInput:
    """An input that gave no explanation.

    Args:
        number: number of the input, from 1; its file name is left out, as nothing tells whether it names a
            patient.
        code: code of the error.
        message: what was found, what was expected and the way out, without any path.
    """

    number: int
    code: str
    message: str

    @classmethod
    def of(cls, error: CxrExplainError, path: str | os.PathLike[str], number: int) -> Self:
        """Take from an error what the page says of it.

        >>> error = CxrExplainError("no pixels", source="/home/jane/a.dcm")
        >>> FailedInput.of(error, "/home/jane/a.dcm", 3).message
        'no pixels.'
        """
        expected = f" Expected: {error.expected}." if error.expected else ""
        text = f"{error.found}.{expected} {error.remedy or ''}"
        for name in filter(None, (os.fspath(path), error.source, Path(path).name)):
            text = text.replace(name, "the file")
        return cls(number, error.code, one_line(text))


@dataclass
class IndexPage:
    """Collects what the page shows while files are explained, and writes it at the end.

    >>> page = IndexPage()
    >>> page.fail(CxrExplainError("no pixels"), "a.dcm", 1)
    >>> page.failed, "no pixels" in page.html()
    (1, True)
    """

    entries: list[IndexEntry] = field(default_factory=list)
    failures: list[FailedInput] = field(default_factory=list)
    agreements: Counter[Agreement] = field(default_factory=Counter)
    explained: int = 0
    failed: int = 0

    def add(self, entry: IndexEntry) -> None:
        """Add one more explained radiograph."""
        self.explained += 1
        self.agreements.update(row.agreement for row in entry.rows)
        if len(self.entries) < MOST_SHOWN:
            self.entries.append(entry)

    def fail(self, error: CxrExplainError, path: str | os.PathLike[str], number: int) -> None:
        """Add one more input that failed.

        Args:
            error: why it failed.
            path: path of the input, which the page must not name.
            number: number of the input, from 1.
        """
        self.failed += 1
        if len(self.failures) < MOST_SHOWN:
            self.failures.append(FailedInput.of(error, path, number))

    def write(self, folder: Path) -> Path:
        """Write `index.html` into the folder of the figures, whole or not at all; an older one is replaced.

        Raises:
            OutputError: a folder that cannot be written to, or a page that is not of this package.
        """
        check_page(folder)
        return write_output(folder / PAGE_NAME, self.html().encode(), "a page")

    def html(self) -> str:
        """The page as text."""
        style = _style()
        labelled = any(entry.label_source for entry in self.entries)
        only_phantoms = bool(self.entries) and all(entry.provenance.phantom for entry in self.entries)
        return (
            environment()
            .get_template("index.html")
            .render(
                page=self,
                style=style,
                title=f"Explained chest {'phantoms' if only_phantoms else 'radiographs'}",
                eager=EAGER,
                policy=_policy(style),
                banners=phantom_texts(
                    sum(entry.provenance.phantom for entry in self.entries),
                    len(self.entries),
                    phantom_only=any(entry.provenance.phantom_only for entry in self.entries),
                ),
                facts=_facts(self.entries),
                operating_point=operating_point_text(
                    self.entries[0].provenance.tuning if self.entries else None
                ),
                shared_steps=_shared_steps(self.entries),
                labelled=labelled,
                unranked=any(row.rank is None for entry in self.entries for row in entry.rows),
                fused=any(entry.fused for entry in self.entries),
                columns=_COLUMNS if labelled else _COLUMNS[:3],
                label_sources=tuple(
                    dict.fromkeys(entry.label_source for entry in self.entries if entry.label_source)
                ),
                agrees=self.agreements[Agreement.AGREES],
                disagrees=self.agreements[Agreement.DISAGREES],
            )
        )


def check_page(folder: Path) -> None:
    """Refuse to replace a page of somebody else's.

    Raises:
        OutputError: the folder has one.
    """
    path = folder / PAGE_NAME
    try:
        with path.open("rb") as file:
            ours = b"img-src &#39;self&#39; file:; style-src" in file.read(_HEAD)
    except OSError:
        ours = not os.path.lexists(path)  # nothing is there, or writing will say what is wrong
    if not ours:
        raise OutputError(
            "a page that is not of this package, which the page would replace",
            expected="another folder for the results",
            remedy="Name one with --out, or go without --page.",
            source=path,
        )


def _style() -> Markup:
    text = files("cxr_explain.pages").joinpath("templates", "page.css").read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - a file of this package


def _policy(style: str) -> str:
    """Nothing but the figures beside the page and this very style; `file:` for a page opened from a disk."""
    return (
        f"default-src 'none'; img-src 'self' file:; style-src {allowed(style)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _facts(entries: Sequence[IndexEntry]) -> list[Fact]:
    """What is the same for every radiograph of one run."""
    if not entries:
        return []
    provenance = entries[0].provenance
    methods = " and ".join(sorted({entry.provenance.method for entry in entries}))
    ranked_by = ranked_by_text(entries[0].ranked_by, provenance.probability_kind)
    method = ("method", f"{methods}, K = {provenance.ranking_settings.top_k}, ranked by {ranked_by}")
    probability = ("probability", probability_text(provenance.probability_kind))
    facts = (
        *model_facts(provenance),
        probability,
        method,
        *map_facts(provenance, provenance.ranking_settings.top_k),
    )
    return [(name.capitalize(), text) for name, text in facts]


def _shared_steps(entries: Sequence[IndexEntry]) -> list[str]:
    """The preprocessing steps that every radiograph went through, in order."""
    if not entries:
        return []
    others = [set(entry.provenance.steps) for entry in entries[1:]]
    return [step for step in entries[0].provenance.steps if all(step in steps for steps in others)]


def _spoken(row: ComparisonRow) -> str:
    parts = []
    if row.prediction is not None:
        parts.append(f"probability {format_probability(row.prediction.probability)}")
        if row.prediction.above is not None:
            parts.append(f"{'at or above' if row.prediction.above else 'below'} its operating point")
    if row.state is not None:
        parts.append(f"reference label {row.state}")
    return f"{display_name(row.pathology)} ({', '.join(parts)})"
