"""What the model does otherwise in one group of images than in others, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from cxr_explain.audit.groups import MOST_GROUPS, MOST_INTERSECTIONS
from cxr_explain.audit.sections.tables import BY_LABEL, EstimateTable, Section, ShownEstimate, TableRow
from cxr_explain.figures.lettering import display_name
from cxr_explain.measures.statistics.basis import LEAST_PATIENTS
from cxr_explain.support.prose import counted, p_text, signed

ALL_PATHOLOGIES = "All pathologies"

IN_GAPS = ("auroc", "sensitivity", "specificity", "missed")
IN_RANGES = ("equal_opportunity", "equalised_odds")

_COUNTS = {key: f"{BY_LABEL[key]} (others)" for key in ("positive_patients", "negative_patients")}
_MOST_MEETING = 30  # rows of the table of groups where two columns meet


class ShownDifference(ShownEstimate):
    """A difference in words: with its sign."""

    @property
    def text(self) -> str:
        """The difference in words.

        >>> ShownDifference(-0.25).text, ShownDifference(0.1).text, ShownDifference().text
        ('−0.250', '+0.100', '–')
        """
        return "–" if self.value is None else signed(self.value)

    @property
    def spread(self) -> str:
        """The interval in words; '' without one.

        >>> ShownDifference(-0.25, -0.5, 0.0).spread
        '−0.500 to +0.000'
        """
        if self.low is None or self.high is None:
            return ""
        return f"{signed(self.low)} to {signed(self.high)}"


class ShownRange(ShownEstimate):
    """How far apart groups are, and how far they would be by chance."""

    @classmethod
    def of(cls, found: Mapping[str, Any] | None) -> Self:
        """Read one range of the statistics."""
        return cls(found["value"], withheld=f"{found['by_chance']:.3f} by chance") if found else cls()

    @property
    def text(self) -> str:
        """The range in words.

        >>> ShownRange.of({"value": 0.25, "by_chance": 0.1}).line, ShownRange.of(None).line
        ('0.250 (0.100 by chance)', '–')
        """
        return "–" if self.value is None else f"{self.value:.3f}"

    @property
    def line(self) -> str:
        """The range, and what it would be by chance, in one line of plain text."""
        return f"{self.text} ({self.withheld})" if self.withheld else self.text


def section(statistics: Mapping[str, Any]) -> Section:
    """The section of the report.

    Args:
        statistics: the statistics of the audit, as `statistics.json` has them.
    """
    alone: dict[str, list[Mapping[str, Any]]] = {}
    meeting = []
    for found in statistics["gaps"]:
        if len(found["group"]) == 1:
            title = f"Gaps by {found['column']}, against {found['against'] or 'the rest'}"
            alone.setdefault(title, []).append(found)
        else:
            meeting.append(found)
    tables = [_gap_table(title, found[0]["column"], found) for title, found in alone.items()]
    tables.append(_range_table(statistics["gap_ranges"]))
    title = "Gaps where two columns meet, against the rest"
    tables.append(_gap_table(title, "group", meeting, most=_MOST_MEETING))
    return Section("gaps", "Gaps between subgroups", [*_basis(statistics)], tables, [*_left_out(statistics)])


def _gap_table(
    title: str, column: str, found: Sequence[Mapping[str, Any]], most: int | None = None
) -> EstimateTable:
    heads = ("Pathology", column, "p", *_COUNTS.values())
    ordered = sorted(found, key=smallest_p)[:most]
    return EstimateTable(title, heads, IN_GAPS, list(map(_gap_row, ordered)), words=2, plotted=False)


def _gap_row(found: Mapping[str, Any]) -> TableRow:
    patients = [f"{found[key]:,} ({found['others'][key]:,})" for key in _COUNTS]
    name = ALL_PATHOLOGIES if found["pathology"] is None else display_name(found["pathology"])
    heads = (name, found["value"], p_text(smallest_p(found)).removeprefix("= "), *patients)
    return TableRow(heads, tuple(ShownDifference.of(found["estimates"].get(key)) for key in IN_GAPS))


def smallest_p(found: Mapping[str, Any]) -> float:
    """The smallest p of an entry's differences, by how many there are (Bonferroni); 1 without any.

    >>> smallest_p({"estimates": {"auroc": {"p": 0.01}, "sensitivity": {"p": None}, "missed": {"p": 0.2}}})
    0.02
    """
    known = [each["p"] for each in found["estimates"].values() if each["p"] is not None]
    return min(1.0, len(known) * min(known)) if known else 1.0


def _range_table(found: Sequence[Mapping[str, Any]]) -> EstimateTable:
    rows = []
    for each in found:
        opportunity = each["equal_opportunity"] or {"largest": "–", "smallest": "–"}
        heads = (
            display_name(each["pathology"]),
            each["column"],
            opportunity["largest"],
            opportunity["smallest"],
        )
        rows.append(TableRow(heads, tuple(ShownRange.of(each[key]) for key in IN_RANGES)))
    heads = ("Pathology", "Column", "Most sensitive in", "Least sensitive in")
    title = "Equal opportunity and equalised odds"
    return EstimateTable(title, heads, IN_RANGES, rows, words=4, plotted=False)


def _basis(statistics: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "Differences: a group less the others, which are the rest of the images with a known value, or those "
        f"of the value that is named above the table. {100 * statistics['level']:g} % intervals and p are of "
        "paired differences by patient: a patient may be in both groups. p: the smallest of the row, "
        "two-sided, times the number of differences in the row; it is not adjusted for the number of rows, "
        "which come in its order."
    )
    yield (
        "Patients⁺ and Patients⁻: with a positive and with a negative image; in brackets, of the others. A "
        f"difference needs {LEAST_PATIENTS} of them in both: of both kinds for AUROC, with a positive image "
        "for sensitivity, with a negative one for specificity. “All pathologies”: the mean over pathologies. "
        "Any finding missed: the share of images with a finding in which at least one pathology that is "
        "positive lies below its operating point."
    )
    yield (
        "Equal-opportunity difference: the largest less the smallest sensitivity of a column's groups. "
        "Equalised-odds difference: the larger of that and of the same for 1 − specificity. By chance: what "
        "they would be on average if all groups were alike. A gap can come from the model, from the labels, "
        "or from who is in a group."
    )
    if joined := statistics["joined"]:
        yield (
            f"Joined from a table by {joined['by']}: {', '.join(joined['columns'])} "
            f"(SHA-256 {joined['table_sha256'][:12]}, {counted(joined['images'], 'image')})."
        )


def _left_out(statistics: Mapping[str, Any]) -> Iterator[str]:
    left_out = statistics["gaps_left_out"]
    if few := sum(len(each["pathologies"]) for each in left_out["few"]):
        yield f"Not compared, with fewer than {LEAST_PATIENTS} patients of a kind: {counted(few, 'pair')}."
    if more := left_out["groups"]:
        yield f"{counted(more, 'group')} not compared: only the {MOST_GROUPS} with the most images are."
    if more := left_out["intersections"]:
        yield (
            f"{counted(more, 'group')} where two columns meet not compared: only the {MOST_INTERSECTIONS} "
            f"with the most images are, and none of fewer than {2 * LEAST_PATIENTS}."
        )
    meeting = sum(len(found["group"]) > 1 for found in statistics["gaps"])
    if meeting > _MOST_MEETING:
        yield f"Where two columns meet, {_MOST_MEETING} of {meeting:,} comparisons are shown."
