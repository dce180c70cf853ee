"""How often the intervals of an audit hold the truth, by simulation, and how often none is given.

    python -m benchmarks.interval_coverage --simulations 1000 --markdown coverage.md

Audits are simulated over and over, their intervals are made by the functions that `cxr-explain stats` calls,
and it is counted how many hold the number that the simulation is made to have. Patients have one to five
images, or one to sixty. Whether an image has the finding, and its score, depend on the patient as much as on
the image:

- the finding is there where a normal variable exceeds a threshold, half of whose variance is the patient's;
- the score is normal, with a mean of 2 with the finding and 0 without, a variance of 1 by patient and 1 by
  image; the probability is calibrated, and the operating point lies at a score of 1;
- a share of the saliency is the logistic function of such a score around -2.5; a hit, in images with the
  finding, has a chance of 0.6;
- the second of two subgroups, of which each patient is in one, has scores with a mean of 1.5 with the
  finding; the second of two runs has a mean of 1.6, the same patients' parts, and a correlation of 0.7 with
  the first where that is by image.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.special import expit, ndtr, ndtri

from cxr_explain.audit.measures import Scored
from cxr_explain.measures.statistics.basis import LEAST_PATIENTS, Basis
from cxr_explain.measures.statistics.bootstrap import ratio
from cxr_explain.measures.statistics.calibration import BINS
from cxr_explain.measures.statistics.intervals import IndependentCases, ends, shares_left_out
from cxr_explain.measures.statistics.jackknife import LeftOut, leave_out
from cxr_explain.measures.statistics.two_parts import ShareDifferences, correlation_of

LEVEL = 0.95

AUDIT_PATIENTS = (30, 100, 300)
PREVALENCES = (0.05, 0.3)
MOST_IMAGES = (5, 60)

ALIKE = 0.5
"""Share of the variance that is the patient's, of the finding."""

DISTANCE, POINT = 2.0, 1.0
SPREAD = math.sqrt(2.0)
OTHER_GROUP, OTHER_RUN, SAME_NOISE = 1.5, 1.6, 0.7
LOOKING, HITS = -2.5, 0.6

LEAST_GIVEN = 50
"""Intervals that a share of the table is of."""

_NUMBERS = 200_000  # images that are drawn at once

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Cell(NamedTuple):
    """Of the grid.

    Args:
        patients: number of patients.
        prevalence: share of the images with the finding.
        most: number of images that a patient may have.
    """

    patients: int
    prevalence: float
    most: int


@dataclass
class Tally:
    """How many intervals held the truth.

    Args:
        asked: how many statistics were estimable.
        given: how many of them had an interval.
        held: how many intervals held the truth.
    """

    asked: int = 0
    given: int = 0
    held: int = 0

    def add(self, shown: ShownIntervals) -> None:
        """Count those of many audits."""
        is_there = ~np.isnan(shown.low)
        self.asked += int((~np.isnan(shown.value)).sum())
        self.given += int(is_there.sum())
        self.held += int(((shown.low <= shown.truth) & (shown.truth <= shown.high)).sum())

    @property
    def text(self) -> str:
        """The share that held, and in brackets the share that was withheld, in per cent."""
        withheld = 100 * (self.asked - self.given) / self.asked if self.asked else 100.0
        told = f" ({withheld:.0f})" if round(withheld) else ""
        return f"–{told}" if self.given < LEAST_GIVEN else f"{100 * self.held / self.given:.1f}{told}"


class ShownIntervals(NamedTuple):
    """Of one statistic in S audits.

    Args:
        name: what it is.
        value: (S,), NaN where not estimable.
        low: (S,), NaN where withheld.
        high: (S,), NaN where withheld.
        truth: what it would be of infinitely many patients.
    """

    name: str
    value: Floats
    low: Floats
    high: Floats
    truth: float


