"""One static HTML page beside the figures: what was explained, by which model, and what failed.

The page is text and relative links: no script, nothing from elsewhere, and a policy that forbids both.
Everything that came from a file is put on one line without control and direction marks, then escaped.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from markupsafe import Markup

from cxr_explain.errors import CxrExplainError, OutputError
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.explaining.provenance import Provenance
from cxr_explain.figures.comparison import Agreement, ComparisonRow, compare
from cxr_explain.figures.lettering import display_name, one_line
from cxr_explain.figures.output import DISCLAIMER
from cxr_explain.figures.palette import rank_style
from cxr_explain.figures.table import format_probability
from cxr_explain.pathologies import LabelState, ReferenceLabels, ReferenceLabelsLike
from cxr_explain.radiograph import PHANTOM_WARNING, Radiograph
from cxr_explain.support.whole_file import write_whole

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE_NAME = "index.html"

MOST_SHOWN = 500
"""Radiographs, and failures, that one page lists: enough to look at, and memory stays flat beyond."""

EAGER = 20
"""Figures that load with the page; the others load as they are scrolled to."""

_COLUMNS = ("Pathology", "Probability", "Operating point", "Reference label", "Agreement")
_SHOWN_BY_BROWSERS = (".png", ".svg")

Fact = tuple[str, str]


@dataclass(frozen=True)
class Card:
    """What the page says of one explained radiograph: text only, no pixels and no maps.

    Args:
        id: the explanation's name.
        figure: file name of its figure, beside the page.
        explanation: file name of its JSON, beside the page; None where it was not saved.
        rows: predictions beside reference labels.
        label_source: where the reference labels come from; None where none were given.
        boxes: pathologies whose reference boxes the figure outlines.
        file: format and size of the radiograph.
        view: the projection as the header has it.
        without_evidence: ranked pathologies that the map does not show anywhere.
        ranked_by: "probability" or "calibrated".
        provenance: how the explanation came about.
        figure_size: width and height of the figure in pixels, so that a browser can lay out before it loads.
    """

    id: str
    figure: str
    explanation: str | None
    rows: tuple[ComparisonRow, ...]
    label_source: str | None
    boxes: tuple[str, ...]
    file: str
    view: str | None
    without_evidence: tuple[str, ...]
    ranked_by: str
    provenance: Provenance
    figure_size: tuple[int, int] | None = None

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
    ) -> Self:
        """Take from an explanation what the page says of it.

        Args:
            explanation: the result.
            radiograph: what it explains.
            reference_labels: in any form that `ReferenceLabels.coerce` takes.
            figure: file name of the figure.
            saved: file name of the explanation's JSON.
            figure_size: width and height of the figure in pixels.
        """
        labels = ReferenceLabels.coerce(reference_labels)
        height, width = radiograph.shape
        return cls(
            id=explanation.id,
            figure=figure,
            explanation=saved,
            rows=compare(explanation.ranking, labels),
            label_source=labels.source if labels.states else None,
            boxes=tuple(dict.fromkeys(box.pathology for box in labels.boxes)),
            file=f"{radiograph.format}, {width} × {height} pixels",
            view=radiograph.view,
            without_evidence=explanation.without_evidence,
            ranked_by=explanation.ranking.by,
            provenance=explanation.provenance,
            figure_size=figure_size,
        )

    @property
    def explained(self) -> tuple[ComparisonRow, ...]:
        """The rows of the K pathologies whose evidence the figure shows."""
        return tuple(row for row in self.rows if row.rank is not None)

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
        maps = "fused map" if self.provenance.map_settings.fused else "class maps"
        boxes = f" Reference boxes are outlined for {_names(self.boxes)}." if self.boxes else ""
        return (
            f"{kind} {self.id}, beside the same image under the {maps} of its "
            f"{len(self.explained)} ranked pathologies: {shown}.{boxes}"
        )


@dataclass(frozen=True)
class Failure:
    """An input that gave no explanation.

    Args:
        number: of the input, from 1; its file name is left out, as nothing tells whether it names a patient.
        code: of the error.
        message: what was found, what was expected and the way out, without any path.
    """

    number: int
    code: str
    message: str

    @classmethod
    def of(cls, error: CxrExplainError, path: str | os.PathLike[str], number: int) -> Self:
        """Take from an error what the page says of it.

        >>> Failure.of(CxrExplainError("no pixels", source="/home/jane/a.dcm"), "/home/jane/a.dcm", 3).message
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

    cards: list[Card] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    agreements: Counter[Agreement] = field(default_factory=Counter)
    explained: int = 0
    failed: int = 0

    def add(self, card: Card) -> None:
        """One more explained radiograph."""
        self.explained += 1
        self.agreements.update(row.agreement for row in card.rows)
        if len(self.cards) < MOST_SHOWN:
            self.cards.append(card)

    def fail(self, error: CxrExplainError, path: str | os.PathLike[str], number: int) -> None:
        """One more input that failed; see `Failure`."""
        self.failed += 1
        if len(self.failures) < MOST_SHOWN:
            self.failures.append(Failure.of(error, path, number))

    def write(self, folder: Path) -> Path:
        """Write `index.html` into the folder of the figures, whole or not at all.

        Raises:
            OutputError: a folder that cannot be written to.
        """
        path = folder / PAGE_NAME
        try:
            write_whole(path, self.html().encode())
        except OSError as error:
            raise OutputError(
                f"a page that cannot be written ({error.strerror})",
                expected="a writable folder with room",
                source=path,
            ) from error
        return path

    def html(self) -> str:
        """The page as text."""
        style = _style()
        labelled = any(card.label_source for card in self.cards)
        only_phantoms = bool(self.cards) and all(card.provenance.phantom for card in self.cards)
        return (
            environment()
            .get_template("index.html")
            .render(
                page=self,
                style=style,
                title=f"Explained chest {'phantoms' if only_phantoms else 'radiographs'}",
                eager=EAGER,
                policy=_policy(style),
                banners=_banners(self.cards),
                facts=_facts(self.cards),
                shared_steps=_shared_steps(self.cards),
                labelled=labelled,
                columns=_COLUMNS if labelled else _COLUMNS[:3],
                label_sources=tuple(
                    dict.fromkeys(card.label_source for card in self.cards if card.label_source)
                ),
                agrees=self.agreements[Agreement.AGREES],
                disagrees=self.agreements[Agreement.DISAGREES],
                disclaimer=DISCLAIMER,
            )
        )


