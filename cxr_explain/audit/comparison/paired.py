"""A statistic of two audits and the difference, which is paired: patients are left out of both at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_explain.measures.statistics.basis import Basis
from cxr_explain.measures.statistics.bootstrap import grouped_means
from cxr_explain.measures.statistics.intervals import RestingStatistics, estimates
from cxr_explain.measures.statistics.jackknife import leave_out

PairedCell = dict[str, Any]
"""A statistic of both, "a" and "b"; the "difference", its "low", "high" and "p"; why they are "withheld"."""

WITHHELD = dict.fromkeys(("low", "high", "p"))
"""What a difference does not have where it is not known how sure it is."""


def paired(a: RestingStatistics, b: RestingStatistics, groups: int, *, level: float) -> Iterator[PairedCell]:
    """Each statistic of both audits, their difference, its interval, and the p of there being none.

    Interval and p are withheld where either statistic has no interval for want of patients, see
    `cxr_explain.measures.statistics.basis`, and where no patient makes a difference.

    Args:
        a: M statistics of audit A as a function of how often each patient counts.
        b: the same of audit B, of the same patients.
        groups: number of patients.
        level: confidence level of the intervals.

    >>> one, other = (grouped_means(np.array([[x], [1.0]]), np.arange(2), 2) for x in (1.0, 0.5))
    >>> [(cell["difference"], cell["withheld"]) for cell in paired(one, other, 2, level=0.95)]
    [(0.25, '2 patients')]
    """
    one, other = leave_out([a, b], groups)
    apart = one - other
    low, high, p = *apart.interval(level), apart.p()
    for at, bases in enumerate(zip(a.bases, b.bases, strict=True)):
        values = {"a": one.value[at], "b": other.value[at], "difference": apart.value[at]}
        why = _withheld(bases, apart.value[at], low[at])
        sure = {"low": low[at], "high": high[at], "p": p[at]}
        cell: PairedCell = {key: number(value) for key, value in (values | sure).items()}
        yield cell | ({} if why is None else WITHHELD) | {"withheld": why}


def _withheld(bases: tuple[Basis, Basis], difference: float, low: float) -> str | None:
    """Why a difference has no interval, in few words; None where it has one, or is not estimable."""
    if np.isnan(difference):
        return None
    lacks = next((basis.lacks for basis in bases if basis.lacks), None)
    if lacks is None and np.isnan(low):
        return "hangs on one patient" if difference else "the same in every patient"
    return lacks


def means(
    values: NDArray[np.float64], patients: NDArray[np.intp], groups: int, *, level: float
) -> list[PairedCell]:
    """The mean of each column over images: {"value", "low", "high", "withheld", "images"}.

    Args:
        values: (n, M); NaN, "not estimable", is left out of the column's mean.
        patients: (n,), number of each image's patient, from 0.
        groups: number of patients.
        level: confidence level of the intervals.

    >>> means(np.array([[1.0], [0.0]]), np.arange(2), 2, level=0.95)
    [{'value': 0.5, 'low': None, 'high': None, 'withheld': '2 patients', 'images': 2}]
    """
    measured = grouped_means(values, patients, groups)
    (found,) = leave_out([measured], groups)
    images = (~np.isnan(values)).sum(axis=0).tolist()
    cells = estimates(found, measured.bases, level=level)
    return [vars(cell) | {"images": count} for cell, count in zip(cells, images, strict=True)]


def number(value: float) -> float | None:
    """A number as JSON has it; None for NaN."""
    return None if np.isnan(value) else float(value)
