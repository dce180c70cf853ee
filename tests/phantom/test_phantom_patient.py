"""Patients and findings are drawn independently, each component from its own stream."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from cxr_explain.errors import OptionError
from cxr_explain.pathologies import NIH_PATHOLOGIES
from cxr_explain.phantom import (
    FINDINGS,
    PREVALENCE,
    AgeBand,
    Finding,
    Patient,
    Projection,
    Sex,
    Side,
    sample_findings,
    sample_patient,
)
from cxr_explain.phantom.seeds import generator

N = 1000


def test_the_findings_are_nih_pathologies() -> None:
    assert set(FINDINGS) <= set(NIH_PATHOLOGIES)
    assert len(FINDINGS) == 10


def test_streams_depend_on_seed_and_name_alone() -> None:
    assert generator(1, "a").random() == generator(1, "a").random()
    assert len({generator(*key).random() for key in ((1, "a"), (1, "b"), (2, "a"), (1, "a", "b"))}) == 4


def test_patients_vary() -> None:
    patients = [sample_patient(seed) for seed in range(300)]
    assert {patient.sex for patient in patients} == set(Sex)
    assert {patient.projection for patient in patients} == set(Projection)
    assert {patient.age for patient in patients} == set(AgeBand)
    assert len({patient.stature for patient in patients}) > 250
    assert all((patient.breast > 0) == (patient.sex is Sex.FEMALE) for patient in patients)


@pytest.fixture(scope="module")
def present() -> np.ndarray:
    """(N, findings) whether each finding was drawn with a seed."""
    drawn = ({finding.pathology for finding in sample_findings(seed)} for seed in range(N))
    return np.array([[name in names for name in FINDINGS] for names in drawn])


def numbers(patient: Patient) -> list[float]:
    return [
        patient.sex is Sex.MALE,
        patient.projection is Projection.AP,
        patient.age is AgeBand.OLD,
        patient.stature,
        patient.habitus,
        patient.rotation,
        patient.inspiration,
        patient.heart,
        patient.lung_density,
        patient.exposure,
        patient.contrast,
        len(patient.devices),
        *patient.collimation,
    ]


def test_prevalences_are_met_and_findings_do_not_depend_on_each_other(present: np.ndarray) -> None:
    np.testing.assert_allclose(present.mean(axis=0), list(PREVALENCE.values()), atol=4 * 0.4 / np.sqrt(N))
    correlation = np.corrcoef(present.T) - np.eye(len(FINDINGS))
    assert np.abs(correlation).max() < 4.5 / np.sqrt(N)


def test_anatomy_does_not_depend_on_findings(present: np.ndarray) -> None:
    anatomy = np.array([numbers(sample_patient(seed)) for seed in range(N)], dtype=float)
    count = anatomy.shape[1]
    correlation = np.corrcoef(anatomy.T, present.T)[:count, count:]
    assert np.abs(correlation).max() < 4.5 / np.sqrt(N)


def test_leaving_a_finding_out_of_the_draw_shifts_no_other() -> None:
    always = dict.fromkeys(FINDINGS, 1.0)
    every = sample_findings(5, prevalence=always)
    fewer = sample_findings(5, prevalence={name: 1.0 for name in FINDINGS if name != "Mass"})
    assert fewer == tuple(finding for finding in every if finding.pathology != "Mass")


def test_sides_and_numbers_vary() -> None:
    nodules = [sample_findings(seed, prevalence={"Nodule": 1.0})[0] for seed in range(200)]
    assert {finding.count for finding in nodules} == {1, 2, 3, 4}
    assert {finding.side for finding in nodules} == {Side.LEFT, Side.RIGHT}
    effusions = [sample_findings(seed, prevalence={"Effusion": 1.0})[0] for seed in range(200)]
    assert {finding.side for finding in effusions} == set(Side)
    assert Finding("Edema", side=Side.LEFT).side is Side.BOTH


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Patient(seed=-1),
        lambda: Finding("Fracture"),
        lambda: Finding("Mass", size=1.5),
        lambda: Finding("Mass", contrast=-0.1),
        lambda: Finding("Nodule", count=0),
        lambda: sample_findings(1, prevalence={"Gout": 0.5}),
    ],
)
def test_what_cannot_be_is_refused(bad) -> None:
    with pytest.raises(OptionError, match="expected"):
        bad()


def test_patients_and_findings_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Patient(seed=1).seed = 2  # type: ignore[misc]
    assert hash(sample_patient(1)) == hash(sample_patient(1))
