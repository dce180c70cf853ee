"""How well a model's probabilities agree with reference labels, under many weightings of the patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cxr_explain.audit.cases import Cases, counted
from cxr_explain.measures.statistics.basis import Basis
from cxr_explain.measures.statistics.bootstrap import Multiplicities, ratio, summed, weighed_sums
from cxr_explain.measures.statistics.calibration import GroupedCalibration, error_by_chance
from cxr_explain.measures.statistics.discrimination import GroupedScores
from cxr_explain.measures.statistics.intervals import ClusteredEstimate
from cxr_explain.options import LabelPolicyLike, check_option

Measure = Literal["auroc", "auprc", "sensitivity", "specificity", "ppv", "npv", "brier", "ece"]
"""Of one pathology; the middle four at its operating point."""

MEASURES: tuple[Measure, ...] = get_args(Measure)

_AREAS = frozenset({"auroc", "auprc"})
_AT_OPERATING_POINT = frozenset({"sensitivity", "specificity", "ppv", "npv"})
_OF_CALIBRATION = frozenset({"brier", "ece"})

Draws = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scored:
    """The images that count for one pathology.

    Args:
        pathology: name of the pathology.
        probabilities: (m,) float64.
        positive: (m,) bool.
        patients: (m,) number of each image's patient, from 0.
        groups: number of patients in the audit.
        operating_point: probability from which on an image is called positive; None without.
        excluded: images that do not count, by reason.
        changed: images that count as something else than their label says, by what it says and counts as.
    """

    pathology: str
    probabilities: NDArray[np.float64]
    positive: NDArray[np.bool_]
    patients: NDArray[np.intp]
    groups: int
    operating_point: float | None
    excluded: Mapping[str, int]
    changed: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, cases: Cases, pathology: str, *, policy: LabelPolicyLike, among: NDArray[np.bool_] | None = None
    ) -> Scored:
        """Choose the images that count.

        Args:
            cases: images of the audit with their probabilities and reference labels.
            pathology: one that the model was trained for.
            policy: what reference labels count as.
            among: (n,) bool, the images to choose from; all by default.
        """
        column = cases.pathologies.index(pathology)
        chosen = np.ones(len(cases), bool) if among is None else among
        found = counted(cases.states_of(pathology)[chosen], policy, cases.absent(pathology)[chosen])
        at = np.flatnonzero(chosen)[found.included]
        return cls(
            pathology,
            cases.probabilities[at, column],
            found.positive[found.included],
            cases.patients[at],
            cases.groups,
            cases.operating_points[column],
            found.excluded,
            found.changed,
        )

    @property
    def counts(self) -> dict[str, int]:
        """Images with a positive and a negative reference label, and patients with such an image."""
        positive, negative = (self.images_of(kind) for kind in (self.positive, ~self.positive))
        return {
            "positive": int(positive.sum()),
            "negative": int(negative.sum()),
            "positive_patients": int(np.count_nonzero(positive)),
            "negative_patients": int(np.count_nonzero(negative)),
            "patients": int(np.count_nonzero(positive + negative)),
        }

    def images_of(self, chosen: NDArray[np.bool_]) -> NDArray[np.intp]:
        """(groups,): how many of the images that are chosen, (m,) bool, each patient has."""
        return np.bincount(self.patients[chosen], minlength=self.groups)

    def measured(self, *measures: Measure) -> AgreementMeasures:
        """Make ready to measure."""
        return AgreementMeasures(self, measures or MEASURES)


class AgreementMeasures:
    """Measures of one pathology as a function of how often each patient counts.

    "Not estimable" is NaN: the area under a curve without a positive or without a negative; sensitivity
    without a positive, specificity without a negative; predictive values without both, or where nobody is
    called positive (PPV) or negative (NPV); what needs an operating point without one.

    Args:
        scored: the images.
        measures: what to measure, in this order.

    Raises:
        OptionError: an unknown measure.

    >>> scored = Scored("Mass", np.array([0.2, 0.7]), np.array([False, True]), np.arange(2), 2, 0.5, {})
    >>> scored.measured("auroc", "ppv")(np.array([[1.0, 2.0], [1.0, 0.0]])).tolist()
    [[1.0, nan], [1.0, nan]]
    """

    def __init__(self, scored: Scored, measures: Sequence[Measure]) -> None:
        for measure in measures:
            check_option("measure", measure, Measure)
        self.measures = tuple(measures)
        self._scored = scored

    def __call__(self, drawn: Multiplicities) -> NDArray[np.float64]:
        """(patients, b) -> (measures, b)."""
        found: dict[str, Draws] = {}
        for names, measure in (
            (_AREAS, self._areas),
            (_AT_OPERATING_POINT, self._at_operating_point),
            (_OF_CALIBRATION, self._of_calibration),
        ):
            if not names.isdisjoint(self.measures):
                found |= measure(drawn)
        return np.stack([found[name] for name in self.measures])

    @cached_property
    def bases(self) -> tuple[Basis, ...]:
        """What each measure rests on."""
        return tuple(self._basis(measure) for measure in self.measures)

    def _basis(self, measure: Measure) -> Basis:
        scored, there = self._scored, self._scored.positive
        if measure in _AREAS:
            return min(
                (self._of_kind(positive, of_hits=False) for positive in (True, False)),
                key=lambda basis: basis.patients,
            )
        if measure in ("sensitivity", "specificity"):
            return self._of_kind(measure == "sensitivity")
        if measure in _AT_OPERATING_POINT:
            is_called = self._called == (measure == "ppv")
            word = "positive" if measure == "ppv" else "negative"
            return Basis.of(scored.images_of(is_called), f"patient called {word}")
        every = scored.images_of(there | True)
        return Basis.of(
            every, "patient", of_hits=False, withheld=self._by_chance if measure == "ece" else None
        )

    def _of_kind(self, positive: bool, **more: Any) -> Basis:
        scored = self._scored
        word = "positive patient" if positive else "negative patient"
        return Basis.of(scored.images_of(scored.positive == positive), word, **more)

    @property
    def _by_chance(self) -> str:
        """In place of an interval of the calibration error, which would not hold a calibrated model's 0."""
        scored = self._scored
        given = scored.probabilities, scored.positive
        found = error_by_chance(*given, groups=scored.patients.tolist())
        return f"{found or 0:.3f} if calibrated"

    def _areas(self, drawn: Multiplicities) -> dict[str, Draws]:
        weighed = self._order.weighed(drawn)
        areas = {"auroc": weighed.auroc, "auprc": weighed.average_precision}
        return {name: area() for name, area in areas.items() if name in self.measures}

    def _of_calibration(self, drawn: Multiplicities) -> dict[str, Draws]:
        return {
            "brier": self._calibration.brier(drawn),
            "ece": self._calibration.expected_calibration_error(drawn),
        }

    def _at_operating_point(self, drawn: Multiplicities) -> dict[str, Draws]:
        if self._outcomes is None:
            nothing = np.full(drawn.shape[1], np.nan)
            return dict.fromkeys(_AT_OPERATING_POINT, nothing)
        tn, fp, fn, tp = weighed_sums(self._outcomes, drawn)
        both = (tp + fn > 0) & (tn + fp > 0)
        return {
            "sensitivity": ratio(tp, tp + fn),
            "specificity": ratio(tn, tn + fp),
            "ppv": ratio(tp, np.where(both, tp + fp, 0)),
            "npv": ratio(tn, np.where(both, tn + fn, 0)),
        }

    @cached_property
    def _outcomes(self) -> Any:
        """(4, patients): true negatives, false positives, false negatives and true positives; or None."""
        scored = self._scored
        if scored.operating_point is None:
            return None
        return summed(2 * scored.positive + self._called, scored.patients, (4, scored.groups))

    @property
    def _called(self) -> NDArray[np.bool_]:
        """(m,): whether each image is called positive; none is without an operating point."""
        scored = self._scored
        return scored.probabilities >= (np.inf if scored.operating_point is None else scored.operating_point)

    @cached_property
    def _order(self) -> GroupedScores:
        scored = self._scored
        return GroupedScores.of(scored.probabilities, scored.positive, scored.patients, scored.groups)

    @cached_property
    def _calibration(self) -> GroupedCalibration:
        scored = self._scored
        return GroupedCalibration.of(scored.probabilities, scored.positive, scored.patients, scored.groups)


def as_cells(names: Sequence[str], estimates: Sequence[ClusteredEstimate]) -> dict[str, dict[str, Any]]:
    """Estimates by name, as the statistics' document has them.

    >>> as_cells(["auroc"], [ClusteredEstimate(0.5, withheld="8 positive patients")])
    {'auroc': {'value': 0.5, 'low': None, 'high': None, 'withheld': '8 positive patients'}}
    """
    return {name: dict(vars(estimate)) for name, estimate in zip(names, estimates, strict=True)}
