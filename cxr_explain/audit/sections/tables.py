"""What a section of the statistics consists of: estimates, rows and tables in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self
from urllib.parse import quote, urlencode

from cxr_explain.figures.frame_picture import frame_picture
from cxr_explain.figures.lettering import display_name
from cxr_explain.support.plain_table import PlainTable

NOT_ESTIMABLE = "not estimable"

ESTIMATES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "brier": "Brier score",
    "ece": "ECE",
    "peak_hit": "Peak inside",
    "random_hit": "Random point inside",
    "centre_hit": "Image centre inside",
    "energy": "Energy inside",
    "iobb_0.1": "IoBB > 0.1",
    "iobb_0.5": "IoBB > 0.5",
    "mean": "Mean",
    "missed": "Any finding missed",
    "equal_opportunity": "Equal-opportunity difference",
    "equalised_odds": "Equalised-odds difference",
    "uniform": "Even map",
    "above_uniform": "Above an even map",
    "peak_in_lungs": "Peak in the lungs",
    "peak_outside": "Peak outside the thorax",
    "peak_in_place": "Peak in that place",
    "same": "Same verdict",
    "kappa": "Kappa",
}
"""Keys of an estimate in the statistics, and the heads of their columns."""
BY_LABEL = {
    "positive": "n⁺",
    "negative": "n⁻",
    "positive_patients": "Patients⁺",
    "negative_patients": "Patients⁻",
}
"""Keys of the counts by reference label, and the heads of their columns."""

COUNTS = {"images": "Images", "patients": "Patients", **BY_LABEL}
"""Keys of counts, and the heads of their columns."""

_BESIDE = 4  # estimates side by side in plain text


@dataclass(frozen=True)
class ShownEstimate:
    """An estimate in words, and as numbers to draw.

    Args:
        value: the estimate; None where it is not estimable.
        low: lower end of the interval; None without an interval.
        high: upper end of the interval; None without an interval.
        withheld: why there is no interval, in few words; None where it is not said.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    withheld: str | None = None

    @classmethod
    def of(cls, found: Mapping[str, Any] | None) -> Self:
        """Read one estimate of the statistics."""
        return cls(*((found or {}).get(key) for key in ("value", "low", "high", "withheld")))

    @property
    def text(self) -> str:
        """The value in words.

        >>> ShownEstimate(0.81234).text, ShownEstimate().text
        ('0.812', 'not estimable')
        """
        return NOT_ESTIMABLE if self.value is None else f"{self.value:.3f}"

    @property
    def spread(self) -> str:
        """The interval in words; '' without one.

        >>> ShownEstimate(0.81234, 0.7, 0.9).spread, ShownEstimate(0.1, -0.02, 0.3).spread
        ('0.700–0.900', '-0.020 to 0.300')
        """
        if self.low is None or self.high is None:
            return ""
        to = " to " if self.low < 0 else "–"  # a dash before a minus would be read as another number
        return f"{self.low:.3f}{to}{self.high:.3f}"

    @property
    def beneath(self) -> str:
        """The interval in words, or why there is none; '' where there is nothing to say.

        >>> ShownEstimate(0.8, 0.7, 0.9).beneath, ShownEstimate(0.9, withheld="8 positive patients").beneath
        ('0.700–0.900', '8 positive patients')
        """
        return self.spread or self.withheld or ""

    @property
    def line(self) -> str:
        """The value and its interval in one line of plain text.

        >>> ShownEstimate(0.5, 0.25, 0.75).line, ShownEstimate(0.9, withheld="8 positive patients").line
        ('0.500 (0.250 to 0.750)', '0.900 (no interval: 8 positive patients)')
        """
        if self.value is None:
            return self.text
        without = f"no interval: {self.withheld}" if self.withheld else "no interval"
        return f"{self.text} ({self.spread.replace('–', ' to ') or without})"


@dataclass(frozen=True)
class TableRow:
    """A row of a table.

    Args:
        heads: words and counts, first of all.
        estimates: the estimates that follow.
        few: it rests on few patients, and is not to be relied on.
        cases: what shows the row's images in the report's list, by the names of the list's controls, such as
            {"subject": "Mass", "sex": "F"}; {} without a list.
    """

    heads: tuple[str, ...]
    estimates: tuple[ShownEstimate, ...]
    few: bool = False
    cases: Mapping[str, str] = field(default_factory=dict)

    @property
    def plain_heads(self) -> tuple[str, ...]:
        """The heads where no colour can say that a row rests on few patients."""
        first, second, *others = self.heads
        return first, f"{second} (few)" if self.few else second, *others


