"""What the findings ask of an audit: numbers against bars that they should not cross, with p by patient.

Every p is one-sided: small where the number lies beyond its bar by more than chance would bring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

from cxr_explain.audit.cases import Cases
from cxr_explain.audit.label_chances import contradicted, first_cases, label_chances
from cxr_explain.audit.localisation import LOCALISATION_MEASURES, Located
from cxr_explain.audit.measures import Scored
from cxr_explain.measures.statistics.basis import LEAST_PATIENTS, Basis
from cxr_explain.measures.statistics.bootstrap import grouped_means
from cxr_explain.measures.statistics.discrimination import youden
from cxr_explain.measures.statistics.jackknife import LeftOut, leave_out
from cxr_explain.options import LabelPolicyLike

AUROC_BAR = 0.7
"""A pathology with less fails."""

RATE_BAR = 0.25
"""An operating point with a lower sensitivity or specificity does not suit the set."""

MAP_MARGIN = 0.1
"""By how much more often than a random point the peak of a class map must lie inside."""

CALIBRATION_BAR = 1.25
"""How many times too high, or too low, the mean probability may be."""

_FOLDS = 5


def compared(
    cases: Cases, *, policy: LabelPolicyLike, level: float, located: Sequence[Located] = ()
) -> dict[str, Any]:
    """The comparisons of an audit, as its statistics keep them.

    Args:
        cases: the images that were explained.
        policy: what reference labels count as.
        level: confidence level of the interval of the calibration.
        located: how well class maps point.

    Returns:
        "pathologies" and "localisation", by pathology, without comparisons where there are fewer than
        `LEAST_PATIENTS` patients; "labels"; and "cases", those to open first.
    """
    scored = [Scored.of(cases, pathology, policy=policy) for pathology in cases.pathologies]
    labelled = label_chances(cases, policy=policy)
    return {
        "pathologies": {each.pathology: _of_pathology(each, level) for each in scored},
        "localisation": {
            name: _against_chance(cases, [each for each in located if each.pathology == name])
            for name in sorted({each.pathology for each in located})
        },
        "labels": contradicted(cases, labelled),
        "cases": first_cases(cases, labelled),
    }


def _of_pathology(scored: Scored, level: float) -> dict[str, Any]:
    if min(scored.counts[f"{kind}_patients"] for kind in ("positive", "negative")) < LEAST_PATIENTS:
        return {}
    return {
        "auroc": {"p": discrimination_p(scored), "bar": AUROC_BAR},
        "operating_point": None if scored.operating_point is None else operation(scored),
        "calibration": calibration_in_the_large(scored, level=level),
    }


def discrimination_p(scored: Scored, bar: float = AUROC_BAR) -> float:
    """The p of the AUROC reaching a bar, by the jackknife over patients on the scale of log odds.

    Args:
        scored: the images that count, of several patients with and without.
        bar: the least area that is asked for.

    Source:
        Pepe, The Statistical Evaluation of Medical Tests (2003), section 5.2.5, on the scale.

    >>> scores, there = np.linspace(0, 1, 40), np.arange(40) % 2 == 0
    >>> mass = Scored("Mass", scores, there, np.arange(40), 40, None, {})
    >>> discrimination_p(mass) < 0.02, discrimination_p(mass, bar=0.4) > 0.7  # its AUROC is 0.475
    (True, True)
    """
    pairs = int(scored.positive.sum()) * int((~scored.positive).sum())
    (area,) = leave_out([scored.measured("auroc")], scored.groups)
    return _beyond(_logit(area, 0.5 / pairs), float(np.log(bar / (1 - bar))), pairs)


def operation(scored: Scored) -> dict[str, Any]:
    """The operating point against a threshold that is fitted to the set, and against `RATE_BAR`.

    Youden's index J is sensitivity + specificity - 1. The threshold that is best on four fifths of the
    patients is measured on the others, so that nothing is promised that a fitted threshold would not keep.
    p is twice the smaller one of: J being half of what so is reached, by the jackknife; and sensitivity and
    specificity both reaching `RATE_BAR`, by the binomial distribution, for the smaller of the two by
    Bonferroni's inequality.

    Args:
        scored: the images that count, with an operating point.

    Returns:
        "reached", the J of fitted thresholds, with their "sensitivity" and "specificity"; and "p".

    Source:
        Youden, Cancer 3 (1950) 32.
    """
    fitted = replace(scored, probabilities=_fitted_calls(scored).astype(np.float64), operating_point=0.5)
    measures = [each.measured("sensitivity", "specificity") for each in (scored, fitted)]
    now, then = leave_out(measures, scored.groups)
    index = [
        LeftOut(each.value.sum(keepdims=True) - 1, each.without.sum(0)[None] - 1) for each in (now, then)
    ]
    half = LeftOut(index[1].value / 2, index[1].without / 2)
    members = (scored.patients[scored.positive], scored.patients[~scored.positive])
    rates = [share_p(share, each, RATE_BAR) for share, each in zip(now.value.tolist(), members, strict=True)]
    short = _beyond(index[0] - half, 0.0, len(scored.positive))
    return {
        "reached": float(index[1].value[0]),
        "sensitivity": float(then.value[0]),
        "specificity": float(then.value[1]),
        "p": min(1.0, 2 * min(short, 2 * min(rates))),
    }


def calibration_in_the_large(scored: Scored, *, level: float = 0.95) -> dict[str, Any] | None:
    """How many times the mean probability is the share of positives, and whether that is within its bar.

    Args:
        scored: the images that count, of several patients with and without.
        level: confidence level of the interval.

    Returns:
        "value", "low" and "high" of the ratio, "mean", "share", and p of the ratio being within a factor of
        `CALIBRATION_BAR` of 1; None where more images are left out than count, as what is left is no sample
        of the set.

    Source:
        Debray et al., A guide to systematic review and meta-analysis of prediction model performance, BMJ 356
        (2017) i6460: the ratio of expected and observed, on its logarithmic scale.

    >>> there = np.arange(40) % 4 == 0
    >>> found = calibration_in_the_large(Scored("Mass", np.full(40, 0.5), there, np.arange(40), 40, None, {}))
    >>> found["value"], round(found["low"], 1), round(found["high"], 1), round(found["p"], 2)
    (2.0, 1.1, 3.6, 0.06)
    """
    if sum(scored.excluded.values()) > len(scored.positive):
        return None
    values = np.column_stack([scored.probabilities, scored.positive]).astype(np.float64)
    (means,) = leave_out([grouped_means(values, scored.patients, scored.groups)], scored.groups)
    if not (means.value > 0).all():
        return None
    expected, observed = (LeftOut(np.log(means.value[[at]]), np.log(means.without[[at]])) for at in range(2))
    ratio = expected - observed
    low, high = (_or_none(np.exp(end[0])) for end in ratio.interval(level))
    sign = -1.0 if ratio.value[0] > 0 else 1.0
    away = LeftOut(sign * ratio.value, sign * ratio.without)
    return {
        "value": float(np.exp(ratio.value[0])),
        "low": low,
        "high": high,
        "mean": float(means.value[0]),
        "share": float(means.value[1]),
        "p": _beyond(away, -float(np.log(CALIBRATION_BAR)), len(scored.positive)),
    }


def _against_chance(cases: Cases, located: Sequence[Located]) -> dict[str, Any]:
    """Whether the peak of a class map lies inside more often than a random point, by `MAP_MARGIN`."""
    patients = cases.patients[[each.at for each in located]]
    at = [LOCALISATION_MEASURES.index(name) for name in ("peak_hit", "random_hit")]
    hits = np.array([each.values for each in located], np.float64)[:, at]
    known = ~np.isnan(hits).any(axis=1)
    sizes = {"patients": len(np.unique(patients[known]))}
    if sizes["patients"] < LEAST_PATIENTS:
        return sizes
    peak, chance = hits[known].mean(axis=0).tolist()
    bar = min(chance + MAP_MARGIN, (chance + 1) / 2)
    return sizes | {"random": chance, "p": share_p(peak, patients[known], bar)}


def _fitted_calls(scored: Scored) -> NDArray[np.bool_]:
    """(m,): what is called positive by the best threshold of the patients in the other folds."""
    fold = np.random.default_rng(0).permutation(scored.groups)[scored.patients] % _FOLDS
    called = np.zeros(len(fold), bool)
    for number in range(_FOLDS):
        held_out = fold == number
        best = youden(scored.probabilities[~held_out], scored.positive[~held_out])
        if best is not None:
            called[held_out] = scored.probabilities[held_out] >= best.threshold
    return called


def share_p(share: float, patients: NDArray[np.intp], bar: float) -> float:
    """The p of a share reaching a bar, by the binomial distribution of as many images as surely independent.

    They are as many as `Basis.effective` says, as if all images of a patient were alike.

    Args:
        share: the share that was observed.
        patients: (n,) number of each image's patient.
        bar: the share that is asked for.

    Source:
        Clopper and Pearson, Biometrika 26 (1934) 404.

    >>> round(share_p(0.0, np.arange(10), 0.25), 4), share_p(0.3, np.arange(10), 0.25)  # 0.75 to the power 10
    (0.0563, 1.0)
    """
    if share >= bar:
        return 1.0
    n = Basis.of(np.bincount(patients), "patient").effective
    return float(betainc(n * (1 - share), n * share + 1, 1 - bar))


def _logit(found: LeftOut, least: float) -> LeftOut:
    """On the scale of log odds; 0 and 1 are moved inwards by what cannot be told from them."""

    def logit(share: NDArray[np.float64]) -> NDArray[np.float64]:
        inside = np.clip(share, least, 1 - least)
        return np.asarray(np.log(inside) - np.log1p(-inside))

    return LeftOut(logit(found.value), logit(found.without))


def _beyond(found: LeftOut, bar: float, images: int) -> float:
    """The p of a statistic reaching its bar; where no patient moves it, as sure as so many images make it."""
    two_sided, is_below = float(found.p(bar)[0]), bool(found.value[0] < bar)
    if np.isnan(two_sided):
        return 1 / images if is_below else 1.0
    return two_sided / 2 if is_below else 1 - two_sided / 2


def _or_none(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None
