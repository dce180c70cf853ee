"""Class maps in the frame of the thorax: against loops, and where peaks pile up on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binomtest, fisher_exact

from cxr_explain.audit.findings.places import rule
from cxr_explain.audit.peaks import (
    PARTS_OF_CHEST,
    PILE,
    PLACE_MEASURES,
    FramedMaps,
    framed_maps_of,
    place_entries,
)
from cxr_explain.audit.sections import sections_of
from cxr_explain.audit.statistics import statistics, statistics_of
from cxr_explain.audit.store import AuditRun
from cxr_explain.chest.thorax_frame import COARSE_CELLS, FINE_CELLS, ThoraxFrames
from cxr_explain.errors import AuditError
from cxr_explain.geometry import Geometry
from tests.audit.test_statistics import cases_of

NAMES = ("Mass", "Nodule", "Edema")
CORNER, LUNG = 0, 2 * COARSE_CELLS + 1  # beyond the upper left corner; over the thorax
PLACES = 4 * (COARSE_CELLS - 1) - (COARSE_CELLS - 2)  # around the thorax, and not below it


def framed(cells: Any, pathology: Any, at: Any = None) -> FramedMaps:
    """Peaks in these places, with maps and an even map that are all the same."""
    n, P = len(cells), len(NAMES)
    return FramedMaps(
        NAMES,
        np.arange(n) if at is None else np.asarray(at),
        np.asarray(pathology),
        np.asarray(cells),
        np.where(np.asarray(cells) == LUNG, 0, PARTS_OF_CHEST.index("outside")),
        np.ones((P, FINE_CELLS, FINE_CELLS)),
        np.full((P, COARSE_CELLS, COARSE_CELLS), 1 / COARSE_CELLS**2),
    )


def entries(maps: FramedMaps, patients: Any = None) -> dict[str | None, dict[str, Any]]:
    n = int(maps.at.max()) + 1
    cases = cases_of([0.5] * n, [0] * n, patients=patients)
    return {head["pathology"]: head for head, _ in place_entries(cases, maps)}


def test_a_marker_in_a_corner_is_found_for_its_pathology_alone() -> None:
    """Thirty patients: of Mass two thirds of the peaks are in the corner, of the others all in the lung."""
    cells = [CORNER] * 20 + [LUNG] * 10 + [LUNG] * 60
    pathology = [0] * 30 + [1] * 30 + [2] * 30
    found = entries(framed(cells, pathology, [*range(30)] * 3))
    mass = found["Mass"]["place"]
    assert mass["words"] == "upper left corner"
    assert (mass["share"], mass["others"]) == (pytest.approx(2 / 3), 0.0)
    assert mass["p"] < 1e-6
    assert found["Nodule"]["place"]["p"] == found["Edema"]["place"]["p"] == 1.0
    assert found[None]["place"]["share"] == pytest.approx(20 / 90)


def test_an_artefact_that_all_maps_share_is_found_for_all_together() -> None:
    cells = ([CORNER] * 4 + [LUNG]) * 18
    found = entries(framed(cells, [0, 1, 2] * 30))
    assert found[None]["place"]["p"] < 1e-6
    assert all(found[name]["place"]["p"] == 1.0 for name in NAMES)


def test_peaks_over_the_thorax_never_pile_up() -> None:
    found = entries(framed([LUNG] * 60, [0] * 30 + [1] * 30))
    assert all(entry["place"]["p"] == 1.0 for entry in found.values())


def test_effusions_below_the_thorax_are_no_pile() -> None:
    """Fluid hides the lower part of a lung, and the thorax as it is recognised ends above."""
    below = (COARSE_CELLS - 1) * COARSE_CELLS + 1
    found = entries(framed([below] * 30 + [LUNG] * 30, [0] * 30 + [1] * 30))
    assert all(entry["place"]["p"] == 1.0 for entry in found.values())


def test_p_is_the_larger_of_the_binomials_and_fishers_for_all_places() -> None:
    rng = np.random.default_rng(0)
    cells = np.where(rng.random(120) < 0.35, CORNER, LUNG)
    cells[60:] = np.where(rng.random(60) < 0.05, CORNER, LUNG)
    pathology = [0] * 60 + [1] * 60
    found = entries(framed(cells, pathology))["Mass"]["place"]
    k, others = int((cells[:60] == CORNER).sum()), int((cells[60:] == CORNER).sum())
    against_even = binomtest(k, 60, max(PILE, 1 / 36), alternative="greater").pvalue
    against_others = fisher_exact([[k, 60 - k], [others, 60 - others]], alternative="greater").pvalue
    assert found["p"] == pytest.approx(min(1.0, PLACES * max(against_even, against_others)))
    assert found["p"] < 0.05
    assert found["others"] == pytest.approx(others / 60)


def test_a_patient_counts_once_by_the_share_of_their_maps() -> None:
    """Patient 0 has fifty maps in the corner; nine others have three each, one of them there."""
    at = np.arange(50 + 27)
    patients = np.r_[np.zeros(50, int), np.repeat(np.arange(1, 10), 3)]
    cells = np.r_[np.full(50, CORNER), [CORNER, LUNG, LUNG] * 9]
    found = entries(framed(cells, np.zeros(77, int), at), patients)["Mass"]
    assert (found["maps"], found["patients"]) == (77, 10)
    assert Fraction(found["place"]["share"]).limit_denominator(100) == Fraction(4, 10)  # 1 + 9 / 3 of ten
    expected = binomtest(4, 10, PILE, alternative="greater").pvalue * PLACES
    assert found["place"]["p"] == pytest.approx(min(1.0, expected))


def test_no_false_alarm_more_often_than_stated() -> None:
    """Peaks that lie in the corner just as often as is still no pile, and in other places at random."""
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(200):
        cells = np.where(rng.random(40) < PILE, CORNER, rng.integers(0, COARSE_CELLS**2, 40))
        cells = np.where(rng.random(40) < 0.3, LUNG, cells)
        alarms += entries(framed(cells, np.zeros(40, int)))["Mass"]["place"]["p"] < 0.05
    assert alarms <= 10


def test_entries_have_shares_by_part_the_mean_map_and_measures() -> None:
    maps = framed([CORNER, LUNG, LUNG, LUNG], [0, 0, 1, 1])
    (every, _), (mass, measures), *_ = place_entries(cases_of([0.5] * 4, [0] * 4), maps)
    assert mass["parts"] == dict.fromkeys(PARTS_OF_CHEST, 0) | {"lung": 1, "outside": 1}
    assert np.array(mass["peaks"]).ravel()[[CORNER, LUNG]].tolist() == [1, 1]
    assert np.sum(every["peaks"]) == 4
    assert np.shape(mass["mean_map"]) == (FINE_CELLS, FINE_CELLS)
    found = dict(zip(PLACE_MEASURES, measures(np.ones((4, 1)))[:, 0].tolist(), strict=True))
    assert found == {"peak_in_lungs": 0.5, "peak_outside": 0.5, "peak_in_place": 0.5}
    assert list(place_entries(cases_of([0.5], [0]), framed(np.empty(0, int), np.empty(0, int)))) == []


def test_the_stored_maps_of_a_run_are_gathered(finished: AuditRun) -> None:
    """Image by image: the box, the peak and the mean map of each ranked pathology."""
    found = framed_maps_of(finished)
    names, record = finished.record.pathologies, finished.record
    sums, counts, seen, without = np.zeros((len(names), FINE_CELLS, FINE_CELLS)), np.zeros(len(names)), [], 0
    for at, row in enumerate(finished.results.to_pylist()):
        if row["thorax_left"] is None:
            without += 1
            continue
        box = [[row[f"thorax_{end}"] for end in ("left", "top", "right", "bottom")]]
        shape, fit = (row["height"], row["width"]), record.map_settings.fit
        geometry = Geometry.fit_square(shape, record.input_size, fit)
        frame = ThoraxFrames(
            np.array(box), np.array([(geometry.left, geometry.top, geometry.side)], float), np.array([False])
        )
        explanation = finished.case(at).explanation
        for name, values in zip(row["ranking"], explanation.class_maps, strict=True):
            if (values == values.max()).sum() != 1 or values.max() <= 0:
                continue
            number = names.index(name)
            sums[number] += frame.laid(values[None], np.array([0]))[0]
            counts[number] += 1
            i, j = np.unravel_index(values.argmax(), values.shape)
            rows, columns = frame.places(values.shape)
            seen.append((at, number, int(rows[0, i] * COARSE_CELLS + columns[0, j])))
    assert found.without_thorax == without
    assert list(zip(found.at.tolist(), found.pathology.tolist(), found.cells.tolist(), strict=True)) == seen
    for number in np.flatnonzero(counts):
        assert found.mean_maps[number] == pytest.approx(sums[number] / counts[number], rel=2e-3, abs=2e-3)
        assert found.even[number].sum() == pytest.approx(1)
    assert set(found.parts.tolist()) <= set(range(len(PARTS_OF_CHEST)))


def test_the_document_has_the_places_and_the_report_their_pictures(finished: AuditRun) -> None:
    document = statistics_of(finished).document
    everything, *others = document["places"]
    assert everything["pathology"] is None
    assert everything["maps"] == sum(each["maps"] for each in others)
    section = next(each for each in sections_of(document) if each.key == "places")
    assert len(section.tables[0].rows) == len(section.pictures) == len(document["places"])
    assert section.tables[0].rows[0].heads[0] == "All pathologies"
    assert all(picture.png.startswith(b"\x89PNG") for picture in section.pictures)
    assert "most peaks" in section.pictures[0].text
    findings = list(rule(document))
    assert [finding.kind for finding in findings] == ["place"] * len(document["places"])


def test_a_finding_names_the_place_and_what_would_be_expected() -> None:
    cells = [CORNER] * 20 + [LUNG] * 40
    maps = framed(cells, [0] * 30 + [1] * 30)
    document = statistics(cases_of([0.5] * 60, [0] * 60), framed=maps).document
    every, mass, nodule = rule(document)
    assert every.cases == {"zone": "above"}
    assert mass.cases == {"subject": "Mass", "zone": "above"}
    assert mass.text == (
        "Mass: the class maps peak in one place outside of the thorax (upper left corner) in 67 % of "
        "patients' maps (0 % for the other pathologies, 3 % for an even map). Is there a marker or another "
        "device?"
    )
    assert mass.counts == {"maps": 30, "patients": 30}
    assert mass.size == pytest.approx(2 / 3 - 1 / 36, abs=1e-3)
    assert mass.p is not None
    assert mass.p < 1e-6
    assert nodule.p == 1.0
    assert mass.estimate["value"] == pytest.approx(2 / 3)


class Rows(SimpleNamespace):
    """A run of a few rows that somebody may have edited."""

    def in_groups(self, names: tuple[str, ...]) -> Iterator[pa.Table]:
        yield self.table.slice(0, 0).select(list(names))
        yield self.table.slice(0, 1).select(list(names))
        yield self.table.slice(1).select(list(names))


def edited(finished: AuditRun, **columns: Any) -> Any:
    rows = [row | columns for row in finished.results.to_pylist() if row["thorax_left"] is not None][:3]
    return Rows(table=pa.Table.from_pylist(rows, finished.results.schema), record=finished.record)


@pytest.mark.parametrize(
    "columns",
    [
        {"ranking": ["Mass"]},
        {"ranking": ["nothing"] * 5},
        {"map_shape": [5, 0, 0]},
        {"map_shape": [5, 28, None]},
        {"map_shape": [5, -28, -28]},
        {"peak_part": ["lung"]},
        {"peak_part": None},
        {"class_maps": [np.float16("nan")] * (5 * 28 * 28)},
        {"class_maps": []},
    ],
)
def test_values_that_no_audit_writes_are_one_line(finished: AuditRun, columns: dict[str, Any]) -> None:
    with pytest.raises(AuditError, match="class maps"):
        framed_maps_of(edited(finished, **columns))


@pytest.mark.parametrize("orientation", [["R", None], ["R"], ["?", "?"], None, ["L", "F"]])
def test_an_orientation_that_says_nothing_turns_nothing(finished: AuditRun, orientation: Any) -> None:
    expected = framed_maps_of(edited(finished))
    found = framed_maps_of(edited(finished, patient_orientation=orientation))
    assert found.cells.tolist() == expected.cells.tolist()
    turned = framed_maps_of(edited(finished, patient_orientation=["R", "F"]))
    columns = expected.cells % COARSE_CELLS
    assert (turned.cells % COARSE_CELLS).tolist() == (COARSE_CELLS - 1 - columns).tolist()
    assert turned.mean_maps == pytest.approx(expected.mean_maps[..., ::-1])


def test_a_box_without_extent_is_no_box(finished: AuditRun) -> None:
    found = framed_maps_of(edited(finished, thorax_left=50.0, thorax_right=50.0))
    assert (len(found), found.without_thorax) == (0, 3)


def test_positions_go_on_from_group_to_group(finished: AuditRun) -> None:
    found = framed_maps_of(edited(finished))
    assert sorted(set(found.at.tolist())) == [0, 1, 2]
