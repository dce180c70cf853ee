"""How far a model and its maps can be trusted as an instrument, by phantoms that it has never seen.

Of a phantom all is known: which findings it has, where each changed the image, and the same chest without
each. So what a classifier trained on phantoms says, and what its maps show, can be compared with what is
there. A finding that others hide changed no pixel; it counts neither as present nor as absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cxr_explain.measures.statistics.bootstrap import MeanEstimate, bootstrap, numbered
from cxr_explain.measures.statistics.calibration import brier, expected_calibration_error
from cxr_explain.measures.statistics.discrimination import auroc, operate, youden
from cxr_explain.phantom.findings import FINDINGS
from cxr_explain.study.measure import MeasureRow, Tables
from cxr_explain.study.plan import PRESENT, Plan
from cxr_explain.study.report import (
    PAIRED,
    Choice,
    Findings,
    cell,
    each,
    measured,
    plain,
    signed,
    summaries_of,
    table_of,
)
from cxr_explain.study.summary import Line, Summary, differences, summarise
from cxr_explain.support.plain_table import PlainTable


def _bands(*ends: float) -> dict[str, float]:
    """From which value on each band lies, by its name.

    >>> _bands(0, 10, 15)
    {'0 to 10': 0, '10 to 15': 10, '15 and more': 15}
    """
    named = {f"{least:g} to {below:g}": least for least, below in pairwise(ends)}
    return named | {f"{ends[-1]:g} and more": ends[-1]}


AREAS = _bands(0, 1, 2, 4, 8, 32)
"""Areas of findings by the rows of their table: from how many cells of a map of 28 x 28 on."""

DIAMETERS = _bands(0, 10, 15, 20, 30)
"""Sizes of nodules by the rows of their table: from how many millimetres on. The lowest is what radiographs
show rarely: readers found 8 % of discs of 5 mm and 44 % of those of 10 and 15 mm in Kelsey et al., Effect of
size and position on chest lesion detection, AJR 1977; 129: 205-208. Above 30 mm a lesion is called a mass
(Hansell et al., Fleischner Society: glossary of terms for thoracic imaging, Radiology 2008; 246: 697-722)."""

ALL, ALIKE = "all findings", "mean of findings"
"""In the place of a pathology: all findings together; and the mean of the pathologies' means, in which a rare
one counts as much as a frequent one."""

_SCORES = ("AUROC", "Brier", "ECE", "threshold", "sensitivity", "specificity")
_REMOVED = ("logit falls", "median fall", "others' change")
_BY_AREA = ("logit falls", "peak", "peak, tolerant")
_POINTING = {
    "peak": "in mask",
    "energy, spread evenly": "random",  # a random peak hits by the share of the image, too
    "peak, strict, at the centre": "centre",
    "peak, tolerant": "tolerant",
    "peak, at random": "random",
    "peak, at the centre": "centre",
}

_SIZE = "Of the disc as large as the largest nodule's part of the image, on the detector."

_DIGITS = 3
_table = partial(table_of, show=partial(plain, digits=_DIGITS))

Matrix = NDArray[np.float64]


def validity_of(title: str, plan: Plan, tables: Tables) -> Findings:
    """Sum up the rows of phantoms and their counterfactuals.

    Args:
        title: title of the report.
        plan: what was compared; see :func:`~cxr_explain.study.plan.validity_plan`.
        tables: rows of phantoms, all with their counterfactuals.
    """
    summaries = dict(summaries_of(tables, plan)) | dict(_summaries(tables, plan))
    return Findings(title, plan, tables, summaries, tuple(_tables(summaries, tables, plan)))


# -- estimates ----


def _summaries(tables: Tables, plan: Plan) -> Iterator[tuple[str, Summary]]:
    n = plan.resamples
    removed = {(row["case"], row["pathology"]): row for row in tables.removed}
    rows = [row | removed[row["case"], row["pathology"]] for row in tables.alone]
    yield "scores", Summary(tuple(_scores(tables.scores, n)))
    yield "removed", Summary(tuple(_taken_out(tables.removed, n)))
    found = summarise(rows, ("method", "pathology"), resamples=n)
    yield "by finding", Summary((*found.lines, *_peaks(rows, plan)))
    of_areas = [row | {"area": _band(AREAS, row["cells"])} for row in rows]
    yield "by area", summarise(of_areas, ("method", "area"), resamples=n)
    nodules = [row for row in rows if row["pathology"] == "Nodule" and not np.isnan(row["millimetres"])]
    of_sizes = [row | {"diameter": _band(DIAMETERS, row["millimetres"])} for row in nodules]
    yield "nodules, by size", summarise(of_sizes, ("method", "diameter"), resamples=n)


def _band(bands: Mapping[str, float], value: float) -> str:
    return [name for name, least in bands.items() if least <= value][-1]


def _scores(rows: Sequence[MeasureRow], n: int) -> Iterator[Line]:
    """Discrimination and calibration, by pathology."""
    for name in _pathologies(rows):
        chosen = [row for row in rows if row["pathology"] == name]
        count = len(chosen)
        for measure, number in _scored(chosen).items():
            yield _line(measure, MeanEstimate(number, cases=count, asked=count), pathology=name)
    yield _line("AUROC", _estimate(_mean_auroc, rows, ("logit", "there"), n), pathology=ALIKE)


def _scored(rows: Sequence[MeasureRow]) -> dict[str, float | None]:
    logits, there = (np.array([row[name] for row in rows]) for name in ("logit", "there"))
    chances, point = np.exp(-np.logaddexp(0, -logits)), rows[0]["operating point"]
    at = youden(chances, there) if np.isnan(point) else operate(chances, there, point)
    return {
        "AUROC": auroc(logits, there),
        "Brier": brier(chances, there),
        "ECE": expected_calibration_error(chances, there),
    } | (asdict(at) if at else {})


def _taken_out(rows: Sequence[MeasureRow], n: int) -> Iterator[Line]:
    """What the logits do, by pathology and over all findings."""
    for name in (*_pathologies(rows), ALL):
        chosen = [row for row in rows if name in (row["pathology"], ALL)]
        for line in summarise(chosen, (), resamples=n).lines:
            yield replace(line, chosen=(("pathology", name),))
        yield _line("median fall", _estimate(_median, chosen, ("fall",), n), pathology=name)


def _peaks(rows: Sequence[MeasureRow], plan: Plan) -> Iterator[Line]:
    for contender in plan.contenders:
        chosen = [row for row in rows if row["method"] == contender.name]
        for measure in _POINTING:
            found = _estimate(_mean_of_findings, chosen, (measure,), plan.resamples)
            yield _line(measure, found, method=contender.name, pathology=ALIKE)


def _line(measure: str, estimate: MeanEstimate, **chosen: str) -> Line:
    return Line(tuple(chosen.items()), "all", measure, estimate)


def _estimate(
    statistic: Callable[..., float], rows: Sequence[MeasureRow], measures: Sequence[str], n: int
) -> MeanEstimate:
    """A statistic of (phantoms, pathologies) matrices, one a measure, NaN where a phantom has no such row."""
    phantoms = numbered(row["group"] for row in rows)
    places = phantoms, [FINDINGS.index(row["pathology"]) for row in rows]
    values = np.full((len(measures), phantoms.max(initial=-1) + 1, len(FINDINGS)), np.nan)
    for matrix, measure in zip(values, measures, strict=True):
        matrix[places] = [row[measure] for row in rows]

    def of(index: NDArray[np.intp]) -> float | None:
        value = statistic(*values[:, index])
        return None if np.isnan(value) else float(value)

    found = bootstrap(of, values.shape[1], resamples=n)
    known = ~np.isnan(values[0])
    cases, groups = int(known.sum()), int(known.any(axis=1).sum())
    return MeanEstimate(**vars(found), cases=cases, groups=groups, asked=len(rows))


def _mean_of_findings(values: Matrix) -> float:
    return _mean(np.array([_mean(column) for column in values.T]))


def _mean_auroc(logits: Matrix, there: Matrix) -> float:
    found = [auroc(x[~np.isnan(x)], y[~np.isnan(x)] > 0) for x, y in zip(logits.T, there.T, strict=True)]
    return _mean(np.array(found, float))


def _median(values: Matrix) -> float:
    return float(np.median(values[~np.isnan(values)]))


def _mean(values: Matrix) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else np.nan


def _pathologies(rows: Sequence[MeasureRow]) -> list[str]:
    there = {row["pathology"] for row in rows}
    return [name for name in FINDINGS if name in there]


# -- tables ----


def _tables(summaries: Mapping[str, Summary], tables: Tables, plan: Plan) -> Iterator[PlainTable]:
    names = _pathologies(tables.scores)
    methods = [contender.name for contender in plan.contenders]
    yield _headlines(summaries, methods)
    yield _discrimination(summaries["scores"], tables.scores)
    yield _counterfactuals(summaries["removed"], names)
    for method in methods:
        yield _pointing(summaries["by finding"], names, method)
        yield _by_area(summaries["by area"], method)
        if summaries["nodules, by size"].lines:
            yield _by_size(summaries["nodules, by size"], method)
        yield _shares(summaries["fused, by finding"], method, plan)


def _headlines(summaries: Mapping[str, Summary], methods: Sequence[str]) -> PlainTable:
    scores, removed, peaks = (summaries[name] for name in ("scores", "removed", "by finding"))
    found = [(f"AUROC, {ALIKE}", scores.of("AUROC", pathology=ALIKE))]
    found += [(f"{measure}, {ALL}", removed.of(measure, pathology=ALL)) for measure in _REMOVED]
    found += [
        (f"{measure}: {method}, {ALIKE}", peaks.of(measure, method=method, pathology=ALIKE))
        for method in methods
        for measure in ("peak", "peak, tolerant")
    ]
    rows = [[said, cell(estimate, _DIGITS)] for said, estimate in found]
    return PlainTable("At a glance", ("measure", "value (95 % interval)"), rows)


def _discrimination(summary: Summary, rows: Sequence[MeasureRow]) -> PlainTable:
    title, cells = "Discrimination and calibration", []
    names = each("pathology", _pathologies(rows))
    scored = _table(title, "finding", summary, names, each("measure", _SCORES), count="n")
    for name, total, *numbers in scored.rows:
        there = sum(row["there"] for row in rows if row["pathology"] == name)
        cells.append([name, str(there), str(int(total) - there), *numbers])
    mean = plain(summary.of("AUROC", pathology=ALIKE), _DIGITS)
    own = not np.isnan([row["operating point"] for row in rows]).all()
    said = "the classifier's operating point" if own else "Youden's on these very phantoms, which flatters"
    return PlainTable(
        title,
        ("finding", "with", "without", *_SCORES),
        [*cells, [ALIKE, "", "", mean, *[""] * (len(_SCORES) - 1)]],
        f"Threshold: {said}. Hidden findings count on neither side.",
    )


def _counterfactuals(summary: Summary, names: Sequence[str]) -> PlainTable:
    rows, columns = each("pathology", (*names, ALL)), each("measure", _REMOVED)
    note = "Others' change: mean absolute change of the logits of all other findings."
    title = "The same phantom without the finding"
    return _table(title, "finding", summary, rows, columns, note, count="pairs")


def _pointing(summary: Summary, names: Sequence[str], method: str) -> PlainTable:
    rows = each("pathology", (*names, ALIKE), method=method)
    note = (
        "Three columns: the peak in the mask; three: no further beside it than a 28th of the model's square."
    )
    columns = measured(_POINTING.items())
    return _table(f"Pointing game: {method}", "finding", summary, rows, columns, note, count="n")


def _by_area(summary: Summary, method: str) -> PlainTable:
    title, columns = f"By area of the finding: {method}", each("measure", _BY_AREA)
    rows = each("area", AREAS, method=method)
    return _table(title, "cells of a map of 28 x 28", summary, rows, columns, count="n")


def _by_size(summary: Summary, method: str) -> PlainTable:
    title, columns = f"Nodules by size: {method}", each("measure", _BY_AREA)
    rows = each("diameter", DIAMETERS, method=method)
    return _table(title, "diameter in mm", summary, rows, columns, _SIZE, count="n")


def _shares(fused: Summary, method: str, plan: Plan) -> PlainTable:
    rows, even = [], MeanEstimate(None)
    for k, normalisation, activation in plan.fusions:
        chosen = {"method": method, "K": k, "normalisation": normalisation, "activation": activation}
        whole, own, chance, even = (
            fused.of(measure, stratum="several kinds", **chosen)
            for measure in ("class share", "class share, own pixels", "1 / K", "class share, spread evenly")
        )
        shares = [cell(whole, _DIGITS), cell(own, _DIGITS), plain(chance, _DIGITS)]
        rows.append([_classes(k), normalisation, str(whole.cases), *shares])
    return PlainTable(
        f"Class share of FM-G-CAM, in phantoms with two findings or more: {method}",
        ("classes", "normalisation", "n", "in mask (95 %)", "own pixels (95 %)", "1 / K"),
        rows,
        "Share of the saliency within a finding's mask that has its own colour; none at all counts as 0.\n"
        "Own pixels belong to no other finding's mask. A map that filled every mask evenly, overlaps in all\n"
        f"their colours alike, would have {plain(even, _DIGITS)} in mask and 1 in own pixels.",
    )


# -- several models ----

_BESIDE = (("peak, tolerant", "peak"), ("peak", "peak, strict"), ("IoU", "IoU"), ("energy", "energy"))


def beside(title: str, found: Mapping[str, Findings]) -> Findings:
    """The validity of several models side by side, on the same phantoms.

    Args:
        title: title of the report.
        found: what was found of each model, by the name that its columns have; all of one plan.
    """
    first = next(iter(found.values()))
    names = list(dict.fromkeys(name for each_found in found.values() for name in each_found.summaries))
    summaries = {name: _of_models(found, name) for name in names}
    for contender in first.plan.contenders:
        base = {"method": contender.name, "weights": next(iter(found))}
        rows = [
            row | {"weights": model}
            for model, each_found in found.items()
            for row in each_found.tables.alone
            if row["method"] == contender.name
        ]
        less = differences(rows, ("method", "weights"), base, resamples=first.plan.resamples)
        summaries[_less(contender.name)] = less
    return Findings(title, first.plan, first.tables, summaries, tuple(_beside(summaries, found)))


def _less(method: str) -> str:
    return f"less the first model: {method}"


def _of_models(found: Mapping[str, Findings], name: str) -> Summary:
    """One table's means of all models; which model's they are is one more choice."""
    lines = (
        replace(line, chosen=(("weights", model), *line.chosen))
        for model, each_found in found.items()
        for line in each_found.summaries[name].lines
    )
    return Summary(tuple(lines))


def _beside(summaries: Mapping[str, Summary], found: Mapping[str, Findings]) -> Iterator[PlainTable]:
    plan = next(iter(found.values())).plan
    methods = [contender.name for contender in plan.contenders]
    models = each("weights", found)
    glances = [_headlines(each_found.summaries, methods).rows for each_found in found.values()]
    rows = [[said, *(values[at][1] for values in glances)] for at, (said, _) in enumerate(glances[0])]
    yield PlainTable("At a glance", ("measure", *found), rows)
    names = _pathologies([row for each_found in found.values() for row in each_found.tables.scores])
    by_name = partial(each, "pathology", (*names, ALIKE))
    yield _table("AUROC", "finding", summaries["scores"], by_name(measure="AUROC"), models)
    alone, shares = summaries["by finding"], summaries["fused, by finding"]
    for method in methods:
        chosen = {"measure": "peak, tolerant", "method": method}
        yield _table(
            f"Pointing game, tolerant: {method}", "finding", alone, by_name(**chosen), models, count="n"
        )
        areas, sizes = each("area", AREAS, **chosen), each("diameter", DIAMETERS, **chosen)
        title = f"The tolerant peak by area of the finding: {method}"
        yield _table(title, "cells of a map of 28 x 28", summaries["by area"], areas, models, count="n")
        if summaries["nodules, by size"].lines:
            title, of_sizes = f"The tolerant peak of nodules by size: {method}", summaries["nodules, by size"]
            yield _table(title, "diameter in mm", of_sizes, sizes, models, _SIZE, count="n")
        fused = [_fusion(method, *fusion) for fusion in plan.fusions]
        title = f"Class share in own pixels, in phantoms with two findings or more: {method}"
        yield _table(title, "classes, normalisation", shares, fused, models)
        less, others = summaries[_less(method)], each("weights", list(found)[1:], method=method)
        if less.lines:
            title = f"Each model less {next(iter(found))}, finding by finding: {method}"
            yield table_of(title, "weights", less, others, measured(_BESIDE), PAIRED, show=signed)


def _fusion(method: str, k: int | str, normalisation: str, activation: str) -> tuple[str, Choice]:
    """A row of a fusion."""
    chosen = {"method": method, "K": k, "normalisation": normalisation, "activation": activation}
    share = {"measure": "class share, own pixels", "stratum": "several kinds", **chosen}
    return f"{_classes(k)}, {normalisation}", share


def _classes(k: int | str) -> str:
    return str(k) if k == PRESENT else f"top {k}"