class Resting(NamedTuple):
    """A statistic of S audits, and what it rests on in each.

    Args:
        left: the statistic, and without each patient.
        bases: S of them.
    """

    left: LeftOut
    bases: Sequence[Basis]

    def shown(self, name: str, truth: float) -> ShownIntervals:
        """With the intervals that an audit shows."""
        low, high = ends(self.left, self.bases, level=LEVEL)
        withheld = np.array([basis.lacks is not None for basis in self.bases])
        ends_shown = (np.where(withheld | np.isnan(self.left.value), np.nan, end) for end in (low, high))
        return ShownIntervals(name, self.left.value, *ends_shown, truth)

    def on(self, bases: Sequence[Basis]) -> Resting:
        """The statistic where it rests on something else, too."""
        both = zip(self.bases, bases, strict=True)
        return Resting(self.left, [own if own.lacks else other for own, other in both])

    def less(self, other: Resting, name: str, truth: float) -> ShownIntervals:
        """The difference to another one, with an interval where both have one."""
        apart = self.left - other.left
        return self._shown(other, name, apart.value, apart.interval(LEVEL), truth)

    def in_place_of(self, other: Resting, name: str, truth: float) -> ShownIntervals:
        """The same of two subgroups, which have a method and a least number of patients of their own."""
        parts = (IndependentCases.of(each.left, each.bases) for each in (self, other))
        found = ShareDifferences(*parts, correlation_of(self.left, other.left))
        return self._shown(other, name, found.value, found.interval(LEVEL), truth, least=LEAST_PATIENTS)

    def _shown(
        self,
        other: Resting,
        name: str,
        value: Floats,
        ends: tuple[Floats, Floats],
        truth: float,
        *,
        least: int = 0,
    ) -> ShownIntervals:
        withheld = np.array(
            [
                any(basis.lacks or basis.patients < least for basis in both)
                for both in zip(self.bases, other.bases, strict=True)
            ]
        )
        ends_shown = (np.where(withheld, np.nan, end) for end in ends)
        return ShownIntervals(name, value, *ends_shown, truth)


@dataclass
class SimulatedAudits:
    """S audits of P patients with up to K images each.

    Args:
        cell: what they are drawn for.
        images: (S, P, K) bool, which images there are.
        there: (S, P, K) bool, whether the image has the finding.
        parts: (S, P, K) what patient and image add to the score, of each of two runs.
        is_other: (S, P, 1) bool, whether the patient is in the second subgroup.
        hit: (S, P, K) bool, whether a map points at the finding, were there one.
        looking: (S, P, K) share of the saliency.
    """

    cell: Cell
    images: Flags
    there: Flags
    parts: tuple[Floats, Floats]
    is_other: Flags
    hit: Flags
    looking: Floats

    @classmethod
    def drawn(cls, rng: np.random.Generator, cell: Cell, audits: int) -> SimulatedAudits:
        """Draw them."""
        S, P, K = audits, cell.patients, cell.most

        def alike() -> Floats:
            own = math.sqrt(ALIKE) * rng.normal(size=(S, P, 1))
            return own + math.sqrt(1 - ALIKE) * rng.normal(size=(S, P, K))

        of_patient = rng.normal(size=(S, P, 1))
        first, second = rng.normal(size=(2, S, P, K))
        second = SAME_NOISE * first + math.sqrt(1 - SAME_NOISE**2) * second
        return cls(
            cell,
            np.arange(K) < rng.integers(1, K + 1, (S, P, 1)),
            alike() < ndtri(cell.prevalence),
            (of_patient + first, of_patient + second),
            rng.random((S, P, 1)) < 0.5,
            alike() < ndtri(HITS),
            expit(LOOKING + SPREAD * alike()),
        )

    def scores(self, distance: float, run: int = 0) -> Floats:
        """(S, P, K) scores of a run."""
        return np.asarray(distance * self.there + self.parts[run])

    def share(self, hits: Floats | Flags, of: Flags, patient: str = "patient") -> Resting:
        """The share of images that are hits, or the mean of a number."""
        cases = (of & self.images).sum(axis=2)
        bases = [Basis.of(each, patient, of_hits=hits.dtype == np.bool_) for each in cases]
        return Resting(shares_left_out((hits * (of & self.images)).sum(axis=2), cases), bases)

    def area(self, scores: Floats, among: Flags) -> Resting:
        """The area under the ROC curve."""
        kinds = self.there & self.images & among, ~self.there & self.images & among
        positive, negative = (
            [Basis.of(each, "patient", of_hits=False) for each in kind.sum(axis=2)] for kind in kinds
        )
        rarer = [min(both, key=lambda basis: basis.patients) for both in zip(positive, negative, strict=True)]
        return Resting(auroc_left_out(scores, *kinds), rarer)

    def average_precision(self, scores: Floats) -> Resting:
        """The area under the precision-recall curve, of one audit in four: they are computed one by one."""
        found, bases = [], []
        for chosen, there, values in zip(self.images[::4], self.there[::4], scores[::4], strict=True):
            patient = np.nonzero(chosen)[0]
            scored = Scored("", expit(values[chosen]), there[chosen], patient, len(chosen), None, {})
            measures = scored.measured("auprc")
            found += leave_out([measures], len(chosen))
            bases += measures.bases
        values = (
            np.concatenate(each) for each in zip(*((one.value, one.without) for one in found), strict=True)
        )
        return Resting(LeftOut(*values), bases)


