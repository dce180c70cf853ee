"""The report as one PDF: the overview, then a page for each chosen image."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from cxr_explain.errors import CxrExplainError, OutputError
from cxr_explain.figures.figure import draw_explanation
from cxr_explain.figures.lettering import display_name
from cxr_explain.figures.output import DISCLAIMER, own_style
from cxr_explain.figures.page import SMALL, Block, Page
from cxr_explain.figures.palette import ALERT, QUIET
from cxr_explain.pages.audit_report.contents import Contents
from cxr_explain.pages.audit_report.overview import (
    ESTIMATES,
    IN_POLICIES,
    IN_SUBGROUPS,
    LOCALISATION,
    Overview,
)
from cxr_explain.pages.audit_report.pdf_blocks import (
    Alert,
    Curves,
    FactColumns,
    Line,
    Paragraph,
    TableHead,
    TableLine,
    TableShape,
    Title,
)
from cxr_explain.pages.audit_report.source import AuditSource

PDF_CASES = 30
"""Images with a page of their own, unless told otherwise."""

_WIDTH, _HEIGHT, _MARGIN = 11.69, 8.27, 0.5
_ROOM = _WIDTH - 2 * _MARGIN
_DPI = 150
_METADATA = {
    "Creator": "cxr-explain",
    "Producer": None,
    "CreationDate": None,
    "Title": "Audit of a chest radiograph classifier",
    "Subject": DISCLAIMER,
}


def write_pdf(
    run: AuditSource,
    target: str | os.PathLike[str],
    *,
    cases: int | None = PDF_CASES,
    statistics: Mapping[str, Any],
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write an audit's report as one PDF, whole or not at all, without a date or personal data.

    Args:
        run: the audit.
        target: the file; its folder must exist.
        cases: how many images get a page, those first that the queues put first; all of them with None.
        statistics: of the audit, as `statistics.json` has them; {} without any.
        progress: is told how far it is.

    Returns:
        The path.

    Raises:
        OutputError: a folder that cannot be written to.

    >>> import cxr_explain as cxr
    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.phantom.dataset import write_dataset
    >>> with TemporaryDirectory() as folder:
    ...     data, run = Path(folder, "data"), Path(folder, "run")
    ...     phantoms = list(write_dataset(data, n=2, size=96))
    ...     explainer = cxr.Explainer.from_pretrained("phantom", device="cpu")
    ...     done = cxr.run_audit(explainer, cxr.make_manifest("nih", data), data / "images", run)
    ...     write_pdf(done, Path(folder, "report.pdf"), cases=1, statistics={}).name
    'report.pdf'
    """
    contents = Contents.of(run, statistics, cases)
    path = Path(target)
    with _staged(path) as new, own_style(), PdfPages(new, metadata=_METADATA) as pdf:
        for page in _paginated(_overview(contents.overview)):
            _add(pdf, page.figure)
        for done, image in enumerate(contents.chosen, start=1):
            _add(pdf, _case(run, contents, image))
            if progress and (done % 10 == 0 or done == len(contents.chosen)):
                progress(f"{done} of {len(contents.chosen)} cases")
    return path


def _add(pdf: PdfPages, figure: Figure) -> None:
    """`ExplanationFigure.savefig` writes a file of its own; here the figure becomes a page of one."""
    Figure.savefig(figure, pdf, format="pdf", dpi=figure.dpi)  # type: ignore[arg-type]  # Matplotlib takes a PdfPages


def _case(run: AuditSource, contents: Contents, image: int) -> Figure:
    """The figure of an image; where it cannot be drawn, the reason."""
    position = int(contents.listing.positions[image])
    try:
        case = run.case(position)
        return draw_explanation(
            case.explanation, case.radiograph(), reference_labels=case.reference_labels, dpi=_DPI
        )
    except CxrExplainError as error:
        bare = type(error)(error.found, expected=error.expected, remedy=error.remedy)
        title, reason = Title(contents.listing.ids[image], _ROOM), Paragraph(f"No figure: {bare}", _ROOM)
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


