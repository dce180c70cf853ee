"""Choices of several settings: every one of them, but by default only so many that each value is met."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest


def diagonal(*factors: Sequence[Any]) -> list[Any]:
    """All choices of one value from each factor, as parameters; those off the diagonal are `slow`.

    On the diagonal each value of each factor stands at least once, the shorter factors beginning anew.

    >>> [each.values for each in diagonal((1, 2, 3), "ab") if not each.marks]
    [(1, 'a'), (2, 'b'), (3, 'a')]
    """
    lengths = [len(factor) for factor in factors]
    quick = {tuple(at % length for length in lengths) for at in range(max(lengths))}
    return [
        pytest.param(
            *(factor[at] for factor, at in zip(factors, places, strict=True)),
            marks=() if places in quick else pytest.mark.slow,
        )
        for places in product(*map(range, lengths))
    ]