def auroc_left_out(scores: Floats, positive: Flags, negative: Flags) -> LeftOut:
    """The areas under S ROC curves, and without each patient; no two scores are the same.

    The wins of positives over negatives, less those of the patient's positives, less those over the patient's
    negatives, and once more those within the patient, which were taken away twice.

    Args:
        scores: (S, P, K).
        positive: (S, P, K) bool.
        negative: (S, P, K) bool; what is neither does not count.
    """
    whole = (len(scores), 1, -1)
    won, lost = _pairs(*(each.reshape(whole) for each in (scores, positive, negative)))
    of_patient = (won + lost).reshape(scores.shape).sum(axis=2)
    within = _pairs(scores, positive, negative)[0].sum(axis=2)
    P, N = positive.sum(axis=2), negative.sum(axis=2)
    positives, negatives = (each.sum(axis=1, keepdims=True) for each in (P, N))
    total = won.sum(axis=2)
    without = ratio(total - of_patient + within, (positives - P) * (negatives - N))
    return LeftOut(ratio(total, positives * negatives)[:, 0], without)


def _pairs(scores: Floats, positive: Flags, negative: Flags) -> tuple[Floats, Floats]:
    """The negatives that each positive wins over, and the positives that each negative loses to, by group.

    All are (S, groups, cases).
    """
    order = np.argsort(scores, axis=2)
    right, wrong = (np.take_along_axis(kind, order, axis=2) for kind in (positive, negative))
    below, not_above = (np.cumsum(kind, axis=2, dtype=np.int32) for kind in (wrong, right))
    found = np.empty((2, *scores.shape))
    for at, numbers in enumerate((right * below, wrong * (not_above[:, :, -1:] - not_above))):
        np.put_along_axis(found[at], order, numbers, axis=2)
    return found[0], found[1]


def calibrated(scores: Floats, prevalence: float) -> Floats:
    """The chance of the finding, given the score of the first run."""
    odds = math.log(prevalence / (1 - prevalence))
    return np.asarray(expit(odds + (DISTANCE * scores - DISTANCE**2 / 2) / SPREAD**2))


