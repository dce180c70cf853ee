"""Shares of the saliency beside an even map's: what a run stores, and what its statistics make of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t, ttest_1samp

from cxr_explain.audit.findings.regions import rule
from cxr_explain.audit.rows import OF_REGIONS, PEAK_PLACES, SHARES, THORAX_BOX, UNIFORM_SHARES, places_in
from cxr_explain.audit.sections import sections_of
from cxr_explain.audit.statistics import statistics, statistics_of
from cxr_explain.audit.store import AuditRun
from cxr_explain.audit.where import LEAST_DIFFERENCE, where_columns
from cxr_explain.chest.places import peak_places
from cxr_explain.chest.regions import regions_of
from cxr_explain.chest.shares import FLAGGED_FROM, uniform_shares
from cxr_explain.measures.statistics.jackknife import LeftOut
from tests.audit.test_statistics import cases_of

COLUMNS = tuple(UNIFORM_SHARES.values())


def test_a_run_stores_an_even_maps_shares_the_thorax_and_the_places(finished: AuditRun) -> None:
    framed = 0
    for at, row in enumerate(finished.results.to_pylist()):
        case = finished.case(at)
        regions, explanation = regions_of(case.radiograph()), case.explanation
        even = uniform_shares(regions, explanation.geometry)
        for name, column in UNIFORM_SHARES.items():
            expected = getattr(even, name)
            assert row[column] == (None if expected is None else pytest.approx(expected, abs=1e-6))
        box = [row[name] for name in THORAX_BOX]
        if regions.thorax is None:
            assert box == [None] * 4
            continue
        framed += 1
        points = np.concatenate(regions.outlines["thorax"])
        assert box == pytest.approx([*points.min(axis=0), *points.max(axis=0)], rel=1e-6)
        orientation = explanation.provenance.patient_orientation
        places = peak_places(explanation.class_maps, explanation.geometry, regions, orientation=orientation)
        said = {name: str(place) for name, place in zip(row["ranking"], places, strict=True) if place}
        assert places_in(row) == said == dict(explanation.places)
        assert orientation is None  # a PNG has no header
        assert {side for side in row["peak_side"] if side} <= {"image left", "image right"}
    assert framed > len(finished.results) / 2


def test_what_is_stored_of_one_image_are_the_columns(finished: AuditRun) -> None:
    case = finished.case(0)
    columns = where_columns(regions_of(case.radiograph()), case.explanation)
    assert set(columns) == set(OF_REGIONS)
    assert all(len(columns[name]) == case.explanation.ranking.k for name in PEAK_PLACES)


def test_an_even_map_flags_nobody_and_is_no_finding() -> None:
    even = np.linspace(0, 0.95, 40)
    document = statistics(
        cases_of([0.5] * 40, [0] * 40, shares={"border": even}, uniform_shares={"border": even}),
    ).document
    (entry,) = document["where"]
    assert entry["flagged"] == 0
    assert entry["above_uniform"]["value"] == 0
    assert entry["p"] is None  # there is no spread to compare with
    assert list(rule(document)) == []


def test_differences_are_paired_and_their_p_is_students() -> None:
    """With one image a patient the jackknife's standard error is the usual one."""
    rng = np.random.default_rng(3)
    even = rng.uniform(0.3, 0.7, 30)
    share = np.clip(even + 0.04 + 0.05 * rng.normal(size=30), 0, 1)
    share[4] = even[7] = np.nan
    (entry,) = statistics(
        cases_of([0.5] * 30, [0] * 30, shares={"markers": share}, uniform_shares={"markers": even}),
    ).document["where"]
    both = ~np.isnan(share - even)
    differences = (share - even)[both]
    without = [np.delete(differences, at).mean() for at in range(len(differences))]
    freedom = LeftOut(differences.mean(keepdims=True), np.array([without])).degrees_of_freedom[0]
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    assert entry["p"] == pytest.approx(t.sf((differences.mean() - LEAST_DIFFERENCE) / error, freedom))
    usual = ttest_1samp(differences, LEAST_DIFFERENCE, alternative="greater").pvalue
    assert entry["p"] == pytest.approx(usual, rel=0.2)
    assert entry["above_uniform"]["value"] == pytest.approx((share - even)[both].mean())
    assert entry["uniform"]["value"] == pytest.approx(np.nanmean(even))
    assert (entry["images"], entry["missing"], entry["patients"]) == (29, 1, 28)
    assert entry["flagged"] == sum(
        (a - b) / (1 - b) >= FLAGGED_FROM for a, b in zip(share[both], even[both], strict=True)
    )


