"""Which group of images the model does worse in than in the rest: a rule of findings.

Compared are the groups of each column with the rest, or, where a column has two values, with each other, both
ways; groups where two columns meet stand in the tables alone. A group counts as worse where its AUROC,
sensitivity or specificity is lower, or more images of the group with a finding have one missed. Each
comparison is one finding with one p: the smallest one-sided p of the measures, by their number. The p of a
share is no smaller than Fisher's, of as many cases as there are patients: findings are told at p so small
that an approximation would promise too much.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from cxr_explain.audit.findings.finding import AuditFinding
from cxr_explain.audit.group_measures import MISSED
from cxr_explain.figures.lettering import display_name
from cxr_explain.measures.statistics.basis import LEAST_PATIENTS
from cxr_explain.measures.statistics.two_parts import fewer_hits_p
from cxr_explain.support.prose import signed

_CASES = {
    "auroc": {"agreement": "disagrees"},
    "sensitivity": {"agreement": "disagrees", "side": "below"},
    "specificity": {"agreement": "disagrees", "side": "above"},
}
"""The list's filter for images that count against a group, by measure."""

_PATIENTS = {
    "sensitivity": "positive_patients",
    "specificity": "negative_patients",
    MISSED: "positive_patients",
}
"""The patients that a share is of."""


class _Side(NamedTuple):
    """A comparison as seen from one group of the two."""

    value: str
    others: str
    counts: Mapping[str, int]
    sign: int
    """1 for the first group, -1 for what it was compared with."""


def rule(document: Mapping[str, Any]) -> Iterator[AuditFinding]:
    """A finding for every comparison of a group with others.

    Args:
        document: the statistics of the audit, as `statistics.json` has them.
    """
    for entry in document["gaps"]:
        if len(entry["group"]) == 1 and entry["whole"]:
            for side in _sides(entry):
                if found := _finding(entry, side):
                    yield found
    for left_out in document["gaps_left_out"]["few"]:
        if len(left_out["group"]) == 1 and left_out["whole"]:
            names = ", ".join(map(display_name, left_out["pathologies"]))
            text = f"{left_out['column']} {left_out['value']}: {names} (fewer than {LEAST_PATIENTS} patients)"
            yield AuditFinding("subgroup", text, {}, {}, size=0.0, enough=False)


def _sides(entry: Mapping[str, Any]) -> Iterator[_Side]:
    if entry["against"] is None:
        yield _Side(entry["value"], "the rest", entry, 1)
        return
    yield _Side(entry["value"], entry["against"], entry, 1)
    yield _Side(entry["against"], entry["value"], entry["others"], -1)


def _finding(entry: Mapping[str, Any], side: _Side) -> AuditFinding | None:
    one_sided = {
        name: max(_one_sided(name, estimate, side.sign), _by_patients(name, estimate, entry, side.sign))
        for name, estimate in entry["estimates"].items()
        if estimate["p"] is not None
    }
    if not one_sided:
        return None
    worst = min(one_sided, key=one_sided.__getitem__)
    found = entry["estimates"][worst]
    turned = {key: found[key] for key in ("value", "low", "high")}
    here, there = found["here"], found["there"]
    if side.sign < 0:
        turned = {"value": -found["value"], "low": -found["high"], "high": -found["low"]}
        here, there = there, here
    column, pathology = entry["column"], entry["pathology"]
    return AuditFinding(
        "subgroup",
        f"{column} {side.value}: {_subject(worst, pathology)} is {here:.3f}, against {there:.3f} in "
        f"{side.others} (difference {signed(turned['value'])}).",
        {"of": "difference"} | turned,
        {f"{kind} patients": side.counts[f"{kind}_patients"] for kind in ("positive", "negative")},
        abs(turned["value"]),
        min(1.0, len(one_sided) * one_sided[worst]),
        cases={column: side.value, **({"subject": pathology, **_CASES[worst]} if pathology else {})},
    )


def _subject(measure: str, pathology: str | None) -> str:
    if measure == MISSED:
        return "the share of images with any finding missed"
    words = {"auroc": "AUROC"}.get(measure, measure)
    return f"{words} of {display_name(pathology)}" if pathology else f"the mean {words} over pathologies"


def _one_sided(name: str, estimate: Mapping[str, Any], sign: int) -> float:
    """That the group is worse: half of p where it is, one less that where it is better."""
    lower = estimate["value"] * sign * (-1 if name == MISSED else 1) < 0
    return float(estimate["p"] / 2 if lower else 1 - estimate["p"] / 2)


def _by_patients(name: str, estimate: Mapping[str, Any], entry: Mapping[str, Any], sign: int) -> float:
    """The same of a share by Fisher's test, as if each patient had one image; 0 of an area."""
    if name not in _PATIENTS:
        return 0.0
    counts = []
    for share, group in zip(
        (estimate["here"], estimate["there"])[::sign], (entry, entry["others"])[::sign], strict=True
    ):
        patients = group[_PATIENTS[name]]
        counts += [round(patients * (1 - share if name == MISSED else share)), patients]
    return fewer_hits_p(*counts)
