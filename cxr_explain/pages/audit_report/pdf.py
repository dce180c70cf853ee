"""The report as one PDF of numbered A4 pages: the overview with its contents, then a page for each image."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from cxr_explain.audit.sections.headline import TITLE, Headline
from cxr_explain.audit.sections.tables import Section
from cxr_explain.audit.store import AuditRun, StoredCase
from cxr_explain.audit.verdicts import Marked
from cxr_explain.errors import CxrExplainError
from cxr_explain.figures.facts import FactLists
from cxr_explain.figures.figure import draw_explanation
from cxr_explain.figures.output import own_style
from cxr_explain.figures.page import HEADING, SMALL, Block, Page
from cxr_explain.figures.palette import ALERT, INK, QUIET
from cxr_explain.figures.pdf_fonts import truetype_outlines
from cxr_explain.figures.style import BODY, LIGHT
from cxr_explain.figures.texts import DISCLAIMER
from cxr_explain.pages.audit_report.contents import Contents, reason_of
from cxr_explain.pages.audit_report.overview import Overview
from cxr_explain.pages.audit_report.pdf_blocks import (
    ContentsLine,
    CurvePlots,
    Paragraph,
    TableHead,
    TableLine,
    Title,
)
from cxr_explain.pages.audit_report.pdf_pictures import picture_rows
from cxr_explain.support.whole_file import growing, output_errors

PDF_CASES = 30
"""Images with a page of their own, unless told otherwise."""

_INDENT = 0.12
_DPI = 150
_WIDTH, _HEIGHT = 1754 / _DPI, 1240 / _DPI  # inches of A4, in whole pixels
_MARGIN = 0.5
_ROOM = _WIDTH - 2 * _MARGIN
_TOLD_EVERY = 10
_TOP, _FOOT = _MARGIN + 0.25, 0.22
_BOTTOM = _HEIGHT - _MARGIN
_LOWEST = _HEIGHT - _FOOT  # for a figure, above the page's number
_SMALLEST_SIZE, _NEXT_SIZE = 4.0, 0.96  # points, and the share by which letters become smaller at least
_CASES = "Cases"

Listed = str | int
"""What the contents name: a section by its title, or a case by its place in the listing."""

BlockOnPage = tuple[Block, float]
"""A block, and how far from the top of its page it begins, in inches."""

_METADATA = {
    "Creator": "cxr-explain",
    "Producer": None,
    "CreationDate": None,
    "Title": "Audit of a chest radiograph classifier",
    "Subject": DISCLAIMER,
}


def write_pdf(
    run: AuditRun,
    target: str | os.PathLike[str],
    *,
    cases: int | None = PDF_CASES,
    statistics: Mapping[str, Any],
    marked: Marked | None = None,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write an audit's report as one PDF, whole or not at all, without a date or personal data.

    Args:
        run: the audit.
        target: the file of the report; its folder must exist.
        cases: number of images with a page of their own, those first that the queues put first; None for all
            of them.
        statistics: the statistics of the audit, as `statistics.json` has them; {} without any.
        marked: the cases that the report is about; without them, all.
        progress: called with how far it is, in words.

    Returns:
        The path.

    Raises:
        OutputError: a folder that cannot be written to.

    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.audit.example import example_audit
    >>> with TemporaryDirectory() as folder:
    ...     write_pdf(example_audit(folder), f"{folder}/report.pdf", cases=1, statistics={}).name
    'report.pdf'
    """
    contents = Contents.of(run, statistics, cases, marked)
    path = Path(target)
    with (
        output_errors("a report", path),
        growing(path) as file,
        own_style(),
        truetype_outlines(),
        PdfPages(file, metadata=_METADATA) as pdf,
    ):
        pages: dict[Listed, int] = {}
        laid_out = _laid_out(list(_overview(contents, pages)))
        of = len(laid_out) + len(contents.chosen)
        pages |= _pages_of(laid_out, contents.chosen)
        for number, placed in enumerate(laid_out, start=1):
            _add(pdf, _numbered(_drawn(placed), number, of))
        for number, image in enumerate(contents.cases(_TOLD_EVERY, progress), start=len(laid_out) + 1):
            _add(pdf, _numbered(_case(run, contents, image), number, of))
    return path


