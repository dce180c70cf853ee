"""The same study of several models, side by side: on which of them a conclusion holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cxr_explain.measures.statistics.bootstrap import MeanEstimate
from cxr_explain.study.measure import ABSENT, RANDOM, REFERENCE, THERE
from cxr_explain.study.report import (
    STABLE,
    Findings,
    cell,
    clear,
    representatives,
    usual_fusion,
    usual_rule,
    with_spread,
)
from cxr_explain.study.summary import OF_MEANS
from cxr_explain.support.markdown import as_text
from cxr_explain.support.plain_table import PlainTable

COMPARED = {
    "peak, tolerant": ("peak", 1),
    "IoU": ("IoU", 1),
    "energy": ("energy", 1),
    "DAUC": ("DAUC", -1),
    "IAUC": ("IAUC", 1),
    "ROAD": ("ROAD", 1),
    "ADCC": ("ADCC", 1),
    OF_MEANS: (OF_MEANS, 1),
}
"""Measures that rules are compared by, with their heads; 1 where high is good, -1 where low is."""

_FUSED = ("class share, own pixels", "outside")
_NONE, _WITHHELD = "none", "no interval"

_Row = tuple[str, Callable[[Findings], str]]


@dataclass(frozen=True)
class Across:
    """Studies of the same plan and cases with other models.

    Args:
        title: title of the report.
        studies: what the study says on each model; each names its own.
    """

    title: str
    studies: Sequence[Findings]

    @property
    def shown(self) -> tuple[PlainTable, ...]:
        """The tables of the report, in its order."""
        return tuple(table for table in _tables(self.studies) if table.rows)

    def to_text(self) -> str:
        """The tables for a terminal."""
        return "\n\n".join(table.to_text() for table in self.shown)

    def to_markdown(self, reports: Sequence[str]) -> str:
        """The report.

        Args:
            reports: address of each model's own report.
        """
        links = [
            f"[{as_text(study.model)}]({address})"
            for study, address in zip(self.studies, reports, strict=True)
        ]
        facts = (
            "Each column rests on one model alone, whose own report has the rest and says how it was "
            f"measured: {', '.join(links)}. What holds on one model only is a conclusion about that model."
        )
        return "\n\n".join([f"# {as_text(self.title)}", facts, *(t.to_markdown() for t in self.shown)]) + "\n"


def _tables(studies: Sequence[Findings]) -> Iterator[PlainTable]:
    rules = _rules(studies)
    yield _told_apart(studies, rules)
    for measure, (head, sign) in COMPARED.items():
        good = "high is good" if sign > 0 else "low is good"
        floor_and_top = (*rules, RANDOM, REFERENCE)
        rows = [(rule, _mean("alone", measure, method=rule)) for rule in floor_and_top]
        yield _by_model(f"By model: {head}, {good}", "rule", studies, rows)
    note = "Outside: of every reference mask, over images."
    yield _by_model("By model: the fusion", "of Grad-CAM", studies, _fusions(studies), note)
    ranks = list(_ranks(studies))
    note = "ROAD and IC of a class's own part of the fused map; a rank is confounded with presence."
    yield _by_model("By model: rank by rank and by presence", "measure and rank", studies, ranks, note)
    steps = sorted({row["step"] for study in studies for row in study.tables.randomised} - {0})
    for name, step in (("the last layer", steps[:1]), ("all weights", steps[-1:])):
        rows = [(rule, _random(rule, each)) for each in step for rule in rules]
        note = "Spearman's correlation with the maps as they were; mean and SD over draws of the weights."
        yield _by_model(f"By model: with {name} random", "rule", studies, rows, note)
    usual = usual_rule(rules) if rules else ""
    stable = [(head, _mean("robust", measure, method=usual)) for measure, head in STABLE]
    yield _by_model(f"By model: when nothing that matters changes, {usual}", "change", studies, stable)


def _by_model(
    title: str, first: str, studies: Sequence[Findings], rows: Iterable[_Row], note: str = ""
) -> PlainTable:
    """A row for each name, a column for each model; rows that no model has a number for are left out."""
    lines = [[name, *(said(study) for study in studies)] for name, said in rows]
    known = [line for line in lines if set(line[1:]) != {cell(MeanEstimate(None))}]
    return PlainTable(title, (first, *(study.model for study in studies)), known, note)


def _mean(table: str, measure: str, **chosen: Any) -> Callable[[Findings], str]:
    return lambda study: cell(study.summaries[table].of(measure, **chosen))


def _random(rule: str, step: int) -> Callable[[Findings], str]:
    return lambda study: with_spread(study.summaries["randomised"], method=rule, step=step)


def _rules(studies: Sequence[Findings]) -> list[str]:
    """One rule for all that have the same numbers on every model."""
    known = [dict.fromkeys(representatives(study.summaries["alone"])) for study in studies]
    every = dict.fromkeys(name for each in known for name in each)
    return [name for name in every if name not in (RANDOM, REFERENCE)]


def _told_apart(studies: Sequence[Findings], rules: Sequence[str]) -> PlainTable:
    """Which rules differ from Grad-CAM by more than chance, in which direction."""
    rows = [
        (f"{head}: {better}", _apart(measure, sign * way, rules))
        for measure, (head, sign) in COMPARED.items()
        for better, way in (("better", 1), ("worse", -1))
    ]
    note = (
        "Rules whose 95 % interval of the paired difference leaves 0 out, with the difference; no correction "
        "for the number of comparisons. Of rules with the same maps one is named."
    )
    return _by_model("By model: other rules than Grad-CAM", "measure", studies, rows, note)


def _apart(measure: str, way: int, rules: Sequence[str]) -> Callable[[Findings], str]:
    def said(study: Findings) -> str:
        less = study.summaries["less grad-cam"]
        known = {rule: found for rule in rules if (found := less.of(measure, method=rule)).value is not None}
        if known and all(found.low is None for found in known.values()):
            return _WITHHELD
        apart = [
            f"{rule} {found.value:+.2f}"
            for rule, found in known.items()
            if clear(found) and (found.value or 0) * way > 0
        ]
        return ", ".join(apart) or (_NONE if known else cell(MeanEstimate(None)))

    return said


def _fusions(studies: Sequence[Findings]) -> Iterator[_Row]:
    plan = studies[0].plan
    usual = usual_fusion(plan) | {"method": usual_rule([each.name for each in plan.contenders])}
    offered = {"K": plan.ks, "normalisation": plan.normalisations, "activation": plan.activations}
    for measure in _FUSED:
        for name, choices in offered.items():
            for choice in choices if len(choices) > 1 else ():
                said = f"K = {choice}" if name == "K" else str(choice)
                yield f"{measure}: {said}", _mean("fused", measure, **usual | {name: choice})


def _ranks(studies: Sequence[Findings]) -> Iterator[_Row]:
    ranks = sorted({row["rank"] for study in studies for row in study.tables.ranks})
    method = usual_rule([each.name for each in studies[0].plan.contenders])
    for measure in ("ROAD", "IC"):
        for presence in (THERE, ABSENT):
            for rank in ranks:
                chosen = {"method": method, "rank": rank, "presence": presence}
                yield f"{measure}, rank {rank}, {presence}", _mean("ranks by presence", measure, **chosen)
