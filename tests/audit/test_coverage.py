"""How often an interval holds the truth, by the simulation whose whole grid stands in the documentation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics

from benchmarks.interval_coverage import (
    AUDIT_PATIENTS,
    DISTANCE,
    MEASURES,
    MOST_IMAGES,
    PREVALENCES,
    Cell,
    SimulatedAudit,
    coverage,
    mean_share,
    observed_in,
    truths,
)
from cxr_explain.audit.measures import Scored
from cxr_explain.measures.statistics.intervals import estimates
from cxr_explain.measures.statistics.jackknife import leave_out

LOWEST, HIGHEST = 0.92, 0.98


@pytest.mark.parametrize("prevalence", PREVALENCES)
def test_the_truth_is_what_a_large_sample_has(prevalence: float) -> None:
    audit = SimulatedAudit.drawn(np.random.default_rng(0), Cell(40_000, prevalence, 5))
    scored = audit.scored(distance=DISTANCE)
    there, chances = scored.positive, scored.probabilities
    expected = truths(prevalence, DISTANCE)
    assert metrics.roc_auc_score(there, chances) == pytest.approx(expected["auroc"], abs=0.01)
    assert metrics.average_precision_score(there, chances) == pytest.approx(expected["auprc"], abs=0.02)
    assert metrics.brier_score_loss(there, chances) == pytest.approx(expected["brier"], abs=0.002)
    called = chances >= scored.operating_point
    assert metrics.recall_score(there, called) == pytest.approx(expected["sensitivity"], abs=0.02)
    assert metrics.precision_score(there, called) == pytest.approx(expected["ppv"], abs=0.02)
    assert (~there)[~called].mean() == pytest.approx(expected["npv"], abs=0.01)
    assert audit.looking.mean() == pytest.approx(mean_share(), abs=0.003)
    inside = (chances >= 0.1) & (chances < 0.2)
    assert there[inside].mean() == pytest.approx(observed_in(0.1, 0.2, prevalence), abs=0.01)


def test_intervals_by_patient_hold_the_truth() -> None:
    """Of 60 audits; nominal 95 % would give so few with a chance of less than 1 in 1000."""
    for name, tally in coverage(Cell(60, 0.3, 4), 60).items():
        assert tally.given > 30, name
        assert tally.held / tally.given > 0.95 - 3.3 * math.sqrt(0.95 * 0.05 / tally.given), name


def test_intervals_by_image_do_not_hold_it() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(80):
        given = SimulatedAudit.drawn(rng, Cell(60, 0.3, 10)).scored(distance=DISTANCE)
        n = len(given.positive)
        alone = Scored(
            "Mass", given.probabilities, given.positive, np.arange(n), n, given.operating_point, {}
        )
        measures = alone.measured("specificity")
        (left,) = leave_out([measures], n)
        (found,) = estimates(left, measures.bases)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= truths(0.3, DISTANCE)["specificity"] <= found.high
    assert held / 80 < 0.85


@pytest.mark.slow
@pytest.mark.parametrize("most", MOST_IMAGES)
@pytest.mark.parametrize("prevalence", PREVALENCES)
@pytest.mark.parametrize("patients", AUDIT_PATIENTS)
def test_nominal_95_percent_intervals_hold_the_truth_in_92_to_98(
    patients: int, prevalence: float, most: int
) -> None:
    """The whole grid, with fewer audits than in the documentation: two standard errors are allowed."""
    found = coverage(Cell(patients, prevalence, most), 300)
    assert set(MEASURES) <= set(found)
    for name, tally in found.items():
        if tally.given >= 100:
            allowed = 2 * math.sqrt(0.95 * 0.05 / tally.given)
            assert LOWEST - allowed <= tally.held / tally.given <= HIGHEST + allowed, name
