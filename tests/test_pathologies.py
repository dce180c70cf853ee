"""Names of pathologies and states of reference labels."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cxr_explain import PATHOLOGIES, LabelState, ReferenceBox, ReferenceLabels
from cxr_explain.errors import ReferenceLabelError
from cxr_explain.pathologies import NIH_PATHOLOGIES, canonical_pathology
from cxr_explain.support.torchvision_repair import ensure_torchvision_imports


def test_the_targets_are_those_of_torchxrayvision() -> None:
    ensure_torchvision_imports()
    import torchxrayvision as xrv

    assert list(PATHOLOGIES) == xrv.datasets.default_pathologies
    assert set(NIH_PATHOLOGIES) == set(xrv.models.model_urls["nih"]["labels"]) - {""}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Pleural Effusion", "Effusion"),
        ("Pleural effusion", "Effusion"),
        ("Airspace Opacity", "Lung Opacity"),
        ("Airspace opacity", "Lung Opacity"),
        ("Infiltrate", "Infiltration"),
        ("Pleural thickening", "Pleural_Thickening"),
        ("Pleural Thickening", "Pleural_Thickening"),
        ("pleural_thickening", "Pleural_Thickening"),
        ("Pulmonary fibrosis", "Fibrosis"),
        ("Rib fracture", "Fracture"),
        ("  lung \t opacity ", "Lung Opacity"),
        ("lung_lesion", "Lung Lesion"),
        ("No Finding", "No Finding"),
        ("Support Devices", "Support Devices"),
        ("Pleural Other", "Pleural Other"),
        ("Nodule/Mass", "Nodule/Mass"),
        ("", ""),
    ],
)
def test_aliases(name: str, expected: str) -> None:
    assert canonical_pathology(name) == expected


@given(st.text())
def test_a_canonical_name_is_its_own(name: str) -> None:
    once = canonical_pathology(name)
    assert canonical_pathology(once) == once


@given(st.dictionaries(st.sampled_from(PATHOLOGIES), st.sampled_from(LabelState)))
def test_text_and_mapping_give_the_same(states: dict[str, LabelState]) -> None:
    text = "|".join(f"{name}={state}" for name, state in states.items())
    from_text, from_mapping = ReferenceLabels.from_text(text), ReferenceLabels.coerce(states)
    assert from_text.states == from_mapping.states == states
    for name in PATHOLOGIES:
        assert from_text[name] is states.get(name, LabelState.NOT_LABELLED)


def test_what_is_not_named_is_not_labelled() -> None:
    labels = ReferenceLabels.from_text("Effusion")
    assert labels["Pleural Effusion"] is LabelState.POSITIVE
    assert labels["Mass"] is LabelState.NOT_LABELLED
    assert ReferenceLabels.coerce(None)["Mass"] is LabelState.NOT_LABELLED
    assert ReferenceLabels.coerce(["Mass"])["Mass"] is LabelState.POSITIVE
    assert ReferenceLabels.coerce(labels) is labels
    assert ReferenceLabels.from_text("") == ReferenceLabels()


@pytest.mark.parametrize(
    "one", [1, 1.0, True, np.int64(1), np.float32(1), np.bool_(True), "positive", "Positive"]
)
@pytest.mark.parametrize("blank", [None, math.nan, np.float64("nan")])
def test_cells_as_people_and_pandas_have_them(one: object, blank: object) -> None:
    labels = ReferenceLabels.coerce({"Edema": one, "Mass": blank, "Hernia": np.int64(-1), "Nodule": 0.0})
    assert [labels[name].value for name in ("Edema", "Mass", "Hernia", "Nodule")] == [
        "positive",
        "not mentioned",
        "uncertain",
        "negative",
    ]


@pytest.mark.parametrize("state", [2, "perhaps", 0.5, [1], object()])
def test_unknown_states_are_refused(state: object) -> None:
    with pytest.raises(ReferenceLabelError, match="label state"):
        ReferenceLabels.coerce({"Edema": state})
    with pytest.raises(ReferenceLabelError, match="label state"):
        ReferenceLabels({"Edema": state})  # type: ignore[dict-item]


@pytest.mark.parametrize("text", ["=positive", "Mass|=negative", "Mass=maybe", "Mass|mass=negative"])
def test_text_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ReferenceLabelError):
        ReferenceLabels.from_text(text)


def test_two_names_of_one_pathology_must_agree() -> None:
    assert ReferenceLabels.coerce({"Effusion": 1, "Pleural Effusion": 1})["Effusion"] is LabelState.POSITIVE
    with pytest.raises(ReferenceLabelError, match="two states for 'Effusion'"):
        ReferenceLabels.coerce({"Effusion": 1, "Pleural Effusion": 0})


def test_labels_are_frozen_and_can_be_copied_and_sent() -> None:
    labels = ReferenceLabels({"Mass": LabelState.POSITIVE}, (ReferenceBox("Infiltrate", 1, 2, 3, 4),), "NIH")
    with pytest.raises(TypeError):
        labels.states["Edema"] = LabelState.POSITIVE  # type: ignore[index]
    assert pickle.loads(pickle.dumps(labels)) == labels
    assert copy.deepcopy(labels) == labels
    assert labels.boxes[0].pathology == "Infiltration"


@pytest.mark.parametrize(
    "labels", [5, 1.0, b"Mass", [1, 0], ["Mass", None], {1: 1}, {None: 1}, np.array([1, 0])]
)
def test_what_is_no_list_of_names_is_refused(labels: object) -> None:
    with pytest.raises(ReferenceLabelError, match=r"found labels of type \w+, which is no list of names"):
        ReferenceLabels.coerce(labels)  # type: ignore[arg-type]


def test_tables_and_rows_of_pandas() -> None:
    """A table would be read as the names of its columns, all positive."""
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"Mass": [1], "Edema": [0]})
    for labels in (table, table.iloc[0]):
        with pytest.raises(ReferenceLabelError, match=f"found labels of type {type(labels).__name__}"):
            ReferenceLabels.coerce(labels)
    assert ReferenceLabels.coerce(dict(table.iloc[0])).states == {"Mass": "positive", "Edema": "negative"}
    assert set(ReferenceLabels.coerce(pd.Series(["Mass", "Edema"])).states) == {"Mass", "Edema"}
    assert set(ReferenceLabels.coerce(iter(["Mass"])).states) == {"Mass"}
    assert ReferenceLabels.coerce({"Mass": torch.tensor(1)}).states == {"Mass": "positive"}
    assert ReferenceLabels.coerce(math.nan).states == {}
    with pytest.raises(ReferenceLabelError, match="label state"):
        ReferenceLabels.coerce({"Mass": np.array([1, 0])})
