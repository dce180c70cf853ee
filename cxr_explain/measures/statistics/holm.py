"""p values adjusted for how many comparisons were made together."""

from __future__ import annotations

import math
from collections.abc import Sequence


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Adjusted p values of comparisons that were made together; they need not be independent.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none is then below one that was
    smaller before, and none above 1. Those below 0.05 are those that Holm's steps reject, with a chance of at
    most 0.05 that any of them is false.

    Args:
        p: one of each comparison; None or NaN where there was no test, which does not count as a comparison.

    Returns:
        In the same order; None where there was no test.

    Source:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6
        (1979) 65.

    >>> holm([0.04, None, 0.01, 0.03])
    [0.06, None, 0.03, 0.06]
    """
    tested = sorted((value, at) for at, value in enumerate(p) if value is not None and not math.isnan(value))
    adjusted: list[float | None] = [None] * len(p)
    least = 0.0
    for place, (value, at) in enumerate(tested):
        least = max(least, min(1.0, value * (len(tested) - place)))
        adjusted[at] = least
    return adjusted
