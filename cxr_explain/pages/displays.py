"""How radiographs, explanations, manifests and audits show themselves in a notebook.

Each is a small card: a picture where there is one, what it is in a few lines, and a table. It shows no file
name of an image, no path and no free text of a header; everything is escaped, and nothing is fetched.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxr_explain.audit.store import AuditRun
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.explaining.ranking import Ranking
from cxr_explain.figures.banner import Notice, notice_of
from cxr_explain.figures.compact_png import compact_png
from cxr_explain.figures.lettering import display_name, one_line
from cxr_explain.figures.output import DISCLAIMER
from cxr_explain.figures.overlay import fused_overlay, grey, shape_within
from cxr_explain.figures.palette import rank_style
from cxr_explain.figures.table import format_probability
from cxr_explain.pathologies import LabelState
from cxr_explain.radiograph import PHANTOM_WARNING, Radiograph
from cxr_explain.reference.manifest import Manifest
from cxr_explain.reference.states import STATE_CODES

LONGEST = 320
"""Pixels of a card's picture along its longer side."""

_MOST_ROWS = 30
_SWATCH = 12
_CELL = "padding:.15em .7em .15em 0;text-align:{};vertical-align:top"

Cell = str | int


@dataclass(frozen=True)
class Card:
    """A card: everything in it is text, and is escaped when it is drawn.

    Args:
        title: what it is.
        facts: in a few words each.
        picture: a PNG.
        alt: the picture in words.
        notice: a coloured band, for phantoms.
        header: of the table.
        rows: of the table; numbers stand on the right.
        colours: of the rows, "#RRGGBB"; none without a key.
        closing: the last line.
    """

    title: str
    facts: Sequence[str] = ()
    picture: bytes | None = None
    alt: str = ""
    notice: Notice | None = None
    header: Sequence[str] = ()
    rows: Sequence[Sequence[Cell]] = ()
    colours: Sequence[str] = field(default=())
    closing: str = ""

    def to_html(self) -> str:
        """A fragment that keeps the notebook's own font and colours, light or dark.

        >>> Card("Mass & more").to_html().count("Mass &amp; more")
        1
        """
        text = "".join((self._heading(), self._facts(), self._table(), self._closing()))
        picture = self._picture()
        beside = f'<div style="flex:0 0 auto">{picture}</div>' if picture else ""
        return (
            '<div style="display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start;line-height:1.35;'
            f'font-size:13px">{beside}<div style="flex:1 1 18em;min-width:0">{text}</div></div>'
        )

    def _heading(self) -> str:
        band = ""
        if self.notice is not None:
            style = f"background:{self.notice.colour};color:#fff;padding:.2em .6em;margin-bottom:.5em"
            words = f"<b>{_text(self.notice.title)}</b> {_text(self.notice.aside)}"
            band = f'<div style="{style}">{words}</div>'
        return f"{band}<div><b>{_text(self.title)}</b></div>"

    def _facts(self) -> str:
        return "".join(f'<div style="opacity:.8">{_text(fact)}</div>' for fact in self.facts)

    def _picture(self) -> str:
        if self.picture is None:
            return ""
        return _image(self.picture, self.alt)

    def _table(self) -> str:
        if not self.rows:
            return ""
        head = "".join(
            f'<th style="{_CELL.format(_side(cell))};font-weight:600">{_text(name)}</th>'
            for name, cell in zip(self.header, self.rows[0], strict=True)
        )
        body = "".join(
            f"<tr>{self._swatch(at)}{''.join(map(_cell, row))}</tr>"
            for at, row in enumerate(self.rows[:_MOST_ROWS])
        )
        more = len(self.rows) - _MOST_ROWS
        rest = f'<div style="opacity:.8">and {more} more</div>' if more > 0 else ""
        key = "<th></th>" if self.colours else ""
        return (
            '<table style="border-collapse:collapse;margin:.5em 0;font-size:inherit">'
            f"<thead><tr>{key}{head}</tr></thead><tbody>{body}</tbody></table>{rest}"
        )

    def _swatch(self, at: int) -> str:
        if not self.colours:
            return ""
        # A picture, as some viewers of stored notebooks drop every style.
        image = _image(_png(_plain(self.colours[at])), f"colour of row {at + 1}")
        return f'<td style="{_CELL.format("left")}">{image}</td>'

    def _closing(self) -> str:
        return f'<div style="opacity:.8">{_text(self.closing)}</div>' if self.closing else ""


def card_of(shown: object) -> Card:
    """The card of an object that has one."""
    match shown:
        case Radiograph():
            return radiograph_card(shown)
        case Ranking():
            return ranking_card(shown)
        case Explanation():
            return explanation_card(shown)
        case Manifest():
            return manifest_card(shown)
        case AuditRun():
            return audit_run_card(shown)
    raise TypeError(f"{type(shown).__name__} has no card")


def picture_of(shown: object) -> bytes:
    """The small picture of an object that has one."""
    match shown:
        case Radiograph():
            return radiograph_png(shown)
        case Explanation():
            return explanation_png(shown)
    raise TypeError(f"{type(shown).__name__} has no picture")


