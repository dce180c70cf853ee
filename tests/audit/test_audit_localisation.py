"""Where class maps point: known answers, full resolution, and a run's store."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from cxr_explain.audit.localisation import LOCALISATION_MEASURES, THRESHOLDS, localisation_of, locate
from cxr_explain.audit.statistics import statistics_of
from cxr_explain.audit.store import AuditRun
from cxr_explain.geometry import Geometry
from cxr_explain.measures.localisation import peak_hit, random_hit
from cxr_explain.measures.overlap import energy_in_mask
from cxr_explain.pathologies import ReferenceBox


def measured(saliency: np.ndarray, geometry: Geometry, *boxes: ReferenceBox) -> dict[str, float | None]:
    return vars(locate({"Mass": saliency}, geometry, boxes=boxes)["Mass"])


def peak_at(row: int, column: int) -> np.ndarray:
    saliency = np.zeros((8, 8))
    saliency[row, column] = 1
    return saliency


SQUARE = Geometry.fit_square((800, 800), 224)
LEFT_TOP = ReferenceBox("Mass", 0, 0, 400, 200)


def test_a_map_that_points_at_the_box_and_one_that_does_not() -> None:
    hit, miss = (measured(peak_at(*at), SQUARE, LEFT_TOP) for at in ((1, 1), (6, 6)))
    assert hit["peak_hit"] == 1
    assert hit["iobb"] > 0.5
    assert hit["energy"] > 0.8
    assert (miss["peak_hit"], miss["energy"], miss["iobb"]) == (0, 0, 0)
    for each in (hit, miss):  # the baselines do not ask the map
        assert each["random_hit"] == pytest.approx(1 / 8, abs=1e-3)
        assert each["centre_hit"] == 0


def test_boxes_of_another_pathology_do_not_count() -> None:
    found = measured(peak_at(1, 1), SQUARE, ReferenceBox("Nodule", 0, 0, 400, 200))
    assert set(found.values()) == {None}


def test_what_the_model_did_not_see_is_cut_off_both() -> None:
    """Of 800 x 400 pixels it saw the middle 400 columns: of a box of 200 columns, half is seen."""
    wide = Geometry.fit_square((400, 800), 224)
    half = measured(peak_at(1, 0), wide, ReferenceBox("Mass", 100, 0, 200, 400))
    assert half["random_hit"] == pytest.approx(1 / 4, abs=2e-3)
    assert half["peak_hit"] == half["iobb"] == 1


def test_several_boxes_are_one_finding() -> None:
    boxes = LEFT_TOP, ReferenceBox("Mass", 600, 600, 200, 200)
    for at in ((1, 1), (6, 6)):
        assert measured(peak_at(*at), SQUARE, *boxes)["peak_hit"] == 1
    assert measured(peak_at(1, 1), SQUARE, *boxes)["random_hit"] == pytest.approx(1 / 8 + 1 / 16, abs=1e-3)


def test_sampling_hardly_changes_what_is_measured() -> None:
    """Of 1024 pixels, 256 samples: shares within 1 %, and hits the same but at an edge."""
    rng = np.random.default_rng(0)
    geometry = Geometry.fit_square((1024, 1024), 224)
    hits, shares = [], []
    for _ in range(15):
        x, y, width, height = (int(each) for each in (*rng.uniform(0, 700, 2), *rng.uniform(60, 320, 2)))
        saliency = rng.normal(size=(7, 7))
        inside = np.zeros((1024, 1024), bool)
        inside[y : y + height, x : x + width] = True
        full = geometry.maps_to_radiograph(saliency)
        found = measured(saliency, geometry, ReferenceBox("Mass", x, y, width, height))
        hits.append(found["peak_hit"] - peak_hit(full, inside))
        shares.append(found["random_hit"] - random_hit(inside))
        shares.append(found["energy"] - energy_in_mask(full, inside))
    assert np.abs(shares).max() < 0.01
    assert (np.abs(hits) > 0.5).mean() < 0.1


@pytest.mark.slow
def test_nihs_880_images_take_seconds() -> None:
    rng = np.random.default_rng(0)
    geometry = Geometry.fit_square((1024, 1024), 224)
    began = time.perf_counter()
    for _ in range(880):
        measured(rng.normal(size=(7, 7)), geometry, ReferenceBox("Mass", 200, 300, 220, 180))
    assert time.perf_counter() - began < 60


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
    again = vars(locate({each.pathology: saliency}, explanation.geometry, boxes=boxes)[each.pathology])
    over = {f"iobb_{threshold}": float(again["iobb"] > threshold) for threshold in THRESHOLDS}
    expected = [{**again, **over}[name] for name in LOCALISATION_MEASURES]
    assert each.values == pytest.approx(
        [math.nan if value is None else value for value in expected], nan_ok=True
    )


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
    notes = statistics_of(finished).document["notes"]
    assert any("Localisation leaves out 1 image," in note and "1024 x 512" in note for note in notes)
