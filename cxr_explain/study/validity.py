"""How far a model and its maps can be trusted as an instrument, by phantoms that it has never seen.

Of a phantom all is known: which findings it has, where each changed the image, and the same chest without
each. So what a classifier trained on phantoms says, and what its maps show, can be compared with what is
there. A finding that others hide changed no pixel; it counts neither as present nor as absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_explain.measures.statistics.bootstrap import (
    Estimate,
    MeanEstimate,
    WeightedStatistics,
    Weights,
    bootstrap,
    bootstrap_weighted,
    numbered,
    ratio,
)
from cxr_explain.measures.statistics.calibration import brier, expected_calibration_error
from cxr_explain.measures.statistics.discrimination import GroupedScores, auroc, operate, youden
from cxr_explain.phantom.findings import FINDINGS
from cxr_explain.study.measure import Row, Tables
from cxr_explain.study.plan import PRESENT, Plan
from cxr_explain.study.report import Findings, cell, plain, summaries_of
from cxr_explain.study.summary import Line, Summary, summarise
from cxr_explain.support.plain_table import Table

AREAS = {
    **{f"{least:g} to {below:g}": least for least, below in pairwise((0.0, 1.0, 2.0, 4.0, 8.0, 32.0))},
    "32 and more": 32.0,
}
"""Areas of findings by the rows of their table: from how many cells of a map of 28 x 28 on."""

ALL, ALIKE = "all", "mean of findings"
"""In the place of a pathology: all findings together; and the mean of the pathologies' means, in which a rare
one counts as much as a frequent one."""

_POINTING = (
    ("peak", "in mask"),
    ("peak, at random", "random"),
    ("peak, at the centre", "centre"),
    ("peak, tolerant", "tolerant"),
    ("peak, at random", "random"),
    ("peak, at the centre", "centre"),
)
_SCORED = (
    ("AUROC", "AUROC"),
    ("Brier score", "Brier"),
    ("calibration error", "ECE"),
    ("threshold", "threshold"),
    ("sensitivity", "sens."),
    ("specificity", "spec."),
)
_REMOVED = (("fell", "logit falls"), ("median fall", "median fall"), ("others", "others' change"))
_HEADS = (
    ("fell", "logit falls when its finding is removed"),
    ("median fall", "median fall of that logit"),
    ("others", "mean absolute change of the other logits"),
)
_BY_AREA = (("fell", "logit falls"), ("peak", "peak in mask"), ("peak, tolerant", "tolerant"))

_DIGITS = 3


def validity_of(title: str, plan: Plan, tables: Tables) -> Findings:
    """Sum up the rows of phantoms and their counterfactuals.

    Args:
        title: what was measured.
        plan: what was asked; see :func:`~cxr_explain.study.plan.validity_plan`.
        tables: the rows.
    """
    summaries = dict(summaries_of(tables, plan)) | dict(_summaries(tables, plan))
    return Findings(title, plan, tables, summaries, tuple(_tables(summaries, tables, plan)))


# -- estimates ----


def _summaries(tables: Tables, plan: Plan) -> Iterator[tuple[str, Summary]]:
    n = plan.resamples
    removed = {(row["case"], row["pathology"]): row for row in tables.removed}
    rows = [row | removed[row["case"], row["pathology"]] for row in tables.alone]
    yield "scores", Summary((*_scored(tables.scores), _mean_auroc(tables.scores, n)))
    yield "removed", Summary(tuple(_taken_out(tables.removed, n)))
    each = summarise(rows, ("method", "pathology"), resamples=n)
    alike = chain.from_iterable(_pointing_alike(rows, contender.name, n) for contender in plan.contenders)
    yield "by finding", Summary((*each.lines, *alike))
    yield "by area", summarise([row | {"area": _area(row)} for row in rows], ("method", "area"), resamples=n)


def _area(row: Row) -> str:
    return [name for name, least in AREAS.items() if least <= row["cells"]][-1]


def _scored(rows: Sequence[Row]) -> Iterator[Line]:
    """Discrimination and calibration of each pathology."""
    for name in _pathologies(rows):
        logits, there, points = _columns(_of(rows, pathology=name), "logit", "there", "operating point")
        chances = np.exp(-np.logaddexp(0, -logits))
        own = not np.isnan(points[0])
        at = operate(chances, there, points[0]) if own else youden(chances, there)
        numbers = {
            "AUROC": auroc(logits, there),
            "Brier score": brier(chances, there),
            "calibration error": expected_calibration_error(chances, there),
        } | (asdict(at) if at else {})
        for measure, number in numbers.items():
            estimate = MeanEstimate(number, cases=len(there), asked=len(there))
            yield Line((("pathology", name),), "all", measure, estimate)


def _taken_out(rows: Sequence[Row], n: int) -> Iterator[Line]:
    """What the logits do, by pathology and over all findings."""
    for name in (*_pathologies(rows), ALL):
        chosen = rows if name == ALL else _of(rows, pathology=name)
        key = (("pathology", name),)
        yield from (replace(line, chosen=key) for line in summarise(chosen, (), resamples=n).lines)
        (falls,), groups = _columns(chosen, "fall"), [row["group"] for row in chosen]
        median = partial(_median_of, falls)
        yield Line(
            key,
            "all",
            "median fall",
            _counted(bootstrap(median, len(chosen), groups=groups, resamples=n), chosen),
        )


def _median_of(values: NDArray[np.float64], index: NDArray[np.intp]) -> float | None:
    return float(np.median(values[index])) if index.size else None


def _mean_auroc(rows: Sequence[Row], n: int) -> Line:
    def of_one(chosen: Sequence[Row], group: NDArray[np.intp], groups: int) -> WeightedStatistics:
        logits, there = _columns(chosen, "logit", "there")
        scores = GroupedScores.of(logits, there, group, groups)
        return lambda weights: scores.weighed(weights).auroc()[None]

    return Line((("pathology", ALIKE),), "all", "AUROC", _alike(rows, of_one, n)[0])


def _pointing_alike(rows: Sequence[Row], method: str, n: int) -> Iterator[Line]:
    measures = [measure for measure, _ in _POINTING]

    def of_one(chosen: Sequence[Row], group: NDArray[np.intp], groups: int) -> WeightedStatistics:
        values = np.stack(_columns(chosen, *measures))
        there, drawn = ~np.isnan(values), np.arange(groups) == group[:, None]
        sums, counts = np.where(there, values, 0) @ drawn, there @ drawn.astype(float)
        return lambda weights: ratio(sums @ weights, counts @ weights)

    for measure, estimate in zip(measures, _alike(_of(rows, method=method), of_one, n), strict=True):
        yield Line((("method", method), ("pathology", ALIKE)), "all", measure, estimate)


def _alike(
    rows: Sequence[Row],
    of_one: Callable[[Sequence[Row], NDArray[np.intp], int], WeightedStatistics],
    n: int,
) -> list[MeanEstimate]:
    """The mean over pathologies of the statistics of each, without those that a resample does not have."""
    group = numbered(row["group"] for row in rows)
    groups = int(group.max(initial=-1)) + 1
    names = np.array([row["pathology"] for row in rows])
    each = [of_one(_of(rows, pathology=name), group[names == name], groups) for name in _pathologies(rows)]

    def mean(weights: Weights) -> NDArray[np.float64]:
        found = np.stack([statistics(weights) for statistics in each])
        there = ~np.isnan(found)
        return ratio(np.where(there, found, 0).sum(axis=0), there.sum(axis=0))

    return [_counted(estimate, rows) for estimate in bootstrap_weighted([mean], groups, resamples=n)[0]]


def _counted(found: Estimate, rows: Sequence[Row]) -> MeanEstimate:
    groups = len({row["group"] for row in rows})
    return MeanEstimate(found.value, found.low, found.high, len(rows), groups, len(rows))


def _of(rows: Sequence[Row], **chosen: str) -> list[Row]:
    return [row for row in rows if all(row[name] == value for name, value in chosen.items())]


def _columns(rows: Sequence[Row], *names: str) -> list[NDArray[Any]]:
    return [np.array([row[name] for row in rows]) for name in names]


def _pathologies(rows: Sequence[Row]) -> list[str]:
    there = {row["pathology"] for row in rows}
    return [name for name in FINDINGS if name in there]


# -- tables ----


def _tables(summaries: Mapping[str, Summary], tables: Tables, plan: Plan) -> Iterator[Table]:
    names = _pathologies(tables.scores)
    methods = [contender.name for contender in plan.contenders]
    yield _headlines(summaries, methods)
    yield _discrimination(summaries["scores"], tables.scores)
    yield _counterfactuals(summaries["removed"], names)
    for method in methods:
        yield _pointing(summaries["by finding"], names, method)
        yield _by_area(summaries["by area"], method)
        yield _shares(summaries["fused, by finding"], method, plan)


def _headlines(summaries: Mapping[str, Summary], methods: Sequence[str]) -> Table:
    scores, removed, peaks = (summaries[name] for name in ("scores", "removed", "by finding"))
    found = [(f"AUROC, {ALIKE}", scores.of("AUROC", pathology=ALIKE))]
    found += [(said, removed.of(measure, pathology=ALL)) for measure, said in _HEADS]
    found += [
        (f"{method}: {said}, {ALIKE}", peaks.of(measure, method=method, pathology=ALIKE))
        for method in methods
        for measure, said in (("peak", "peak in the mask"), ("peak, tolerant", "peak in or near the mask"))
    ]
    rows = [[said, cell(estimate, _DIGITS)] for said, estimate in found]
    return Table("Over all findings", ("measure", "value (95 % interval)"), rows)


def _discrimination(summary: Summary, rows: Sequence[Row]) -> Table:
    cells = []
    for name in _pathologies(rows):
        total, *numbers = _row(summary, _SCORED, pathology=name)
        there = sum(row["there"] for row in _of(rows, pathology=name))
        cells.append([name, str(there), str(int(total) - there), *numbers])
    mean = plain(summary.of("AUROC", pathology=ALIKE), _DIGITS)
    own = not np.isnan([row["operating point"] for row in rows]).all()
    said = "the classifier's operating point" if own else "Youden's on these very phantoms, which flatters"
    return Table(
        "Discrimination and calibration",
        ("finding", "with", "without", *(head for _, head in _SCORED)),
        [*cells, [ALIKE, "", "", mean, *[""] * (len(_SCORED) - 1)]],
        f"Threshold: {said}. Hidden findings count on neither side.",
    )


def _counterfactuals(summary: Summary, names: Sequence[str]) -> Table:
    return Table(
        "The same phantom without the finding",
        ("finding", "pairs", *(head for _, head in _REMOVED)),
        [[name, *_row(summary, _REMOVED, pathology=name)] for name in (*names, ALL)],
        "Others' change: mean absolute change of the logits of all other findings.",
    )


def _pointing(summary: Summary, names: Sequence[str], method: str) -> Table:
    return Table(
        f"Pointing game: {method}",
        ("finding", "n", *(head for _, head in _POINTING)),
        [[name, *_row(summary, _POINTING, method=method, pathology=name)] for name in (*names, ALIKE)],
        "Three columns: the peak in the mask; three: no further beside it than a 28th of the model's square.",
    )


def _by_area(summary: Summary, method: str) -> Table:
    return Table(
        f"By area of the finding: {method}",
        ("cells of a map of 28 x 28", "n", *(head for _, head in _BY_AREA)),
        [[name, *_row(summary, _BY_AREA, method=method, area=name)] for name in AREAS],
    )


def _shares(fused: Summary, method: str, plan: Plan) -> Table:
    rows, even = [], MeanEstimate(None)
    for k, normalisation, activation in plan.fusions:
        chosen = {"method": method, "K": k, "normalisation": normalisation, "activation": activation}
        whole, own, chance, even = (
            fused.of(measure, stratum="several kinds", **chosen)
            for measure in ("class share", "class share, own pixels", "1 / K", "class share, spread evenly")
        )
        classes = k if k == PRESENT else f"top {k}"
        shares = [cell(whole, _DIGITS), cell(own, _DIGITS), plain(chance, _DIGITS)]
        rows.append([str(classes), normalisation, str(whole.cases), *shares])
    return Table(
        f"Class share of FM-G-CAM, in phantoms with two findings or more: {method}",
        ("classes", "normalisation", "n", "in mask (95 %)", "own pixels (95 %)", "1 / K"),
        rows,
        "Share of the saliency within a finding's mask that has its own colour; none at all counts as 0.\n"
        "Own pixels belong to no other finding's mask. A map that filled every mask evenly, overlaps in all\n"
        f"their colours alike, would have {plain(even, _DIGITS)} in mask and 1 in own pixels.",
    )


def _row(summary: Summary, measures: Sequence[tuple[str, str]], **chosen: str) -> list[str]:
    """How many findings, and the measures of them."""
    found = [summary.of(measure, stratum="all", **chosen) for measure, _ in measures]
    return [str(max(each.cases for each in found)), *(plain(each, _DIGITS) for each in found)]
