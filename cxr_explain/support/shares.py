"""Shares as people read them."""

from __future__ import annotations


def percent(share: float) -> str:
    """A share of 1 with two digits, never as a power of ten.

    >>> percent(0.03125), percent(0.42), percent(0.999)
    ('3.1 %', '42 %', '100 %')
    """
    hundredths = 100 * share
    return f"{hundredths:.2g} %" if hundredths < 99.5 else "100 %"
