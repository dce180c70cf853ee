"""The rows as columns, against a slow reading of the same tables."""

from __future__ import annotations

import base64
import math
from dataclasses import replace

import numpy as np
import pytest
from synthetic_audit import OUTPUTS, POINTS, SyntheticAudit

from cxr_explain.pages.audit_report.listing import Listing


@pytest.fixture(scope="module")
def audit() -> SyntheticAudit:
    return SyntheticAudit(rows=40, failed=(0, 17, 39))


@pytest.fixture(scope="module")
def listing(audit: SyntheticAudit) -> Listing:
    return Listing.of(audit)


def test_rows_are_in_the_manifests_order_with_failures_among_them(
    audit: SyntheticAudit, listing: Listing
) -> None:
    assert listing.rows.tolist() == list(range(40))
    assert listing.ids == [f"patient{row:06d}_study1_view1_frontal" for row in range(40)]
    assert [at for at in range(40) if listing.positions[at] < 0] == [0, 17, 39]
    for at, position in enumerate(listing.positions.tolist()):
        if position >= 0:
            assert audit.results["row"][position].as_py() == listing.rows[at]
    assert sorted(listing.failures) == [0, 17, 39]
    assert listing.failures[17][0] == "corrupt-image"


def test_every_cell_is_that_of_its_row(audit: SyntheticAudit, listing: Listing) -> None:
    by_row = {row["row"]: row for row in audit.results.to_pylist()}
    for at, row in enumerate(listing.rows.tolist()):
        for p, name in enumerate(OUTPUTS):
            if row not in by_row:
                assert math.isnan(listing.probabilities[at, p])
                assert listing.above[at, p] == -1
                assert not listing.disagrees[at, p]
                continue
            probability = by_row[row][f"probability {name}"]
            assert listing.probabilities[at, p] == probability
            point = POINTS[p]
            assert listing.above[at, p] == (-1 if point is None else int(probability >= point))
            expected = (
                math.nan if point is None else by_row[row][f"logit {name}"] - math.log(point / (1 - point))
            )
            assert listing.distance[at, p] == pytest.approx(expected, nan_ok=True)
        if row in by_row:
            ranked = [OUTPUTS[output] for output in listing.ranking[at] if output >= 0]
            assert ranked == by_row[row]["ranking"]
            assert listing.shares["border"][at] == by_row[row]["border"]


def test_reference_labels_are_found_by_their_canonical_name() -> None:
    audit = SyntheticAudit(rows=6, labelled=("Pleural Effusion", "Support Devices"), failed=())
    listing = Listing.of(audit)
    assert (listing.output_states[:, 0] == audit.manifest.states[:, 0]).all()
    assert (listing.output_states[:, 1:] == -3).all()


def test_disagreement_needs_an_operating_point_and_a_decided_label(
    audit: SyntheticAudit, listing: Listing
) -> None:
    for at in range(len(listing)):
        for p in range(len(OUTPUTS)):
            state, above = int(listing.output_states[at, p]), int(listing.above[at, p])
            assert listing.disagrees[at, p] == (state in (0, 1) and above in (0, 1) and state != above)


def test_labels_agree_as_what_they_count_as() -> None:
    """Uncertain as positive, blanks as negative, and "No Finding" against all but devices."""
    n = 300
    audit = SyntheticAudit(
        rows=n,
        outputs=("Effusion", "Mass", "Support Devices"),
        extra={"No Finding": ["1.0" if row % 3 == 0 else "" for row in range(n)]},
    )
    audit.record = replace(audit.record, uncertain="ones", blanks="negative", no_finding="negative")
    listing = Listing.of(audit)
    seen = set()
    for at in range(n):
        for p, name in enumerate(audit.outputs):
            state, above = int(listing.output_states[at, p]), int(listing.above[at, p])
            counts = {-1: 1, -2: 0}.get(state, state)
            if at % 3 == 0 and name != "Support Devices" and state != -3:
                counts = 0
            assert listing.output_counts[at, p] == counts
            assert listing.disagrees[at, p] == (counts in (0, 1) and above in (0, 1) and counts != above)
            seen.add((state, counts))
    assert seen == {(1, 1), (1, 0), (0, 0), (-1, 1), (-1, 0), (-2, 0), (-3, -3)}


def test_rankings_may_be_empty() -> None:
    audit = SyntheticAudit(rows=4, failed=())
    at = audit.results.schema.get_field_index("ranking")
    import pyarrow as pa

    ranking = pa.array([[], ["Mass"], ["Edema", "Mass"], []], pa.list_(pa.string()))
    audit.results = audit.results.set_column(at, "ranking", ranking)
    assert Listing.of(audit).ranking.tolist() == [[-1, -1], [2, -1], [5, 2], [-1, -1]]


