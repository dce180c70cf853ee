"""How often the intervals of an audit hold the truth, by simulation, and how often none is given.

    python -m benchmarks.interval_coverage --simulations 1000 --markdown coverage.md

An audit is simulated over and over, its intervals are computed as `cxr-explain stats` does, and it is counted
how many hold the number that the simulation is made to have. Patients have one to five images, or one to
sixty. Whether an image has the finding, and its score, depend on the patient as much as on the image:

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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.special import expit, ndtr, ndtri

from cxr_explain.audit.measures import Measure, Scored
from cxr_explain.measures.statistics.basis import LEAST_PATIENTS, Basis
from cxr_explain.measures.statistics.bootstrap import grouped_means
from cxr_explain.measures.statistics.calibration import BINS, calibration_curve
from cxr_explain.measures.statistics.intervals import (
    ClusteredEstimate,
    IndependentCases,
    RestingStatistics,
    estimates,
)
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

MEASURES: tuple[Measure, ...] = (
    "auroc", "auprc", "sensitivity", "specificity", "ppv", "npv", "brier",
)  # fmt: skip
COMPARED: tuple[Measure, ...] = ("auroc", "sensitivity", "specificity", "brier")

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

    def add(self, estimate: ClusteredEstimate, truth: float) -> None:
        """Count one."""
        if estimate.value is not None:
            self.asked += 1
            if estimate.low is not None and estimate.high is not None:
                self.given += 1
                self.held += estimate.low <= truth <= estimate.high

    @property
    def text(self) -> str:
        """The share that held, and in brackets the share that was withheld, in per cent."""
        withheld = 100 * (self.asked - self.given) / self.asked if self.asked else 100.0
        told = f" ({withheld:.0f})" if round(withheld) else ""
        return f"–{told}" if self.given < 50 else f"{100 * self.held / self.given:.1f}{told}"


@dataclass
class SimulatedAudit:
    """Images of patients.

    Args:
        cell: what they are drawn for.
        patient: (n,) number of each image's patient.
        there: (n,) bool, whether the image has the finding.
        parts: (n,) what the patient adds to a score.
        noise: (2, n) what the image adds to a score, of each of two runs.
        is_other: (n,) bool, whether the patient is in the second subgroup.
        hit: (n,) bool, whether a map points at the finding, were there one.
        looking: (n,) share of the saliency.
    """

    cell: Cell
    patient: NDArray[np.intp]
    there: NDArray[np.bool_]
    parts: Floats
    noise: Floats
    is_other: NDArray[np.bool_]
    hit: NDArray[np.bool_]
    looking: Floats = field(default_factory=lambda: np.empty(0))

    @classmethod
    def drawn(cls, rng: np.random.Generator, cell: Cell) -> SimulatedAudit:
        """Draw one."""
        patient = np.repeat(np.arange(cell.patients), rng.integers(1, cell.most + 1, cell.patients))
        n = len(patient)

        def alike() -> Floats:
            own = math.sqrt(ALIKE) * rng.normal(size=cell.patients)[patient]
            return own + math.sqrt(1 - ALIKE) * rng.normal(size=n)

        first, second = rng.normal(size=(2, n))
        noise = np.stack([first, SAME_NOISE * first + math.sqrt(1 - SAME_NOISE**2) * second])
        return cls(
            cell,
            patient,
            alike() < ndtri(cell.prevalence),
            rng.normal(size=cell.patients)[patient],
            noise,
            (rng.random(cell.patients) < 0.5)[patient],
            alike() < ndtri(HITS),
            expit(LOOKING + SPREAD * alike()),
        )

    def scored(self, *, run: int = 0, among: NDArray[np.bool_] | None = None, distance: float) -> Scored:
        """The images that count, with their probabilities."""
        chosen = slice(None) if among is None else among
        scores = distance * self.there + self.parts + self.noise[run]
        return Scored(
            "Mass",
            calibrated(scores, self.cell.prevalence)[chosen],
            self.there[chosen],
            self.patient[chosen],
            self.cell.patients,
            float(calibrated(np.float64(POINT), self.cell.prevalence)),
            {},
        )


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


def intervals_of(audit: SimulatedAudit) -> Iterator[tuple[str, ClusteredEstimate, float]]:
    """Each interval of one audit, with what it is of and the truth."""
    patients, prevalence = audit.cell.patients, audit.cell.prevalence
    run, other_run = audit.scored(distance=DISTANCE), audit.scored(run=1, distance=OTHER_RUN)
    groups = [
        audit.scored(among=among, distance=distance)
        for among, distance in ((~audit.is_other, DISTANCE), (audit.is_other, OTHER_GROUP))
    ]
    of_looking = grouped_means(audit.looking[:, None], audit.patient, patients)
    hits = np.where(audit.there, audit.hit, np.nan)[:, None]
    statistics: list[RestingStatistics] = [
        run.measured(*MEASURES),
        grouped_means(hits, audit.patient, patients),
        of_looking,
        run.measured(*COMPARED),
        other_run.measured(*COMPARED),
        *(group.measured(*COMPARED[:3]) for group in groups),
    ]
    found = leave_out(statistics, patients)
    expected = truths(prevalence, DISTANCE)
    alone = [*MEASURES, "hits of maps", "share of saliency"]
    values = [expected[name] for name in MEASURES] + [HITS, mean_share()]
    shown = [
        estimate
        for left, statistic in zip(found[:3], statistics[:3], strict=True)
        for estimate in estimates(left, statistic.bases, level=LEVEL)
    ]
    yield from zip(alone, shown, values, strict=True)
    for name, at, names, other in (
        ("two runs", 3, COMPARED, truths(prevalence, OTHER_RUN)),
        ("two subgroups", 5, COMPARED[:3], truths(prevalence, OTHER_GROUP)),
    ):
        bases = statistics[at].bases, statistics[at + 1].bases
        shown = differences(found[at], found[at + 1], *bases)
        for measure, estimate in zip(names, shown, strict=True):
            yield f"{measure}, {name}", estimate, expected[measure] - other[measure]
    yield from _bins(run, prevalence)


def differences(
    first: LeftOut, second: LeftOut, bases: Sequence[Basis], others: Sequence[Basis]
) -> list[ClusteredEstimate]:
    """The first less the second, with intervals where both sides have one."""
    apart = first - second
    parts = (IndependentCases.of(left, each) for left, each in ((first, bases), (second, others)))
    joined = ShareDifferences(*parts, correlation_of(first, second)).interval(LEVEL)
    ends = zip(*(end.tolist() for end in joined), strict=True)
    return [
        ClusteredEstimate(None)
        if math.isnan(value)
        else ClusteredEstimate(value, withheld="few")
        if any(basis.lacks or basis.patients < LEAST_PATIENTS for basis in both) or math.isnan(start)
        else ClusteredEstimate(value, start, end)
        for value, (start, end), *both in zip(apart.value.tolist(), ends, bases, others, strict=True)
    ]


def _bins(run: Scored, prevalence: float) -> Iterator[tuple[str, ClusteredEstimate, float]]:
    given = run.probabilities, run.positive
    for each in calibration_curve(*given, groups=run.patients.tolist(), bins=BINS, level=LEVEL):
        estimate = ClusteredEstimate(each.observed, each.observed_low, each.observed_high)
        yield "calibration, all bins", estimate, observed_in(each.low, each.high, prevalence)


def coverage(cell: Cell, simulations: int, *, seed: int = 0) -> dict[str, Tally]:
    """How often each kind of interval held the truth."""
    rng = np.random.default_rng([seed, cell.patients, round(1000 * cell.prevalence), cell.most])
    found: defaultdict[str, Tally] = defaultdict(Tally)
    for _ in range(simulations):
        for name, estimate, truth in intervals_of(SimulatedAudit.drawn(rng, cell)):
            found[name].add(estimate, truth)
    return dict(found)


def table(tallies: dict[Cell, dict[str, Tally]], most: int) -> str:
    """One of the tables, as Markdown."""
    cells = [cell for cell in tallies if cell.most == most]
    heads = [f"{cell.patients}, {100 * cell.prevalence:.0f} %" for cell in cells]
    names = list(dict.fromkeys(name for cell in cells for name in tallies[cell]))
    lines = [f"| 1 to {most} images a patient | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for name in names:
        texts = [tallies[cell].get(name, Tally()).text for cell in cells]
        lines.append(f"| {name.replace('auroc', 'AUROC').replace('auprc', 'AUPRC')} | {' | '.join(texts)} |")
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
