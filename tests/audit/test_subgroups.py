"""Subgroups: every image in one cell of a column, measured as if the cell were a data set of its own."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from cxr_explain.audit.cases import Cases
from cxr_explain.audit.statistics import statistics
from cxr_explain.audit.subgroups import SMALL, cells_of, is_small, members

N = 400


def cases() -> Cases:
    rng = np.random.default_rng(0)
    states = rng.choice([1, 0, -1, -2], size=(N, 2), p=[0.2, 0.6, 0.1, 0.1]).astype(np.int8)
    sex = rng.choice(["F", "M", ""], N, p=[0.5, 0.45, 0.05]).tolist()
    return Cases(
        ids=tuple(map(str, range(N))),
        patients=np.unique(rng.integers(0, 150, N), return_inverse=True)[1],
        pathologies=("Mass", "Nodule", "Hernia"),
        probabilities=rng.random((N, 3)),
        operating_points=(0.4, None, 0.5),
        labels=("Nodule", "Mass"),
        states=states,
        columns={
            "sex": tuple(each or None for each in sex),
            "age": ("80+", "0-17", None, "18-39") * (N // 4),
        },
    )


def test_each_value_is_a_data_set_of_its_own() -> None:
    given = cases()
    found = statistics(given).document["subgroups"]
    assert {each["pathology"] for each in found} == {"Mass", "Nodule"}  # Hernia has no reference label
    for each in found:
        among = np.array([(value or "unknown") == each["value"] for value in given.columns[each["column"]]])
        states = given.states_of(each["pathology"])
        kept = among & (states >= 0)
        chances = given.probabilities[kept, given.pathologies.index(each["pathology"])]
        there = states[kept] == 1
        assert (each["images"], each["positive"], each["negative"]) == (
            len(there),
            there.sum(),
            (~there).sum(),
        )
        assert each["patients"] == len(set(given.patients[kept].tolist()))
        by_kind = [set(given.patients[kept][kind].tolist()) for kind in (there, ~there)]
        assert [each["positive_patients"], each["negative_patients"]] == [len(each) for each in by_kind]
        assert each["small"] == (min(map(len, by_kind)) < SMALL)
        assert each["estimates"]["auroc"]["value"] == pytest.approx(metrics.roc_auc_score(there, chances))
        expected = (chances[there] >= 0.4).mean() if each["pathology"] == "Mass" else None
        assert each["estimates"]["sensitivity"]["value"] == pytest.approx(expected)


def test_the_cells_of_a_column_hold_every_image_once() -> None:
    given = cases()
    for column in given.columns.values():
        assert np.stack(list(members(column).values())).sum(axis=0).tolist() == [1] * N
    for column in given.columns:
        for pathology in ("Mass", "Nodule"):
            images = [
                head["images"]
                for head, _ in cells_of(given, policy="ignore")
                if (head["column"], head["pathology"]) == (column, pathology)
            ]
            assert sum(images) == (given.states_of(pathology) >= 0).sum()


def test_ages_come_in_their_order_and_the_unknown_last() -> None:
    assert list(members(cases().columns["age"])) == ["0-17", "18-39", "80+", "unknown"]
    assert list(members(("b", None, "a"))) == ["a", "b", "unknown"]


@pytest.mark.parametrize(("positive", "negative", "small"), [(9, 50, True), (50, 9, True), (10, 10, False)])
def test_what_is_small(positive: int, negative: int, small: bool) -> None:
    assert is_small({"positive_patients": positive, "negative_patients": negative}) is small
