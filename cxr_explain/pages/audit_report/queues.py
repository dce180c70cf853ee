"""What deserves a look first: lists of images, each put in order by one reason.

A queue is one list of entries, an image with a pathology, the most questionable first. The list of a
pathology is what the queue has of it; that of no pathology in particular has each image by its first entry.
Either shows one image a patient, and no more than `SHOWN` of them unless asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxr_explain.chest.shares import FLAGGED_FROM, excess_over_uniform
from cxr_explain.pages.audit_report.listing import Listing
from cxr_explain.pages.viewer.script_data import column

QueueKey = Literal["disagreements", "near", "outside", "edges", "failures"]

CONFIDENT = round(math.log(19), 2)
"""Log odds from the operating point that are far: odds 19 times those at the operating point, or a 19th.

If the log odds from the operating point were those of the label, one label in 20 would be the opposite there,
and fewer further away.
"""

NEAR = 0.25
"""Distance in log odds that is near: odds within a factor of 1.3 of those at the operating point."""

MOST = 1000
"""Entries of a pathology in a queue; nobody looks at more."""

SHOWN = 50
"""Images that a queue shows unless asked for all."""

_LOG_ODDS, _SHARE = "log odds from the operating point", "share of the fused saliency"


@dataclass(frozen=True)
class QueueTexts:
    """What the page says of a queue.

    Args:
        title: title of the list.
        question: what a reviewer looks for.
        rule: how the images were chosen.
        measure: what the order is by; '' where there is no order.
    """

    title: str
    question: str
    rule: str
    measure: str = ""


_TEXTS: dict[QueueKey, QueueTexts] = {
    "disagreements": QueueTexts(
        "Confident disagreements",
        "The model is far from its operating point, and the reference label says the opposite. Is the model "
        "wrong, or the label?",
        f"{CONFIDENT} log odds or more from the operating point (odds 19 times as high, or as low), and a "
        "positive or negative reference label on the other side; the furthest first.",
        _LOG_ODDS,
    ),
    "near": QueueTexts(
        "Near the operating point",
        "A little more or less, and the model would say the opposite. What tips the balance?",
        f"a ranked pathology at most {NEAR} log odds from its operating point; the nearest first.",
        _LOG_ODDS,
    ),
    "outside": QueueTexts(
        "Saliency outside the thorax",
        "Does the model look at something beside the patient's chest? A question to look at, not a verdict: "
        "the outline of the thorax is an estimate.",
        "a share of the fused saliency that is above an even map's in the same image by a quarter, or what "
        "the statistics name, of what that has elsewhere, and the pathology among those that the map shows; "
        "the largest share first.",
        _SHARE,
    ),
    "edges": QueueTexts(
        "Saliency on borders or markers",
        "Does the model read a label, a marker or the collimator's edge? A question to look at, not a "
        "verdict.",
        "a share of the fused saliency on the border or on markers that is above an even map's in the same "
        "image as for the thorax, and the pathology among those that the map shows; the largest share first.",
        _SHARE,
    ),
    "failures": QueueTexts(
        "Failures",
        "Why did these images give no explanation, and does that leave out a kind of patient?",
        "every image that gave no explanation, in the manifest's order.",
    ),
}


@dataclass(frozen=True, eq=False)
class Queue:
    """Entries in the order in which they deserve a look.

    Args:
        key: name of the queue in links.
        images: (m,) places in the listing.
        outputs: (m,) number of the pathology concerned; -1 where it is none.
        values: (m,) what the order is by; NaN where there is nothing.
        found: how many images qualify, by pathology, and at -1 by any; m may be less.
        expected: how many a model with right odds would have, by the same keys; {} where nobody can say.
    """

    key: QueueKey
    images: NDArray[np.int32] = field(repr=False)
    outputs: NDArray[np.int16] = field(repr=False)
    values: NDArray[np.float64] = field(repr=False)
    found: Mapping[int, int]
    expected: Mapping[int, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def texts(self) -> QueueTexts:
        """What the page says of it."""
        return _TEXTS[self.key]

    @property
    def of_pathologies(self) -> bool:
        """Whether there is a list for each pathology."""
        return self.key != "failures"

    @property
    def by_pathology(self) -> list[tuple[int, int]]:
        """Each pathology with the number of images that qualify, the most of them first."""
        counts = [(output, count) for output, count in self.found.items() if output >= 0]
        return sorted(counts, key=lambda each: -each[1])

    def of(self, output: int, listing: Listing) -> Iterator[int]:
        """The images of a pathology in their order, one a patient.

        Args:
            output: number of the pathology; -1 for any.
            listing: the images of the audit.

        Yields:
            Places in the listing.
        """
        patients: set[int] = set()
        wanted = self.images if output < 0 else self.images[self.outputs == output]
        for image in wanted.tolist():
            patient = int(listing.patients[image])
            if patient not in patients:
                patients.add(patient)
                yield image

    def to_data(self) -> dict[str, Any]:
        """As the page reads it."""
        return {
            "key": self.key,
            **vars(self.texts),
            "ofPathologies": self.of_pathologies,
            "found": list(self.found.items()),
            "expected": list(self.expected.items()),
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

    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.audit.example import example_audit
    >>> with TemporaryDirectory() as folder:
    ...     [queue.key for queue in queues_of(Listing.of(example_audit(folder)))]
    ['disagreements', 'near', 'outside', 'edges', 'failures']
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

    First the queues of any pathology, then those of each, as far as they are shown.

    Args:
        queues: the queues in the order of their turns.
        listing: the images of the audit.
        count: number of images; None for all that were explained.

    Returns:
        Places in the listing, each once; failures have no pixels to show.
    """
    explained = np.flatnonzero(listing.explained).tolist()
    lists = [(queue, -1) for queue in queues]
    lists += [(queue, output) for queue in queues for output, _ in queue.by_pathology]
    turns = zip_longest(*(islice(queue.of(output, listing), SHOWN) for queue, output in lists))
    wanted = [image for turn in turns for image in turn if image is not None]
    chosen = [image for image in dict.fromkeys([*wanted, *explained]) if listing.explained[image]]
    return chosen if count is None else chosen[: max(count, 0)]


