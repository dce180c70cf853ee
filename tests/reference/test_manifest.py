"""A manifest's columns and rows."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from cxr_explain.errors import ManifestError, ReferenceLabelError
from cxr_explain.pathologies import LabelState, ReferenceBox
from cxr_explain.reference import STATE_CODES, Entry, Manifest, MaskReference


def small() -> Manifest:
    return Manifest(
        ["a", "b", "c"],
        ["x/a.png", "x/b.png", "c.png"],
        pathologies=["Pleural Effusion", "Edema"],
        states=[[1, -3], [0, -1], [-2, 1]],
        patients=["1", "1", ""],
        views=["PA", None, "lateral"],
        sexes=["F", None, "M"],
        ages=[57.5, None, 0.0],
        splits=["test", "train", "test"],
        label_sources=["table one", "table two", ""],
        boxes={0: (ReferenceBox("Pleural effusion", 1, 2, 3, 4),)},
        box_spaces={0: (100, 50)},
        masks={2: {"edema": MaskReference("png", "m/c.png")}},
        extra={"scanner": ["X", "", "Y"]},
    )


def test_a_row_is_an_entry() -> None:
    first, second, third = small()
    assert (first.image_id, first.path, first.patient, first.view) == ("a", "x/a.png", "1", "PA")
    assert (first.sex, first.age, first.split, first.line) == ("F", 57.5, "test", 2)
    assert first.labels.states == {"Effusion": LabelState.POSITIVE}
    assert first.labels["Edema"] is LabelState.NOT_LABELLED
    assert first.labels.source == "table one"
    assert first.labels.boxes == ()
    assert first.boxes == (ReferenceBox("Effusion", 1, 2, 3, 4),)
    assert first.extra == {"scanner": "X"}
    assert second.labels.states == {"Effusion": LabelState.NEGATIVE, "Edema": LabelState.UNCERTAIN}
    assert (second.sex, second.age, second.view, second.box_space) == (None, None, None, None)
    assert third.labels["Effusion"] is LabelState.NOT_MENTIONED
    assert (third.patient, third.age, list(third.masks)) == (None, 0.0, ["Edema"])
    assert small()[-1] == third
    with pytest.raises(IndexError):
        small()[3]


def test_the_codes_are_the_contract() -> None:
    named = {str(state): code for state, code in STATE_CODES.items()}
    assert named == {"positive": 1, "negative": 0, "uncertain": -1, "not mentioned": -2, "not labelled": -3}


def test_columns_as_a_whole() -> None:
    manifest = small()
    assert len(manifest) == 3
    assert manifest.states.dtype == np.int8
    assert not manifest.states.flags.writeable
    assert manifest.patients == ("1", "1", None)
    assert manifest.rows_with_boxes == (0,)
    assert manifest.source == "table one; table two"
    assert "3 images, 2 pathologies" in repr(manifest)
    assert manifest.states_of(["Edema", "Hernia", "Effusion"]).tolist() == [
        [-3, -3, 1],
        [-1, -3, 0],
        [1, -3, -2],
    ]
    assert pickle.loads(pickle.dumps(manifest)) == manifest


def test_equality_sees_every_column() -> None:
    assert small() == small()
    assert hash(small()) == hash(small())
    assert small() != "another thing"
    assert small().select([0, 1]) != small()
    assert small() != Manifest(small().ids, small().paths)


def test_selected_rows_keep_what_belongs_to_them() -> None:
    manifest = small().select([2, 0])
    assert (manifest.ids, manifest.states.tolist()) == (("c", "a"), [[-2, 1], [1, -3]])
    assert manifest[1].boxes == small()[0].boxes
    assert manifest[1].box_space == (100, 50)
    assert manifest[0].masks == small()[2].masks
    assert len(small().select([])) == 0


def test_manifests_one_after_the_other() -> None:
    other = Manifest(
        ["d"], ["d.png"], pathologies=["Mass"], states=[[1]], boxes={0: (ReferenceBox("Mass", 0, 0, 1, 1),)}
    )
    both = small().followed_by(other)
    assert both.pathologies == ("Effusion", "Edema", "Mass")
    assert both.states.tolist() == [[1, -3, -3], [0, -1, -3], [-2, 1, -3], [-3, -3, 1]]
    assert both[3].boxes == other[0].boxes
    assert both.extra["scanner"] == ("X", "", "Y", "")
    with pytest.raises(ManifestError, match="'a' again, after line 2"):
        small().followed_by(small())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": ["a", "a"]}, "line 3: the image_id 'a' again, after line 2"),
        ({"ids": ["a", " "]}, "line 3: no image_id"),
        ({"ids": ["a", "b\nc"]}, "line 3: the image_id 'b"),
        ({"ids": ["a", "b" * 300]}, "line 3: the image_id"),
        ({"paths": ["a.png", "../b.png"]}, "line 3: the path '../b.png', which has a part '..'"),
        ({"sexes": ["F", "female"]}, "line 3: the sex 'female'"),
        ({"ages": [1, 151]}, "line 3: the age 151"),
        ({"ages": [1, math.nan]}, "line 3: the age nan"),
        ({"ages": [1, -1]}, "line 3: the age -1"),
        ({"patients": ["1", "\x00"]}, "line 3: the patient"),
        ({"patients": ["1", "\ud800"]}, "line 3: the patient"),
        ({"views": ["1", "x" * 131_073]}, "line 3: the view"),
        ({"ages": [1]}, "columns of other lengths {'age': 1}; expected 2 rows"),
        ({"pathologies": ["Mass"], "states": [[1]]}, r"states of shape \(1, 1\); expected \(2, 1\)"),
        ({"pathologies": ["Mass"], "states": [[1], [7]]}, "an unknown state code"),
        (
            {"pathologies": ["Effusion", "Pleural Effusion"], "states": [[1, 1]] * 2},
            "two columns 'label:Effusion'",
        ),
        ({"extra": {"age": ["1", "2"]}}, "two columns 'age'"),
        ({"extra": {"label:x": ["1", "2"]}}, "a column named 'label:x'"),
        ({"extra": {" x": ["1", "2"]}}, "a column named ' x'"),
        ({"boxes": {5: (ReferenceBox("Mass", 0, 0, 1, 1),)}}, "a row that is not there"),
        ({"boxes": {1: (ReferenceBox("Mass", 0, 0, 0, 1),)}}, "line 3: the box 'Mass' at x=0, y=0, width=0"),
        ({"boxes": {1: (ReferenceBox("Mass", 0, -1, 2, 2),)}}, "line 3: the box"),
        ({"boxes": {1: (ReferenceBox("Mass", 0, 0, math.inf, 2),)}}, "line 3: the box"),
        (
            {"boxes": {1: (ReferenceBox("Mass", 0, 0, 12, 2),)}, "box_spaces": {1: (10, 10)}},
            "line 3: the box .* not in its space",
        ),
        ({"box_spaces": {1: (0, 10)}}, "line 3: the box space"),
    ],
)
def test_what_a_manifest_may_not_hold(change: dict, message: str) -> None:
    columns = {"ids": ["a", "b"], "paths": ["a.png", "b.png"]} | change
    with pytest.raises(ManifestError, match=message):
        Manifest(columns.pop("ids"), columns.pop("paths"), **columns)


def test_all_problems_are_said_at_once() -> None:
    ids = ["a", "a", *(f"i{n}" for n in range(30))]
    paths = ["/a.png", "b.png", *("" for _ in range(30))]
    with pytest.raises(ManifestError) as caught:
        Manifest(ids, paths, ages=[200.0] * 32)
    text = str(caught.value)
    assert text.startswith("line 2: the age 200")
    assert text.count("; line") == 19
    assert text.endswith(f" and {32 + 1 + 1 + 30 - 20} more.")


@pytest.mark.parametrize("scale", [0.5, 1, 2])
def test_boxes_are_scaled_to_a_copy(scale: float) -> None:
    entry = Entry("a", "a.png", boxes=(ReferenceBox("Mass", 100, 200, 40, 20),), box_space=(1000, 800))
    (box,) = entry.boxes_in((round(800 * scale), round(1000 * scale)))
    assert (box.x, box.y, box.width, box.height) == (100 * scale, 200 * scale, 40 * scale, 20 * scale)


def test_boxes_of_a_copy_whose_side_was_rounded() -> None:
    """CheXpert-small has 390 x 320 of 2828 x 2320: the shorter side would be 319.93."""
    entry = Entry("a", "a.png", boxes=(ReferenceBox("Mass", 28, 2000, 2800, 320),), box_space=(2828, 2320))
    (box,) = entry.boxes_in((320, 390))
    assert (box.x, box.width) == pytest.approx((28 * 390 / 2828, 2800 * 390 / 2828))
    assert (box.y, box.height) == pytest.approx((2000 * 320 / 2320, 320 * 320 / 2320))
    for shape in ((322, 390), (320, 394), (390, 320), (320, 320)):
        with pytest.raises(ReferenceLabelError, match="a: found boxes in 2828 x 2320 pixels"):
            entry.boxes_in(shape)


def test_boxes_in_the_images_own_pixels_must_be_in_the_image() -> None:
    entry = Entry("a", "a.png", boxes=(ReferenceBox("Mass", 10, 10, 30, 30),))
    assert entry.boxes_in((40, 40)) == entry.boxes
    assert entry.boxes_in((39, 39)) == entry.boxes  # drawn to the far edge of the last pixel
    with pytest.raises(ReferenceLabelError, match="the box 'Mass' at x=10"):
        entry.boxes_in((38, 40))
    assert Entry("a", "a.png").boxes_in((1, 1)) == ()
