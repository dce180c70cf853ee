"""Intervals by patient: read aloud, against SciPy's Wilson interval, and what they never do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cxr_explain.errors import OptionError
from cxr_explain.measures.statistics.basis import Basis
from cxr_explain.measures.statistics.intervals import (
    ClusteredEstimate,
    ends,
    estimates,
    share_estimate,
    shares_left_out,
    wilson,
)
from cxr_explain.measures.statistics.jackknife import LeftOut

patients = st.lists(
    st.integers(1, 5).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=2, max_size=12
)


@pytest.mark.parametrize(("positives", "n"), [(0, 9), (9, 9), (3, 10), (120, 400)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_images_of_one_patient_each_have_wilsons_interval(positives: int, n: int, level: float) -> None:
    theirs = stats.binomtest(positives, n).proportion_ci(level, method="wilson")
    assert wilson(positives / n, n, level=level) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    ours = share_estimate(np.arange(n) < positives, np.arange(n), level=level)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-6)


def slow_interval(sample: list[tuple[int, int]], level: float) -> tuple[float, float]:
    """A share of hits: everything patient by patient."""
    hits, images = sum(h for h, _ in sample), sum(n for _, n in sample)
    share, count = hits / images, len(sample)
    without = [(hits - h) / (images - n) for h, n in sample]
    mean = sum(without) / count
    off = [each - mean for each in without]
    variance = (count - 1) / count * sum(d**2 for d in off)
    effective = images**2 / sum(n**2 for _, n in sample)
    if variance > 1e-24 and 0 < share < 1:
        independent = count / (count - 1) * share * (1 - share) / variance
        moving = sum(each != share for each in without)
        freedom = min(1.6 * sum(d**2 for d in off) ** 2 / sum(d**4 for d in off), moving) - 1
    else:
        independent, freedom = effective, min(1.6 * effective, count) - 1
    hanging = max(1 - effective / images, math.sqrt(1e-9))
    t = float(stats.t.ppf((1 + level) / 2, max(freedom, 1) / hanging**2))
    cases = min(independent, images)
    # The two shares p with |share - p| = t sqrt(p (1 - p) / cases): roots of a quadratic.
    a, b, c = 1 + t * t / cases, -(2 * share + t * t / cases), share**2
    root = math.sqrt(max(b * b - 4 * a * c, 0))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


@given(patients, st.sampled_from([0.8, 0.95]))
def test_the_interval_of_a_share_is_its_definition(sample: list[tuple[int, int]], level: float) -> None:
    hits, images = (np.array(column) for column in zip(*sample, strict=True))
    found = shares_left_out(hits, images)
    low, high = ends(found, [Basis.of(images, "patient")], level=level)
    assert (low[0], high[0]) == pytest.approx(slow_interval(sample, level), abs=1e-6)
    assert 0 <= low[0] <= found.value[0] <= high[0] <= 1
    assert low[0] < high[0]


def test_copies_of_an_image_tell_nothing_more() -> None:
    """But for Student's t, which an interval of patients with several images has."""
    hits = np.arange(40) < 12
    once, copied = (
        share_estimate(np.repeat(hits, k), np.repeat(np.arange(40), k), level=0.95) for k in (1, 6)
    )
    assert once.low is not None
    assert copied.low is not None
    assert copied.low == pytest.approx(once.low, abs=0.01)
    by_image = share_estimate(np.repeat(hits, 6), np.arange(240))
    assert by_image.low is not None
    assert by_image.low > once.low + 0.05


@given(patients)
def test_too_few_patients_have_a_word_in_place_of_an_interval(sample: list[tuple[int, int]]) -> None:
    hits, images = (np.array(column) for column in zip(*sample, strict=True))
    (found,) = estimates(shares_left_out(hits, images), [Basis.of(images, "positive patient")])
    assert found.value == pytest.approx(hits.sum() / images.sum())
    if len(sample) < 8:
        assert found == ClusteredEstimate(found.value, withheld=f"{len(sample)} positive patients")
    else:
        assert found.low is not None
        assert found.withheld is None


def test_one_patient_alone_has_no_interval() -> None:
    basis = Basis.of(np.array([9]), "patient", least=1)
    (found,) = estimates(shares_left_out([4], [9]), [basis])
    assert found == ClusteredEstimate(4 / 9, withheld="not estimable without one patient")


def test_what_is_not_estimable_has_neither_value_nor_word() -> None:
    assert estimates(shares_left_out([0, 0], [0, 0]), [Basis.of(np.zeros(2), "patient")]) == [
        ClusteredEstimate(None)
    ]


def test_values_beyond_0_and_1_have_students_interval() -> None:
    values = np.array([-0.5, 0.25, 0.75, -1.0, 0.5, 0.25])
    without = (values.sum() - values) / 5
    found = LeftOut(np.array([values.mean()]), without[None])
    basis = Basis.of(np.ones(6), "patient", of_hits=False, bounded=False)
    assert np.concatenate(ends(found, [basis])) == pytest.approx(np.concatenate(found.interval()))


def test_what_makes_no_sense_is_refused() -> None:
    for share, n, level in ((1.1, 5, 0.95), (0.5, 0, 0.95), (0.5, 5, 1.0)):
        with pytest.raises(OptionError):
            wilson(share, n, level=level)
    with pytest.raises(OptionError, match="level 1"):
        estimates(shares_left_out([1, 0], [1, 1]), [Basis.of(np.ones(2), "patient")], level=1)
