"""How radiographs, explanations, manifests and audits show themselves in a notebook.

Each is a small card: a picture where there is one, what it is in a few lines, and a table. It shows no file
name of an image, no path and no free text of a header; everything is escaped, and nothing is fetched.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxr_explain.audit.document import STATISTICS, Statistics
from cxr_explain.audit.sections.headline import TITLE, Headline
from cxr_explain.audit.store import AuditRun
from cxr_explain.errors import AuditError
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.explaining.ranking import Ranking
from cxr_explain.figures.banner import Notice, notice_of
from cxr_explain.figures.compact_png import compact_png
from cxr_explain.figures.lettering import display_name
from cxr_explain.figures.overlay import fused_overlay, grey, shape_within, swatch
from cxr_explain.figures.palette import ClassStyle, class_styles
from cxr_explain.figures.texts import DISCLAIMER, format_probability, side_of_point, tally
from cxr_explain.pages.templating import environment
from cxr_explain.pathologies import LabelState
from cxr_explain.radiograph import PHANTOM_WARNING, Radiograph
from cxr_explain.reference.manifest import Manifest
from cxr_explain.reference.states import STATE_CODES

LONGEST = 320
"""Pixels of a card's picture along its longer side."""

_MOST_ROWS = 30
_SWATCH = 12


@dataclass(frozen=True)
class Card:
    """What a notebook shows of an object: everything in it is text, and is escaped when it is drawn.

    Args:
        title: what the object is.
        facts: lines below the title, in a few words each.
        findings: questions, and the sentences that answer each.
        picture: bytes of a PNG; None without a picture.
        alt: the picture in words.
        notice: a coloured band above the title, for phantoms.
        header: heads of the table's columns.
        rows: cells of the table; numbers stand on the right.
        styles: how the picture draws what each row is of; none where the table is no colour key.
        closing: the last line.
    """

    title: str
    facts: Sequence[str] = ()
    findings: Sequence[tuple[str, Sequence[str]]] = ()
    picture: bytes | None = None
    alt: str = ""
    notice: Notice | None = None
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str | int]] = ()
    styles: Sequence[ClassStyle] = ()
    closing: str = ""

    def to_html(self) -> str:
        """A fragment that keeps the notebook's own font and colours, light or dark.

        >>> Card("Mass & more").to_html().count("Mass &amp; more")
        1
        """
        template = environment().get_template("card.html", globals={"swatch": swatch_png})
        return template.render(card=self, most_rows=_MOST_ROWS)


@singledispatch
def card_of(shown: object) -> Card:
    """The card of an object; each kind that has one is registered below."""
    raise TypeError(f"{type(shown).__name__} has no card")


@singledispatch
def picture_of(shown: object) -> bytes:
    """The small picture of an object; each kind that has one is registered below."""
    raise TypeError(f"{type(shown).__name__} has no picture")


@picture_of.register
def radiograph_png(radiograph: Radiograph, longest: int = LONGEST) -> bytes:
    """The radiograph as a small picture.

    >>> radiograph_png(Radiograph.from_array(np.zeros((40, 30), np.float32)))[1:4]
    b'PNG'
    """
    return _png(grey(radiograph.display, shape_within(radiograph.shape, longest)))


@picture_of.register
def explanation_png(
    explanation: Explanation, radiograph: Radiograph | None = None, *, compact: bool = True, **options: Any
) -> bytes:
    """The fused map over the radiograph as a small picture, without letters.

    Args:
        explanation: what to draw.
        radiograph: the pixels below the map; by default the explanation's own, grey where it has none.
        compact: with a palette of 256 colours, a third of the bytes in a stored notebook; False is quicker.
        **options: options of `fused_overlay`, for example `shown`.
    """
    options.setdefault("longest", LONGEST)
    return _png(fused_overlay(explanation, radiograph, **options), compact=compact)


@card_of.register
def radiograph_card(radiograph: Radiograph) -> Card:
    """What is known of a radiograph, without its file's name."""
    height, width = radiograph.shape
    spacing = radiograph.pixel_spacing
    facts = [f"{radiograph.format}, {height} x {width} pixels"]
    if radiograph.view:
        facts.append(f"view {radiograph.view}")
    if spacing:
        facts.append(f"{spacing[0]:.3g} x {spacing[1]:.3g} mm ({radiograph.pixel_spacing_source})")
    facts.append(f"SHA-256 {radiograph.sha256[:12]}")
    # That it is a phantom, the notice says.
    facts += [f"Warning: {warning}" for warning in radiograph.warnings if warning != PHANTOM_WARNING]
    return Card(
        title="Radiograph",
        facts=facts,
        picture=radiograph_png(radiograph),
        alt="the radiograph",
        notice=notice_of(phantom=radiograph.phantom, phantom_only=False),
    )


@card_of.register
def explanation_card(
    explanation: Explanation,
    radiograph: Radiograph | None = None,
    *,
    colours: Mapping[str, str] | None = None,
) -> Card:
    """The fused map beside its colour key; over a radiograph that the explanation was loaded without."""
    ranking, provenance = explanation.ranking, explanation.provenance
    nowhere = dict.fromkeys(explanation.shown_nowhere, "none shown")
    nowhere |= dict.fromkeys(explanation.without_gradient, "no gradient reaches the layer")
    rows = [
        (
            rank,
            display_name(prediction.pathology),
            format_probability(prediction.probability),
            nowhere.get(prediction.pathology, ""),
        )
        for rank, prediction in enumerate(ranking.top, start=1)
    ]
    columns = 4 if nowhere else 3
    return Card(
        title=f"{provenance.method} · {provenance.model}",
        facts=list(dict.fromkeys((*ranking.notes, *provenance.notes))),
        picture=explanation_png(explanation, radiograph, colours=colours),
        alt="the fused map over the radiograph",
        notice=notice_of(phantom=provenance.phantom, phantom_only=provenance.phantom_only),
        header=("Rank", "Pathology", "Probability", "Evidence")[:columns],
        rows=[row[:columns] for row in rows],
        styles=class_styles(ranking.pathologies, colours),
        closing=DISCLAIMER,
    )