@cache
def environment() -> Environment:
    """The templates of this package, with escaping on; reports share their parts (`parts.html`)."""
    # Imported here: every run of `explain` imports this module, and few write a page.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("cxr_explain.pages", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    made.filters.update(probability=format_probability, pathology=display_name, names=_names, link=link)
    made.globals.update(rank_style=rank_style)
    return made


def link(name: str) -> str:
    """A relative link to a file beside the page, whatever its name is made of.

    >>> link("50% <b>.png"), link("javascript:x.png")
    ('50%25%20%3Cb%3E.png', 'javascript%3Ax.png')
    """
    return quote(os.fsencode(name), safe="")


def _visible(value: Any) -> Any:
    """What a template prints, on one line and without marks that could turn the page's text around."""
    return one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _style() -> Markup:
    text = files("cxr_explain.pages").joinpath("templates", "page.css").read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - a file of this package


def _policy(style: str) -> str:
    """Nothing but the figures beside the page and this very style; `file:` for a page opened from a disk."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src 'self' file:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _banners(cards: Sequence[Card]) -> list[str]:
    """What a reader must know first: that no patient is shown, or that the model has seen none."""
    texts = []
    phantoms = sum(card.provenance.phantom for card in cards)
    if phantoms:
        which = "These images are" if phantoms == len(cards) else f"{phantoms} of {len(cards)} images are"
        texts.append(f"{which} computed chest phantoms with known findings. No patient is in them.")
    if any(card.provenance.phantom_only for card in cards):
        texts.append(
            "The model was trained on computed phantoms alone and has never seen a radiograph. What it "
            "predicts, and how often it agrees, says nothing about patients."
        )
    return texts


def _facts(cards: Sequence[Card]) -> list[Fact]:
    """What is the same for every radiograph of one run."""
    if not cards:
        return []
    card, provenance = cards[0], cards[0].provenance
    settings = provenance.map_settings
    sha = provenance.weights_sha256
    methods = " and ".join(sorted({card.provenance.method for card in cards}))
    by = "sigmoid probability" if card.ranked_by == "probability" else "calibrated value"
    return [
        ("Model", provenance.model),
        ("Weights", f"SHA-256 {sha[:12]}" if sha else "no file: the model came as an object"),
        ("Trained on", ", ".join(provenance.training_sets) or "unknown"),
        ("Method", f"{methods}, K = {provenance.ranking_settings.top_k}, ranked by {by}"),
        ("Fusion", f"normalisation {settings.normalisation}, activation {settings.activation}"),
        ("Gradient", f"{provenance.gradient}, at {provenance.target_layer}"),
        ("Arithmetic", f"{settings.dtype} on {provenance.device}"),
        ("Software", f"cxr-explain {provenance.package_version}, torch {provenance.torch_version}"),
    ]


def _shared_steps(cards: Sequence[Card]) -> list[str]:
    """The preprocessing steps that every radiograph went through, in order."""
    if not cards:
        return []
    others = [set(card.provenance.steps) for card in cards[1:]]
    return [step for step in cards[0].provenance.steps if all(step in steps for steps in others)]


def _spoken(row: ComparisonRow) -> str:
    parts = []
    if row.prediction is not None:
        parts.append(f"probability {format_probability(row.prediction.probability)}")
        if row.prediction.above is not None:
            parts.append(f"{'at or above' if row.prediction.above else 'below'} its operating point")
    if row.state is not None:
        parts.append(f"reference label {row.state}")
    return f"{display_name(row.pathology)} ({', '.join(parts)})"


def _names(pathologies: Sequence[str]) -> str:
    return ", ".join(display_name(name) for name in pathologies)