def _add(pdf: PdfPages, figure: Figure) -> None:
    """`ExplanationFigure.savefig` writes one file; here the figure becomes a page of one."""
    Figure.savefig(figure, pdf, format="pdf", dpi=figure.dpi)  # type: ignore[arg-type]  # Matplotlib takes a PdfPages


def _case(run: AuditRun, contents: Contents, image: int) -> Figure:
    """The figure of an image as a page; where it cannot be drawn, the reason."""
    position = int(contents.listing.positions[image])
    try:
        case = run.case(position)
        size = BODY
        figure = _figure(case, size)
        while (height := figure.get_figheight()) > _LOWEST and size > _SMALLEST_SIZE:
            # Its lengths follow the size of its letters; but images may take the room that comes free.
            size = max(size * min(_LOWEST / height, _NEXT_SIZE), _SMALLEST_SIZE)
            figure = _figure(case, size)
        return _on_paper(figure)
    except CxrExplainError as error:
        title = Title(contents.listing.ids[image], _ROOM)
        reason = Paragraph(f"No figure: {reason_of(error)}", _ROOM)
        return _drawn(_laid_out([title, reason])[0])


def _figure(case: StoredCase, size: float) -> Figure:
    return draw_explanation(
        case.explanation,
        case.radiograph(),
        reference_labels=case.reference_labels,
        dpi=_DPI,
        style=replace(LIGHT, size=size, missing_letters="number"),
    )


def _on_paper(figure: Figure) -> Figure:
    """A figure at the top of a page of A4, everything as large as it was."""
    across, down = figure.get_figwidth() / _WIDTH, figure.get_figheight() / _HEIGHT
    for axes in figure.axes:
        place = axes.get_position()
        left, bottom = place.x0 * across, 1 - (1 - place.y0) * down
        axes.set_position((left, bottom, place.width * across, place.height * down))
    figure.set_size_inches(_WIDTH, _HEIGHT)
    return figure


def _numbered(figure: Figure, number: int, of: int) -> Figure:
    """With the page's number at its foot."""
    figure.text(
        1 - _MARGIN / _WIDTH, _FOOT / _HEIGHT, f"Page {number} of {of}", ha="right", size=SMALL, color=QUIET
    )
    return figure


def _laid_out(blocks: Sequence[Block]) -> list[list[BlockOnPage]]:
    """Blocks from the top of as many pages as they take; a table's head again on each page."""
    pages: list[list[BlockOnPage]] = [[]]
    y, head = _TOP, None
    for at, block in enumerate(blocks):
        head = block if isinstance(block, TableHead) else head if isinstance(block, TableLine) else None
        if y + _kept(blocks[at:]) > _BOTTOM and pages[-1]:
            pages.append([])
            y = _TOP
            if head is not None and head is not block:
                pages[-1].append((head, y))
                y += head.height
        pages[-1].append((block, y))
        y += block.height
    return pages


def _kept(blocks: Sequence[Block]) -> float:
    """Height of the first block, with what may not be parted from it: a heading stays with its table."""
    parted = (at for at, each in enumerate(blocks) if not getattr(each, "keeps_with_next", False))
    last = next(parted, len(blocks) - 1)
    lines = 2 if last > 0 and isinstance(blocks[last], TableLine) else 1
    height = sum(each.height for each in blocks[: last + lines])
    return height if height < _BOTTOM - _TOP else blocks[0].height


def _drawn(placed: Sequence[BlockOnPage]) -> Figure:
    page = _new_page()
    for block, y in placed:
        block.draw(page, _MARGIN, y)
    return page.figure


def _pages_of(laid_out: Sequence[Sequence[BlockOnPage]], cases: Sequence[int]) -> dict[Listed, int]:
    """The page of each section, and of each case."""
    sections: dict[Listed, int] = {
        block.text: number
        for number, placed in enumerate(laid_out, start=1)
        for block, _ in placed
        if isinstance(block, Title) and block.listed
    }
    return sections | {image: number for number, image in enumerate(cases, start=len(laid_out) + 1)}


def _new_page() -> Page:
    page = Page(_WIDTH, _HEIGHT, _DPI)
    page.text(_MARGIN, _MARGIN, f"{DISCLAIMER}.", face="bold", colour=ALERT)
    page.text(_WIDTH - _MARGIN, _MARGIN, "cxr-explain audit", size=SMALL, colour=QUIET, align="right")
    return page


