"""CheXlocalize's files: written and read back, as polygons and as run lengths, and files that lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from cxr_explain.errors import OptionError, OutputError, ReferenceLabelError
from cxr_explain.reference.chexlocalize import (
    CHEXLOCALIZE_NAMES,
    OutlineSet,
    read_annotations,
    read_segmentations,
    write_annotations,
    write_segmentations,
)
from cxr_explain.reference.outlines import Polygons, RunLengths

FIRST, SECOND = "patient1_study1_view1_frontal", "patient2_study1_view1_frontal"
HEART = [[10.2, 30.7], [25.0, 28.1], [33.9, 40.5], [20.4, 55.0], [9.1, 44.4]]
OPACITY = [[[50.5, 5.5], [60.0, 9.0], [52.0, 20.0]], [[5.0, 5.0], [9.0, 9.0], [1.0, 12.0]]]
ANNOTATIONS = {
    FIRST: {"img_size": [64, 80], "Cardiomegaly": [HEART], "Airspace Opacity": OPACITY},
    SECOND: {"img_size": [40, 30], "Pleural Effusion": [[[1, 2], [3, 4], [1, 9]]], "Support Devices": []},
}


def written(folder: Path, document: Any, name: str = "gt.json") -> Path:
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def as_chexlocalize_draws(size: list[int], polygons: list[Any]) -> np.ndarray:
    """Pillow's polygon on a one-bit image, width before height."""
    image = Image.new("1", (size[1], size[0]))
    for polygon in polygons:
        ImageDraw.Draw(image).polygon([tuple(point) for point in polygon], outline=1, fill=1)
    return np.array(image)


def segmentations(size: tuple[int, int] = (2, 2), counts: str = "4") -> dict[str, Any]:
    return {name: {"size": list(size), "counts": counts} for name in CHEXLOCALIZE_NAMES.values()}


def test_annotations_become_masks(tmp_path: Path) -> None:
    found = read_annotations(written(tmp_path, ANNOTATIONS))
    assert found.ids == (FIRST, SECOND)
    assert (found.shape(FIRST), found.shape(SECOND)) == ((64, 80), (40, 30))
    heart = as_chexlocalize_draws([64, 80], [HEART])
    np.testing.assert_array_equal(found.mask(FIRST, "Cardiomegaly"), heart)
    for name in ("Lung Opacity", "Airspace Opacity", "airspace opacity"):
        np.testing.assert_array_equal(found.mask(FIRST, name), as_chexlocalize_draws([64, 80], OPACITY))
    assert found.mask(SECOND, "Effusion").any()
    assert found.outline(FIRST, "Edema").is_empty
    assert not found.mask(FIRST, "Edema").any()


