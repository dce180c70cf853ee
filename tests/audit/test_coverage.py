"""How often an interval holds the truth, by the simulation whose whole grid stands in the documentation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics

from benchmarks.interval_coverage import (
    AUDIT_PATIENTS,
    DISTANCE,
    MOST_IMAGES,
    POINT,
    PREVALENCES,
    Cell,
    SimulatedAudits,
    calibrated,
    coverage,
    mean_share,
    observed_in,
    truths,
)
from cxr_explain.audit.measures import Measure, Scored
from cxr_explain.measures.statistics.intervals import estimates
from cxr_explain.measures.statistics.jackknife import LeftOut, leave_out

LOWEST, HIGHEST = 0.92, 0.98

PAIRED = "sensitivity, of two runs"
"""Wider than it need be where few images part: up to 99 %."""


def scored_of(audits: SimulatedAudits, at: int, *, by_image: bool = False) -> Scored:
    """The images of one of the audits, as an audit scores them."""
    prevalence, chosen = audits.cell.prevalence, audits.images[at]
    patient = np.arange(chosen.sum()) if by_image else np.nonzero(chosen)[0]
    return Scored(
        "Mass",
        calibrated(audits.scores(DISTANCE)[at][chosen], prevalence),
        audits.there[at][chosen],
        patient,
        len(patient) if by_image else audits.cell.patients,
        float(calibrated(np.array(POINT), prevalence)),
        {},
    )


@pytest.mark.parametrize("prevalence", PREVALENCES)
def test_the_truth_is_what_a_large_sample_has(prevalence: float) -> None:
    audits = SimulatedAudits.drawn(np.random.default_rng(0), Cell(40_000, prevalence, 5), 1)
    scored = scored_of(audits, 0)
    there, chances = scored.positive, scored.probabilities
    expected = truths(prevalence, DISTANCE)
    assert metrics.roc_auc_score(there, chances) == pytest.approx(expected["auroc"], abs=0.01)
    assert metrics.average_precision_score(there, chances) == pytest.approx(expected["auprc"], abs=0.02)
    assert metrics.brier_score_loss(there, chances) == pytest.approx(expected["brier"], abs=0.002)
    called = chances >= scored.operating_point
    assert metrics.recall_score(there, called) == pytest.approx(expected["sensitivity"], abs=0.02)
    assert metrics.precision_score(there, called) == pytest.approx(expected["ppv"], abs=0.02)
    assert (~there)[~called].mean() == pytest.approx(expected["npv"], abs=0.01)
    assert audits.looking[audits.images].mean() == pytest.approx(mean_share(), abs=0.003)
    inside = (chances >= 0.1) & (chances < 0.2)
    assert there[inside].mean() == pytest.approx(observed_in(0.1, 0.2, prevalence), abs=0.01)


def test_the_simulation_computes_what_an_audit_does() -> None:
    """Value, statistic without each patient, and what it rests on, of three audits at once and of each."""
    audits = SimulatedAudits.drawn(np.random.default_rng(3), Cell(20, 0.3, 6), 3)
    first = audits.scores(DISTANCE)
    there, called = audits.there, first >= POINT
    chances = calibrated(first, 0.3)
    simulated = {
        "auroc": audits.area(first, audits.images),
        "sensitivity": audits.share(called, there),
        "specificity": audits.share(~called, ~there),
        "ppv": audits.share(there, called),
        "npv": audits.share(~there, ~called),
        "brier": audits.share((chances - there) ** 2, audits.images),
    }
    measures: list[Measure] = [*simulated]  # type: ignore[list-item]
    for at in range(3):
        measured = scored_of(audits, at).measured(*measures)
        (left,) = leave_out([measured], 20)
        for number, each in enumerate(simulated.values()):
            assert each.left.value[at] == pytest.approx(left.value[number])
            assert each.left.without[at] == pytest.approx(left.without[number])
            basis = measured.bases[number]
            assert (each.bases[at].patients, each.bases[at].images) == (basis.patients, basis.images)
            assert (each.bases[at].effective, each.bases[at].least) == (
                pytest.approx(basis.effective),
                basis.least,
            )
    (left,) = leave_out([scored_of(audits, 0).measured("auprc")], 20)
    found: LeftOut = audits.average_precision(first).left
    assert found.without[0] == pytest.approx(left.without[0])


def test_intervals_by_patient_hold_the_truth() -> None:
    """Of 250 audits; nominal 95 % would give fewer with a chance of less than 1 in 1000."""
    for name, tally in coverage(Cell(60, 0.3, 4), 250).items():
        assert tally.given > 50, name
        assert tally.held / tally.given > 0.95 - 3.3 * math.sqrt(0.95 * 0.05 / tally.given), name
        assert tally.held < tally.given, name


def test_intervals_by_image_do_not_hold_it() -> None:
    audits = SimulatedAudits.drawn(np.random.default_rng(1), Cell(60, 0.3, 10), 80)
    truth, held = truths(0.3, DISTANCE)["specificity"], 0
    for at in range(80):
        measures = scored_of(audits, at, by_image=True).measured("specificity")
        (left,) = leave_out([measures], audits.images[at].sum())
        (found,) = estimates(left, measures.bases)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= truth <= found.high
    assert held / 80 < 0.85


@pytest.mark.slow
@pytest.mark.parametrize("most", MOST_IMAGES)
@pytest.mark.parametrize("prevalence", PREVALENCES)
@pytest.mark.parametrize("patients", AUDIT_PATIENTS)
def test_nominal_95_percent_intervals_hold_the_truth_in_92_to_98(
    patients: int, prevalence: float, most: int
) -> None:
    """The whole grid, with fewer audits than in the documentation: three standard errors are allowed."""
    for name, tally in coverage(Cell(patients, prevalence, most), 400).items():
        if tally.given >= 100:
            allowed = 3 * math.sqrt(0.95 * 0.05 / tally.given)
            highest = 0.99 if name == PAIRED else HIGHEST
            assert LOWEST - allowed <= tally.held / tally.given <= highest + allowed, name
