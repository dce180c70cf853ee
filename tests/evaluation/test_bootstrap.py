"""Percentile intervals: as wide as theory says, the same each time, honest about what is missing."""

from __future__ import annotations

import numpy as np
import pytest

from cxr_explain.errors import OptionError
from cxr_explain.evaluation.bootstrap import Estimate, bootstrap


def test_the_interval_of_a_mean_is_as_wide_as_theory_says() -> None:
    data = np.random.default_rng(1).normal(size=400)
    found = bootstrap(lambda index: float(data[index].mean()), 400, resamples=2000)
    assert found.low is not None
    assert found.high is not None
    assert found.value == data.mean()
    assert found.high - found.low == pytest.approx(2 * 1.96 * data.std() / 20, rel=0.1)
    assert found == bootstrap(lambda index: float(data[index].mean()), 400, resamples=2000)


def test_it_is_scipys_percentile_interval() -> None:
    from scipy.stats import bootstrap as peer

    data = np.random.default_rng(2).exponential(size=80)
    ours = bootstrap(lambda index: float(np.median(data[index])), 80, resamples=4000)
    theirs = peer((data,), np.median, n_resamples=4000, method="percentile").confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=0.1)


def test_what_is_not_estimable_is_left_out() -> None:
    assert bootstrap(lambda index: None, 5) == Estimate(None)
    assert bootstrap(lambda index: 1.0 if 0 in index else None, 3) == Estimate(1.0, 1.0, 1.0)
    first_alone = iter([1.0, None, None])
    assert bootstrap(lambda index: next(first_alone), 3, resamples=2) == Estimate(1.0)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(OptionError):
        bootstrap(lambda index: 0.0, 3, level=1)
    with pytest.raises(OptionError):
        bootstrap(lambda index: 0.0, 3, resamples=0)