def test_many_images_of_a_patient_are_no_more_than_the_patient() -> None:
    share, even = np.array([0.30, 0.34, 0.28, 0.26]), np.full(4, 0.2)
    given = {"shares": {"border": share}, "uniform_shares": {"border": even}}
    (alone,) = statistics(cases_of([0.5] * 4, [0] * 4, **given)).document["where"]
    repeated = {name: {"border": np.repeat(columns["border"], 25)} for name, columns in given.items()}
    patients = np.repeat(np.arange(4), 25)
    (together,) = statistics(cases_of([0.5] * 100, [0] * 100, patients=patients, **repeated)).document[
        "where"
    ]
    assert together["p"] == pytest.approx(alone["p"])


def test_one_patient_has_no_p() -> None:
    share = {"border": np.array([0.4, 0.5])}
    cases = cases_of(
        [0.5] * 2, [0] * 2, patients=[0, 0], shares=share, uniform_shares={"border": share["border"] / 2}
    )
    (entry,) = statistics(cases).document["where"]
    assert entry["p"] is None
    assert list(rule({"where": [entry]})) == []


def test_shares_are_means_with_quantiles() -> None:
    share, even = np.array([0.0, 0.25, 0.5, 1.0, np.nan]), np.full(5, 0.25)
    cases = cases_of(
        [0.5] * 5, [0] * 5, patients=[0, 0, 1, 2, 3],
        shares={"border": share, "markers": share * np.nan},
        uniform_shares={"border": even, "markers": even},
    )  # fmt: skip
    border, markers = statistics(cases).document["where"]
    assert (border["images"], border["missing"], border["flagged"]) == (4, 1, 2)  # (0.5 - 0.25) / 0.75 = 1/3
    assert border["flagged_from"] == FLAGGED_FROM
    assert border["estimate"]["value"] == np.nanmean(share)
    assert border["quantiles"] == {
        str(q): pytest.approx(np.nanquantile(share, q)) for q in (0.05, 0.25, 0.5, 0.75, 0.95)
    }
    assert (markers["images"], markers["missing"], markers["flagged"]) == (0, 5, 0)
    assert markers["estimate"]["value"] is None
    assert markers["p"] is None
    assert set(markers["quantiles"].values()) == {None}


def test_findings_of_regions_name_both_shares_and_the_queue() -> None:
    rng = np.random.default_rng(1)
    even = np.full(60, 0.6)
    share = even + 0.2 + 0.02 * rng.normal(size=60)
    shares = {"outside_thorax": share, "outside_lungs": share, "markers": even / 10 + share / 100}
    uniform = {"outside_thorax": even, "outside_lungs": even, "markers": even / 10}
    document = statistics(cases_of([0.5] * 60, [0] * 60, shares=shares, uniform_shares=uniform)).document
    thorax, markers = rule(document)  # heart and mediastinum lie outside of the lungs
    assert thorax.kind == "region"
    assert thorax.cases == {"queue": "outside"}
    assert thorax.p is not None
    assert thorax.p < 1e-6 < (markers.p or 0)
    assert f"{share.mean():.3f}, against 0.600" in thorax.text
    assert f"{int((share >= 0.7).sum())} of 60 images are flagged" in thorax.text
    assert thorax.size == pytest.approx((share - even).mean())
    assert markers.cases == {"queue": "edges"}


def test_the_table_has_the_even_map_beside_the_share(finished: AuditRun) -> None:
    document = statistics_of(finished).document
    section = next(each for each in sections_of(document) if each.key == "where")
    (table,) = section.tables
    assert table.estimate_heads == ("Mean", "Even map", "Above an even map")
    assert len(table.rows) == len(SHARES)
    row = table.rows[0]
    assert row.estimates[1].value == document["where"][0]["uniform"]["value"]
    assert "25 % or more" in section.basis[0]


def test_a_run_without_regions_stores_none(finished: AuditRun) -> None:
    """As the columns are written where nobody asked for regions."""
    from cxr_explain.audit.rows import explained_row
    from cxr_explain.explaining.explainer import Explained

    case = finished.case(0)
    bare = replace(case.explanation, radiograph=None)
    row = explained_row(0, "a", Explained(case.radiograph().without_pixels(), bare))
    assert [row[name] for name in OF_REGIONS] == [None] * len(OF_REGIONS)
    assert places_in(row) == {}