@cache
def truths(prevalence: float, distance: float) -> dict[str, float]:
    """What the measures would be of infinitely many patients, by integration over normal scores."""
    nodes, weights = hermegauss(201)
    weights = weights / weights.sum()
    sensitivity = float(ndtr((distance - POINT) / SPREAD))
    specificity = float(ndtr(POINT / SPREAD))
    right, wrong = prevalence * sensitivity, (1 - prevalence) * (1 - specificity)
    passed, missed = (1 - prevalence) * specificity, prevalence * (1 - sensitivity)
    # Average precision is the mean, over the scores of positives, of the precision from that score on.
    scores = distance + SPREAD * np.linspace(-8, 8, 20001)
    density = np.exp(-(((scores - distance) / SPREAD) ** 2) / 2)
    called = prevalence * ndtr((distance - scores) / SPREAD)
    precision = called / (called + (1 - prevalence) * ndtr(-scores / SPREAD))
    positive, negative = (calibrated(mean + SPREAD * nodes, prevalence) for mean in (distance, 0.0))
    squares = prevalence * (1 - positive) ** 2 + (1 - prevalence) * negative**2
    return {
        "auroc": float(ndtr(distance / (math.sqrt(2) * SPREAD))),
        "auprc": float((precision * density).sum() / density.sum()),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": right / (right + wrong),
        "npv": passed / (passed + missed),
        "brier": float((weights * squares).sum()),
    }


@cache
def observed_in(low: float, high: float, prevalence: float) -> float:
    """The share of positives among images with a probability from low to high."""
    odds = math.log(prevalence / (1 - prevalence))
    with np.errstate(divide="ignore"):
        logits = np.log(np.array([low, high])) - np.log1p(-np.array([low, high]))
    ends = (SPREAD**2 * (logits - odds) + DISTANCE**2 / 2) / DISTANCE
    positive, negative = (
        np.diff(ndtr((ends - mean) / SPREAD)).item() * share
        for mean, share in ((DISTANCE, prevalence), (0.0, 1 - prevalence))
    )
    return float(positive / (positive + negative))


@cache
def mean_share() -> float:
    """The mean share of the saliency."""
    nodes, weights = hermegauss(201)
    return float((weights * expit(LOOKING + SPREAD * nodes)).sum() / weights.sum())


def intervals_of(audits: SimulatedAudits) -> Iterator[ShownIntervals]:
    """Each interval of many audits, with the truth."""
    prevalence = audits.cell.prevalence
    expected, there, every = truths(prevalence, DISTANCE), audits.there, audits.images
    first, second = audits.scores(DISTANCE), audits.scores(OTHER_RUN, run=1)
    called, called_then = first >= POINT, second >= POINT
    chances, chances_then = (calibrated(each, prevalence) for each in (first, second))
    auroc, brier = audits.area(first, every), audits.share((chances - there) ** 2, every)
    sensitivity, specificity = audits.share(called, there), audits.share(~called, ~there)
    yield auroc.shown("AUROC", expected["auroc"])
    precision = audits.average_precision(first)
    yield precision.shown("AUPRC", expected["auprc"])
    yield sensitivity.shown("sensitivity", expected["sensitivity"])
    yield specificity.shown("specificity", expected["specificity"])
    yield audits.share(there, called).shown("PPV", expected["ppv"])
    yield audits.share(~there, ~called).shown("NPV", expected["npv"])
    yield brier.shown("Brier score", expected["brier"])
    for number in range(BINS):
        inside = (chances >= number / BINS) & (chances < (number + 1) / BINS)
        truth = observed_in(number / BINS, (number + 1) / BINS, prevalence)
        yield audits.share(there, inside).shown("share of positives in a bin of probability", truth)
    yield audits.share(audits.looking, every).shown("mean share of saliency", mean_share())
    yield audits.share(audits.hit, there).shown("hits of class maps", HITS)
    then = truths(prevalence, OTHER_RUN)
    both_kinds = auroc.bases  # what these three rest on, too, as `performance_of` has it
    runs = {
        "AUROC": (auroc, audits.area(second, every)),
        "AUPRC": (precision, audits.average_precision(second)),
        "sensitivity": (sensitivity, audits.share(called_then, there)),
        "specificity": (specificity, audits.share(~called_then, ~there)),
        "PPV": (audits.share(there, called).on(both_kinds), audits.share(there, called_then)),
        "NPV": (audits.share(~there, ~called).on(both_kinds), audits.share(~there, ~called_then)),
        "Brier score": (brier.on(both_kinds), audits.share((chances_then - there) ** 2, every)),
    }
    keys = {name: name.lower().removesuffix(" score") for name in runs}
    for name, (one, other) in runs.items():
        yield one.less(other, f"{name}, of two runs", expected[keys[name]] - then[keys[name]])
    yield from _between_groups(audits, first, expected)


