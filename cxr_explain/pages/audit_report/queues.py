"""What deserves a look first: lists of images, each put in order by one reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxr_explain.pages.audit_report.listing import Listing
from cxr_explain.pages.audit_report.script_data import column

QueueKey = Literal["disagreements", "near", "outside", "edges", "failures"]

MOST = 1000
"""Images in a queue; nobody looks at more."""

NEAR = 0.25
"""Log odds: odds within a factor of 1.3 of those at the operating point."""

USUAL_THRESHOLD = 0.5
"""Share of the saliency from which a where-flag is raised, unless the statistics say another."""


@dataclass(frozen=True, eq=False)
class Queue:
    """Images in the order in which they deserve a look.

    Args:
        key: for links.
        title: of the list.
        question: what a reviewer looks for.
        measure: what `values` are.
        images: (m,) places in the listing.
        outputs: (m,) the pathology concerned; -1 where it is none.
        values: (m,); NaN where there is none.
        found: how many qualify; m may be less.
    """

    key: QueueKey
    title: str
    question: str
    measure: str
    images: NDArray[np.int32] = field(repr=False)
    outputs: NDArray[np.int16] = field(repr=False)
    values: NDArray[np.float64] = field(repr=False)
    found: int

    def __len__(self) -> int:
        return len(self.images)

    def to_data(self) -> dict[str, Any]:
        """As the page reads it."""
        return {
            "key": self.key,
            "title": self.title,
            "question": self.question,
            "measure": self.measure,
            "found": self.found,
            "images": column(self.images, "int32"),
            "outputs": column(self.outputs, "int16"),
            "values": column(self.values, "float32"),
        }


def queues_of(listing: Listing, statistics: Mapping[str, Any] | None = None) -> tuple[Queue, ...]:
    """The queues of an audit, all of them, also those that are empty.

    Args:
        listing: the images.
        statistics: of the audit, for the thresholds of the where-flags.
    """
    thresholds = _thresholds(statistics or {})
    return (
        _disagreements(listing),
        _near(listing),
        _flagged(
            listing, "outside", ("outside_thorax",), thresholds,
            title="Saliency outside the thorax",
            question="Does the model look at something beside the patient's chest? A question to look at, "
            "not a verdict: the outline of the thorax is an estimate.",
        ),
        _flagged(
            listing, "edges", ("border", "markers"), thresholds,
            title="Saliency on borders or markers",
            question="Does the model read a label, a marker or the collimator's edge? A question to look "
            "at, not a verdict.",
        ),
        _failures(listing),
    )  # fmt: skip


def first_cases(queues: Sequence[Queue], listing: Listing, count: int | None) -> list[int]:
    """The images whose pixels the report holds: the queues in turns, then the listing's order.

    Args:
        queues: in the order of their turns.
        listing: the images.
        count: how many; all explained ones with None.

    Returns:
        Places in the listing, each once; failures have no pixels to show.
    """
    explained = np.flatnonzero(listing.explained).tolist()
    turns = zip_longest(*(queue.images.tolist() for queue in queues))
    wanted = [image for turn in turns for image in turn if image is not None]
    chosen = [image for image in dict.fromkeys([*wanted, *explained]) if listing.explained[image]]
    return chosen if count is None else chosen[: max(count, 0)]


def _disagreements(listing: Listing) -> Queue:
    """Each image by its most confident disagreement."""
    strength = np.where(listing.disagrees, np.abs(listing.distance), -np.inf)
    best = strength.argmax(axis=1) if strength.size else np.zeros(len(listing), np.intp)
    values = strength[np.arange(len(listing)), best] if strength.size else np.zeros(len(listing))
    return _queue(
        "disagreements", values, best, np.isfinite(values),
        title="Confident disagreements",
        question="The model is furthest from its operating point and the reference label says the opposite. "
        "Is the model wrong, or the label?",
        measure="log odds from the operating point",
    )  # fmt: skip


def _near(listing: Listing) -> Queue:
    """Each image by the ranked pathology that is nearest to its operating point."""
    distance = np.where(_is_ranked(listing), np.abs(listing.distance), np.nan)
    filled = np.where(np.isfinite(distance), distance, np.inf)
    best = filled.argmin(axis=1) if filled.size else np.zeros(len(listing), np.intp)
    values = filled[np.arange(len(listing)), best] if filled.size else np.full(len(listing), np.inf)
    return _queue(
        "near", values, best, values <= NEAR,
        title="Near the operating point",
        question="A little more or less, and the model would say the opposite. What tips the balance?",
        measure="log odds from the operating point",
        largest_first=False,
    )  # fmt: skip


def _flagged(
    listing: Listing,
    key: QueueKey,
    names: Sequence[str],
    thresholds: Mapping[str, float],
    *,
    title: str,
    question: str,
) -> Queue:
    shares = [np.where(np.isfinite(listing.shares[name]), listing.shares[name], -1.0) for name in names]
    flagged = [
        share >= thresholds.get(name, USUAL_THRESHOLD) for name, share in zip(names, shares, strict=True)
    ]
    none = np.full(len(listing), -1)
    return _queue(
        key, np.maximum.reduce(shares), none, np.logical_or.reduce(flagged),
        title=title, question=question, measure="share of the fused saliency",
    )  # fmt: skip


def _failures(listing: Listing) -> Queue:
    n = len(listing)
    return _queue(
        "failures", np.full(n, np.nan), np.full(n, -1), ~listing.explained,
        title="Failures",
        question="Why did these images give no explanation, and does that leave out a kind of patient?",
        measure="",
    )  # fmt: skip


def _queue(
    key: QueueKey,
    values: NDArray[np.float64],
    outputs: NDArray[Any],
    qualifies: NDArray[np.bool_],
    *,
    title: str,
    question: str,
    measure: str,
    largest_first: bool = True,
) -> Queue:
    """The images that qualify, by their values; ties keep the manifest's order."""
    images = np.flatnonzero(qualifies)
    by = -values[images] if largest_first else values[images]
    images = images[np.argsort(by, kind="stable")]
    shown = images[:MOST]
    return Queue(
        key, title, question, measure,
        shown.astype(np.int32), outputs[shown].astype(np.int16), values[shown], len(images),
    )  # fmt: skip


def _is_ranked(listing: Listing) -> NDArray[np.bool_]:
    """(n, P): whether an output is among the K of its image; its evidence can then be looked at."""
    ranked = np.zeros((len(listing), len(listing.pathologies)), bool)
    image, rank = np.nonzero(listing.ranking >= 0)
    ranked[image, listing.ranking[image, rank]] = True
    return ranked


def _thresholds(statistics: Mapping[str, Any]) -> dict[str, float]:
    return {
        each["share"]: float(each["threshold"])
        for each in statistics.get("where") or ()
        if each.get("threshold") is not None
    }
