"""The tables of a study, as Markdown and as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from cxr_explain.measures.statistics.bootstrap import MeanEstimate
from cxr_explain.study.measure import RANDOM, REFERENCE, UNRELATED, MeasureRow, Tables
from cxr_explain.study.plan import PRESENT, Plan
from cxr_explain.study.summary import STRATA, Summary, differences, summarise
from cxr_explain.support.markdown import as_text
from cxr_explain.support.plain_table import PlainTable

WHERE = (("peak, tolerant", "peak"), ("peak", "peak, strict"), ("IoU", "IoU"), ("energy", "energy"))
AREAS = (("DAUC", "DAUC ↓"), ("IAUC", "IAUC ↑"), ("DC", "DC ↑"), ("IC", "IC ↑"), ("ROAD", "ROAD ↑"))
MASKED = (
    ("average drop", "drop ↓"),
    ("increase", "increase ↑"),
    ("coherency", "coherency ↑"),
    ("complexity", "complexity ↓"),
    ("ADCC", "ADCC ↑"),
)
SHARED = (
    ("class share, own pixels", "class share, own"),
    ("class share", "class share"),
    ("fused peak, tolerant", "peak"),
    ("outside", "outside"),
    ("survived", "survived"),
)
STABLE = (
    ("noise", "noise"),
    ("contrast", "contrast"),
    ("mirrored", "mirrored"),
    ("shifted", "shifted"),
    ("repeated", "repeated"),
)
"""Measures, and their columns' heads."""

_USUAL_RULE = "grad-cam"
_NO_RULES = (RANDOM, REFERENCE)


@dataclass(frozen=True, eq=False)
class Findings:
    """What a study says.

    Args:
        title: the report's title: which maps of which model on which cases.
        plan: what was compared.
        tables: the measured rows.
        summaries: the means of each table, by the table's name.
        shown: the tables of the report, in its order.
    """

    title: str
    plan: Plan
    tables: Tables = field(repr=False)
    summaries: Mapping[str, Summary] = field(repr=False)
    shown: Sequence[PlainTable] = field(repr=False)

    @classmethod
    def of(cls, title: str, plan: Plan, tables: Tables) -> Findings:
        """Sum up the rows of a study."""
        summaries = dict(summaries_of(tables, plan))
        return cls(title, plan, tables, summaries, tuple(_tables(summaries, tables, plan)))

    def to_text(self) -> str:
        """The tables for a terminal."""
        return "\n\n".join(table.to_text() for table in self.shown)

    def to_markdown(self, *, before: str = "") -> str:
        """The report.

        Args:
            before: Markdown between the title and the tables, such as the plots.
        """
        said = [
            f"# {as_text(self.title)}",
            self._facts(),
            before,
            *(table.to_markdown() for table in self.shown),
        ]
        return "\n\n".join(filter(None, said)) + "\n"

    def _facts(self) -> str:
        rows = self.tables.alone
        findings = {(row["case"], row["pathology"]) for row in rows}
        images, patients = ({row[name] for row in (*rows, *self.tables.scores)} for name in ("case", "group"))
        return (
            f"{len(findings)} findings in {len(images)} images of {len(patients)} patients. Means over "
            f"findings, with 95 % intervals from {self.plan.resamples} resamples of patients. ↑: high is "
            "good; ↓: low is. `summary.csv` has every mean, the other CSV files the rows behind them."
        )


def summaries_of(tables: Tables, plan: Plan) -> Iterator[tuple[str, Summary]]:
    """The means of each table, by its name."""
    n = plan.resamples
    yield "alone", summarise(tables.alone, ("method",), strata=STRATA, resamples=n)
    yield "less grad-cam", differences(tables.alone, ("method",), {"method": _USUAL_RULE}, resamples=n)
    choice = ("method", "K", "normalisation", "activation")
    yield "fused", summarise(tables.fused, choice, resamples=n)
    k, activation = _usual(plan)
    usual = [row for row in tables.fused if row["K"] in (k, PRESENT) and row["activation"] == activation]
    yield "fused, by finding", summarise(usual, choice, strata=STRATA, resamples=n)
    yield "ranks", summarise(tables.ranks, ("method", "rank"), resamples=n)
    yield "randomised", summarise(tables.randomised, ("method", "step"), resamples=n)
    yield "robust", summarise(tables.robust, ("method",), resamples=n)


def _usual(plan: Plan) -> tuple[int, str]:
    return max(plan.ks), plan.activations[0]


