"""From rows to means with intervals, clustered by patient, and to differences of the same cases."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from cxr_explain.measures.adcc import harmonic
from cxr_explain.measures.statistics.bootstrap import (
    GroupedMeans,
    MeanEstimate,
    Multiplicities,
    bootstrap_weighted,
    grouped_means,
    mean_estimates,
    numbered,
)
from cxr_explain.study.cases import BANDS
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


def _in_band(least: float, below: float, row: MeasureRow) -> bool:
    return bool(least <= row["share"] < below)


SIZES: Mapping[str, Callable[[MeasureRow], bool]] = {
    name: partial(_in_band, *ends) for name, ends in BANDS.items()
}
"""Findings by bands of their size, see `BANDS`."""

OF_IMAGES = ("outside", "outside, magnitude", "winner entropy")
"""What belongs to an image, and is averaged over images: one with five findings counts once."""

OF_MEANS = "ADCC of means"
"""ADCC as it is published: the harmonic mean of the means of the three parts. The mean of each map's own
harmonic mean, the measure "ADCC", is another number, which may order rules otherwise."""

SPREAD = "SD over draws"
"""Added to the name of a measure of randomised weights: how far its mean depends on their draw."""

_PARTS = ("coherency", "complexity", "average drop")


@dataclass(frozen=True)
class Line:
    """One mean.

    Args:
        chosen: which maps the mean is over, such as a method and a K.
        stratum: which findings the mean is over, a key of `STRATA` or `SIZES`.
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


_IDENTITY = (
    *("case", "group", "pathology", "size", "share", "parts", "kinds"),
    *("ranked", "there", "presence", "layer", "draw"),
)


def summarise(
    rows: Sequence[MeasureRow],
    choice: Sequence[str],
    *,
    strata: Iterable[str] = ("all",),
    resamples: int = 1000,
) -> Summary:
    """The mean of every measure for every choice, with its interval.

    Over findings; over images for what belongs to these (`OF_IMAGES`): in a stratum, over the images that
    have such a finding. Where the three parts of ADCC are, the published form comes beside them (`OF_MEANS`).

    Args:
        rows: rows of one table.
        choice: the columns that say which map it is, such as method and K.
        strata: which findings to summarise, keys of `STRATA` or `SIZES`.
        resamples: number of the bootstrap's resamples of patients; the same ones for every measure.
    """
    lines: list[Line] = []
    for stratum in strata:
        within = {**STRATA, **SIZES}[stratum]
        for table in _pivots([row for row in rows if within(row)], choice):
            lines += table.means(stratum, resamples)
            lines += table.of_means(stratum, resamples)
    return Summary(tuple(lines))


def differences(
    rows: Sequence[MeasureRow],
    choice: Sequence[str],
    reference: Mapping[str, object],
    *,
    resamples: int = 1000,
) -> Summary:
    """Each choice less one of them, finding by finding or image by image: a paired comparison.

    Args:
        rows: rows of one table.
        choice: the columns that say which map it is, such as method and K.
        reference: the choice that is subtracted from every other one.
        resamples: number of the bootstrap's resamples of patients; the same ones for every measure.
    """
    base = tuple((name, reference[name]) for name in choice)
    lines: list[Line] = []
    for table in _pivots(rows, choice):
        lines += table.less(base).means("all", resamples)
        lines += table.of_means("all", resamples, base)
    return Summary(tuple(lines))


