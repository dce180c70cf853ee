"""How often an interval holds the truth, by simulation: patients with several images that are alike.

A patient has the finding with a chance of 0.3, and 1 to 6 images. An image's score is d for the finding, plus
the patient's own part, plus noise, both normal: so that AUROC, sensitivity, specificity and PPV are known.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit, ndtr

from cxr_explain.audit.measures import Measure, Scored
from cxr_explain.measures.statistics.bootstrap import bootstrap_weighted
from cxr_explain.measures.statistics.calibration import effective_cases, wilson

MEASURES: tuple[Measure, ...] = ("auroc", "sensitivity", "specificity", "ppv")

PREVALENCE, DISTANCE, OWN, THRESHOLD = 0.3, 1.5, 1.0, 0.8
"""Of the simulation; the patient's own part has as much variance as the noise."""

SPREAD = math.sqrt(1 + OWN**2)


def truth() -> dict[str, float]:
    sensitivity = float(ndtr((DISTANCE - THRESHOLD) / SPREAD))
    specificity = float(ndtr(THRESHOLD / SPREAD))
    called = PREVALENCE * sensitivity, (1 - PREVALENCE) * (1 - specificity)
    return {
        "auroc": float(ndtr(DISTANCE / (math.sqrt(2) * SPREAD))),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": called[0] / sum(called),
    }


def sample(rng: np.random.Generator, patients: int, *, clustered: bool) -> Scored:
    patient = np.repeat(np.arange(patients), rng.integers(1, 7, patients))
    there = rng.random(patients) < PREVALENCE
    own = OWN * rng.normal(size=patients)
    scores = (DISTANCE * there + own)[patient] + rng.normal(size=len(patient))
    group = patient if clustered else np.arange(len(patient))
    return Scored(
        "Mass", expit(scores), there[patient], group, int(group[-1]) + 1, float(expit(THRESHOLD)), {}
    )


def coverage(
    simulations: int, *, patients: int = 200, resamples: int = 1000, clustered: bool = True
) -> dict[str, float]:
    """The share of the simulations in which the 95 % interval holds the truth."""
    rng = np.random.default_rng(1)
    held = dict.fromkeys(MEASURES, 0)
    for seed in range(simulations):
        scored = sample(rng, patients, clustered=clustered)
        (found,) = bootstrap_weighted(
            [scored.measured(*MEASURES)], scored.groups, resamples=resamples, seed=seed
        )
        for name, estimate in zip(MEASURES, found, strict=True):
            assert estimate.low is not None
            assert estimate.high is not None
            held[name] += estimate.low <= truth()[name] <= estimate.high
    return {name: count / simulations for name, count in held.items()}


def test_intervals_by_patient_hold_the_truth_and_those_by_image_do_not() -> None:
    by_patient = coverage(80, resamples=200)
    by_image = coverage(80, resamples=200, clustered=False)
    for name in MEASURES:
        assert by_patient[name] > 0.85
        assert by_image[name] < by_patient[name]
    assert by_image["auroc"] < 0.85


@pytest.mark.slow
def test_nominal_95_percent_intervals_of_200_patients() -> None:
    """2000 simulations gave 94 % (AUROC), 93 % (sensitivity), 94 % (specificity) and 95 % (PPV)."""
    for name, share in coverage(500).items():
        assert 0.90 <= share <= 0.98, name  # the standard error of 500 is 1 %


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_wilsons_interval_of_images_of_few_patients(share: float) -> None:
    """60 patients with 4 images each, half of which share a label: the nominal 95 % are 91 % and 94 %."""
    rng = np.random.default_rng(2)
    patient = np.repeat(np.arange(60), 4)
    held = {"effective": 0, "images": 0}
    for _ in range(400):
        own = rng.random(60) < share
        there = np.where(rng.random(240) < 0.7, own[patient], rng.random(240) < share)
        cases = {"effective": effective_cases(there, patient), "images": 240.0}
        for name, number in cases.items():
            low, high = wilson(float(there.mean()), number)
            held[name] += low <= share <= high
    assert held["effective"] / 400 > 0.89
    assert held["images"] / 400 < 0.85