def radiograph_png(radiograph: Radiograph, longest: int = LONGEST) -> bytes:
    """The radiograph as a small picture.

    >>> radiograph_png(Radiograph.from_array(np.zeros((40, 30), np.float32)))[1:4]
    b'PNG'
    """
    return _png(grey(radiograph.display, shape_within(radiograph.shape, longest)))


def explanation_png(
    explanation: Explanation, radiograph: Radiograph | None = None, *, compact: bool = True, **options: Any
) -> bytes:
    """The fused map over the radiograph as a small picture, without letters.

    Args:
        explanation: what to draw.
        radiograph: see `fused_overlay`.
        compact: 256 colours of its own, a third of the bytes in a stored notebook; False is quicker.
        **options: of `fused_overlay`.
    """
    options.setdefault("longest", LONGEST)
    return _png(fused_overlay(explanation, radiograph, **options), compact=compact)


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
    notice = notice_of(phantom=radiograph.phantom, phantom_only=False)
    warnings = [
        warning for warning in radiograph.warnings if warning != PHANTOM_WARNING
    ]  # the notice says it
    return Card(
        title="Radiograph",
        facts=[*facts, *(f"Warning: {warning}" for warning in warnings)],
        picture=radiograph_png(radiograph),
        alt="the radiograph",
        notice=notice,
    )


def explanation_card(explanation: Explanation, radiograph: Radiograph | None = None) -> Card:
    """The fused map beside its colour key; over a radiograph that the explanation was loaded without."""
    ranking, provenance = explanation.ranking, explanation.provenance
    nowhere = set(explanation.without_evidence)
    rows = [
        (
            rank,
            display_name(prediction.pathology),
            format_probability(prediction.probability),
            "none shown" if prediction.pathology in nowhere else "",
        )
        for rank, prediction in enumerate(ranking.top, start=1)
    ]
    columns = 4 if nowhere else 3
    return Card(
        title=f"{provenance.method} · {provenance.model}",
        facts=[*ranking.notes],
        picture=explanation_png(explanation, radiograph),
        alt="the fused map over the radiograph",
        notice=notice_of(phantom=provenance.phantom, phantom_only=provenance.phantom_only),
        header=("Rank", "Pathology", "Probability", "Evidence")[:columns],
        rows=[row[:columns] for row in rows],
        colours=[rank_style(rank).colour for rank, *_ in rows],
        closing=DISCLAIMER,
    )


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
            {True: "above", False: "below", None: ""}[prediction.above],
        )
        for rank, prediction in enumerate(ranking.top, start=1)
    ]
    return Card(
        title=f"Top {ranking.k} of {len(ranking.predictions)}, by {ranking.by}",
        facts=ranking.notes,
        header=("Rank", "Pathology", "Probability", "Operating point", "Prediction")[:columns],
        rows=[row[:columns] for row in rows],
    )


def manifest_card(manifest: Manifest) -> Card:
    """How many images, patients and labels; no identifier and no path."""
    patients = {patient for patient in manifest.patients if patient}
    facts = [
        _counted(len(manifest), "image") + (f" of {_counted(len(patients), 'patient')}" if patients else "")
    ]
    for name, column in (("views", manifest.views), ("splits", manifest.splits), ("sex", manifest.sexes)):
        counts = Counter(value or "unknown" for value in column)
        if set(counts) != {"unknown"}:
            facts.append(f"{name}: " + ", ".join(f"{value} {n}" for value, n in counts.most_common(6)))
    if manifest.boxes or manifest.masks:
        facts.append(f"{len(manifest.boxes)} with boxes, {len(manifest.masks)} with masks")
    facts.append(f"labels: {manifest.source}")
    states = [state for state in LabelState if (manifest.states == STATE_CODES[state]).any()]
    by_state = {state: (manifest.states == STATE_CODES[state]).sum(axis=0).tolist() for state in states}
    rows: list[tuple[Cell, ...]] = [
        (display_name(name), *(by_state[state][at] for state in states))
        for at, name in enumerate(manifest.pathologies)
    ]
    return Card("Manifest", facts, header=("Pathology", *map(str, states)), rows=rows)


def audit_run_card(run: AuditRun) -> Card:
    """How far an audit has come, and what failed; of its place only the folder's name."""
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
    return Card(
        title=f"Audit {PurePosixPath(run.place.name.rstrip('/')).name}",
        facts=facts,
        notice=notice_of(phantom=_phantoms_alone(run), phantom_only=record.phantom_only),
        header=("Failure", "Images"),
        rows=[(code, n) for code, n in codes.most_common()],
        closing=DISCLAIMER,
    )


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


def _plain(colour: str) -> NDArray[np.uint8]:
    rgb = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return np.full((_SWATCH, _SWATCH, 3), rgb, np.uint8)


def _image(png: bytes, alt: str) -> str:
    data = base64.b64encode(png).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{_text(alt)}" style="max-width:100%">'


def _text(value: object) -> str:
    return escape(one_line(str(value)))


def _side(cell: Cell) -> str:
    return "left" if isinstance(cell, str) else "right"


def _cell(cell: Cell) -> str:
    return f'<td style="{_CELL.format(_side(cell))}">{_text(cell)}</td>'
