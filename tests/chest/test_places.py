"""Words for a place: by hand on drawn lungs, and against the anatomy of phantoms."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from benchmarks.regions_accuracy import PARTS, place_confusion, true_parts
from cxr_explain.chest.lungs_and_thorax import LungsAndThorax
from cxr_explain.chest.places import ChestPlace, peak_places, places_of
from cxr_explain.chest.regions import Regions, regions_of
from cxr_explain.geometry import Geometry
from cxr_explain.phantom import Patient, Side, render, sample_patient, to_radiograph
from cxr_explain.radiograph import Radiograph

RIGHT_ON_LEFT, LEFT_ON_LEFT = ("L", "F"), ("R", "F")
SEEDS = (3, 5, 14, 42)


def drawn(*, markers: bool = True) -> Regions:
    """Two lungs of 20 x 60 cells, from row 20 to 79, in a radiograph of 200 pixels and 100 cells."""
    corners = [(20, 40), (60, 80)]
    outlines = tuple(
        np.array([(left, 20.0), (right, 20.0), (right, 80.0), (left, 80.0)]) for left, right in corners
    )
    chest = LungsAndThorax.within(outlines, (100, 100))
    marked = np.zeros((100, 100), bool)
    marked[2:6, 2:6] = markers
    return Regions(
        shape=(100, 100), radiograph_shape=(200, 200), lungs=chest.lungs, thorax=chest.thorax,
        markers=marked, inside=(0, 0, 200, 200), reasons={},
        outlines={"lungs": outlines, "thorax": (chest.thorax_outline * 2,), "markers": ()},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ((30, 25), ChestPlace("lung", "right", "upper")),
        ((30, 39), ChestPlace("lung", "right", "upper")),
        ((30, 40), ChestPlace("lung", "right", "middle")),
        ((70, 59), ChestPlace("lung", "left", "middle")),
        ((70, 60), ChestPlace("lung", "left", "lower")),
        ((50, 30), ChestPlace("mediastinum")),
        ((45, 65), ChestPlace("heart")),
        ((30, 80.5), ChestPlace("diaphragm", "right")),
        ((70, 80.5), ChestPlace("diaphragm", "left")),
        ((19, 30), ChestPlace("chest wall", "right", "upper")),
        ((81, 70), ChestPlace("chest wall", "left", "lower")),
        ((3, 3), ChestPlace("marker", "right", "above")),
        ((9, 50), ChestPlace("outside", "right", "beside")),
        ((50, 3), ChestPlace("outside", "left", "above")),
        ((50, 97), ChestPlace("outside", "left", "below")),
        ((-4, -8), ChestPlace("outside", "right", "above")),  # in the margin that `fit="pad"` adds
        ((104, 50), ChestPlace("outside", "left", "beside")),
    ],
)
def test_places_between_two_drawn_lungs(cell: tuple[float, float], expected: ChestPlace) -> None:
    point = ((cell[0] + 0.5) * 2, (cell[1] + 0.5) * 2)
    assert places_of([point], drawn(), orientation=RIGHT_ON_LEFT) == [expected]


@pytest.mark.parametrize(
    ("orientation", "left", "right"),
    [
        (RIGHT_ON_LEFT, "right", "left"),
        (LEFT_ON_LEFT, "left", "right"),
        (("LA", "F"), "right", "left"),
        (("R", "H"), "left", "right"),
        (None, "image left", "image right"),
        (("A", "F"), "image left", "image right"),  # of a lateral view
        (("F", "L"), "image left", "image right"),
        (("?", ""), "image left", "image right"),
    ],
)
def test_a_side_is_the_patients_where_the_header_says_it(
    orientation: tuple[str, str] | None, left: str, right: str
) -> None:
    found = places_of([(60, 100), (140, 100)], drawn(), orientation=orientation)
    assert [place.side for place in found if place] == [left, right]


def test_words() -> None:
    words = {
        str(ChestPlace("lung", "image left", "upper")): "lung, upper zone, image left",
        str(ChestPlace("diaphragm", "left")): "left diaphragm",
        str(ChestPlace("heart")): "heart",
        str(ChestPlace("chest wall", "right", "lower")): "right chest wall, lower zone",
        str(ChestPlace("marker", "right")): "on a marker or text, right side",
        str(ChestPlace("marker", "image left", "above")): "on a marker or text, above the thorax, image left",
        str(ChestPlace("outside", "left", "below")): "outside the thorax, below it, left side",
    }
    assert list(words) == list(words.values())


def test_a_segmented_heart_takes_the_place_of_the_rule() -> None:
    heart = np.zeros((100, 100), bool)
    heart[25:40, 45:70] = True  # higher than the rule has it, and before the lung on the image's right
    regions = replace(drawn(), heart=heart)
    points = [((x + 0.5) * 2, (y + 0.5) * 2) for x, y in ((50, 30), (65, 30), (50, 65), (75, 30))]
    assert [place and place.part for place in places_of(points, regions)] == [
        "heart", "heart", "mediastinum", "lung",
    ]  # fmt: skip


def test_the_heart_comes_with_the_lungs_of_a_segmentation() -> None:
    _, radiograph, _ = phantom(3)
    lungs = regions_of(radiograph).lungs
    right, left, heart = lungs.copy(), lungs.copy(), np.zeros_like(lungs)
    right[:, 96:], left[:, :96] = False, False
    heart[100:140, 80:120] = True
    masks = {"Right Lung": right, "Left Lung": left}
    assert regions_of(radiograph, segment=lambda _: masks).heart is None
    found = regions_of(radiograph, segment=lambda _: masks | {"Heart": heart})
    assert found.heart is not None
    assert (found.heart == heart).all()


def test_nothing_is_said_without_lungs() -> None:
    nothing = replace(drawn(), lungs=None, thorax=None)
    assert places_of([(10, 10)], nothing) == [None]
    one_lung = drawn().lungs.copy()
    one_lung[:, 50:] = False
    one_lung[:, :30] = False
    one_lung[:, 31:] = False  # one column, which has no middle to lie beside
    assert places_of([(10, 10)], replace(drawn(), lungs=one_lung)) == [None]


def test_peaks_are_the_middles_of_single_strongest_cells() -> None:
    maps = np.zeros((4, 10, 10))
    maps[0, 3, 2] = 0.5  # cell (25, 35)
    maps[1, 3, 2] = maps[1, 3, 7] = 1.0
    maps[2] = -1.0
    maps[3, 0, 0] = 2.0
    found = peak_places(maps, Geometry.fit_square((200, 200), 224), drawn(markers=False), orientation=None)
    assert found == [
        ChestPlace("lung", "image left", "upper"), None, None, ChestPlace("outside", "image left", "above"),
    ]  # fmt: skip


@lru_cache(maxsize=len(SEEDS))
def phantom(seed: int) -> tuple[Patient, Radiograph, Regions]:
    patient = replace(sample_patient(seed), collimation=(0.0, 0.0, 0.0, 0.0))
    radiograph = to_radiograph(render(patient, (), size=256))
    return patient, radiograph, regions_of(radiograph)


@pytest.mark.parametrize("seed", SEEDS)
def test_places_of_phantoms_are_those_of_their_anatomy(seed: int) -> None:
    patient, radiograph, regions = phantom(seed)
    counts = place_confusion(true_parts(patient, (), 256), radiograph, regions)
    right = {part: counts[part, part] / sum(counts[part, found] for found in PARTS) for part in PARTS}
    assert right["lung"] > 0.85
    assert right["heart"] > 0.7  # with the mediastinum
    assert right["diaphragm"] > 0.5
    assert right["outside"] > 0.85


@pytest.mark.parametrize("seed", SEEDS)
def test_the_side_is_that_of_the_phantoms_lung(seed: int) -> None:
    patient, radiograph, regions = phantom(seed)
    mirrored = Radiograph.from_array(np.ascontiguousarray(radiograph.pixels[:, ::-1]))
    in_mirror = regions_of(mirrored)
    for side, name in ((Side.RIGHT, "right"), (Side.LEFT, "left")):
        rows, columns = np.nonzero(true_parts(patient, (), 256, side=side) == "lung")
        middle = (float(np.median(columns)) + 0.5, float(np.median(rows)) + 0.5)
        (found,) = places_of([middle], regions, orientation=radiograph.patient_orientation)
        assert found
        assert (found.part, found.side) == ("lung", name)
        (turned,) = places_of([(256 - middle[0], middle[1])], in_mirror, orientation=LEFT_ON_LEFT)
        assert turned
        assert (turned.part, turned.side) == ("lung", name)
        (unknown,) = places_of([middle], regions)
        assert unknown
        assert unknown.side == ("image left" if side is Side.RIGHT else "image right")


@pytest.mark.parametrize("view", ["AP", "PA", "LL"])
def test_the_view_is_no_side(view: str) -> None:
    _, radiograph, _ = phantom(3)
    seen = replace(radiograph, view=view, patient_orientation=None)
    maps = np.zeros((1, 7, 7))
    maps[0, 3, 1] = 1
    geometry = Geometry.fit_square(seen.shape, 224)
    (found,) = peak_places(maps, geometry, regions_of(seen))
    assert found == (None if view == "LL" else ChestPlace("lung", "image left", "middle"))