def _tables(summaries: Mapping[str, Summary], tables: Tables, plan: Plan) -> Iterator[PlainTable]:
    alone, fused = summaries["alone"], summaries["fused"]
    if not alone.lines:
        return
    alike = representatives(alone)
    methods = list(alike)
    where = (*WHERE, *((name, name) for name in alone.measures if name.startswith("T(IoBB)")))
    yield _by_method(alone, methods, "Where each class map lies", where, _baselines(alone) + _equals(alike))
    yield _by_method(alone, methods, "What the score does when pixels go or come", AREAS, _SAMPLED)
    yield _by_method(alone, methods, "What the model says of what a map shows it", MASKED, _SAMPLED)
    rules = [name for name in methods if name not in _NO_RULES]
    if len(rules) > 1:
        yield from _compared(summaries, rules)
    yield _by_stratum(alone, methods, tables.alone)
    if len(list(plan.fusions)) > 1:
        yield from _fusions(fused, plan, rules)
    yield _rules_fused(fused, plan, rules)
    if summaries["ranks"].lines:
        yield from _ranks(summaries["ranks"])
    if tables.randomised:
        yield _randomised(summaries["randomised"], tables.randomised, rules)
    if tables.robust:
        title = "What is left of the map when nothing that matters changes"
        yield _by_method(summaries["robust"], rules, title, STABLE, _STABLE)


def representatives(alone: Summary) -> dict[str, list[str]]:
    """One rule for all that gave the same numbers, Grad-CAM where it is among them; and which these are."""
    return {_USUAL_RULE if _USUAL_RULE in names else names[0]: names for names in alone.alike("method")}


_STABLE = (
    "Spearman's rank correlation with the map of the image as it is, mapped back: with noise of 1 % of the "
    "range, with nine tenths of the contrast, mirrored, and shifted by a cell. Repeated: the largest "
    "difference of a second map, alone or in another order, as a share of the peak. n counts images."
)

_OWN = (
    "Own: in the pixels of no other finding. Outside: of every reference mask. Survived: of the class's own "
    "evidence."
)
_DOWN = (
    "From the output down to the layer named. A map that depends on the weights ends where maps of other "
    "images are."
)
PAIRED = (
    "* where the 95 % interval of the paired difference leaves 0 out; no correction for the number of "
    "comparisons."
)
_SAMPLED = "n is the number of findings, of the first cases; an interval is in `summary.csv` for each number."


Choice = Mapping[str, Any]
"""What an estimate is looked up by: arguments of `Summary.of`."""


def table_of(
    title: str,
    first: str,
    summary: Summary,
    rows: Iterable[tuple[str, Choice]],
    columns: Iterable[tuple[str, Choice]],
    note: str = "",
    *,
    count: str = "",
    show: Callable[[MeanEstimate], str] | None = None,
) -> PlainTable:
    """Estimates as a table: each cell is chosen by its row and its column together.

    Args:
        title: title above the table.
        first: head of the first column, which has the rows' names.
        summary: where the estimates are.
        rows: names of the rows, and what each chooses.
        columns: heads of the columns, and what each chooses.
        note: remark below the table.
        count: head of a column with the number of cases; '' without one.
        show: puts an estimate into words; a mean with its interval by default.
    """
    heads, choices = zip(*columns, strict=True)
    lines = []
    for name, chosen in rows:
        found = [summary.of(**chosen, **choice) for choice in choices]
        cases = [str(max(each.cases for each in found))] if count else []
        lines.append([name, *cases, *map(show or cell, found)])
    return PlainTable(title, (first, *([count] if count else []), *heads), lines, note)


def each(name: str, values: Iterable[object], **others: object) -> list[tuple[str, Choice]]:
    """A row or a column for each value of what is chosen.

    >>> each("K", [1, 2], method="cam")
    [('1', {'K': 1, 'method': 'cam'}), ('2', {'K': 2, 'method': 'cam'})]
    """
    return [(str(value), {name: value, **others}) for value in values]


def measured(measures: Iterable[tuple[str, str]]) -> list[tuple[str, Choice]]:
    """A column for each measure and its head."""
    return [(head, {"measure": measure}) for measure, head in measures]


def _by_method(
    summary: Summary, methods: Sequence[str], title: str, measures: Sequence[tuple[str, str]], note: str
) -> PlainTable:
    return table_of(title, "rule", summary, each("method", methods), measured(measures), note, count="n")


def _baselines(alone: Summary) -> str:
    chance, centre, even = (
        cell(alone.of(measure, method=_first(alone)))
        for measure in ("peak, at random", "peak, at the centre", "energy, spread evenly")
    )
    return (
        "A peak counts up to a 28th of the model's square beside the finding (half a cell of a 14 x 14 map); "
        f"strict: in its mask. A random peak counts by {chance}, one at the centre by {centre}. Energy: the "
        f"share of the saliency in the mask; spread evenly, {even}."
    )


def _equals(alike: Mapping[str, Sequence[str]]) -> str:
    """Rules that gave the same numbers have one row."""
    groups = [
        f"{rule} stands for {', '.join(name for name in names if name != rule)} as well"
        for rule, names in alike.items()
        if len(names) > 1
    ]
    return f" The same to three digits: {'; '.join(groups)}." if groups else ""


def _first(summary: Summary) -> str:
    return str(summary.values("method")[0])


def _compared(summaries: Mapping[str, Summary], rules: Sequence[str]) -> Iterator[PlainTable]:
    less = summaries["less grad-cam"]
    if not less.lines:
        return
    rows = each("method", [rule for rule in rules if rule != _USUAL_RULE])
    where = (("peak, tolerant", "peak ↑"), ("IoU", "IoU ↑"), ("energy", "energy ↑"))
    columns = measured((*where, *AREAS[:2], AREAS[-1], MASKED[-1]))
    title = "Each rule less Grad-CAM, finding by finding"
    yield table_of(title, "rule", less, rows, columns, PAIRED, show=signed)


