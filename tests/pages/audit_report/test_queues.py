"""The queues, against lists that are sorted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_audit import SyntheticAudit

from cxr_explain.pages.audit_report.listing import Listing
from cxr_explain.pages.audit_report.queues import MOST, NEAR, Queue, first_cases, queues_of


@pytest.fixture(scope="module")
def listing() -> Listing:
    return Listing.of(SyntheticAudit(rows=300, failed=(7, 8, 250)))


def queue(listing: Listing, key: str, statistics: dict | None = None) -> Queue:
    return next(each for each in queues_of(listing, statistics) if each.key == key)


def test_disagreements_come_most_confident_first(listing: Listing) -> None:
    found = []
    for at in range(len(listing)):
        strengths = [
            (abs(listing.distance[at, p]), p)
            for p in range(len(listing.pathologies))
            if listing.disagrees[at, p]
        ]
        if strengths:
            strength, output = max(strengths, key=lambda pair: pair[0])
            found.append((-strength, at, output))
    found.sort()
    mine = queue(listing, "disagreements")
    assert mine.images.tolist() == [at for _, at, _ in found]
    assert mine.outputs.tolist() == [output for _, _, output in found]
    assert mine.found == len(found)
    assert len(found) > 50


def test_near_are_the_ranked_pathologies_that_are_nearest(listing: Listing) -> None:
    found = []
    for at in range(len(listing)):
        ranked = [int(p) for p in listing.ranking[at] if p >= 0 and listing.explained[at]]
        distances = [
            (abs(listing.distance[at, p]), p) for p in ranked if np.isfinite(listing.distance[at, p])
        ]
        if distances and min(distances)[0] <= NEAR:
            found.append((min(distances)[0], at, min(distances)[1]))
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
    for key in ("disagreements", "near", "outside", "edges"):
        assert not set(queue(listing, key).images.tolist()) & {7, 8, 250}


def test_a_queue_is_cut_but_says_how_many_there_are() -> None:
    listing = Listing.of(SyntheticAudit(rows=3 * MOST, failed=()))
    mine = queue(listing, "outside")
    assert len(mine) == MOST < mine.found
    assert mine.to_data()["found"] == mine.found


def test_cases_are_taken_from_the_queues_in_turns(listing: Listing) -> None:
    queues = queues_of(listing)
    chosen = first_cases(queues, listing, 3)
    heads = [int(each.images[0]) for each in queues[:4]]
    assert chosen == list(dict.fromkeys(heads))[:3]
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
    assert "?" in mine.question
    if key in ("outside", "edges"):
        assert "not a verdict" in " ".join(mine.question.split())
