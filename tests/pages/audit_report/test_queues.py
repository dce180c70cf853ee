"""The queues, against lists that are sorted by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from synthetic_audit import OUTPUTS, SyntheticAudit

from cxr_explain.pages.audit_report.listing import Listing
from cxr_explain.pages.audit_report.queues import CONFIDENT, MOST, NEAR, Queue, first_cases, queues_of


@pytest.fixture(scope="module")
def listing() -> Listing:
    return Listing.of(SyntheticAudit(rows=300, failed=(7, 8, 250)))


def queue(listing: Listing, key: str, statistics: dict | None = None) -> Queue:
    return next(each for each in queues_of(listing, statistics) if each.key == key)


def images_of(listing: Listing, mine: Queue, output: int) -> list[int]:
    """A slow reading: the images of a pathology in their order, the first of each patient."""
    found: list[int] = []
    for image, about in zip(mine.images.tolist(), mine.outputs.tolist(), strict=True):
        patients = [int(listing.patients[at]) for at in found]
        if output in (-1, about) and int(listing.patients[image]) not in patients:
            found.append(image)
    return found


def test_disagreements_are_those_beyond_a_stated_distance_the_furthest_first(listing: Listing) -> None:
    found = [
        (-abs(listing.distance[at, p]), at, p)
        for at in range(len(listing))
        for p in range(len(listing.pathologies))
        if listing.disagrees[at, p] and abs(listing.distance[at, p]) >= 2.94
    ]
    found.sort()
    mine = queue(listing, "disagreements")
    assert mine.images.tolist() == [at for _, at, _ in found]
    assert mine.outputs.tolist() == [output for _, _, output in found]
    np.testing.assert_allclose(mine.values, [-value for value, _, _ in found])
    assert mine.found[-1] == len({at for _, at, _ in found})
    assert dict(mine.by_pathology) == Counter(output for _, _, output in found)
    assert 20 < mine.found[-1] < listing.explained.sum()


def test_a_queue_has_a_list_for_each_pathology_with_one_image_a_patient(listing: Listing) -> None:
    for key in ("disagreements", "near", "outside", "edges"):
        mine = queue(listing, key)
        lists = {output: list(mine.of(output, listing)) for output in (-1, *dict(mine.by_pathology))}
        for output, images in lists.items():
            assert images == images_of(listing, mine, output)
            assert len({int(listing.patients[at]) for at in images}) == len(images)
        assert len({tuple(images) for images in lists.values()}) == len(lists) > 2
    assert list(queue(listing, "failures").of(-1, listing)) == [7, 8, 250]


def test_a_well_calibrated_models_queue_is_short_and_as_long_as_it_says() -> None:
    """Labels drawn with the odds that the distance from the operating point says."""
    draws = np.random.default_rng(7)
    n, P = 4000, 6
    listing = Listing.of(SyntheticAudit(rows=n, failed=(), labelled=OUTPUTS))
    points = np.full(P, 0.3)
    logits = draws.normal(-1, 2.5, (n, P))
    distance = logits - np.log(0.3 / 0.7)
    states = (draws.random((n, P)) < 1 / (1 + np.exp(-distance))).astype(np.int8)
    calibrated = replace(
        listing,
        logits=logits,
        probabilities=1 / (1 + np.exp(-logits)),
        points=points,
        states=states,
        counted=states,
    )
    mine = queue(calibrated, "disagreements")
    far = int((np.abs(calibrated.distance) >= CONFIDENT).sum())
    pairs = sum(count for _, count in mine.by_pathology)
    assert far > n
    assert pairs < far / 20
    expected = dict.fromkeys(range(P), 0.0)
    for at in range(n):
        for p in range(P):
            if abs(distance[at, p]) >= CONFIDENT:
                expected[p] += 1 / (1 + np.exp(abs(distance[at, p])))
    for p in range(P):
        assert mine.expected[p] == pytest.approx(expected[p])
    assert abs(pairs - sum(expected.values())) < 4 * np.sqrt(sum(expected.values()))
    assert mine.expected[-1] < sum(expected.values())
    assert abs(mine.found[-1] - mine.expected[-1]) < 4 * np.sqrt(mine.expected[-1])


def test_near_are_the_ranked_pathologies_that_are_nearest(listing: Listing) -> None:
    found = [
        (abs(listing.distance[at, p]), at, int(p))
        for at in range(len(listing))
        for p in listing.ranking[at]
        if p >= 0 and abs(listing.distance[at, p]) <= NEAR
    ]
    found.sort()
    mine = queue(listing, "near")
    assert mine.images.tolist() == [at for _, at, _ in found]
    assert mine.outputs.tolist() == [output for _, _, output in found]


def test_flags_take_their_threshold_from_the_statistics(listing: Listing) -> None:
    """An even map has 0.3 of the synthetic images: 0.25 of the rest above it is 0.475, 0.9 of it is 0.93."""
    share = listing.shares["outside_thorax"]
    assert set(queue(listing, "outside").images.tolist()) == set(np.flatnonzero(share >= 0.475).tolist())
    statistics = {"where": [{"share": "outside_thorax", "flagged_from": 0.9}, {"share": "border"}]}
    mine = queue(listing, "outside", statistics)
    assert set(mine.images.tolist()) == set(np.flatnonzero(share >= 0.93).tolist())
    assert (np.diff(mine.values) <= 0).all()


def test_edges_take_the_larger_of_two_shares(listing: Listing) -> None:
    mine = queue(listing, "edges")
    both = np.fmax(listing.shares["border"], listing.shares["markers"])
    np.testing.assert_array_equal(mine.values, both[mine.images])


def test_failures_are_a_queue_of_their_own(listing: Listing) -> None:
    assert queue(listing, "failures").images.tolist() == [7, 8, 250]
    assert queue(listing, "failures").found == {-1: 3}
    for key in ("disagreements", "near", "outside", "edges"):
        assert not set(queue(listing, key).images.tolist()) & {7, 8, 250}


def test_a_queue_is_cut_for_each_pathology_but_says_how_many_there_are() -> None:
    listing = Listing.of(SyntheticAudit(rows=6 * MOST, failed=()))
    mine = queue(listing, "outside")
    kept = Counter(mine.outputs.tolist())
    assert kept == {output: min(MOST, count) for output, count in mine.by_pathology}
    assert max(dict(mine.by_pathology).values()) > MOST
    for output in kept:
        values = mine.values[mine.outputs == output]
        ranked = (listing.ranking == output).any(axis=1)
        best = np.sort(listing.shares["outside_thorax"][ranked])[::-1][: len(values)]
        np.testing.assert_array_equal(values, best)
    assert mine.to_data()["found"] == list(mine.found.items())


def test_cases_are_taken_from_the_queues_in_turns(listing: Listing) -> None:
    queues = queues_of(listing)
    chosen = first_cases(queues, listing, 3)
    heads = [int(each.images[0]) for each in queues[:4]]
    assert chosen == list(dict.fromkeys(heads))[:3]
    several = first_cases(queues, listing, 60)
    for each in queues[:4]:
        for output, _ in each.by_pathology:
            assert next(each.of(output, listing)) in several
    everyone = first_cases(queues, listing, None)
    assert sorted(everyone) == np.flatnonzero(listing.explained).tolist()
    assert first_cases(queues, listing, 10)[:3] == chosen
    assert first_cases(queues, listing, 0) == []


def test_nothing_to_look_at_gives_empty_queues() -> None:
    for audit in (SyntheticAudit(rows=2, failed=(0, 1)), SyntheticAudit(rows=2, failed=(), labelled=())):
        listing = Listing.of(audit)
        assert len(queue(listing, "disagreements")) == 0
        assert len(queues_of(listing)) == 5


@pytest.mark.parametrize("key", ["disagreements", "near", "outside", "edges", "failures"])
def test_a_where_flag_is_a_question(listing: Listing, key: str) -> None:
    mine = queue(listing, key)
    assert "?" in mine.texts.question
    if key in ("outside", "edges"):
        assert "not a verdict" in mine.texts.question
    assert mine.texts.rule.endswith(".")
