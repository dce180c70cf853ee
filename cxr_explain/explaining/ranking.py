"""Ranking: logits -> probabilities -> the K pathologies to explain."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Unpack

from cxr_explain.display import html_of
from cxr_explain.errors import ModelError, OptionError
from cxr_explain.explaining.calibration import Calibration
from cxr_explain.explaining.settings import RankingOptions, RankingSettings
from cxr_explain.options import ONE_LABEL, OutputKind, RankBy
from cxr_explain.pathologies import canonical_pathology


@dataclass(frozen=True)
class Prediction:
    """What the model says of one pathology.

    Args:
        pathology: its name.
        index: its position in the model's head.
        logit: the score before the sigmoid or softmax.
        probability: sigmoid of the logit, as the model gives it, not calibrated; of a classifier of which
            exactly one output is true, the softmax; with operating points that bring a calibration, the
            calibrated probability.
        operating_point: the probability from which it is called positive, by the weights' authors or as it
            was fitted; None where there is none.
        calibrated: TorchXRayVision's piecewise-linear rescaling, by which the operating point becomes 0.5;
            None without an operating point. Not a probability.

    >>> (prediction,) = rank([0.0], ["Mass"], [0.4]).top
    >>> prediction.probability, prediction.above, round(prediction.calibrated, 3)
    (0.5, True, 0.583)
    """

    pathology: str
    index: int
    logit: float
    probability: float
    operating_point: float | None = None
    calibrated: float | None = None

    @property
    def above(self) -> bool | None:
        """Whether the probability reaches the operating point; None without one."""
        return None if self.operating_point is None else self.probability >= self.operating_point


@dataclass(frozen=True)
class Ranking:
    """The K pathologies to explain, best first, among all that the model predicts.

    Args:
        top: the K ranked predictions.
        predictions: every trained output, in the head's order.
        by: "probability" or "calibrated".
        notes: what was cut or left out, for people to read.

    >>> ranking = rank([0.0, 2.0, -1.0], ["Mass", "Edema", "Hernia"], top_k=2)
    >>> ranking.k, ranking.pathologies, ranking["Hernia"].logit
    (2, ('Edema', 'Mass'), -1.0)
    """

    top: tuple[Prediction, ...]
    predictions: tuple[Prediction, ...]
    by: RankBy = "probability"
    notes: tuple[str, ...] = ()

    @property
    def k(self) -> int:
        """How many pathologies are explained."""
        return len(self.top)

    @property
    def pathologies(self) -> tuple[str, ...]:
        """Their names, best first."""
        return tuple(prediction.pathology for prediction in self.top)

    def _repr_html_(self) -> str:
        return html_of(self)

    def __getitem__(self, pathology: str) -> Prediction:
        wanted = canonical_pathology(pathology)
        exact = [p for p in self.predictions if p.pathology == pathology]
        alike = [p for p in self.predictions if canonical_pathology(p.pathology) == wanted]
        for prediction in (*exact, *alike):
            return prediction
        raise KeyError(pathology)


def rank(
    logits: Sequence[float],
    outputs: Sequence[str],
    operating_points: Sequence[float | None] | None = None,
    *,
    kind: OutputKind | None = None,
    calibrations: Sequence[Calibration | None] | None = None,
    **options: Unpack[RankingOptions],
) -> Ranking:
    """Rank the trained outputs of one image.

    Outputs without a name (`''`) were never trained and never rank. Ties keep the head's order.

    Args:
        logits: (N,) scores before the sigmoid or softmax.
        outputs: names of the N outputs; '' where one was never trained.
        operating_points: N probabilities or None; NaN counts as None.
        kind: what the model gives; probabilities are a softmax over the N outputs where exactly one of them
            is true, else sigmoids.
        calibrations: N, by which logits become probabilities in place of the sigmoid; None for an output that
            has none.
        **options: which of them, such as top_k; see `RankingSettings`.

    Raises:
        OptionError: K below 1, another `rank_by`, a pathology that the model does not predict, or lengths
            that differ.
        ModelError: scores that are not finite.

    >>> rank([0.0, 2.0, 9.0], ["Mass", "Edema", ""], top_k=5).pathologies
    ('Edema', 'Mass')
    >>> cooled = [Calibration(temperature=4.0), None]
    >>> rank([2.0, 1.0], ["Mass", "Edema"], calibrations=cooled).pathologies
    ('Edema', 'Mass')
    """
    asked = RankingSettings.of(**options)
    predictions = _predictions(logits, outputs, operating_points, kind, calibrations)
    notes: list[str] = []
    candidates = _select(predictions, asked.pathologies)
    if asked.above_operating_point:
        candidates = _keep(
            candidates, lambda p: p.above is True, "below or without an operating point", notes
        )
    if asked.rank_by == "calibrated":
        candidates = _keep(
            candidates, lambda p: p.calibrated is not None, "without an operating point", notes
        )
    if asked.top_k > len(candidates):
        notes.append(f"K cut from {asked.top_k} to {len(candidates)}: no more pathologies to rank")
    ordered = sorted(
        candidates, key=lambda p: -_value(p, asked.rank_by, calibrations)
    )  # sorted() is stable: ties keep the head's order
    return Ranking(tuple(ordered[: asked.top_k]), predictions, asked.rank_by, tuple(notes))


def calibrate(probability: float, operating_point: float) -> float:
    """TorchXRayVision's `op_norm`: piecewise linear, 0 -> 0, operating point -> 0.5, 1 -> 1.

    >>> calibrate(0.2, 0.2)
    0.5
    """
    if probability < operating_point:
        return probability / (2 * operating_point)
    return 1 - (1 - probability) / (2 * (1 - operating_point))


def sigmoid(logit: float) -> float:
    """1 / (1 + exp(-logit)), without overflow."""
    if logit >= 0:
        return 1 / (1 + math.exp(-logit))
    power = math.exp(logit)
    return power / (1 + power)


def softmax(logits: Sequence[float]) -> list[float]:
    """exp(logit) as shares of their sum, without overflow.

    >>> softmax([0.0, 0.0])
    [0.5, 0.5]
    """
    largest = max(logits, default=0.0)
    powers = [math.exp(logit - largest) for logit in logits]
    return [power / sum(powers) for power in powers]


def _predictions(
    logits: Sequence[float],
    pathologies: Sequence[str],
    operating_points: Sequence[float | None] | None,
    kind: OutputKind | None,
    calibrations: Sequence[Calibration | None] | None,
) -> tuple[Prediction, ...]:
    points = [None] * len(pathologies) if operating_points is None else list(operating_points)
    if not len(logits) == len(pathologies) == len(points):
        raise OptionError(
            f"{len(logits)} scores, {len(pathologies)} pathologies and {len(points)} operating points",
            expected="as many of each",
        )
    if not all(math.isfinite(logit) for logit, name in zip(logits, pathologies, strict=True) if name):
        raise ModelError(
            "scores that are NaN or infinite",
            expected="finite logits",
            remedy="Check the weights and the input's value range.",
        )
    probabilities = softmax(logits) if kind in ONE_LABEL else [sigmoid(logit) for logit in logits]
    for index, calibration in enumerate(calibrations or ()):
        if calibration is not None:
            probabilities[index] = float(calibration.probabilities(logits[index]))
    rows = zip(pathologies, logits, probabilities, points, strict=True)
    return tuple(
        _prediction(index, name, float(logit), probability, point)
        for index, (name, logit, probability, point) in enumerate(rows)
        if name
    )


def _prediction(
    index: int, pathology: str, logit: float, probability: float, point: float | None
) -> Prediction:
    if point is None or math.isnan(point):
        return Prediction(pathology, index, logit, probability)
    calibrated = calibrate(probability, point) if 0 < point < 1 else None
    return Prediction(pathology, index, logit, probability, point, calibrated)


def _select(predictions: tuple[Prediction, ...], only: tuple[str, ...] | None) -> list[Prediction]:
    if only is None:
        return list(predictions)
    known = dict.fromkeys(canonical_pathology(p.pathology) for p in predictions)
    wanted = [canonical_pathology(name) for name in only]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise OptionError(
            f"pathologies {unknown}", expected=f"pathologies that this model predicts: {', '.join(known)}"
        )
    return [p for p in predictions if canonical_pathology(p.pathology) in wanted]


def _keep(
    candidates: list[Prediction], test: Callable[[Prediction], bool], reason: str, notes: list[str]
) -> list[Prediction]:
    kept = [p for p in candidates if test(p)]
    if len(kept) < len(candidates):
        notes.append(f"{len(candidates) - len(kept)} pathologies left out: {reason}")
    return kept


def _value(prediction: Prediction, by: RankBy, calibrations: Sequence[Calibration | None] | None) -> float:
    if by == "calibrated":
        return -math.inf if prediction.calibrated is None else prediction.calibrated
    calibration = calibrations[prediction.index] if calibrations else None
    if calibration is not None:
        return calibration.log_odds(prediction.logit)
    return prediction.logit  # the order of the probabilities, without their rounding to 1.0