@card_of.register
def ranking_card(ranking: Ranking) -> Card:
    """The ranked pathologies beside their operating points."""
    points = any(prediction.operating_point is not None for prediction in ranking.top)
    columns = 5 if points else 3
    rows = [
        (
            rank,
            display_name(prediction.pathology),
            format_probability(prediction.probability),
            "" if prediction.operating_point is None else format_probability(prediction.operating_point),
            side_of_point(prediction.above),
        )
        for rank, prediction in enumerate(ranking.top, start=1)
    ]
    return Card(
        title=f"Top {ranking.k} of {len(ranking.predictions)}, by {ranking.by}",
        facts=ranking.notes,
        header=("Rank", "Pathology", "Probability", "Operating point", "Prediction")[:columns],
        rows=[row[:columns] for row in rows],
    )


@card_of.register
def manifest_card(manifest: Manifest) -> Card:
    """How many images, patients and labels; no identifier and no path."""
    patients = {patient for patient in manifest.patients if patient}
    facts = [
        _counted(len(manifest), "image") + (f" of {_counted(len(patients), 'patient')}" if patients else "")
    ]
    for name, column in (("views", manifest.views), ("splits", manifest.splits), ("sex", manifest.sexes)):
        if any(column):
            facts.append(f"{name}: {tally(column)}")
    if manifest.boxes or manifest.masks:
        facts.append(f"{len(manifest.boxes)} with boxes, {len(manifest.masks)} with masks")
    facts.append(f"labels: {manifest.source}")
    states = [state for state in LabelState if (manifest.states == STATE_CODES[state]).any()]
    by_state = {state: (manifest.states == STATE_CODES[state]).sum(axis=0).tolist() for state in states}
    rows: list[tuple[str | int, ...]] = [
        (display_name(name), *(by_state[state][at] for state in states))
        for at, name in enumerate(manifest.pathologies)
    ]
    return Card("Manifest", facts, header=("Pathology", *map(str, states)), rows=rows)


@card_of.register
def audit_run_card(run: AuditRun) -> Card:
    """How far an audit has come, what it found, and what failed; of the place only the folder's name."""
    record = run.record
    codes = Counter(run.failures["code"].to_pylist())
    explained, failed = len(run.columns(["image_id"])), sum(codes.values())
    waiting = record.rows - explained - failed
    facts = [
        f"{explained} of {_counted(record.rows, 'image')} explained, {failed} failed"
        + (f", {waiting} to do" if waiting else ""),
        f"{record.rule_title}{', fused' if record.map_settings.fused else ''}, "
        f"top {record.ranking_settings.top_k}, by {record.model}"
        + (f" (SHA-256 {record.weights_sha256[:12]})" if record.weights_sha256 else ""),
        f"manifest: {record.manifest_source}",
    ]
    headline = _headline_of(run, explained)
    facts.append(
        "no statistics yet: `cxr-explain stats` writes them" if headline is None else headline.summary
    )
    return Card(
        title=f"Audit {PurePosixPath(run.place.name.rstrip('/')).name}",
        facts=facts,
        findings=() if headline is None else _findings(headline),
        notice=notice_of(phantom=_phantoms_alone(run), phantom_only=record.phantom_only),
        header=("Failure", "Images"),
        rows=[(code, n) for code, n in codes.most_common()],
        closing=DISCLAIMER,
    )


@card_of.register
def statistics_card(statistics: Statistics) -> Card:
    """What the audit found; the tables are in its text."""
    headline = statistics.headline
    return Card(
        title=TITLE,
        facts=[headline.summary],
        findings=_findings(headline),
        closing=f"{headline.few} {headline.basis} {DISCLAIMER}.".strip(),
    )


def _findings(headline: Headline) -> list[tuple[str, list[str]]]:
    return [
        (
            group.question,
            [f"{each.text} ({each.basis})" for each in group.findings]
            + ([f"and {len(group.further):,} more"] if group.further else []),
        )
        for group in headline.groups
    ]


def _headline_of(run: AuditRun, explained: int) -> Headline | None:
    """What the statistics that are kept of a run say; None without any, or if they are of another state."""
    try:
        found = Statistics.from_json(run.place.read(STATISTICS))
    except AuditError:
        return None
    return found.headline if found.document["images"] == explained else None


def _phantoms_alone(run: AuditRun) -> bool:
    phantom = run.columns(["phantom"])["phantom"].to_pylist()
    return bool(phantom) and all(phantom)


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _png(picture: NDArray[np.generic], *, compact: bool = True) -> bytes:
    pixels = picture if picture.dtype == np.uint8 else (np.clip(picture, 0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    if compact:
        return compact_png(image)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def swatch_png(style: ClassStyle) -> bytes:
    """The colour of a pathology, with its second sign, as a small square."""
    return _png(swatch(style, (_SWATCH, _SWATCH), _SWATCH // 2))