def _by_stratum(alone: Summary, methods: Sequence[str], rows: Sequence[MeasureRow]) -> PlainTable:
    strata = [name for name in STRATA if any(STRATA[name](row) for row in rows)]
    strata_of = each("stratum", strata, measure="peak, tolerant")
    columns = [(f"{name} ({alone.of(method=_first(alone), **at).cases})", at) for name, at in strata_of]
    title = "The peak by kind of finding"
    note = "Small: below 2.5 % of the radiograph. Parts: of the mask. Kinds: of findings in the image."
    return table_of(title, "rule", alone, each("method", methods), columns, note, show=plain)


def _fusions(fused: Summary, plan: Plan, rules: Sequence[str]) -> Iterator[PlainTable]:
    method = _USUAL_RULE if _USUAL_RULE in rules else rules[0]
    share, lacking = "class share, own pixels", "A finding that is not among the top K has a share of 0."
    for measure, title, note in (
        (share, "Class share in the pixels of one finding alone", lacking),
        ("outside", "Saliency outside every reference mask", ""),
    ):
        chosen = {"measure": measure, "method": method, "activation": plan.activations[0]}
        columns = each("normalisation", plan.normalisations, **chosen)
        yield table_of(f"{title}, by K: {method}", "K", fused, each("K", plan.ks), columns, note)
    k, measures = max(plan.ks), (share, "outside", "outside, magnitude", "winner entropy")
    rows = [
        (f"{name}, {activation}", {"normalisation": name, "activation": activation})
        for name, activation in product(plan.normalisations, plan.activations)
    ]
    columns = each("measure", measures, method=method, K=k)
    title, first = f"Activations, K = {k}: {method}", "normalisation, activation"
    note = "Magnitude: with the negative trace that ELU and GELU keep counted as saliency."
    yield table_of(title, first, fused, rows, columns, note, show=plain)


def _rules_fused(fused: Summary, plan: Plan, rules: Sequence[str]) -> PlainTable:
    k, activation = _usual(plan)
    normalisation = plan.normalisations[0]
    title = f"The rules fused: K = {k}, {normalisation}, {activation}"
    rows = each("method", rules, K=k, normalisation=normalisation, activation=activation)
    return table_of(title, "rule", fused, rows, measured(SHARED), _OWN)


def _ranks(ranks: Summary) -> Iterator[PlainTable]:
    for method in ranks.values("method"):
        title = f"Rank by rank: the part that each class has of the fused map, {method}"
        rows = each("rank", ranks.values("rank"), method=method)
        columns = measured((("shown", "has a colour"), *AREAS, *MASKED))
        note = "The paper's table 3 with the classes that were meant; each is judged by its own probability."
        yield table_of(title, "rank", ranks, rows, columns, note, count="n", show=plain)


def _randomised(summary: Summary, rows: Sequence[MeasureRow], rules: Sequence[str]) -> PlainTable:
    layers = {row["step"]: row["layer"] for row in rows}
    last = max(layers)
    chosen = [step for step in (1, (last + 1) // 2, last, 0) if step in layers]
    heads = {step: UNRELATED if step == 0 else f"down to {layers[step] or 'all'}" for step in chosen}
    columns = [(head, {"measure": "Spearman", "step": step}) for step, head in heads.items()]
    title = "What is left of the map when weights are random: Spearman's rank correlation"
    return table_of(title, "rule", summary, each("method", rules), columns, _DOWN)


def cell(estimate: MeanEstimate, digits: int = 2) -> str:
    """A mean with its interval, to so many digits after the point.

    >>> cell(MeanEstimate(0.5, 0.4, 0.6)), cell(MeanEstimate(1.0)), cell(MeanEstimate(None))
    ('0.50 (0.40 to 0.60)', '1.00 (no interval)', 'not estimable')
    """
    if estimate.value is None:
        return plain(estimate, digits)
    if estimate.low is None or estimate.high is None:
        return f"{plain(estimate, digits)} (no interval)"
    low, high = (_number(end, digits) for end in (estimate.low, estimate.high))
    return f"{plain(estimate, digits)} ({low} to {high})"


def plain(estimate: MeanEstimate, digits: int = 2) -> str:
    """A mean alone, to so many digits after the point."""
    return "not estimable" if estimate.value is None else _number(estimate.value, digits)


def signed(estimate: MeanEstimate) -> str:
    """A difference, with a star where its interval leaves 0 out.

    >>> signed(MeanEstimate(0.25, 0.1, 0.4)), signed(MeanEstimate(-0.25, -0.6, 0.1))
    ('+0.25*', '-0.25')
    """
    if estimate.value is None:
        return "not estimable"
    clear = estimate.low is not None and estimate.high is not None and estimate.low * estimate.high > 0
    return f"{estimate.value:+.2f}{'*' if clear else ''}"


def _number(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}"
