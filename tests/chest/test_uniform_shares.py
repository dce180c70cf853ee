"""Shares of an even map: the area of each region in what the model saw; and what is above them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_regions import made_up, slow_shares, values

from cxr_explain.chest.shares import FLAGGED_FROM, excess_over_uniform, shares_in, uniform_shares
from cxr_explain.geometry import Geometry
from cxr_explain.options import Fit

shares = st.floats(0, 1)


@pytest.mark.parametrize("shape", [(100, 100), (100, 160), (130, 100)])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_they_are_those_of_a_map_of_ones(shape: tuple[int, int], fit: Fit) -> None:
    geometry = Geometry.fit_square(shape, 224, fit)
    regions = made_up(radiograph_shape=shape, inside=(7.0, 0.0, float(shape[1]), shape[0] - 4.0))
    found = values(uniform_shares(regions, geometry))
    assert found == pytest.approx(slow_shares(regions, np.ones((1, 5, 3)), geometry), abs=1e-12)
    assert found == pytest.approx(values(shares_in(regions, np.full((3, 7, 7), 0.2), geometry)), abs=1e-12)


def test_they_are_of_the_square_that_the_map_covers_and_not_of_the_radiograph() -> None:
    """Of 200 columns the model sees the middle 100, where the thorax is: cells 5 to 14 of 20."""
    wide = np.zeros((20, 20), bool)
    wide[:, 6:14] = True
    regions = made_up(radiograph_shape=(100, 200), thorax=wide, inside=(0.0, 0.0, 200.0, 100.0))
    found = uniform_shares(regions, Geometry.fit_square((100, 200), 224))
    assert found.outside_thorax == pytest.approx(1 - 8 / 10)


def test_what_is_not_recognised_has_none() -> None:
    regions = made_up(lungs=None, thorax=None, reasons={"outside_thorax": "no lungs"})
    found = uniform_shares(regions, Geometry.fit_square((100, 100), 224))
    assert found.outside_thorax is found.outside_lungs is None
    assert found.markers == pytest.approx(8 / 400)


@given(shares, shares)
def test_the_excess_is_its_formula_and_an_even_map_is_never_flagged(share: float, even: float) -> None:
    excess = float(excess_over_uniform(share, even))
    if even == 1:
        assert np.isnan(excess)
        return
    assert excess == pytest.approx((share - even) / (1 - even))
    assert excess <= 1 + 1e-9
    assert float(excess_over_uniform(even, even)) == 0 < FLAGGED_FROM
    assert (excess >= 0) == (share >= even)


def test_what_is_not_known_is_not_flagged() -> None:
    excess = excess_over_uniform([np.nan, 0.9, 1.0], [0.5, np.nan, 1.0])
    assert np.isnan(excess).all()
    assert not (excess >= FLAGGED_FROM).any()
