"""Where class maps point: known answers, the package's own measures at full resolution, and a run's store."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from cxr_explain.audit.localisation import LOCALISATION_MEASURES, Field, localisation_of, locate, pointing
from cxr_explain.audit.statistics import statistics_of
from cxr_explain.audit.store import AuditRun
from cxr_explain.geometry import Geometry
from cxr_explain.measures.boxes import iobb, map_boxes
from cxr_explain.measures.localisation import centre_hit, peak_hit, random_hit
from cxr_explain.measures.overlap import energy_in_mask
from cxr_explain.pathologies import ReferenceBox


def measured(
    saliency: np.ndarray, geometry: Geometry, *boxes: ReferenceBox, **more: object
) -> dict[str, float]:
    values = locate({"Mass": saliency.astype(np.float32)}, geometry, boxes=boxes, **more)["Mass"]  # type: ignore[arg-type]
    return dict(zip(LOCALISATION_MEASURES, values, strict=True))


def peak_at(row: int, column: int) -> np.ndarray:
    saliency = np.zeros((8, 8))
    saliency[row, column] = 1
    return saliency


SQUARE = Geometry.fit_square((800, 800), 224)
LEFT_TOP = ReferenceBox("Mass", 0, 0, 400, 200)


def test_a_map_that_points_at_the_box_and_one_that_does_not() -> None:
    hit, miss = (measured(peak_at(*at), SQUARE, LEFT_TOP) for at in ((1, 1), (6, 6)))
    assert (hit["peak_hit"], hit["iobb_0.1"], hit["iobb_0.5"]) == (1, 1, 1)
    assert hit["energy"] > 0.8
    assert (miss["peak_hit"], miss["energy"], miss["iobb_0.1"], miss["iobb_0.5"]) == (0, 0, 0, 0)
    for each in (hit, miss):  # the baselines do not ask the map
        assert each["random_hit"] == pytest.approx(1 / 8, abs=1e-3)
        assert each["centre_hit"] == 0


def test_a_constant_map_is_worth_what_chance_is_worth() -> None:
    found = measured(np.ones((8, 8)), SQUARE, LEFT_TOP)
    assert found["peak_hit"] == found["energy"] == found["random_hit"]
    assert found["iobb_0.1"] == 0  # no region, no box


def test_a_map_without_saliency_misses() -> None:
    found = measured(-np.ones((8, 8)), SQUARE, LEFT_TOP)
    assert (found["peak_hit"], found["energy"]) == (0, 0)


def test_boxes_of_another_pathology_do_not_count() -> None:
    found = measured(peak_at(1, 1), SQUARE, ReferenceBox("Nodule", 0, 0, 400, 200))
    assert all(math.isnan(value) for value in found.values())


def test_what_the_model_did_not_see_is_cut_off_both() -> None:
    """Of 800 x 400 pixels it saw the middle 400 columns: a box of 100 columns to their left is not seen."""
    wide = Geometry.fit_square((400, 800), 224)
    unseen = measured(peak_at(1, 1), wide, ReferenceBox("Mass", 50, 0, 100, 400))
    assert all(math.isnan(value) for value in unseen.values())
    half = measured(peak_at(1, 0), wide, ReferenceBox("Mass", 100, 0, 200, 400))
    assert half["random_hit"] == pytest.approx(1 / 4, abs=2e-3)
    assert half["peak_hit"] == half["iobb_0.5"] == 1


def test_several_boxes_are_one_finding() -> None:
    boxes = LEFT_TOP, ReferenceBox("Mass", 600, 600, 200, 200)
    for at in ((1, 1), (6, 6)):
        assert measured(peak_at(*at), SQUARE, *boxes)["peak_hit"] == 1
    assert measured(peak_at(1, 1), SQUARE, *boxes)["random_hit"] == pytest.approx(1 / 8 + 1 / 16, abs=1e-3)


def test_a_mask_alone_has_no_iobb() -> None:
    mask = np.zeros((800, 800), bool)
    mask[:200, :400] = True
    found = measured(peak_at(1, 1), SQUARE, masks={"Mass": mask})
    boxed = measured(peak_at(1, 1), SQUARE, LEFT_TOP)
    for name in LOCALISATION_MEASURES[:4]:
        assert found[name] == boxed[name]
    assert math.isnan(found["iobb_0.1"])
    assert math.isnan(found["iobb_0.5"])
    empty = measured(peak_at(1, 1), SQUARE, masks={"Mass": np.zeros((800, 800), bool)})
    assert all(math.isnan(value) for value in empty.values())


@pytest.mark.parametrize("shape", [(40, 40), (30, 50), (51, 40)])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_small_radiographs_are_measured_pixel_by_pixel(shape: tuple[int, int], fit: str) -> None:
    """Without sampling, the field is that of `Geometry.maps_to_radiograph`, cut to the pixels seen."""
    rng = np.random.default_rng(sum(shape))
    geometry = Geometry.fit_square(shape, 224, fit)  # type: ignore[arg-type]
    saliency = rng.normal(size=(7, 7)).astype(np.float32)
    box = ReferenceBox("Mass", 10.3, 4.6, 21.2, 17.9)
    inside = np.zeros(shape, bool)
    for i in range(shape[0]):
        for j in range(shape[1]):
            inside[i, j] = 10.3 <= j + 0.5 < 31.5 and 4.6 <= i + 0.5 < 22.5
    left, top, right, bottom = geometry.seen_box
    seen = geometry.maps_to_radiograph(saliency)[top:bottom, left:right]
    mask = inside[top:bottom, left:right]
    corners = np.clip([10.3, 4.6, 31.5, 22.5], (left, top) * 2, (right, bottom) * 2) - (left, top) * 2
    best = iobb(map_boxes(seen), corners[None]).max(initial=0)
    expected = [peak_hit(seen, mask), random_hit(mask), centre_hit(mask), energy_in_mask(seen, mask)]
    found = measured(saliency, geometry, box)
    assert list(found.values()) == pytest.approx([*expected, float(best > 0.1), float(best > 0.5)])


def test_sampling_hardly_changes_what_is_measured() -> None:
    """Of 1024 pixels, 512 samples: shares within 1 %, and hits the same but at an edge."""
    rng = np.random.default_rng(0)
    geometry = Geometry.fit_square((1024, 1024), 224)
    differences = []
    for _ in range(15):
        x, y, width, height = *rng.uniform(0, 700, 2), *rng.uniform(60, 320, 2)
        saliency = rng.normal(size=(7, 7))
        box = ReferenceBox("Mass", x, y, width, height)
        coarse = measured(saliency, geometry, box)
        full = measured(saliency, geometry, box, samples=1024)
        differences.append([coarse[name] - full[name] for name in LOCALISATION_MEASURES])
    away = np.abs(differences)
    assert away[:, 1].max() < 0.01
    assert away[:, 3].max() < 0.01
    assert (away > 0.5).mean() < 0.01


def test_the_field_holds_no_more_samples_than_asked_and_no_more_than_pixels() -> None:
    assert Field.of(Geometry.fit_square((3000, 2000), 224)).shape == (512, 341)
    assert Field.of(Geometry.fit_square((100, 80), 224)).shape == (100, 80)


@pytest.mark.slow
def test_nihs_880_images_take_seconds() -> None:
    rng = np.random.default_rng(0)
    geometry = Geometry.fit_square((1024, 1024), 224)
    began = time.perf_counter()
    for _ in range(880):
        measured(rng.normal(size=(7, 7)), geometry, ReferenceBox("Mass", 200, 300, 220, 180))
    assert time.perf_counter() - began < 60


def test_pointing_is_not_estimable_for_an_empty_mask() -> None:
    found = pointing(np.ones((4, 4), np.float32), np.zeros((4, 4), bool), np.empty((0, 4)))
    assert all(math.isnan(value) for value in found)


def test_every_outlined_pathology_of_a_run_is_located(finished: AuditRun) -> None:
    located = localisation_of(finished).located
    expected = {
        (at, name)
        for at, row in enumerate(finished.results.to_pylist())
        for name in row["reference_pathologies"]
    }
    assert {(each.at, each.pathology) for each in located} == expected
    assert len(located) == len(expected) > 0
    each = located[0]
    explanation = finished.case(each.at).reference_explanation
    assert explanation is not None
    saliency = explanation.class_maps[explanation.ranking.pathologies.index(each.pathology)]
    shape = explanation.geometry.radiograph_shape
    boxes = finished.manifest[each.at].boxes_in(shape)
    again = locate({each.pathology: saliency}, explanation.geometry, boxes=boxes)
    assert again[each.pathology] == pytest.approx(each.values, nan_ok=True)


def test_an_image_whose_boxes_do_not_fit_is_left_out_and_told(
    finished: AuditRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at in range(len(finished.manifest)):
        if finished.manifest[at].boxes:
            monkeypatch.setitem(finished.manifest.box_spaces, at, (1024, 512))  # type: ignore[arg-type]
            break
    found = localisation_of(finished)
    assert len(found.left_out) == 1
    assert all(each.at != at for each in found.located)
    notes = statistics_of(finished, resamples=10).document["notes"]
    assert any("Localisation leaves out 1 image," in note and "1024 x 512" in note for note in notes)