def test_annotations_and_segmentations_are_the_same_masks(tmp_path: Path) -> None:
    drawn = read_annotations(written(tmp_path, ANNOTATIONS))
    path = write_segmentations(tmp_path / "new" / "gt_segmentations.json", drawn)
    document = json.loads(path.read_text())
    assert set(document) == {FIRST, SECOND}
    assert list(document[FIRST]) == list(CHEXLOCALIZE_NAMES.values())
    assert document[FIRST]["Airspace Opacity"]["size"] == [64, 80]
    read = read_segmentations(path)
    for image_id in drawn.ids:
        for name in CHEXLOCALIZE_NAMES:
            np.testing.assert_array_equal(read.mask(image_id, name), drawn.mask(image_id, name))


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools and NumPy 2
def test_segmentations_are_what_pycocotools_reads(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    mask = np.random.default_rng(0).random((30, 20)) < 0.3
    path = write_segmentations(tmp_path / "p.json", OutlineSet.of_masks({FIRST: {"Effusion": mask}}))
    entry = json.loads(path.read_text())[FIRST]
    np.testing.assert_array_equal(coco.decode(entry["Pleural Effusion"]).astype(bool), mask)
    assert all(not coco.decode(entry[name]).any() for name in entry if name != "Pleural Effusion")
    assert all(coco.decode(value).shape == (30, 20) for value in entry.values())


def test_annotations_are_written_as_they_were(tmp_path: Path) -> None:
    found = read_annotations(written(tmp_path, ANNOTATIONS))
    path = write_annotations(tmp_path / "again.json", found)
    expected = {FIRST: ANNOTATIONS[FIRST], SECOND: dict(ANNOTATIONS[SECOND])}
    del expected[SECOND]["Support Devices"]  # without a polygon it is not there
    assert json.loads(path.read_text()) == expected
    assert read_annotations(path).outlines == found.outlines
    with pytest.raises(OptionError, match="polygons"):
        write_annotations(path, OutlineSet.of_masks({FIRST: {"Edema": np.ones((2, 2), bool)}}))


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    masks = OutlineSet.of_masks({FIRST: {"Edema": np.ones((2, 2), bool)}})
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_segmentations(tmp_path / "file" / "p.json", masks)


def test_masks_of_a_model_are_all_ten() -> None:
    found = OutlineSet.of_masks(
        {FIRST: {"Lung Opacity": [[True, False]], "Support Devices": [[False, True]]}}
    )
    assert set(found.outlines[FIRST]) == set(CHEXLOCALIZE_NAMES)
    assert isinstance(found.outline(FIRST, "Airspace Opacity"), RunLengths)
    assert found.mask(FIRST, "Support Devices").tolist() == [[False, True]]
    assert found.outline(FIRST, "Edema") == Polygons((1, 2), ())


@pytest.mark.parametrize(
    "masks",
    [
        {FIRST: {}},
        {FIRST: {"Edema": np.ones((2, 2), bool), "Atelectasis": np.ones((2, 3), bool)}},
        {FIRST: {"Hernia": np.ones((2, 2), bool)}},
    ],
)
def test_masks_that_do_not_fit_are_refused(masks: dict[str, Any]) -> None:
    with pytest.raises(ReferenceLabelError):
        OutlineSet.of_masks(masks)


def test_an_unknown_id_or_pathology_is_named(tmp_path: Path) -> None:
    found = read_annotations(written(tmp_path, ANNOTATIONS))
    with pytest.raises(ReferenceLabelError, match=r"gt\.json.*patient3"):
        found.mask("patient3", "Edema")
    with pytest.raises(ReferenceLabelError, match=r"gt\.json.*Hernia"):
        found.mask(FIRST, "Hernia")
    with pytest.raises(ReferenceLabelError, match="patient3"):
        found.shape("patient3")


GOOD = segmentations()
DEEP = "[" * 100_000
BOTH = [
    "",
    "{",
    "[]",
    "null",
    "3",
    "{}",
    DEEP,
    '{"a": 1' + "0" * 5000 + "}",
    '{"a": {}, "a": {}}',
    {"a": None},
    {"a": []},
    {"a": {"Hernia": []}},
]
BAD_ANNOTATIONS = [
    *BOTH,
    {"a": {"Edema": []}},
    '{"a": {"img_size": [9, 9]}, "a": {"img_size": [9, 9]}}',
    '{"a": {"img_size": [9, 9], "Edema": [], "Edema": []}}',
    *({"a": {"img_size": size}} for size in ([2], [0, 2], [-1, 2], [2.5, 2], "22", None, [10**9, 10**9])),
    *(
        {"a": {"img_size": [9, 9], "Edema": value}}
        for value in (
            None,
            3,
            "x",
            {},
            [3],
            [[3]],
            [[[1, 2]]],
            [[[1, 2], [3]]],
            [[[1, 2], ["a", 3]]],
            [[None] * 3],
        )
    ),
    '{"a": {"img_size": [9, 9], "Edema": [[[1, 2], [NaN, 2]]]}}',
    '{"a": {"img_size": [9, 9], "Edema": [[[1, 2], [Infinity, 2]]]}}',
    {"a": {"img_size": [9, 9], "Airspace Opacity": [], "Lung Opacity": []}},
]
BAD_SEGMENTATIONS = [
    *BOTH,
    {"a": {name: value for name, value in GOOD.items() if name != "Edema"}},
    *(
        {"a": {**GOOD, "Edema": value}}
        for value in (
            None,
            [],
            "4",
            {},
            {"size": [2, 2]},
            {"counts": "4"},
            {"size": [2, 2], "counts": 4},
            {"size": [2, 2], "counts": [4]},
            {"size": [2, 2], "counts": "5"},
            {"size": [10**9, 10**9], "counts": "4"},
            {"size": [4, 1], "counts": "4"},
        )
    ),
    {"a": {**GOOD, "Lung Opacity": GOOD["Edema"]}},
    {"a": {**GOOD, "img_size": [2, 2]}},
]


@pytest.mark.parametrize(
    ("read", "document"),
    [
        *((read_annotations, document) for document in BAD_ANNOTATIONS),
        *((read_segmentations, document) for document in BAD_SEGMENTATIONS),
    ],
)
def test_a_file_that_lies_is_refused_and_named(
    read: Callable[[Path], OutlineSet], document: Any, tmp_path: Path
) -> None:
    with pytest.raises(ReferenceLabelError) as raised:
        read(written(tmp_path, document, "bad.json"))
    assert str(raised.value).startswith(str(tmp_path / "bad.json"))
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize("read", [read_annotations, read_segmentations])
def test_a_file_that_is_not_there_or_no_text(read: Callable[[Path], OutlineSet], tmp_path: Path) -> None:
    (tmp_path / "image.json").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    for path in (tmp_path / "missing.json", tmp_path, tmp_path / "image.json"):
        with pytest.raises(ReferenceLabelError, match=str(path)):
            read(path)


def test_the_radiograph_that_is_wrong_is_named(tmp_path: Path) -> None:
    document = {FIRST: GOOD, SECOND: {**GOOD, "Edema": {"size": [2, 2], "counts": "9"}}}
    with pytest.raises(ReferenceLabelError, match=f"{SECOND}.* 2 x 2"):
        read_segmentations(written(tmp_path, document))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*CHEXLOCALIZE_NAMES.values(), "img_size", "size", "counts", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(json_values)
def test_any_json_is_read_or_refused(tmp_path: Path, value: Any) -> None:
    path = written(tmp_path, {"a": value})
    grown = written(tmp_path, {"a": {**GOOD, "Edema": value}}, "grown.json")
    drawn = written(tmp_path, {"a": {"img_size": [3, 3], "Edema": value}}, "drawn.json")
    for read, file in (
        (read_annotations, path),
        (read_segmentations, path),
        (read_segmentations, grown),
        (read_annotations, drawn),
    ):
        try:
            found = read(file)
        except ReferenceLabelError:
            continue
        assert found.mask("a", "Edema").shape == found.shape("a")