def _disagreements(listing: Listing) -> Queue:
    far = np.abs(listing.distance) >= CONFIDENT
    return _queue(
        "disagreements", np.abs(listing.distance), far & listing.disagrees, expected=_expected(listing, far)
    )


def _expected(listing: Listing, far: NDArray[np.bool_]) -> dict[int, float]:
    """How many far predictions would disagree with their label if its odds were those from the point."""
    with np.errstate(over="ignore"):
        surprise = np.where(far & listing.decided, 1 / (1 + np.exp(np.abs(listing.distance))), 0.0)
    of_any = float((1 - np.prod(1 - surprise, axis=1)).sum())
    return {-1: of_any, **dict(enumerate(surprise.sum(axis=0).tolist()))}


def _near(listing: Listing) -> Queue:
    """Of the ranked pathologies alone: their evidence can be looked at."""
    distance = np.abs(listing.distance)
    return _queue("near", distance, _is_ranked(listing) & (distance <= NEAR), largest_first=False)


def _flagged(key: QueueKey, listing: Listing, names: Sequence[str], thresholds: Mapping[str, float]) -> Queue:
    """The images of which a share of the saliency is far above an even map's, by the largest share."""
    flagged = [
        excess_over_uniform(listing.shares[name], listing.uniform_shares[name])
        >= thresholds.get(name, FLAGGED_FROM)
        for name in names
    ]
    shares = [np.nan_to_num(listing.shares[name], nan=-1.0) for name in names]
    largest = np.maximum.reduce(shares)[:, None]
    qualifies = _is_ranked(listing) & np.logical_or.reduce(flagged)[:, None]
    return _queue(key, np.broadcast_to(largest, qualifies.shape), qualifies)


def _failures(listing: Listing) -> Queue:
    images = np.flatnonzero(~listing.explained).astype(np.int32)
    return Queue(
        "failures",
        images[:MOST],
        np.full(len(images), -1, np.int16)[:MOST],
        np.full(len(images), np.nan)[:MOST],
        {-1: len(images)},
    )


def _queue(
    key: QueueKey,
    values: NDArray[np.float64],
    qualifies: NDArray[np.bool_],
    *,
    largest_first: bool = True,
    expected: Mapping[int, float] | None = None,
) -> Queue:
    """What qualifies of (n, P), by its value; ties keep the manifest's order, then that of the outputs."""
    images, outputs = np.nonzero(qualifies)
    by = values[images, outputs]
    order = np.argsort(-by if largest_first else by, kind="stable")
    of_output = np.bincount(outputs, minlength=qualifies.shape[1])
    found = {-1: int(qualifies.any(axis=1).sum())}
    found |= {output: int(count) for output, count in enumerate(of_output) if count}
    order = order[_among_first(outputs[order], MOST)]
    return Queue(
        key,
        images[order].astype(np.int32),
        outputs[order].astype(np.int16),
        by[order],
        found,
        expected or {},
    )


def _among_first(outputs: NDArray[Any], most: int) -> NDArray[np.bool_]:
    """Which entries are among the first `most` of their output."""
    by_output = np.argsort(outputs, kind="stable")
    sorted_outputs = outputs[by_output]
    begins = np.searchsorted(sorted_outputs, sorted_outputs)
    is_first = np.empty(len(outputs), bool)
    is_first[by_output] = np.arange(len(outputs)) - begins < most
    return is_first


def _is_ranked(listing: Listing) -> NDArray[np.bool_]:
    """(n, P): whether an output is among the image's K; its evidence can then be looked at."""
    ranked = np.zeros((len(listing), len(listing.pathologies)), bool)
    image, rank = np.nonzero(listing.ranking >= 0)
    ranked[image, listing.ranking[image, rank]] = True
    return ranked
