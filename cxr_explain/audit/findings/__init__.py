"""What an audit found, in plain words, the most telling first.

Each rule stands in its own module and makes one finding of every comparison; here those are chosen that more
than chance would bring.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, get_args

from cxr_explain.audit.findings import (
    calibration,
    failures,
    gaps,
    labels,
    localisation,
    operating_points,
    pathologies,
    places,
    regions,
)
from cxr_explain.audit.findings.finding import AuditFinding, FindingKind
from cxr_explain.measures.statistics.holm import holm

ALPHA = 0.05
"""The chance that an audit without any fault has a finding, where all comparisons are tests at their bars."""

FindingRule = Callable[[Mapping[str, Any]], Iterator[AuditFinding]]

RULES: tuple[FindingRule, ...] = (
    pathologies.rule,
    gaps.rule,
    operating_points.rule,
    localisation.rule,
    regions.rule,
    places.rule,
    calibration.rule,
    labels.rule,
    failures.rule,
)

KINDS: tuple[FindingKind, ...] = get_args(FindingKind)
"""In the order in which their findings are told."""


_HOW = frozenset({"adjusted", "enough"})
"""Fields of a finding that say how it is to be chosen."""


def findings_of(document: Mapping[str, Any], rules: Sequence[FindingRule] = RULES) -> dict[str, Any]:
    """The findings of an audit, as its statistics keep them.

    Within a kind the p of all comparisons are adjusted by Holm's procedure; `ALPHA` is shared evenly by the
    kinds that have a test, by Bonferroni: each p is multiplied by their number. A finding is shown where what
    results is at most `ALPHA`, or where its rule is no test.

    Args:
        document: the statistics of the audit, with what the rules need.
        rules: what is looked for.

    Returns:
        "alpha"; "kinds", the number of kinds with a test; "compared", the number of comparisons of each kind;
        "found", by kind and then by size, the largest first, each an `AuditFinding` with "p_adjusted"; and
        "few", what could not be compared, by kind.

    >>> def rule(document):
    ...     yield AuditFinding("pathology", "Mass: AUROC 0.52.", {}, {}, size=0.2, p=0.001)
    ...     yield AuditFinding("pathology", "Edema: AUROC 0.69.", {}, {}, size=0.1, p=0.4)
    ...     yield AuditFinding("pathology", "Hernia (3 positive patients)", {}, {}, size=0, enough=False)
    >>> found = findings_of({}, [rule])
    >>> [(each["text"], each["p_adjusted"]) for each in found["found"]], found["few"]
    ([('Mass: AUROC 0.52.', 0.002)], {'pathology': ['Hernia (3 positive patients)']})
    """
    compared: dict[FindingKind, list[AuditFinding]] = {kind: [] for kind in KINDS}
    few: dict[FindingKind, list[str]] = {}
    for rule in rules:
        for finding in rule(document):
            if finding.enough:
                compared[finding.kind].append(finding)
            else:
                few.setdefault(finding.kind, []).append(finding.text)
    shares = sum(any(each.p is not None for each in found) for found in compared.values())
    return {
        "alpha": ALPHA,
        "kinds": shares,
        "compared": {kind: len(found) for kind, found in compared.items() if found},
        "found": [each for found in compared.values() for each in _shown(found, shares)],
        "few": few,
    }


def _shown(compared: Sequence[AuditFinding], shares: int) -> Iterator[dict[str, Any]]:
    """Of the comparisons of one kind those that more than chance would bring, the largest first."""
    stepped = holm([None if each.adjusted else each.p for each in compared])
    adjusted = [each.p if each.adjusted else p for each, p in zip(compared, stepped, strict=True)]
    told = [None if p is None else min(1.0, shares * p) for p in adjusted]
    found = [(each, p) for each, p in zip(compared, told, strict=True) if p is None or p <= ALPHA]
    for finding, p in sorted(found, key=lambda pair: -pair[0].size):
        plain = {name: value for name, value in asdict(finding).items() if name not in _HOW}
        yield plain | {"p_adjusted": p}
