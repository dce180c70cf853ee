"""The tables of a study, as Markdown and as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any

from cxr_explain.measures.robustness import CONTRAST, GAMMA
from cxr_explain.measures.statistics.bootstrap import MeanEstimate
from cxr_explain.study.measure import (
    ABSENT,
    HIDDEN,
    RANDOM,
    REFERENCE,
    THERE,
    UNRELATED,
    MeasureRow,
    Tables,
)
from cxr_explain.study.plan import PRESENT, Plan
from cxr_explain.study.protocol import protocol_of
from cxr_explain.study.summary import (
    OF_IMAGES,
    OF_MEANS,
    SIZES,
    SPREAD,
    STRATA,
    Line,
    Summary,
    differences,
    over_draws,
    summarise,
)
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
    (OF_MEANS, "ADCC of means ↑"),
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
    ("gamma", "gamma"),
    ("equalised", "equalised"),
    ("mirrored", "mirrored"),
    ("shifted", "shifted"),
    ("repeated", "repeated"),
)
"""Measures, and their columns' heads."""

_SHOWN = ("shown", "has a colour")
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
        model: what the model is called on which all of this rests; it stands in the title of each table.
        how: sentences that say how each number was measured.
    """

    title: str
    plan: Plan
    tables: Tables = field(repr=False)
    summaries: Mapping[str, Summary] = field(repr=False)
    shown: Sequence[PlainTable] = field(repr=False)
    model: str = ""
    how: Sequence[str] = ()

    @classmethod
    def of(cls, title: str, plan: Plan, tables: Tables, *, model: str = "") -> Findings:
        """Sum up the rows of a study."""
        summaries = dict(summaries_of(tables, plan))
        shown = tuple(_tables(summaries, tables, plan))
        if model:
            shown = tuple(replace(each, title=f"{each.title} ({model})") for each in shown)
        how = tuple(f"{name}: {said}." for name, said in protocol_of(plan))
        return cls(title, plan, tables, summaries, shown, model, how)

    def to_text(self) -> str:
        """The tables for a terminal."""
        return "\n\n".join([*(table.to_text() for table in self.shown), "\n".join(self.how)]).rstrip()

    def to_markdown(self, *, before: str = "") -> str:
        """The report.

        Args:
            before: Markdown between the title and the tables, such as the plots.
        """
        said = [
            f"# {as_text(self.title)}",
            self._facts(),
            "\n".join(f"- {as_text(each)}" for each in self.how),
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
            f"findings, with 95 % intervals from {self.plan.resamples} resamples of patients; no interval "
            "where these are too few, or the number is the same in all resamples. ↑: high is "
            "good; ↓: low is. The command writes every mean to `summary.csv`, the rows behind them to "
            "the other CSV files."
        )


def summaries_of(tables: Tables, plan: Plan) -> Iterator[tuple[str, Summary]]:
    """The means of each table, by its name."""
    n = plan.resamples
    yield "alone", summarise(tables.alone, ("method",), strata=(*STRATA, *SIZES), resamples=n)
    yield "less grad-cam", differences(tables.alone, ("method",), {"method": _USUAL_RULE}, resamples=n)
    choice = ("method", "K", "normalisation", "activation")
    yield "fused", summarise(tables.fused, choice, resamples=n)
    k, activation = _usual(plan)
    usual = [row for row in tables.fused if row["K"] in (k, PRESENT) and row["activation"] == activation]
    yield "fused, by finding", summarise(usual, choice, strata=STRATA, resamples=n)
    for of, choices in _compared_fusions(plan).items():
        yield f"fused, less {of}", _less_usual(tables, plan, of, choices, n)
    yield "ranks", summarise(tables.ranks, ("method", "rank"), resamples=n)
    yield "ranks by presence", summarise(tables.ranks, ("method", "rank", "presence"), resamples=n)
    yield "randomised", over_draws(tables.randomised, ("method", "step"), resamples=n)
    yield "robust", summarise(tables.robust, ("method",), resamples=n)


def _compared_fusions(plan: Plan) -> dict[str, Sequence[object]]:
    """What a fusion is chosen by, where there is more than one choice."""
    offered = {"K": plan.ks, "normalisation": plan.normalisations, "activation": plan.activations}
    return {name: choices for name, choices in offered.items() if len(choices) > 1}


def usual_fusion(plan: Plan) -> dict[str, Any]:
    """K, normalisation and activation where nothing else is said.

    >>> from cxr_explain.study.plan import full_plan
    >>> usual_fusion(full_plan())
    {'K': 5, 'normalisation': 'joint', 'activation': 'relu'}
    """
    k, activation = _usual(plan)
    return {"K": k, "normalisation": plan.normalisations[0], "activation": activation}


def _less_usual(tables: Tables, plan: Plan, of: str, choices: Sequence[object], n: int) -> Summary:
    """Each choice less the usual one, all else as usual, of each rule."""
    usual = usual_fusion(plan)
    fixed = {name: value for name, value in usual.items() if name != of}
    lines: list[Line] = []
    for method in dict.fromkeys(row["method"] for row in tables.fused):
        rows = [
            {name: value for name, value in row.items() if name not in fixed}
            for row in tables.fused
            if row["method"] == method
            and row[of] in choices
            and all(row[name] == value for name, value in fixed.items())
        ]
        reference = {"method": method, of: usual[of]}
        lines += differences(rows, ("method", of), reference, resamples=n).lines
    return Summary(tuple(lines))


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
    yield _by_method(
        alone, methods, "What the model says of what a map shows it", MASKED, f"{_SAMPLED} {_BOTH_FORMS}"
    )
    rules = [name for name in methods if name not in _NO_RULES]
    if len(rules) > 1:
        yield from _compared(summaries, rules)
    yield _by_stratum(alone, methods, tables.alone)
    yield from _by_size(alone, methods)
    if len(list(plan.fusions)) > 1:
        yield from _fusions(fused, plan, rules)
        yield from _fusions_compared(summaries, plan, rules)
        yield _shares_by_stratum(summaries["fused, by finding"], plan, rules)
    yield _rules_fused(fused, plan, rules)
    if summaries["ranks"].lines:
        yield from _ranks(summaries["ranks"], summaries["ranks by presence"])
    if tables.randomised:
        yield _randomised(summaries["randomised"], tables.randomised, rules, plan)
    if tables.robust:
        title = "What is left of the map when nothing that matters changes"
        yield _by_method(summaries["robust"], rules, title, STABLE, _STABLE)


def representatives(alone: Summary) -> dict[str, list[str]]:
    """One rule for all that gave the same numbers, Grad-CAM where it is among them; and which these are."""
    return {_USUAL_RULE if _USUAL_RULE in names else names[0]: names for names in alone.alike("method")}


_STABLE = (
    "Spearman's rank correlation with the map of the image as it is, mapped back: with noise of 1 % of the "
    f"range, with {CONTRAST:g} of the contrast, with the greys to the power of {GAMMA:g}, with its histogram "
    "equalised, mirrored, and shifted by a cell. Repeated: the largest difference of a second map, alone or "
    "in another order, as a share of the peak. n counts images."
)

_OWN = (
    "Own: in the pixels of no other finding. Outside: of every reference mask, over images. Survived: of the "
    "class's own evidence."
)
_DOWN = (
    "Mean over images and draws of weights ({draws}); SD: of the draws' means. From the output down to the "
    "layer named. A map that depends on the weights ends where maps of other images are."
)
PAIRED = (
    "* where the 95 % interval of the paired difference leaves 0 out; no correction for the number of "
    "comparisons."
)
_SAMPLED = "n is the number of findings, of the first cases."
_BOTH_FORMS = (
    "ADCC: the mean of each map's own; of means: the harmonic mean of the means of coherency, 1 - complexity "
    "and 1 - drop, as published tables have it."
)


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
    columns = measured((*where, *AREAS[:2], AREAS[-1], *MASKED[-2:]))
    title = "Each rule less Grad-CAM, finding by finding"
    yield table_of(title, "rule", less, rows, columns, PAIRED, show=signed)


def _by_stratum(alone: Summary, methods: Sequence[str], rows: Sequence[MeasureRow]) -> PlainTable:
    strata = [name for name in STRATA if any(STRATA[name](row) for row in rows)]
    strata_of = each("stratum", strata, measure="peak, tolerant")
    columns = [(f"{name} ({alone.of(method=_first(alone), **at).cases})", at) for name, at in strata_of]
    title = "The peak by kind of finding"
    note = "Small: below 2.5 % of the radiograph. Parts: of the mask. Kinds: of findings in the image."
    return table_of(title, "rule", alone, each("method", methods), columns, note, show=plain)


def _by_size(alone: Summary, methods: Sequence[str]) -> Iterator[PlainTable]:
    first = _first(alone)
    for measure, title in (("peak, tolerant", "The peak"), ("IoU", "IoU"), ("energy", "Energy")):
        counts = {name: alone.of(measure, method=first, stratum=name).cases for name in SIZES}
        columns = [
            (f"{name} ({n})", {"stratum": name, "measure": measure}) for name, n in counts.items() if n
        ]
        if not columns:
            continue
        note = "By share of the radiograph; a cell of a map of 7 x 7 is 2 % of what the model sees."
        rows = each("method", methods)
        yield table_of(f"{title} by size of the finding", "rule", alone, rows, columns, note, show=plain)


def _fusions(fused: Summary, plan: Plan, rules: Sequence[str]) -> Iterator[PlainTable]:
    method = usual_rule(rules)
    share, lacking = "class share, own pixels", "A finding that is not among the top K has a share of 0."
    for measure, title, note in (
        (share, "Class share in the pixels of one finding alone", lacking),
        ("outside", "Saliency outside every reference mask", "Over images."),
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
    note = (
        "Magnitude: with the negative trace that ELU and GELU keep counted as saliency. All but the share "
        "are over images."
    )
    yield table_of(title, first, fused, rows, columns, note, show=plain)


def _fusions_compared(
    summaries: Mapping[str, Summary], plan: Plan, rules: Sequence[str]
) -> Iterator[PlainTable]:
    method, usual = usual_rule(rules), usual_fusion(plan)
    measures = ("class share, own pixels", "class share", "fused peak, tolerant", *OF_IMAGES)
    for of, choices in _compared_fusions(plan).items():
        rows = each(of, [choice for choice in choices if choice != usual[of]], method=method)
        rest = ", ".join(
            f"K = {value}" if name == "K" else str(value) for name, value in usual.items() if name != of
        )
        title = f"Each {of} less {usual[of]}, with {rest}: {method}"
        columns = each("measure", measures)
        show = partial(signed, digits=3)
        yield table_of(title, of, summaries[f"fused, less {of}"], rows, columns, PAIRED, show=show)


def _shares_by_stratum(fused: Summary, plan: Plan, rules: Sequence[str]) -> PlainTable:
    usual, share = usual_fusion(plan), "class share, own pixels"
    first: dict[str, Any] = {"method": usual_rule(rules), "measure": share, **usual}
    counts = {name: fused.of(**first, stratum=name).cases for name in STRATA}
    columns = [(f"{name} ({n})", {"stratum": name, "measure": share}) for name, n in counts.items() if n]
    note = "In the pixels of one finding alone; findings that others cover whole have none."
    rows = each("method", rules, **usual)
    return table_of("Class share by kind of finding", "rule", fused, rows, columns, note, show=plain)


def usual_rule(rules: Sequence[str]) -> str:
    """Grad-CAM, where it is among the rules.

    >>> usual_rule(["cam", "grad-cam"]), usual_rule(["layercam"])
    ('grad-cam', 'layercam')
    """
    return _USUAL_RULE if _USUAL_RULE in rules else rules[0]


def _rules_fused(fused: Summary, plan: Plan, rules: Sequence[str]) -> PlainTable:
    k, activation = _usual(plan)
    normalisation = plan.normalisations[0]
    title = f"The rules fused: K = {k}, {normalisation}, {activation}"
    rows = each("method", rules, K=k, normalisation=normalisation, activation=activation)
    return table_of(title, "rule", fused, rows, measured(SHARED), _OWN)


def _ranks(ranks: Summary, by_presence: Summary) -> Iterator[PlainTable]:
    note = "The paper's table 3 with the classes that were meant; each is judged by its own probability."
    there = (
        "A rank is confounded with whether its finding is there: compare ranks of one kind. Not there: no "
        "reference outlines it. Hidden: others lie over it."
    )
    for method in ranks.values("method"):
        title = f"Rank by rank: the part that each class has of the fused map, {method}"
        rows = each("rank", ranks.values("rank"), method=method)
        yield table_of(title, "rank", ranks, rows, measured((_SHOWN, *AREAS)), note, count="n")
        columns = measured(MASKED)
        yield table_of(f"{title}, shown alone", "rank", ranks, rows, columns, _BOTH_FORMS, count="n")
        split: list[tuple[str, Choice]] = [
            (f"{rank}, {presence}", {"rank": rank, "presence": presence, "method": method})
            for presence in (THERE, ABSENT, HIDDEN)
            for rank in ranks.values("rank")
        ]
        some = [each for each in split if by_presence.of("shown", **each[1]).cases]
        title = f"The same ranks, by whether the finding is there, {method}"
        yield table_of(title, "rank", by_presence, some, measured((_SHOWN, *AREAS)), there, count="n")


def _randomised(summary: Summary, rows: Sequence[MeasureRow], rules: Sequence[str], plan: Plan) -> PlainTable:
    layers = {row["step"]: row["layer"] for row in rows}
    title = "What is left of the map when weights are random: Spearman's rank correlation"
    steps = sorted(step for step in layers if step)
    others = [0] if 0 in layers else []
    heads = [f"down to {layers[step] or 'all'}" for step in steps] + [UNRELATED for _ in others]
    lines = [
        [
            rule,
            *(with_spread(summary, method=rule, step=step) for step in steps),
            *(cell(summary.of("Spearman", method=rule, step=step)) for step in others),
        ]
        for rule in rules
    ]
    return PlainTable(title, ("rule", *heads), lines, _DOWN.format(draws=plan.draws))


def with_spread(summary: Summary, **chosen: Any) -> str:
    """A correlation with maps of randomised weights, and how far it depends on the draw of these."""
    mean, spread = (summary.of(name, **chosen) for name in ("Spearman", f"Spearman, {SPREAD}"))
    return plain(mean) if spread.value is None else f"{plain(mean)} (SD {plain(spread)})"


def cell(estimate: MeanEstimate, digits: int = 2) -> str:
    """A mean with its interval, to so many digits after the point.

    An interval whose ends are the same in these digits is not printed as if it had no width.

    >>> cell(MeanEstimate(0.5, 0.4, 0.6)), cell(MeanEstimate(1.0)), cell(MeanEstimate(None))
    ('0.50 (0.40 to 0.60)', '1.00 (no interval)', 'not estimable')
    >>> cell(MeanEstimate(0.9991, 0.9987, 0.9995))
    '1.00 (under 0.01 wide)'
    """
    if estimate.value is None:
        return plain(estimate, digits)
    if estimate.low is None or estimate.high is None:
        return f"{plain(estimate, digits)} (no interval)"
    low, high = (_number(end, digits) for end in (estimate.low, estimate.high))
    if low == high:
        return f"{plain(estimate, digits)} (under {10**-digits:g} wide)"
    return f"{plain(estimate, digits)} ({low} to {high})"


def plain(estimate: MeanEstimate, digits: int = 2) -> str:
    """A mean alone, to so many digits after the point."""
    return "not estimable" if estimate.value is None else _number(estimate.value, digits)


def signed(estimate: MeanEstimate, digits: int = 2) -> str:
    """A difference, to so many digits after the point, with a star where its interval leaves 0 out.

    >>> signed(MeanEstimate(0.25, 0.1, 0.4)), signed(MeanEstimate(-0.25, -0.6, 0.1))
    ('+0.25*', '-0.25')
    """
    if estimate.value is None:
        return "not estimable"
    return f"{round(estimate.value, digits) + 0.0:+.{digits}f}{'*' if clear(estimate) else ''}"


def clear(difference: MeanEstimate) -> bool:
    """Whether the interval of a difference leaves 0 out.

    >>> clear(MeanEstimate(0.25, 0.1, 0.4)), clear(MeanEstimate(0.25, -0.1, 0.4)), clear(MeanEstimate(0.25))
    (True, False, False)
    """
    return difference.low is not None and difference.high is not None and difference.low * difference.high > 0


def _number(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}"
