"""The measures of an audit, read aloud: loops over images in float64, nothing of the package."""

from __future__ import annotations

import math
from collections.abc import Sequence

Numbers = Sequence[float]
Flags = Sequence[bool]


def copies(values: Sequence, weights: Numbers) -> list:
    """Each value as often as it was drawn."""
    return [value for value, weight in zip(values, weights, strict=True) for _ in range(int(weight))]


def auroc(scores: Numbers, there: Flags) -> float:
    """Every positive against every negative; a tie is half a win."""
    pairs = [
        1.0 if high > low else 0.5 if high == low else 0.0
        for high, is_there in zip(scores, there, strict=True)
        if is_there
        for low, also in zip(scores, there, strict=True)
        if not also
    ]
    return math.fsum(pairs) / len(pairs) if pairs else math.nan


def auprc(scores: Numbers, there: Flags) -> float:
    """From the highest threshold down: the gain in recall times the precision there."""
    positives = sum(there)
    if positives in (0, len(there)):
        return math.nan
    area, recall = [], 0.0
    for threshold in sorted(set(scores), reverse=True):
        called = [is_there for score, is_there in zip(scores, there, strict=True) if score >= threshold]
        now = sum(called) / positives
        area.append((now - recall) * sum(called) / len(called))
        recall = now
    return math.fsum(area)


def outcomes(scores: Numbers, there: Flags, point: float) -> dict[str, int]:
    """The four cells of the table, counted one by one."""
    cells = {"tp": 0, "fp": 0, "fn": 0, "tn": 0}
    for score, is_there in zip(scores, there, strict=True):
        called = score >= point
        cells[("t" if called == is_there else "f") + ("p" if called else "n")] += 1
    return cells


def at_point(scores: Numbers, there: Flags, point: float | None) -> dict[str, float]:
    """Sensitivity, specificity and the predictive values."""
    if point is None:
        return dict.fromkeys(("sensitivity", "specificity", "ppv", "npv"), math.nan)
    c = outcomes(scores, there, point)
    both = any(there) and not all(there)
    return {
        "sensitivity": share(c["tp"], c["fn"]),
        "specificity": share(c["tn"], c["fp"]),
        "ppv": share(c["tp"], c["fp"]) if both else math.nan,
        "npv": share(c["tn"], c["fn"]) if both else math.nan,
    }


def share(hits: int, misses: int) -> float:
    """Of both, the hits."""
    return hits / (hits + misses) if hits + misses else math.nan


def brier(chances: Numbers, there: Flags) -> float:
    """The mean squared difference."""
    squares = [(chance - is_there) ** 2 for chance, is_there in zip(chances, there, strict=True)]
    return math.fsum(squares) / len(squares) if squares else math.nan


def ece(chances: Numbers, there: Flags, bins: int = 10) -> float:
    """Bin by bin, by the share of the cases that it holds."""
    total = 0.0
    for b in range(bins):
        members = [
            (chance, is_there)
            for chance, is_there in zip(chances, there, strict=True)
            if min(int(chance * bins), bins - 1) == b
        ]
        if members:
            confidence = sum(chance for chance, _ in members) / len(members)
            observed = sum(is_there for _, is_there in members) / len(members)
            total += len(members) / len(chances) * abs(confidence - observed)
    return total if len(chances) else math.nan


def measures(chances: Numbers, there: Flags, point: float | None) -> dict[str, float]:
    """All eight."""
    return {
        "auroc": auroc(chances, there),
        "auprc": auprc(chances, there),
        **at_point(chances, there, point),
        "brier": brier(chances, there),
        "ece": ece(chances, there),
    }
