"""Operating points and calibrations of every pathology of an audit, fitted on a part of the patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from cxr_explain._version import __version__
from cxr_explain.audit.cases import Cases
from cxr_explain.audit.measures import Scored
from cxr_explain.audit.operating_points.calibrating import calibration_of
from cxr_explain.audit.operating_points.goals import Candidates, Goal
from cxr_explain.audit.operating_points.split import ImagesOfRun, TuningPart
from cxr_explain.errors import AuditError
from cxr_explain.explaining.operating_points import (
    FittedPoint,
    OperatingPoints,
    ShareWithInterval,
    refuse_one_label,
)
from cxr_explain.explaining.provenance import Tuning
from cxr_explain.measures.statistics.intervals import share_estimate
from cxr_explain.options import CalibrationKind, LabelPolicy, LabelPolicyLike, check_option

if TYPE_CHECKING:
    from cxr_explain.audit.store import AuditRun

LEAST_PATIENTS = 10
"""With fewer patients with a positive image, or with a negative one, nothing is fitted."""

LEAST_FOR_INTERVAL = 45
"""With fewer patients with an image of the kind that a quantile is of, it has no interval: in simulations
that of some 15 held it in 87 %, and that of 35 in 90 %, in place of 95 % (`benchmarks/fitted_points.py`)."""


@dataclass(frozen=True)
class TuningSettings:
    """What operating points are fitted for, and how.

    Args:
        goal: what they are chosen for.
        part: the part of the images that they are fitted on.
        calibrate: how probabilities are calibrated, before.
        policy: what reference labels count as; as the audit was asked by default.
        level: confidence level of the intervals, between 0 and 1.

    Raises:
        OptionError: another calibration.

    >>> TuningSettings(Goal.parse("youden"), TuningPart(split="valid")).calibrate
    'none'
    """

    goal: Goal
    part: TuningPart
    calibrate: CalibrationKind = "none"
    policy: LabelPolicyLike | None = None
    level: float = 0.95

    def __post_init__(self) -> None:
        check_option("calibrate", self.calibrate, CalibrationKind)


def fit_operating_points(run: AuditRun, settings: TuningSettings) -> OperatingPoints:
    """Fit the operating point of each pathology on a part of an audit, and calibrate before where asked.

    An operating point lies half-way between two scores of the tuning images; images count as often as they
    are there. The intervals are those of the share of images at this point, by patient, as an audit's
    statistics have them. Of the point itself there is one where it is a quantile, that is
    for a sensitivity or a specificity: the points at which the ends of the interval of that share are
    reached. The point of the largest or least value, for "youden" and "cost", converges too slowly for any
    interval of this kind.

    Args:
        run: an audit with the weights' own operating points, finished or not.
        settings: what for, on which part, and how.

    Raises:
        AuditError: a run with operating points that were fitted already, or without a model's digest that
            tells it apart; or a store that cannot be read.
        OptionError: a model of which exactly one output is true, or a part without an image.

    Source:
        Woodruff, J. Am. Stat. Assoc. 47 (1952) 635, for the interval of a quantile; Abrevaya and Huang,
        Econometrica 73 (2005) 1175, for why that of a maximum is withheld.

    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.audit.example import example_audit
    >>> settings = TuningSettings(Goal.parse("youden"), TuningPart(fraction=0.5))
    >>> with TemporaryDirectory() as folder:
    ...     points = fit_operating_points(example_audit(folder), settings)
    >>> points.points[0].not_fitted, len(points.images)
    ('0 patients with a positive image and 1 with a negative one, where 10 are needed', 1)
    """
    record = run.record
    if record.tuning is not None:
        raise AuditError(
            "an audit with operating points that were fitted already",
            expected="one with the weights' own",
            source=run.place.name,
        )
    refuse_one_label(record.output_kind)
    images = ImagesOfRun.of(run)
    among = settings.part.among(run, images)
    policy = LabelPolicy.of(settings.policy or record.policy)
    cases = _with_logits(run)
    points = tuple(
        fitted_point(Scored.of(cases, name, policy=policy, among=among), settings)
        for name in cases.pathologies
    )
    files, inputs = np.array(images.files, object), np.array(images.inputs, object)
    mine = frozenset((*files[among], *inputs[among]))
    related = images.known_by(mine) & ~among
    return OperatingPoints(
        model=record.model,
        weights_sha256=record.weights_sha256,
        fit=record.map_settings.fit,
        reading=record.read_settings,
        points=points,
        tuning=Tuning(
            goal=str(settings.goal),
            calibrate=settings.calibrate,
            part=str(settings.part),
            policy=policy.name,
            images=int(among.sum()),
            patients=len(np.unique(images.patients[among])),
            outputs=len(points),
            fitted=sum(not each.not_fitted for each in points),
            calibrated=sum(each.calibration is not None for each in points),
            manifest_source=run.manifest.source,
            manifest_sha256=record.manifest_sha256,
            run_sha256=record.digest,
            package_version=__version__,
        ),
        images=tuple(sorted(set(files[among]))),
        inputs=tuple(sorted(set(inputs[among]))),
        related=tuple(sorted({*files[related], *inputs[related]} - mine)),
    )


def _with_logits(run: AuditRun) -> Cases:
    """The images of a run, with logits in the place of probabilities."""
    names = [f"logit {name}" for name in run.record.pathologies]
    table = run.columns(names)
    logits = np.stack([table[name].to_numpy().astype(np.float64) for name in names], axis=1)
    return replace(Cases.of(run), probabilities=logits)


def fitted_point(scored: Scored, settings: TuningSettings) -> FittedPoint:
    """The operating point of one pathology; the weights' own where none can be fitted.

    Args:
        scored: its images, with logits in the place of probabilities.
        settings: what for, and how; the part has been chosen.
    """
    logits, positive, patients = scored.probabilities, scored.positive, scored.patients
    counts = [len(np.unique(patients[chosen])) for chosen in (positive, ~positive)]
    about: dict[str, Any] = {
        "pathology": scored.pathology,
        "positive": int(positive.sum()),
        "negative": int((~positive).sum()),
        "positive_patients": counts[0],
        "negative_patients": counts[1],
    }
    if min(counts) < LEAST_PATIENTS:
        why = f"{counts[0]} patients with a positive image and {counts[1]} with a negative one"
        why += f", where {LEAST_PATIENTS} are needed"
        return FittedPoint(**about, operating_point=scored.operating_point, not_fitted=why)
    calibration, why_not = calibration_of(settings.calibrate, logits, positive)
    chances = expit(logits) if calibration is None else calibration.probabilities(logits)
    found = Candidates.of(chances, positive)
    at = found.chosen(settings.goal)
    if at is None:
        why = f"no operating point reaches {settings.goal}"
        return FittedPoint(**about, operating_point=scored.operating_point, not_fitted=why)
    called = chances >= found.points[at]
    sensitivity = _share(called[positive], patients[positive], settings.level)
    specificity = _share(~called[~positive], patients[~positive], settings.level)
    return FittedPoint(
        **about,
        operating_point=float(found.points[at]),
        interval=_interval(found, at, settings.goal, sensitivity, specificity)
        if fewest_of(settings.goal, scored.counts) >= LEAST_FOR_INTERVAL
        else None,
        sensitivity=sensitivity,
        specificity=specificity,
        calibration=calibration,
        not_calibrated=why_not,
    )


def fewest_of(goal: Goal, counts: Mapping[str, int]) -> int:
    """How many patients have an image of the kind that a quantile is of."""
    return counts["positive_patients" if goal.name == "sensitivity" else "negative_patients"]


def _share(right: NDArray[np.bool_], patients: NDArray[np.intp], level: float) -> ShareWithInterval:
    """A share of images, with its interval by patient."""
    found = share_estimate(right, patients, level=level)
    return ShareWithInterval(float(right.mean()), found.low, found.high)


def _interval(
    found: Candidates,
    at: int,
    goal: Goal,
    sensitivity: ShareWithInterval,
    specificity: ShareWithInterval,
) -> ShareWithInterval | None:
    """The points at which the ends of the interval of the share that was asked for are reached."""
    if goal.name not in ("sensitivity", "specificity"):
        return None
    share = sensitivity if goal.name == "sensitivity" else specificity
    if share.low is None:
        return None
    reaches = found.sensitivity if goal.name == "sensitivity" else found.specificity
    ends: list[float] = []
    for end in (share.low, share.high):
        reached = found.chosen(replace(goal, value=min(1.0, max(float(end or 0), 1e-9))))
        if reached is None or reaches[reached] == 1:  # beyond all scores, where nothing is known
            return None
        ends.append(float(found.points[reached]))
    point = float(found.points[at])
    return ShareWithInterval(point, min(*ends, point), max(*ends, point))
