"""How often an audit without a fault has a finding, and how often a planted fault is found, by simulation.

    python -m benchmarks.false_alarms --audits 200

Patients with several images each have findings that persist, scores that hang together, labels of which some
are wrong, subgroups, maps and a few failures. See docs/explanation/findings.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

from benchmarks.facts import machine
from cxr_explain.audit.cases import AGE_BANDS, Cases
from cxr_explain.audit.findings import KINDS
from cxr_explain.audit.left_out import left_out_groups
from cxr_explain.audit.localisation import LOCALISATION_MEASURES, Located
from cxr_explain.audit.statistics import statistics

PREVALENCES = {
    "Effusion": 0.3, "Atelectasis": 0.2, "Cardiomegaly": 0.15, "Mass": 0.1, "Pneumonia": 0.08, "Hernia": 0.02
}  # fmt: skip
"""Share of the patients with each pathology; `Hernia` has too few to be compared."""

AUROC = 0.85

SEPARATION = float(np.sqrt(2) * ndtri(AUROC))
"""Of the scores with and without a pathology, in standard deviations."""

OUTLINED = ("Effusion", "Atelectasis", "Mass")

_PERSISTS = 0.85  # chance that an image has its patient's findings, not those of anybody
_WRONG = 0.05  # labels of images with a pathology
_OF_PATIENT, _OF_IMAGE = 0.4, 0.1  # parts of the variance of scores that images or pathologies share
_HIT, _CHANCE = 0.5, 0.09
_FAILED = 0.003


@dataclass
class Simulated:
    """An audit before it is measured.

    Args:
        patients: (n,) number of each image's patient.
        truth: (n, P) bool, what is there.
        labels: (n, P) bool, what the reference standard says.
        logits: (n, P) of the model.
        offsets: (P,) by how much the logits are off.
        points: (P,) operating points as logits.
        columns: subgroups.
        hits: chance that a peak lies inside, by pathology.
        target: what a planted fault is about, as the cases of a finding name it.
    """

    patients: NDArray[np.intp]
    truth: NDArray[np.bool_]
    labels: NDArray[np.bool_]
    logits: NDArray[np.float64]
    offsets: NDArray[np.float64]
    points: NDArray[np.float64]
    columns: dict[str, tuple[str | None, ...]]
    hits: dict[str, float] = field(default_factory=lambda: dict.fromkeys(OUTLINED, _HIT))
    target: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(PREVALENCES)

    def cases(self) -> Cases:
        return Cases(
            ids=tuple(f"image {at}" for at in range(len(self.patients))),
            patients=self.patients,
            pathologies=self.names,
            probabilities=expit(self.logits),
            operating_points=tuple(expit(self.points).tolist()),
            labels=self.names,
            states=self.labels.astype(np.int8),
            columns=self.columns,
        )

    def located(self, draw: np.random.Generator) -> list[Located]:
        """Of each positive image of an outlined pathology; the patient decides half of whether it is hit."""
        number = int(self.patients.max()) + 1
        found = []
        for name, hit in self.hits.items():
            latent = np.sqrt(0.5) * draw.normal(size=number)[self.patients]
            latent += np.sqrt(0.5) * draw.normal(size=len(self.patients))
            inside = latent < ndtri(hit)
            chance = draw.beta(3, 3 / _CHANCE - 3, len(inside))
            for at in np.flatnonzero(self.labels[:, self.names.index(name)]).tolist():
                numbers = dict.fromkeys(LOCALISATION_MEASURES, float("nan"))
                numbers |= {"peak_hit": float(inside[at]), "random_hit": float(chance[at])}
                found.append(Located(at, name, tuple(numbers.values())))
        return found


def simulated(draw: np.random.Generator, patients: int = 300) -> Simulated:
    """An audit of a calibrated model without a fault."""
    member = np.repeat(np.arange(patients), draw.choice(5, patients, p=[0.5, 0.2, 0.15, 0.1, 0.05]) + 1)
    n, P = len(member), len(PREVALENCES)
    prevalence = np.array(list(PREVALENCES.values()))
    of_patient = draw.random((patients, P)) < prevalence
    anew = draw.random((n, P)) < prevalence
    truth = np.where(draw.random((n, P)) < _PERSISTS, of_patient[member], anew)
    # As many positives are missed as negatives are called positive: the share of positives stays.
    labels = truth ^ (draw.random((n, P)) < _WRONG * np.where(truth, 1, prevalence / (1 - prevalence)))
    noise = np.sqrt(_OF_PATIENT) * draw.normal(size=(patients, P))[member]
    noise += np.sqrt(_OF_IMAGE) * draw.normal(size=(n, 1))
    noise += np.sqrt(1 - _OF_PATIENT - _OF_IMAGE) * draw.normal(size=(n, P))
    scores = SEPARATION * truth + noise
    offsets = draw.normal(0, 0.08, P)
    # log odds of what is there, given the score; the model is off by a little, and so are its thresholds
    logits = logit(prevalence) + SEPARATION * scores - SEPARATION**2 / 2 + offsets
    points = logit(prevalence) + draw.normal(0, 0.2, P)
    return Simulated(member, truth, labels, logits, offsets, points, _columns(draw, member, patients))


def _columns(
    draw: np.random.Generator, member: NDArray[np.intp], patients: int
) -> dict[str, tuple[str | None, ...]]:
    ages = draw.choice([name for _, name in AGE_BANDS], patients, p=[0.02, 0.28, 0.4, 0.27, 0.03])
    return {
        "sex": tuple(draw.choice(["F", "M"], patients)[member].tolist()),
        "age": tuple(ages[member].tolist()),
        "view": tuple(draw.choice(["PA", "AP"], len(member), p=[0.7, 0.3]).tolist()),
        "hospital": tuple(draw.choice(["A", "B", "C"], patients, p=[0.5, 0.4, 0.1])[member].tolist()),
    }


Fault = Callable[[np.random.Generator], Simulated]


def _pathology(draw: np.random.Generator) -> Simulated:
    """Atelectasis scores whatever is there."""
    found, at = simulated(draw), 1
    found.logits[:, at] = draw.permutation(found.logits[:, at])
    return replace(found, target={"subject": found.names[at]})


@dataclass(frozen=True)
class _SubgroupOf:
    """Effusion scores whatever is there in the images of as many patients, who are of one hospital."""

    size: int

    def __call__(self, draw: np.random.Generator) -> Simulated:
        found = simulated(draw, patients=self.size + 400)
        there = np.flatnonzero(found.patients < self.size)
        value = np.array(found.columns["hospital"], object)
        value[there] = "D"
        found.logits[there, 0] = draw.permutation(found.logits[there, 0])
        columns = found.columns | {"hospital": tuple(value.tolist())}
        return replace(found, columns=columns, target={"hospital": "D"})


def _marker(draw: np.random.Generator) -> Simulated:
    """A marker in a third of the images drives Effusion, and its maps lie on it."""
    found = simulated(draw)
    marked = draw.random(len(found.patients)) < 1 / 3
    found.logits[:, 0] = np.where(marked, 1.0, -2.0) + draw.normal(0, 0.5, len(marked))
    return replace(found, hits=found.hits | {"Effusion": 0.02}, target={"subject": "Effusion"})


def _threshold(draw: np.random.Generator) -> Simulated:
    """The operating point of Cardiomegaly is too low by 4 in log odds."""
    found, at = simulated(draw), 2
    found.points[at] -= 4
    return replace(found, target={"subject": found.names[at]})


def _drift(draw: np.random.Generator) -> Simulated:
    """The probabilities of Mass are too high by 1.5 in log odds."""
    found, at = simulated(draw), 3
    found.logits[:, at] += 1.5
    return replace(found, target={"subject": found.names[at]})


def _inverted(draw: np.random.Generator) -> Simulated:
    """The labels of one patient with several images are the opposite of what they should be."""
    found = simulated(draw)
    chosen = draw.choice(np.flatnonzero(np.bincount(found.patients) > 1))
    mine = found.patients == chosen
    found.labels[mine] = ~found.labels[mine]
    return replace(found, target={"patient": f"image {int(np.flatnonzero(mine)[0])}"})


def _exchanged(draw: np.random.Generator) -> Simulated:
    """A patient with three findings has the labels of one without any."""
    found = simulated(draw)
    of_patient = np.zeros((int(found.patients.max()) + 1, len(found.names)), bool)
    np.logical_or.at(of_patient, found.patients, found.truth)
    chosen = draw.choice(np.flatnonzero(of_patient.sum(axis=1) >= min(3, of_patient.sum(axis=1).max())))
    mine = found.patients == chosen
    found.labels[mine] = False
    return replace(found, target={"patient": f"image {int(np.flatnonzero(mine)[0])}"})


PLANTED: Mapping[str, tuple[tuple[str, ...], Fault]] = {
    "a pathology scored at random": (("pathology",), _pathology),
    "a subgroup of 40 patients scored at random": (("subgroup",), _SubgroupOf(40)),
    "a subgroup of 400 patients scored at random": (("subgroup",), _SubgroupOf(400)),
    "a marker that drives one output": (("pathology", "localisation"), _marker),
    "an operating point moved by 4 log odds": (("operating point",), _threshold),
    "probabilities raised by 1.5 log odds": (("calibration",), _drift),
    "all labels of one patient inverted": (("labels",), _inverted),
    "labels of a patient with three findings exchanged for none": (("labels",), _exchanged),
}
"""By what is planted: the kinds whose top finding it must be, and the fault."""


def document_of(found: Simulated, draw: np.random.Generator) -> Mapping[str, Any]:
    """The statistics of a simulated audit."""
    failed = draw.random(len(found.patients)) < _FAILED
    return statistics(
        found.cases(),
        located=found.located(draw),
        failures=int(failed.sum()),
        failed=left_out_groups(found.columns, found.patients, failed) if failed.any() else (),
    ).document


def is_top(document: Mapping[str, Any], kind: str, target: Mapping[str, str]) -> bool:
    """Whether the first finding of a kind is about the target."""
    first = next((each for each in document["findings"]["found"] if each["kind"] == kind), None)
    return first is not None and target.items() <= first["cases"].items()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="False and true findings of simulated audits.")
    parser.add_argument("--audits", type=int, default=200, help="without a fault")
    parser.add_argument("--planted", type=int, default=50, help="with each fault")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args(arguments)
    began = time.perf_counter()
    with ProcessPoolExecutor(asked.jobs) as pool:
        seeds = [(asked.seed, number) for number in range(asked.audits)]
        print("\n".join(without_faults(list(pool.map(without_a_fault, seeds)))), end="\n\n", flush=True)
        print(f"{asked.planted} audits with each fault:\n")
        print("| planted | kind | share with it as the top finding of the kind |\n|---|---|---:|", flush=True)
        for words, (kinds, _) in PLANTED.items():
            of_fault = [(words, (asked.seed + 1, number)) for number in range(asked.planted)]
            shares = np.mean(list(pool.map(with_a_fault, of_fault)), axis=0)
            for kind, share in zip(kinds, shares, strict=True):
                print(f"| {words} | {kind} | {share:.2f} |", flush=True)
    print(f"\n{time.perf_counter() - began:.0f} s on {machine()}")


class Alarms(NamedTuple):
    """Of one audit without a fault.

    Args:
        kinds: those that have a finding.
        compared: number of comparisons of each kind.
        ratios: for each calibration that was judged, whether its interval holds the true ratio.
    """

    kinds: set[str]
    compared: dict[str, int]
    ratios: list[bool]


def without_a_fault(seed: tuple[int, int]) -> Alarms:
    """Simulate and measure one."""
    draw = np.random.default_rng(seed)
    found = simulated(draw)
    document = document_of(found, draw)
    kinds = {each["kind"] for each in document["findings"]["found"]}
    return Alarms(kinds, document["findings"]["compared"], ratios_inside(document, found))


def with_a_fault(asked: tuple[str, tuple[int, int]]) -> list[bool]:
    """Simulate one, and say for each kind whether the fault is its top finding."""
    kinds, plant = PLANTED[asked[0]]
    draw = np.random.default_rng(asked[1])
    found = plant(draw)
    document = document_of(found, draw)
    return [is_top(document, kind, found.target) for kind in kinds]


def without_faults(audits: Sequence[Alarms]) -> list[str]:
    """How often there is a finding all the same, by kind."""
    lines = [f"{len(audits)} audits without a fault:", ""]
    lines += ["| kind | comparisons an audit | share of audits with a finding |", "|---|---:|---:|"]
    for kind in KINDS:
        comparisons = np.mean([each.compared.get(kind, 0) for each in audits])
        lines.append(
            f"| {kind} | {comparisons:.1f} | {np.mean([kind in each.kinds for each in audits]):.3f} |"
        )
    comparisons = np.mean([sum(each.compared.values()) for each in audits])
    lines.append(f"| any | {comparisons:.1f} | {np.mean([bool(each.kinds) for each in audits]):.3f} |")
    ratios = [inside for each in audits for inside in each.ratios]
    share = f"{np.mean(ratios):.3f} of {len(ratios):,}"
    return [*lines, "", f"The interval of the ratio of the calibration held the true one in {share}."]


def ratios_inside(document: Mapping[str, Any], found: Simulated) -> list[bool]:
    """For each calibration that was judged, whether its interval holds the ratio of an endless audit."""
    normal = ndtri((np.arange(4000) + 0.5) / 4000)
    inside = []
    for (name, prevalence), offset in zip(PREVALENCES.items(), found.offsets, strict=True):
        each = document["compared"]["pathologies"][name].get("calibration")
        if each is None:
            continue
        with_it, without = (
            expit(logit(prevalence) + SEPARATION * (SEPARATION * there + normal) - SEPARATION**2 / 2 + offset)
            for there in (1, 0)
        )
        expected = prevalence * with_it.mean() + (1 - prevalence) * without.mean()
        inside.append(bool(each["low"] <= expected / prevalence <= each["high"]))
    return inside


if __name__ == "__main__":
    main()
