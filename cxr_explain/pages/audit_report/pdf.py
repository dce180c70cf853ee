"""The report as one PDF: the overview, then a page for each chosen image."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from cxr_explain.audit.sections.headline import TITLE, Headline
from cxr_explain.audit.sections.tables import Section
from cxr_explain.audit.store import AuditRun
from cxr_explain.errors import CxrExplainError
from cxr_explain.figures.facts import FactLists
from cxr_explain.figures.figure import draw_explanation
from cxr_explain.figures.output import own_style
from cxr_explain.figures.page import HEADING, SMALL, Block, Page
from cxr_explain.figures.palette import ALERT, INK, QUIET
from cxr_explain.figures.pdf_fonts import truetype_outlines
from cxr_explain.figures.texts import DISCLAIMER
from cxr_explain.pages.audit_report.contents import Contents, reason_of
from cxr_explain.pages.audit_report.overview import Overview
from cxr_explain.pages.audit_report.pdf_blocks import CurvePlots, Paragraph, TableHead, TableLine, Title
from cxr_explain.pages.audit_report.pdf_pictures import picture_rows
from cxr_explain.support.whole_file import growing, output_errors

PDF_CASES = 30
"""Images with a page of their own, unless told otherwise."""

_WIDTH, _HEIGHT, _MARGIN = 11.69, 8.27, 0.5
_ROOM = _WIDTH - 2 * _MARGIN
_INDENT = 0.12
_DPI = 150
_TOLD_EVERY = 10
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
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write an audit's report as one PDF, whole or not at all, without a date or personal data.

    Args:
        run: the audit.
        target: the file of the report; its folder must exist.
        cases: number of images with a page of their own, those first that the queues put first; None for all
            of them.
        statistics: the statistics of the audit, as `statistics.json` has them; {} without any.
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
    contents = Contents.of(run, statistics, cases)
    path = Path(target)
    with (
        output_errors("a report", path),
        growing(path) as file,
        own_style(),
        truetype_outlines(),
        PdfPages(file, metadata=_METADATA) as pdf,
    ):
        for page in _paginated(list(_overview(contents.overview))):
            _add(pdf, page.figure)
        for image in contents.cases(_TOLD_EVERY, progress):
            _add(pdf, _case(run, contents, image))
    return path


def _add(pdf: PdfPages, figure: Figure) -> None:
    """`ExplanationFigure.savefig` writes one file; here the figure becomes a page of one."""
    Figure.savefig(figure, pdf, format="pdf", dpi=figure.dpi)  # type: ignore[arg-type]  # Matplotlib takes a PdfPages


def _case(run: AuditRun, contents: Contents, image: int) -> Figure:
    """The figure of an image; where it cannot be drawn, the reason."""
    position = int(contents.listing.positions[image])
    try:
        case = run.case(position)
        return draw_explanation(
            case.explanation,
            case.radiograph(),
            reference_labels=case.reference_labels,
            dpi=_DPI,
            missing_letters="number",
        )
    except CxrExplainError as error:
        title = Title(contents.listing.ids[image], _ROOM)
        reason = Paragraph(f"No figure: {reason_of(error)}", _ROOM)
        return next(_paginated([title, reason])).figure


def _paginated(blocks: Sequence[Block]) -> Iterator[Page]:
    """Blocks from the top of as many pages as they take; a table's head again on each, no heading last."""
    page, y, head = _new_page(), _MARGIN + 0.25, None
    for at, block in enumerate(blocks):
        head = block if isinstance(block, TableHead) else head if isinstance(block, TableLine) else None
        needed = block.height
        if isinstance(block, (Title, TableHead)):
            needed += sum(following.height for following in blocks[at + 1 : at + 3])
        if y + needed > _HEIGHT - _MARGIN and y > _MARGIN + 0.3:
            yield page
            page, y = _new_page(), _MARGIN + 0.25
            if head is not None and head is not block:
                head.draw(page, _MARGIN, y)
                y += head.height
        block.draw(page, _MARGIN, y)
        y += block.height
    yield page


def _new_page() -> Page:
    page = Page(_WIDTH, _HEIGHT, _DPI)
    page.text(_MARGIN, _MARGIN, f"{DISCLAIMER}.", face="bold", colour=ALERT)
    page.text(_WIDTH - _MARGIN, _MARGIN, "cxr-explain audit", size=SMALL, colour=QUIET, align="right")
    return page


def _overview(overview: Overview) -> Iterator[Block]:
    yield Title("Audit of a chest radiograph classifier", _ROOM, 15)
    for alert in overview.alerts:
        yield Paragraph(alert, _ROOM, ALERT, "bold")
    yield Paragraph(f"{overview.model} on {overview.source}: {overview.counts}.", _ROOM)
    if overview.headline is not None:
        yield from _headline(overview.headline)
    yield FactLists(overview.facts, _ROOM, label_width=1.0)
    yield from _section(overview.performance)
    drawn = [curves for curves in overview.curves if curves.are_there]
    if drawn:
        yield Title("Curves", _ROOM)
    yield from (CurvePlots(drawn[at : at + 2], _ROOM) for at in range(0, len(drawn), 2))
    for section in overview.sections:
        yield from _section(section)


def _headline(headline: Headline) -> Iterator[Block]:
    yield Title(TITLE, _ROOM)
    yield Paragraph(headline.summary, _ROOM)
    for group in headline.shown:
        yield Paragraph(group.question, _ROOM, INK, "bold")
        for each in group.findings:
            yield Paragraph(f"• {each.named}", _ROOM, INK, indent=_INDENT)
            yield Paragraph(each.basis, _ROOM, indent=2 * _INDENT)
        if group.further:
            yield Paragraph(f"and {len(group.further):,} more", _ROOM, indent=2 * _INDENT)
    for text in (headline.few, headline.basis):
        yield Paragraph(text, _ROOM)


def _section(section: Section) -> Iterator[Block]:
    yield Title(section.title, _ROOM)
    for text in (*section.basis, *(f"• {note}" for note in section.notes)):
        yield Paragraph(text, _ROOM)
    for table in section.tables:
        if table.title != section.title:
            yield Title(table.title, _ROOM, HEADING)
        head = TableHead(table, _ROOM)
        yield head
        yield from (TableLine(row, head) for row in table.rows)
    yield from picture_rows(section.pictures, _ROOM)