def test_shares_that_were_not_measured_are_no_numbers() -> None:
    import pyarrow as pa

    audit = SyntheticAudit(rows=3, failed=())
    at = audit.results.schema.get_field_index("markers")
    audit.results = audit.results.set_column(at, "markers", pa.array([None, 0.5, None], pa.float32()))
    shares = Listing.of(audit).shares["markers"]
    assert np.isnan(shares).tolist() == [True, False, True]


def test_an_audit_without_any_success(tmp_path: object) -> None:
    audit = SyntheticAudit(rows=2, failed=(0, 1))
    listing = Listing.of(audit)
    assert not listing.explained.any()
    assert listing.to_data()["ids"] == [f"patient{row:06d}_study1_view1_frontal" for row in range(2)]


def test_the_headers_view_stands_in_where_the_manifest_has_none(listing: Listing) -> None:
    assert listing.facts["view"][2] == "PA"
    assert listing.facts["view"][1] == "AP"
    assert listing.view_told[:3].tolist() == [True, True, False]


def test_patients_are_numbers_that_stand_for_nothing(audit: SyntheticAudit, listing: Listing) -> None:
    data = listing.to_data()
    assert "secret" not in str(data)
    numbers = np.frombuffer(base64.b64decode(data["patients"]["data"]), "<i4")
    patients = audit.manifest.patients
    for a in range(len(patients)):
        for b in range(len(patients)):
            assert (numbers[a] == numbers[b]) == (patients[a] == patients[b])
    assert sorted(set(numbers.tolist())) == list(range(20))
    sex = dict(data["facts"])["sex"]
    codes = np.frombuffer(base64.b64decode(sex["codes"]["data"]), "<i2")
    assert [sex["values"][code] for code in codes] == list(listing.facts["sex"])


def test_further_columns_are_facts_if_they_make_subgroups() -> None:
    extra = {
        "hospital": ["A", "B", "", "A", "B", "A"] * 5,
        "accession": [f"secret-{row}" for row in range(30)],  # too many values: it may be a patient's
        "status": ["x", "y"] * 15,
        "same": ["one"] * 30,
    }
    audit = SyntheticAudit(rows=30, failed=(), extra=extra)
    facts = Listing.of(audit).facts
    assert list(facts) == ["view", "sex", "split", "hospital", "column status"]
    assert list(facts["hospital"][:4]) == ["A", "B", "", "A"]


def test_ages_are_full_years_and_nobodys_age_is_unknown() -> None:
    audit = SyntheticAudit(rows=6, failed=())
    audit.manifest.ages = [17.9, 0.4, None, 414, float("nan"), 95]
    assert Listing.of(audit).ages.tolist() == [17, 0, -1, -1, -1, 90]


def test_a_selection_has_every_column_of_its_images(listing: Listing) -> None:
    images = [30, 17, 3]
    chosen = listing.select(images)
    for name, value in vars(chosen).items():
        whole = getattr(listing, name)
        if isinstance(value, np.ndarray) and name != "points":
            np.testing.assert_array_equal(value, whole[images])
    assert chosen.ids == [listing.ids[at] for at in images]
    assert chosen.failures == {1: listing.failures[17]}
    assert list(chosen.facts["sex"]) == [listing.facts["sex"][at] for at in images]
    assert chosen.shares["border"].tolist()[0] == listing.shares["border"][30]
    assert len(chosen) == 3
    assert chosen.explained.tolist() == [True, False, True]


def test_peaks_have_their_places_by_rank() -> None:
    import pyarrow as pa

    audit = SyntheticAudit(rows=4, failed=(1,))
    zones = pa.array([["upper", None, "lower"], None, ["lower"]], pa.list_(pa.string()))
    at = audit.results.schema.get_field_index("peak_zone")
    audit.results = audit.results.set_column(at, "peak_zone", zones)
    found = Listing.of(audit)
    assert list(found.places) == ["part-of-peak", "side-of-peak", "zone"]
    zone = found.places["zone"]
    words = [[zone.values[code] for code in row] for row in zone.codes.tolist()]
    assert words == [["upper", "", "lower"], [""] * 3, [""] * 3, ["lower", "", ""]]
    assert found.filters[-1] == "zone"


def test_points_at_the_ends_of_the_scale_have_no_distance() -> None:
    listing = replace(Listing.of(SyntheticAudit(rows=3, failed=())), points=np.array([0.0, 1.0] * 3))
    assert np.isnan(listing.distance).all()