def _overview(contents: Contents, pages: Mapping[Listed, int]) -> Iterator[Block]:
    """All blocks before the cases; `pages` is filled in before they are drawn."""
    overview = contents.overview
    yield Title("Audit of a chest radiograph classifier", _ROOM, 15)
    for alert in overview.alerts:
        yield Paragraph(alert, _ROOM, ALERT, "bold")
    yield Paragraph(f"{overview.model} on {overview.source}: {overview.counts}.", _ROOM)
    if overview.headline is not None:
        yield from _headline(overview.headline)
    if contents.marked is not None:
        yield from _marked(contents.marked)
    body = list(_body(overview))
    listed: list[tuple[str, Listed]] = [
        (each.text, each.text) for each in body if isinstance(each, Title) and each.listed
    ]
    cases = _cases_listed(contents)
    if listed:
        yield from _contents([*listed, *([(_CASES, _CASES)] if cases else [])], pages, 3)
    if contents.marked is not None:
        yield Title("The audit", _ROOM)
    yield FactLists(overview.facts, _ROOM, label_width=1.0)
    yield from body
    yield from _contents(cases, pages, 1 if contents.marked else 3, title=_CASES)


def _body(overview: Overview) -> Iterator[Block]:
    if overview.performance is not None:
        yield from _section(overview.performance)
    drawn = [curves for curves in overview.curves if curves.are_there]
    if drawn:
        yield Title("Curves", _ROOM, listed=True)
    yield from (CurvePlots(drawn[at : at + 2], _ROOM) for at in range(0, len(drawn), 2))
    for section in overview.sections:
        yield from _section(section)


def _cases_listed(contents: Contents) -> list[tuple[str, Listed]]:
    """What the contents say of each case that has a page."""
    ids = contents.listing.ids
    if contents.marked is None:
        return [(ids[image], image) for image in contents.chosen]
    said = {line.row: line for line in contents.marked.lines}
    texts: list[tuple[str, Listed]] = []
    for image in contents.chosen:
        line = said[int(contents.listing.rows[image])]
        given = zip(contents.marked.readers, line.verdicts, strict=False)
        verdicts = [f"{reader}: {verdict}" for reader, verdict in given if verdict]
        texts.append((" · ".join([line.image_id, *verdicts, *line.notes]), image))
    return texts


def _contents(
    listed: Sequence[tuple[str, Listed]], pages: Mapping[Listed, int], columns: int, title: str = "Contents"
) -> Iterator[Block]:
    if listed:
        yield Title(title, _ROOM, listed=title == _CASES)
    for at in range(0, len(listed), columns):
        is_last = at + columns >= len(listed)
        yield ContentsLine(listed[at : at + columns], pages, _ROOM, columns, space_below=0.12 * is_last)


def _marked(marked: Marked) -> Iterator[Block]:
    yield Title("Marked cases", _ROOM)
    yield Paragraph(marked.told, _ROOM, INK)
    for section in marked.sections:
        yield from _section(section, listed=False)


def _headline(headline: Headline) -> Iterator[Block]:
    yield Title(TITLE, _ROOM)
    yield Paragraph(headline.summary, _ROOM)
    for group in headline.shown:
        yield Paragraph(group.question, _ROOM, INK, "bold", keeps_with_next=True)
        for each in group.findings:
            yield Paragraph(f"• {each.named}", _ROOM, INK, indent=_INDENT, keeps_with_next=True)
            yield Paragraph(each.basis, _ROOM, indent=2 * _INDENT)
        if group.further:
            yield Paragraph(f"and {len(group.further):,} more", _ROOM, indent=2 * _INDENT)
    for text in (headline.few, headline.basis):
        yield Paragraph(text, _ROOM)


def _section(section: Section, *, listed: bool = True) -> Iterator[Block]:
    yield Title(section.title, _ROOM, listed=listed)
    for text in (*section.basis, *(f"• {note}" for note in section.notes)):
        yield Paragraph(text, _ROOM, keeps_with_next=True)
    for table in section.tables:
        if table.title != section.title:
            yield Title(table.title, _ROOM, HEADING)
        head = TableHead(table, _ROOM)
        yield head
        yield from (TableLine(row, head) for row in table.rows)
    if section.pictures:
        yield Paragraph(section.about_pictures, _ROOM)
        yield from picture_rows(section.pictures, _ROOM)
