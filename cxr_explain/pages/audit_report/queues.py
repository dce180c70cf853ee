"""What deserves a look first: lists of images, each put in order by one reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxr_explain.chest.shares import FLAGGED_FROM, excess_over_uniform
from cxr_explain.pages.audit_report.listing import Listing
from cxr_explain.pages.viewer.script_data import column

QueueKey = Literal["disagreements", "near", "outside", "edges", "failures"]

_LOG_ODDS, _SHARE = "log odds from the operating point", "share of the fused saliency"
_TEXTS: dict[QueueKey, tuple[str, str, str]] = {
    "disagreements": (
        "Confident disagreements",
        "The model is furthest from its operating point and the reference label says the opposite. Is the "
        "model wrong, or the label?",
        _LOG_ODDS,
    ),
    "near": (
        "Near the operating point",
        "A little more or less, and the model would say the opposite. What tips the balance?",
        _LOG_ODDS,
    ),
    "outside": (
        "Saliency outside the thorax",
        "Does the model look at something beside the patient's chest? A question to look at, not a verdict: "
        "the outline of the thorax is an estimate.",
        _SHARE,
    ),
    "edges": (
        "Saliency on borders or markers",
        "Does the model read a label, a marker or the collimator's edge? A question to look at, not a "
        "verdict.",
        _SHARE,
    ),
    "failures": (
        "Failures",
        "Why did these images give no explanation, and does that leave out a kind of patient?",
        "",
    ),
}
"""Title, what a reviewer looks for, and what is measured."""

MOST = 1000
"""Images in a queue; nobody looks at more."""

NEAR = 0.25
"""Distance in log odds that is near: odds within a factor of 1.3 of those at the operating point."""


@dataclass(frozen=True, eq=False)
class Queue:
    """Images in the order in which they deserve a look.

    Args:
        key: name of the queue in links.
        images: (m,) places in the listing.
        outputs: (m,) number of the pathology concerned; -1 where it is none.
        values: (m,) what the order is by; NaN where there is nothing.
        found: how many images qualify; m may be less.
    """

    key: QueueKey
    images: NDArray[np.int32] = field(repr=False)
    outputs: NDArray[np.int16] = field(repr=False)
    values: NDArray[np.float64] = field(repr=False)
    found: int

    def __len__(self) -> int:
        return len(self.images)

    @property
    def title(self) -> str:
        """The title of the list."""
        return _TEXTS[self.key][0]

    @property
    def question(self) -> str:
        """What a reviewer looks for."""
        return _TEXTS[self.key][1]

    def to_data(self) -> dict[str, Any]:
        """As the page reads it."""
        return {
            "key": self.key,
            "title": self.title,
            "question": self.question,
            "measure": _TEXTS[self.key][2],
            "found": self.found,
            "images": column(self.images, "int32"),
            "outputs": column(self.outputs, "int16"),
            "values": column(self.values, "float32"),
        }


def queues_of(listing: Listing, statistics: Mapping[str, Any] | None = None) -> tuple[Queue, ...]:
    """The queues of an audit, all of them, also those that are empty.

    Args:
        listing: the images of the audit.
        statistics: the statistics of the audit, which say from which excess over an even map an image is
            flagged.
    """
    where = (statistics or {}).get("where", ())
    thresholds = {each["share"]: each["flagged_from"] for each in where if "flagged_from" in each}
    return (
        _disagreements(listing),
        _near(listing),
        _flagged("outside", listing, ("outside_thorax",), thresholds),
        _flagged("edges", listing, ("border", "markers"), thresholds),
        _failures(listing),
    )


def first_cases(queues: Sequence[Queue], listing: Listing, count: int | None) -> list[int]:
    """The images whose pixels the report holds: the queues in turns, then the listing's order.

    Args:
        queues: the queues in the order of their turns.
        listing: the images of the audit.
        count: number of images; None for all that were explained.

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
    best, values = _least_of_each(-strength)
    return _queue("disagreements", -values, best, np.isfinite(values))


def _near(listing: Listing) -> Queue:
    """Each image by the ranked pathology that is nearest to its operating point."""
    distance = np.where(_is_ranked(listing), np.abs(listing.distance), np.nan)
    best, values = _least_of_each(np.where(np.isfinite(distance), distance, np.inf))
    return _queue("near", values, best, values <= NEAR, largest_first=False)


def _least_of_each(of_outputs: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """For each image the output with the least of (n, P) values, and that value; infinite without outputs."""
    if not of_outputs.size:
        return np.zeros(len(of_outputs), np.intp), np.full(len(of_outputs), np.inf)
    return of_outputs.argmin(axis=1), of_outputs.min(axis=1)


def _flagged(key: QueueKey, listing: Listing, names: Sequence[str], thresholds: Mapping[str, float]) -> Queue:
    """The images of which a share of the saliency is far above an even map's, by the largest share."""
    flagged = [
        excess_over_uniform(listing.shares[name], listing.uniform_shares[name])
        >= thresholds.get(name, FLAGGED_FROM)
        for name in names
    ]
    shares = [np.nan_to_num(listing.shares[name], nan=-1.0) for name in names]
    none = np.full(len(listing), -1)
    return _queue(key, np.maximum.reduce(shares), none, np.logical_or.reduce(flagged))


def _failures(listing: Listing) -> Queue:
    n = len(listing)
    return _queue("failures", np.full(n, np.nan), np.full(n, -1), ~listing.explained)


def _queue(
    key: QueueKey,
    values: NDArray[np.float64],
    outputs: NDArray[Any],
    qualifies: NDArray[np.bool_],
    *,
    largest_first: bool = True,
) -> Queue:
    """The images that qualify, by their values; ties keep the manifest's order."""
    images = np.flatnonzero(qualifies)
    by = -values[images] if largest_first else values[images]
    images = images[np.argsort(by, kind="stable")]
    shown = images[:MOST]
    return Queue(key, shown.astype(np.int32), outputs[shown].astype(np.int16), values[shown], len(images))


def _is_ranked(listing: Listing) -> NDArray[np.bool_]:
    """(n, P): whether an output is among the image's K; its evidence can then be looked at."""
    ranked = np.zeros((len(listing), len(listing.pathologies)), bool)
    image, rank = np.nonzero(listing.ranking >= 0)
    ranked[image, listing.ranking[image, rank]] = True
    return ranked