def over_draws(rows: Sequence[MeasureRow], choice: Sequence[str], *, resamples: int = 1000) -> Summary:
    """The mean over draws of weights and over cases, with its interval over patients, and how draws differ.

    Args:
        rows: rows of one table; each has its draw.
        choice: the columns that say which map it is, such as method and step.
        resamples: number of the bootstrap's resamples of patients.

    Returns:
        For each measure the mean, and under its name and `SPREAD` the standard deviation over draws of the
        mean over cases, with divisor n - 1; not estimable of one draw.
    """
    numbers: dict[tuple[object, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    firsts: dict[tuple[object, ...], MeasureRow] = {}
    for row in rows:
        of = (row["case"], row.get("pathology"), *(row[name] for name in choice))
        firsts.setdefault(of, row)
        for measure, value in row.items():
            if measure not in _IDENTITY and measure not in choice:
                numbers[of][measure].append(value)
    means = [
        firsts[of] | {name: _mean(values) for name, values in found.items()} for of, found in numbers.items()
    ]
    each_draw: dict[tuple[Key, str], list[float]] = defaultdict(list)
    for line in summarise(rows, (*choice, "draw"), resamples=1).lines:
        key = tuple(chosen for chosen in line.chosen if chosen[0] != "draw")
        if line.estimate.value is not None:
            each_draw[key, line.measure].append(line.estimate.value)
    spreads = (
        Line(
            key,
            "all",
            f"{measure}, {SPREAD}",
            MeanEstimate(_spread(values), cases=len(values), asked=len(values)),
        )
        for (key, measure), values in each_draw.items()
    )
    return Summary((*summarise(means, choice, resamples=resamples).lines, *spreads))


def _mean(values: Sequence[float]) -> float:
    """Of the numbers that there are; NaN without one."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _spread(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


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

    def less(self, base: Key) -> _Pivot:
        """Every other choice less one of them, measure by measure."""
        at = {column: number for number, column in enumerate(self.columns)}
        columns = [column for column in self.columns if column[0] != base and (base, column[1]) in at]
        pairs = [(at[column], at[base, column[1]]) for column in columns]
        firsts, seconds = np.array(pairs, np.intp).reshape(-1, 2).T
        return _Pivot(self.groups, columns, self.values[:, firsts] - self.values[:, seconds])

    def of_means(self, stratum: str, resamples: int, base: Key | None = None) -> Iterator[Line]:
        """ADCC of the means of the parts, for each choice that has them; less that of one, if given."""
        at = {column: number for number, column in enumerate(self.columns)}
        keys = [key for key, measure in self.columns if measure == _PARTS[0]]
        if not keys or (base is not None and base not in keys):
            return
        columns = [at[key, part] for part in _PARTS for key in keys]
        member = numbered(self.groups)
        groups = int(member.max(initial=-1)) + 1
        parts = grouped_means(self.values[:, columns], member, groups)
        statistic = partial(_published, parts, None if base is None else keys.index(base))
        (found,) = bootstrap_weighted([statistic], groups, resamples=resamples)
        for key, estimate, basis, column in zip(keys, found, parts.bases, columns, strict=False):
            if key == base:
                continue
            ends = {"low": None, "high": None} if basis.lacks else {}
            cases = int((~np.isnan(self.values[:, column])).sum())
            counts = {"cases": cases, "groups": basis.patients, "asked": len(self.values)}
            yield Line(key, stratum, OF_MEANS, MeanEstimate(**vars(estimate) | ends, **counts))


def _published(parts: GroupedMeans, base: int | None, drawn: Multiplicities) -> NDArray[np.float64]:
    """(choices, b); the one at `base` is subtracted from all, if there is one."""
    coherency, complexity, drop = np.split(parts(drawn), len(_PARTS))
    found = np.asarray(harmonic(coherency, 1 - complexity, 1 - drop))
    return found if base is None else found - found[base]


def _pivots(rows: Sequence[MeasureRow], choice: Sequence[str]) -> tuple[_Pivot, ...]:
    """What belongs to findings, and what belongs to images."""
    return tuple(_pivot(rows, choice, of_images=of_images) for of_images in (False, True))


def _pivot(rows: Sequence[MeasureRow], choice: Sequence[str], *, of_images: bool) -> _Pivot:
    findings: dict[tuple[object, object], int] = {}
    columns: dict[tuple[Key, str], int] = {}
    groups: list[object] = []
    cells: list[tuple[int, int, float]] = []
    for row in rows:
        finding = (row["case"], None if of_images else row.get("pathology"))
        if finding not in findings:
            findings[finding] = len(findings)
            groups.append(row["group"])
        key = tuple((name, row[name]) for name in choice)
        for measure, value in row.items():
            if measure not in _IDENTITY and measure not in choice and (measure in OF_IMAGES) == of_images:
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
