"""From rows to means with intervals, clustered by patient, and to differences of the same cases."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cxr_explain.measures.statistics.bootstrap import MeanEstimate, mean_estimates
from cxr_explain.study.measure import MeasureRow
from cxr_explain.support.spreadsheet import safe_csv

Key = tuple[tuple[str, object], ...]
"""What was chosen: ("method", "cam"), ("K", 5), ..."""

STRATA: Mapping[str, Callable[[MeasureRow], bool]] = {
    "all": lambda _: True,
    "small": lambda row: row["size"] == "small",
    "large": lambda row: row["size"] == "large",
    "one part": lambda row: row["parts"] == 1,
    "several parts": lambda row: row["parts"] > 1,
    "one kind": lambda row: row["kinds"] == 1,
    "several kinds": lambda row: row["kinds"] > 1,
}
"""Findings by their size, by the parts that their mask has, and by how many kinds the radiograph shows."""


@dataclass(frozen=True)
class Line:
    """One mean.

    Args:
        chosen: which maps the mean is over, such as a method and a K.
        stratum: which findings the mean is over, a key of `STRATA`.
        measure: name of the measure.
        estimate: the mean with its interval; not estimable where no case has a number.
    """

    chosen: Key
    stratum: str
    measure: str
    estimate: MeanEstimate


@dataclass(frozen=True, eq=False)
class Summary:
    """All means of one table, to look up.

    >>> rows = [{"case": c, "group": c, "method": "cam", "IoU": v} for c, v in (("a", 0.2), ("b", 0.4))]
    >>> round(summarise(rows, ("method",), resamples=10).of("IoU", method="cam").value, 3)
    0.3
    """

    lines: tuple[Line, ...]

    @cached_property
    def _found(self) -> dict[tuple[frozenset[tuple[str, object]], str, str], MeanEstimate]:
        return {(frozenset(line.chosen), line.stratum, line.measure): line.estimate for line in self.lines}

    def of(self, measure: str, *, stratum: str = "all", **chosen: object) -> MeanEstimate:
        """One mean; not estimable where nothing was measured."""
        return self._found.get((frozenset(chosen.items()), stratum, measure), MeanEstimate(None))

    @property
    def measures(self) -> list[str]:
        """What was measured."""
        return list(dict.fromkeys(line.measure for line in self.lines))

    def alike(self, name: str) -> list[list[str]]:
        """What there is to choose from, together where every mean is the same, to three digits."""
        found: dict[tuple[object, ...], list[str]] = {}
        for value in self.values(name):
            means = tuple(line.estimate for line in self.lines if dict(line.chosen)[name] == value)
            found.setdefault(tuple(map(_rounded, means)), []).append(str(value))
        return list(found.values())

    def values(self, name: str) -> list[object]:
        """What there is to choose from, in the order of the rows."""
        return list(dict.fromkeys(dict(line.chosen)[name] for line in self.lines))


def _rounded(estimate: MeanEstimate) -> float | None:
    return None if estimate.value is None else round(estimate.value, 3)


_IDENTITY = ("case", "group", "pathology", "size", "parts", "kinds", "ranked", "there", "layer")


def summarise(
    rows: Sequence[MeasureRow],
    choice: Sequence[str],
    *,
    strata: Iterable[str] = ("all",),
    resamples: int = 1000,
) -> Summary:
    """The mean of every measure for every choice, over findings, with its interval.

    Args:
        rows: rows of one table.
        choice: the columns that say which map it is, such as method and K.
        strata: which findings to summarise, keys of `STRATA`.
        resamples: number of the bootstrap's resamples of patients; the same ones for every measure.
    """
    lines: list[Line] = []
    for stratum in strata:
        chosen_rows = [row for row in rows if STRATA[stratum](row)]
        table = _pivot(chosen_rows, choice)
        lines += table.means(stratum, resamples)
    return Summary(tuple(lines))


def differences(
    rows: Sequence[MeasureRow],
    choice: Sequence[str],
    reference: Mapping[str, object],
    *,
    resamples: int = 1000,
) -> Summary:
    """Each choice less one of them, finding by finding: a paired comparison.

    Args:
        rows: rows of one table.
        choice: the columns that say which map it is, such as method and K.
        reference: the choice that is subtracted from every other one.
        resamples: number of the bootstrap's resamples of patients; the same ones for every measure.
    """
    table = _pivot(rows, choice)
    at = {column: number for number, column in enumerate(table.columns)}
    base = tuple((name, reference[name]) for name in choice)
    columns = [column for column in table.columns if column[0] != base and (base, column[1]) in at]
    if not columns:
        return Summary(())
    values = np.stack(
        [table.values[:, at[column]] - table.values[:, at[base, column[1]]] for column in columns], axis=1
    )
    return Summary(tuple(_Pivot(table.groups, columns, values).means("all", resamples)))


@dataclass(frozen=True, eq=False)
class _Pivot:
    """(findings, columns), NaN where nothing was measured."""

    groups: list[object]
    columns: list[tuple[Key, str]]
    values: np.ndarray

    def means(self, stratum: str, resamples: int) -> Iterator[Line]:
        """The mean of each column, with its interval."""
        estimates = mean_estimates(self.values, groups=self.groups, resamples=resamples)
        for (key, measure), estimate in zip(self.columns, estimates, strict=True):
            yield Line(key, stratum, measure, estimate)


def _pivot(rows: Sequence[MeasureRow], choice: Sequence[str]) -> _Pivot:
    findings: dict[tuple[object, object], int] = {}
    columns: dict[tuple[Key, str], int] = {}
    groups: list[object] = []
    cells: list[tuple[int, int, float]] = []
    for row in rows:
        finding = (row["case"], row.get("pathology"))
        if finding not in findings:
            findings[finding] = len(findings)
            groups.append(row["group"])
        key = tuple((name, row[name]) for name in choice)
        for measure, value in row.items():
            if measure not in _IDENTITY and measure not in choice:
                at = columns.setdefault((key, measure), len(columns))
                cells.append((findings[finding], at, value))
    values = np.full((len(findings), len(columns)), math.nan)
    for finding_at, column_at, value in cells:
        values[finding_at, column_at] = value
    return _Pivot(groups, list(columns), values)


def as_csv(summaries: Mapping[str, Summary]) -> str:
    """All means, one a line.

    Args:
        summaries: the means of each table, by the table's name.
    """
    names = list(
        dict.fromkeys(name for each in summaries.values() for line in each.lines for name, _ in line.chosen)
    )
    rows: list[Sequence[object]] = [
        ["table", *names, "findings", "measure", "mean", "low", "high", "n", "patients", "not estimable"]
    ]
    for table, summary in summaries.items():
        for line in summary.lines:
            chosen, found = dict(line.chosen), line.estimate
            numbers = [
                "" if value is None else f"{value:.5g}" for value in (found.value, found.low, found.high)
            ]
            counts = [found.cases, found.groups, found.asked - found.cases]
            choices = [chosen.get(name, "") for name in names]
            rows.append([table, *choices, line.stratum, line.measure, *numbers, *counts])
    return safe_csv(rows)