def _between_groups(
    audits: SimulatedAudits, first: Floats, expected: Mapping[str, float]
) -> Iterator[ShownIntervals]:
    there, other = audits.there, truths(audits.cell.prevalence, OTHER_GROUP)
    scores = np.where(audits.is_other, audits.scores(OTHER_GROUP), first)
    called, groups = scores >= POINT, (~audits.is_other, audits.is_other)
    pairs = {
        "AUROC": [audits.area(scores, group & audits.images) for group in groups],
        "sensitivity": [audits.share(called, group & there) for group in groups],
        "specificity": [audits.share(~called, group & ~there) for group in groups],
    }
    for name, (one, two) in pairs.items():
        yield one.in_place_of(two, f"{name}, of two subgroups", expected[name.lower()] - other[name.lower()])


def coverage(cell: Cell, simulations: int, *, seed: int = 0) -> dict[str, Tally]:
    """How often each kind of interval held the truth."""
    rng = np.random.default_rng([seed, cell.patients, round(1000 * cell.prevalence), cell.most])
    found: defaultdict[str, Tally] = defaultdict(Tally)
    at_once = max(1, _NUMBERS // (cell.patients * cell.most))
    for first in range(0, simulations, at_once):
        for shown in intervals_of(SimulatedAudits.drawn(rng, cell, min(at_once, simulations - first))):
            found[shown.name].add(shown)
    return dict(found)


def table(tallies: dict[Cell, dict[str, Tally]], most: int) -> str:
    """One of the tables, as Markdown."""
    cells = [cell for cell in tallies if cell.most == most]
    heads = [f"{cell.patients}, {100 * cell.prevalence:.0f} %" for cell in cells]
    names = list(dict.fromkeys(name for cell in cells for name in tallies[cell]))
    lines = [f"| 1 to {most} images a patient | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for name in names:
        texts = [tallies[cell].get(name, Tally()).text for cell in cells]
        lines.append(f"| {name} | {' | '.join(texts)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Coverage of an audit's intervals.")
    parser.add_argument("--simulations", type=int, default=1000, help="audits in each cell of the grid")
    parser.add_argument("--patients", type=int, nargs="+", default=AUDIT_PATIENTS)
    parser.add_argument("--most-images", type=int, nargs="+", default=MOST_IMAGES)
    parser.add_argument("--markdown", type=Path, help="file to write the tables to")
    options = parser.parse_args(arguments)
    tallies: dict[Cell, dict[str, Tally]] = {}
    for most in options.most_images:
        for patients in options.patients:
            for prevalence in PREVALENCES:
                cell, began = Cell(patients, prevalence, most), time.perf_counter()
                tallies[cell] = coverage(cell, options.simulations)
                print(f"{cell}: {time.perf_counter() - began:.0f} s", flush=True)
    error = 100 * math.sqrt(LEVEL * (1 - LEVEL) / options.simulations)
    text = "\n\n".join(
        [
            f"{options.simulations} audits a cell; standard error of 95 %: {error:.1f} %.",
            *(table(tallies, most) for most in options.most_images),
        ]
    )
    print(f"\n{text}")
    if options.markdown:
        options.markdown.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
