"""How likely each reference label is, given what the model says and how that goes in other patients."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxr_explain.audit.cases import Cases, counted
from cxr_explain.options import LabelPolicyLike

MOST_PATIENTS = 5
"""Patients whose labels contradict the model are kept, those most contradicted."""

MOST_CASES = 5
"""To open first."""

_BIN = 50  # images of which a share of positives is taken, at least
_MOST_BINS = 10


class LabelChances(NamedTuple):
    """How likely the labels of a pathology are, by those of other patients at about such probabilities.

    Args:
        output: number of the pathology.
        at: (m,) the images whose label counts.
        there: (m,) bool, positive.
        chance: (m,) of the label.
    """

    output: int
    at: NDArray[np.intp]
    there: NDArray[np.bool_]
    chance: NDArray[np.float64]


def label_chances(cases: Cases, *, policy: LabelPolicyLike) -> list[LabelChances]:
    """For each pathology with labels, how likely each of them is; see `usual_share`.

    Args:
        cases: the images that were explained.
        policy: what reference labels count as.
    """
    found = []
    for output, pathology in enumerate(cases.pathologies):
        states = counted(cases.states_of(pathology), policy, cases.absent(pathology))
        at = np.flatnonzero(states.included)
        if len(at):
            there = states.positive[at]
            usual = usual_share(cases.probabilities[at, output], there, cases.patients[at])
            found.append(LabelChances(output, at, there, np.where(there, usual, 1 - usual)))
    return found


def first_cases(cases: Cases, labelled: Sequence[LabelChances]) -> list[dict[str, Any]]:
    """The images to open first: their label is the least likely, given what the model says.

    The pathologies take turns, the one with the least likely label first; of each patient there is one image.

    Args:
        cases: the images that were explained.
        labelled: how likely their labels are.

    Returns:
        Five at most, each with "image", "pathology", "positive", "probability" and "chance" of the label.
    """
    queues = []
    for each in labelled:
        probabilities = cases.probabilities[each.at, each.output]
        order = np.lexsort((np.where(each.there, probabilities, -probabilities), each.chance))
        queues.append([(each, int(place)) for place in order[: MOST_CASES**2] if each.chance[place] < 0.5])
    queues.sort(key=lambda queue: queue[0][0].chance[queue[0][1]] if queue else 1.0)
    found: list[dict[str, Any]] = []
    patients: set[int] = set()
    for turn in zip_longest(*queues):
        for each, place in filter(None, turn):
            image = each.at[place]
            if len(found) < MOST_CASES and cases.patients[image] not in patients:
                patients.add(int(cases.patients[image]))
                found.append(
                    {
                        "image": cases.ids[image],
                        "pathology": cases.pathologies[each.output],
                        "positive": bool(each.there[place]),
                        "probability": float(cases.probabilities[image, each.output]),
                        "chance": float(each.chance[place]),
                    }
                )
    return found


def contradicted(cases: Cases, labelled: Sequence[LabelChances]) -> dict[str, Any]:
    """The patients whose reference labels contradict the model far more than those of others do.

    How often a label is positive at about such a probability is counted in the other patients. For the labels
    of one image this gives their chance as they stand; it is compared with that of their opposites, and with
    that of labels of anybody else. The mean of the two ratios has an expectation of 1 where the labels are
    right: that it exceeds 1 / p has a chance of p at most. Several images of a patient count as one, by
    their geometric mean, which holds whatever they have in common; pathologies count as independent.

    Args:
        cases: the images that were explained.
        labelled: how likely their labels are.

    Returns:
        "patients", how many have labels; and "found", the most contradicted ones with "images", "labels", how
        many of them are "opposed", the share of labels that is "usual" in others, and p, adjusted for the
        number of patients.

    Source:
        Vovk and Wang, E-values: calibration, combination and applications, Ann. Stat. 49 (2021) 1736.
    """
    inverted, foreign = np.zeros((2, len(cases)))
    labels, opposed = np.zeros((2, len(cases)))
    for each in labelled:
        anywhere = usual_share(np.zeros(len(each.at)), each.there, cases.patients[each.at])
        inverted[each.at] += np.log1p(-each.chance) - np.log(each.chance)
        foreign[each.at] += np.log(np.where(each.there, anywhere, 1 - anywhere)) - np.log(each.chance)
        labels[each.at] += 1
        opposed[each.at] += each.chance < 0.5
    return _most_contradicted(cases, labels, opposed, inverted, foreign)


def _most_contradicted(
    cases: Cases,
    labels: NDArray[np.float64],
    opposed: NDArray[np.float64],
    inverted: NDArray[np.float64],
    foreign: NDArray[np.float64],
) -> dict[str, Any]:
    of_patient = cases.patients
    images = np.bincount(of_patient[labels > 0], minlength=cases.groups)
    known = np.flatnonzero(images)
    means = [
        np.bincount(of_patient, weights=each, minlength=cases.groups)[known] / images[known]
        for each in (inverted, foreign)
    ]
    evidence = np.logaddexp(*means) - np.log(2)
    found = []
    for at in np.argsort(-evidence, kind="stable")[:MOST_PATIENTS]:
        mine = of_patient == known[at]
        others = float(opposed[~mine].sum() / max(labels[~mine].sum(), 1))
        found.append(
            {
                "images": [cases.ids[image] for image in np.flatnonzero(mine & (labels > 0))],
                "labels": int(labels[mine].sum()),
                "opposed": int(opposed[mine].sum()),
                "usual": others,
                "evidence": float(evidence[at]),
                "p": float(min(1.0, len(known) * np.exp(-evidence[at]))),
            }
        )
    return {"patients": len(known), "found": found}


def usual_share(
    probabilities: NDArray[np.float64], there: NDArray[np.bool_], patients: NDArray[np.intp]
) -> NDArray[np.float64]:
    """(n,), for each image the share of positives at about its probability, among other patients.

    The images are put into bins of equal numbers, 10 at most and of 50 images or more; in each bin a positive
    and a negative are added, so that no share is 0 or 1.

    Args:
        probabilities: (n,), of any scale.
        there: (n,) bool.
        patients: (n,) number of each image's patient.

    Source:
        Laplace's rule of succession: Jaynes, Probability Theory (2003), section 18.

    >>> usual_share(np.zeros(4), np.array([True, True, False, False]), np.array([0, 0, 1, 2])).tolist()
    [0.25, 0.25, 0.6, 0.6]
    """
    bins = int(np.clip(len(there) // _BIN, 1, _MOST_BINS))
    edges = np.quantile(probabilities, np.arange(1, bins) / bins)
    bin_of = np.searchsorted(edges, probabilities, side="right")
    _, member = np.unique(patients, return_inverse=True)
    own = member * bins + bin_of
    number = (int(member.max()) + 1) * bins

    def others(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum over a bin, without the patient's own."""
        every, mine = np.bincount(bin_of, weights, bins), np.bincount(own, weights, number)
        return np.asarray(every[bin_of] - mine[own])

    positives = there.astype(np.float64)
    return (others(positives) + 1) / (others(np.ones(len(there))) + 2)