def _overview(overview: Overview) -> list[Block]:
    about = f"{overview.model[0][1]} on {overview.data[0][1]}: {', '.join(overview.counts)}."
    facts = (("Data set", overview.data), ("Model card", overview.model), ("Run record", overview.record))
    return [
        Title("Audit of a chest radiograph classifier", _ROOM, 15),
        *(Alert(alert, _ROOM) for alert in overview.alerts),
        Paragraph(about, _ROOM),
        FactColumns(facts, _ROOM),
        *_performance(overview),
        *_curves(overview),
        *_subgroups(overview),
        *_rest(overview),
    ]


def _performance(overview: Overview) -> Iterator[Block]:
    yield Title("Performance by pathology", _ROOM)
    if not overview.pathologies:
        yield Paragraph("No statistics: there are no positive or negative reference labels.", _ROOM)
        return
    yield Paragraph(overview.basis, _ROOM)
    for note in overview.notes:
        yield Paragraph(f"• {note}", _ROOM)
    lines = [
        Line((display_name(each.name), f"{each.positive:,}", f"{each.negative:,}"), each.cells)
        for each in overview.pathologies
    ]
    yield from _table(("Pathology", "n⁺", "n⁻"), ESTIMATES, lines, (1.7, 0.55, 0.55))


def _curves(overview: Overview) -> Iterator[Block]:
    with_curves = [each for each in overview.pathologies if each.has_curves]
    if with_curves:
        yield Title("Curves", _ROOM)
        yield from (Curves(with_curves[at : at + 2], _ROOM) for at in range(0, len(with_curves), 2))


def _subgroups(overview: Overview) -> Iterator[Block]:
    for column, rows in overview.subgroups.items():
        yield Title(f"Subgroups by {column}", _ROOM)
        lines = [Line((display_name(row.heads[0]), *row.heads[1:]), row.cells, row.small) for row in rows]
        heads = ("Pathology", column, "Images", "Patients", "n⁺", "n⁻")
        yield from _table(heads, IN_SUBGROUPS, lines, (1.7, 1.2, 0.6, 0.7, 0.55, 0.55))


def _rest(overview: Overview) -> Iterator[Block]:
    if overview.policies:
        yield Title("Uncertain reference labels", _ROOM)
        lines = [Line((display_name(row.heads[0]), *row.heads[1:]), row.cells) for row in overview.policies]
        yield from _table(("Pathology", "Policy", "n⁺", "n⁻"), IN_POLICIES, lines, (1.7, 0.8, 0.55, 0.55))
    if overview.where:
        yield Title("Where the model looks", _ROOM)
        yield Paragraph("Share of the fused saliency. A flag is a question to look at, not a verdict.", _ROOM)
        heads = ("Saliency", "Images", "Not estimable", "5 %", "25 %", "Median", "75 %", "95 %", "Flagged")
        widths = (1.5, 0.6, 0.8, 0.55, 0.55, 0.55, 0.55, 0.55, 0.9)
        lines = [Line(row.heads, row.cells) for row in overview.where]
        yield from _table(heads, (("mean", "Mean"),), lines, widths)
    if overview.localisation:
        yield Title("Class maps against the reference standard", _ROOM)
        lines = [
            Line((display_name(row.heads[0]), *row.heads[1:]), row.cells) for row in overview.localisation
        ]
        yield from _table(
            ("Pathology", "Images", "Patients"), LOCALISATION, lines, (1.7, 0.6, 0.7), plotted=0
        )


def _table(
    heads: Sequence[str],
    estimates: Sequence[tuple[str, str]],
    lines: Sequence[Line],
    widths: Sequence[float],
    *,
    plotted: float = 1.3,
) -> Iterator[Block]:
    shape = TableShape(widths, len(estimates), _ROOM, plotted)
    yield TableHead((*heads, *(text for _, text in estimates)), shape)
    yield from (TableLine(line, shape) for line in lines)


@contextmanager
def _staged(target: Path) -> Iterator[Path]:
    """A file that takes the target's place when the block ends without an exception."""
    new = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}")
    try:
        yield new
        os.replace(new, target)
    except OSError as error:
        raise OutputError(
            f"a report that cannot be written ({error.strerror})",
            expected="a writable folder with room",
            source=target,
        ) from error
    finally:
        new.unlink(missing_ok=True)