@dataclass(frozen=True)
class EstimateTable:
    """Words and counts, then estimates.

    Args:
        title: what the table is about.
        heads: heads of the columns with words and counts.
        estimates: keys of the estimates, as in `ESTIMATES`.
        rows: rows of the table.
        words: how many of the first columns hold words; the others hold numbers.
        plotted: the first estimate is also drawn, on a line from 0 to 1.
    """

    title: str
    heads: Sequence[str]
    estimates: Sequence[str]
    rows: Sequence[TableRow]
    words: int = 1
    plotted: bool = True

    @property
    def estimate_heads(self) -> tuple[str, ...]:
        """Heads of the columns with estimates."""
        return tuple(ESTIMATES[key] for key in self.estimates)

    def plain(self) -> Iterator[PlainTable]:
        """The table as plain text: as many tables as it takes with four estimates in each."""
        for first in range(0, len(self.estimates), _BESIDE):
            part = slice(first, first + _BESIDE)
            rows = [[*row.plain_heads, *(each.line for each in row.estimates[part])] for row in self.rows]
            yield PlainTable(self.title, (*self.heads, *self.estimate_heads[part]), rows)


@dataclass(frozen=True, eq=False)
class SectionPicture:
    """A picture beside the tables.

    Args:
        title: what it is of.
        mean_map: (n, n) mean map in the frame of the thorax, of which an even one is 1.
        peaks: (m, m) number of peaks in each place of the frame.
        text: what it shows, in words.
    """

    title: str
    mean_map: Sequence[Sequence[float]]
    peaks: Sequence[Sequence[int]]
    text: str

    @cached_property
    def png(self) -> bytes:
        """The picture, drawn when it is asked for."""
        return frame_picture(self.mean_map, self.peaks)


@dataclass(frozen=True)
class Section:
    """A part of the first page.

    Args:
        key: address of the section within the page.
        title: heading of the section.
        basis: paragraphs: what a reader must know of the tables.
        tables: the tables; one with another title than the section gets a heading.
        notes: further remarks, shown as a list.
        pictures: pictures below the tables, where there is a page to show them.
        about_pictures: what their colours and lines mean.
    """

    key: str
    title: str
    basis: Sequence[str]
    tables: Sequence[EstimateTable] = ()
    notes: Sequence[str] = ()
    pictures: Sequence[SectionPicture] = ()
    about_pictures: str = ""

    def plain(self) -> Iterator[PlainTable]:
        """The tables that have a row as plain text, with the basis below the last."""
        tables = [part for table in self.tables if table.rows for part in table.plain()]
        yield from tables[:-1]
        yield from (replace(last, note=" ".join(self.basis)) for last in tables[-1:])


def list_address(controls: Mapping[str, str]) -> str:
    """The address of a list in an audit's report, with its controls as they are named there.

    Args:
        controls: what controls are to say, by their names: queue, shown, search, patient (the id of one of
            the patient's images), subject (a pathology's name), side, state, agreement, age ("60-79", "80+"),
            view, sex, split, any further column by its name, status, verdict-filter, sort ("-probability").

    >>> list_address({"subject": "Pleural_Thickening", "sex": "F", "age": "80+"})
    '#cases?subject=Pleural_Thickening&sex=F&age=80%2B'
    """
    said = urlencode(controls, quote_via=quote, errors="replace")
    return f"#cases?{said}" if said else "#cases"


def row_of(
    found: Mapping[str, Any], words: Sequence[str], counts: Sequence[str], estimates: Sequence[str]
) -> TableRow:
    """A row of an entry of the statistics: its pathology first, then other words, counts and estimates."""
    heads = (display_name(found[words[0]]), *(str(found[key]) for key in words[1:]))
    return TableRow(
        (*heads, *(f"{found[key]:,}" for key in counts)),
        tuple(ShownEstimate.of(found["estimates"].get(key)) for key in estimates),
        found.get("small", False),
        _cases_of(found),
    )


def _cases_of(found: Mapping[str, Any]) -> dict[str, str]:
    """The images that an entry is about."""
    pathology = {"subject": found["pathology"]} if "pathology" in found else {}
    return {**pathology, **({found["column"]: found["value"]} if "column" in found else {})}
