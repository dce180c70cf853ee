"""Which images count, as what, and with whom: labels, patients, ages and subgroup columns."""

from __future__ import annotations

import numpy as np
import pytest

from cxr_explain.audit.cases import Cases, age_band, counted, patient_numbers, subgroup_columns
from cxr_explain.audit.store import AuditRun
from cxr_explain.errors import AuditError, OptionError
from cxr_explain.pathologies import LabelState
from cxr_explain.reference import STATE_CODES, Manifest

STATES = np.array([STATE_CODES[state] for state in LabelState], np.int8)


@pytest.mark.parametrize(
    ("policy", "positive", "included", "uncertain"),
    [
        ("ignore", ["positive"], ["positive", "negative"], 1),
        ("zeros", ["positive"], ["positive", "negative", "uncertain"], 0),
        ("ones", ["positive", "uncertain"], ["positive", "negative", "uncertain"], 0),
    ],
)
def test_what_a_label_counts_as(policy, positive, included, uncertain) -> None:  # type: ignore[no-untyped-def]
    found = counted(STATES, policy)
    assert [state for state, at in zip(LabelState, found.positive, strict=True) if at] == positive
    assert [state for state, at in zip(LabelState, found.included, strict=True) if at] == included
    assert found.excluded == {"uncertain": uncertain, "not mentioned": 1, "not labelled": 1}
    assert sum(found.excluded.values()) + found.included.sum() == len(STATES)


def test_another_policy_is_refused() -> None:
    with pytest.raises(OptionError, match="ignore, zeros, ones"):
        counted(STATES, "twos")  # type: ignore[arg-type]


def test_images_without_a_patient_are_their_own() -> None:
    numbers = patient_numbers([None, "a", None, "a", "b", None])
    assert numbers[1] == numbers[3]
    assert len(set(numbers.tolist())) == 5
    assert set(numbers.tolist()) == set(range(5))


def test_age_bands_meet_without_a_gap() -> None:
    edges = [0, 17, 17.99, 18, 39, 40, 59, 60, 79, 80, 120]
    bands = ["0-17", "0-17", "0-17", "18-39", "18-39", "40-59", "40-59", "60-79", "60-79", "80+", "80+"]
    assert [age_band(age) for age in edges] == bands
    assert age_band(None) is age_band(-1) is age_band(121) is age_band(414) is age_band(float("nan")) is None


def test_columns_with_few_values_make_subgroups() -> None:
    many = [f"device {number}" for number in range(13)]
    manifest = Manifest(
        [f"i{number}" for number in range(13)],
        [f"{number}.png" for number in range(13)],
        sexes=[*"FM" * 6, None],
        views=["PA", *[None] * 12],
        extra={"device": many, "twelve": [*many[:12], ""], "same": ["x"] * 13},
    )
    columns = subgroup_columns(manifest, np.arange(13, dtype=np.int32), ["AP", "LL", *[None] * 11])
    assert list(columns) == ["sex", "view", "twelve"]
    assert columns["view"][:3] == ("PA", "LL", None)  # the manifest first, then the header
    assert columns["twelve"][12] is None


def test_a_column_of_another_length_is_refused() -> None:
    given = {
        "ids": ("a", "b"),
        "patients": np.arange(2),
        "pathologies": ("Mass",),
        "probabilities": np.zeros((2, 1)),
        "operating_points": (None,),
        "labels": (),
        "states": np.zeros((2, 0), np.int8),
    }
    assert Cases(**given).states_of("Mass").tolist() == [-3, -3]  # type: ignore[arg-type]
    for name, bad in {"patients": np.arange(3), "columns": {"sex": ("F",)}, "operating_points": ()}.items():
        with pytest.raises(AuditError, match="expected"):
            Cases(**{**given, name: bad})  # type: ignore[arg-type]


def test_cases_are_the_store_of_a_run(finished: AuditRun) -> None:
    cases = Cases.of(finished)
    manifest = finished.manifest
    assert cases.ids == manifest.ids
    assert cases.pathologies == finished.record.pathologies
    assert list(cases.columns) == ["sex", "age", "view", "hospital"]
    assert cases.columns["sex"] == manifest.sexes
    for at, row in enumerate(finished.results.to_pylist()):
        assert cases.probabilities[at].tolist() == [row[f"probability {name}"] for name in cases.pathologies]
        assert np.isnan(cases.shares["border"][at]) == (row["border"] is None)
        assert (
            str(manifest[at].labels["Mass"])
            == {1: "positive", 0: "negative"}[int(cases.states_of("Mass")[at])]
        )
