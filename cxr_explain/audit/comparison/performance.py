"""How two models agree with the reference labels of the same images, and with one another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_explain.audit.comparison.matching import MatchedRuns
from cxr_explain.audit.comparison.paired import WITHHELD, paired
from cxr_explain.audit.measures import Measure, Scored

COMPARED: tuple[Measure, ...] = ("auroc", "auprc", "sensitivity", "specificity", "ppv", "npv", "brier")
"""The calibration error is not among them: it is biased, and more so where a model is better calibrated."""

_OF_BOTH_KINDS: tuple[Measure, ...] = ("ppv", "npv", "brier")
"""A difference of these hangs on the rarer kind of patients, too: with fewer than 10 of them, nominal 95 %
intervals held the truth in 73 to 90 % of simulated audits for an NPV, and in 85 % for a Brier score."""


def performance_of(found: MatchedRuns, *, level: float) -> list[dict[str, Any]]:
    """Every statistic of each pathology that both models predict, and the difference.

    The statistics are those of `statistics.json`, over the common images.

    Args:
        found: the two audits.
        level: confidence level of the intervals.
    """
    entries = []
    for name in found.pathologies:
        a, b = (Scored.of(cases, name, policy=found.policy) for cases in found.cases)
        one, other = (each.measured(*COMPARED) for each in (a, b))
        cells = dict(zip(COMPARED, paired(one, other, found.groups, level=level), strict=True))
        few = one.bases[COMPARED.index("auroc")].lacks
        for measure in _OF_BOTH_KINDS if few else ():
            if cells[measure]["difference"] is not None:
                cells[measure] |= WITHHELD | {"withheld": few}
        entries.append(
            {
                "pathology": name,
                **a.counts,
                "operating_points": {"a": a.operating_point, "b": b.operating_point},
                "calls": _calls(a, b),
                "differences": cells,
            }
        )
    return entries


def _calls(a: Scored, b: Scored) -> dict[str, dict[str, int]] | None:
    """How many images each calls positive, by the reference label; None without both operating points."""
    if a.operating_point is None or b.operating_point is None:
        return None
    one, other = a.probabilities >= a.operating_point, b.probabilities >= b.operating_point
    return {
        name: _fourfold(one[chosen], other[chosen])
        for name, chosen in (("positive", a.positive), ("negative", ~a.positive))
    }


def _fourfold(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> dict[str, int]:
    return {
        "both": int((one & other).sum()),
        "a": int((one & ~other).sum()),
        "b": int((~one & other).sum()),
        "neither": int((~one & ~other).sum()),
    }
