"""How much of a mask a map covers, and how much of the map lies in it, beside what chance would give.

Masks and maps are (H, W) in the same pixels. Chance is a mask of as many pixels at random
(:func:`random_iou`), an even map, whose energy is
:func:`cxr_explain.measures.localisation.random_hit`, or a map that lies in the middle whatever the
radiograph (:func:`centre_map`), to be measured as any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import isqrt
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import hypergeom

from cxr_explain.errors import OptionError
from cxr_explain.options import check_option
from cxr_explain.support.arrays import Map, as_map, as_mask, as_mask_pair, evidence

EmptyPrediction = Literal["left out", "zero"]
"""A reference mask without a predicted one: CheXlocalize leaves the case out; or it counts as a miss."""

NotScored = Literal["no reference", "no prediction"]
"""Why a case has no number: its reference mask is empty, or only its predicted mask."""


@dataclass(frozen=True)
class CaseMean:
    """A mean over cases, and which of them it leaves out.

    Args:
        value: None where no case is left.
        cases: number of cases in the mean.
        without_reference: cases left out as their reference mask is empty.
        without_prediction: cases left out as only their predicted mask is empty.
        values: one for each case, in their order; None for those left out. For intervals, see
            :func:`cxr_explain.measures.statistics.bootstrap.mean_estimate`.

    >>> print(CaseMean(0.5, 2, 7, 1))
    0.500 (2 cases; left out: 7 without a reference mask, 1 without a predicted one)
    >>> print(CaseMean(None, 0, 9))
    not estimable (0 of 9 cases; left out: 9 without a reference mask)
    """

    value: float | None
    cases: int
    without_reference: int = 0
    without_prediction: int = 0
    values: tuple[float | None, ...] = field(default=(), repr=False)

    @classmethod
    def over(cls, scores: Iterable[float | NotScored]) -> CaseMean:
        """The mean over scores, some of which say why they are none.

        >>> CaseMean.over([1.0, "no reference", 0.0])
        CaseMean(value=0.5, cases=2, without_reference=1, without_prediction=0)
        """
        given = list(scores)
        numbers = [score for score in given if not isinstance(score, str)]
        return cls(
            float(np.mean(numbers)) if numbers else None,
            len(numbers),
            given.count("no reference"),
            given.count("no prediction"),
            tuple(None if isinstance(score, str) else score for score in given),
        )

    def __str__(self) -> str:
        left = {
            "without a reference mask": self.without_reference,
            "without a predicted one": self.without_prediction,
        }
        words = ", ".join(f"{count} {what}" for what, count in left.items() if count)
        said = f"; left out: {words}" if words else ""
        if self.value is None:
            return f"not estimable (0 of {sum(left.values())} cases{said})"
        return f"{self.value:.3f} ({self.cases} case{'' if self.cases == 1 else 's'}{said})"


def iou(prediction: ArrayLike, reference: ArrayLike) -> float | None:
    """Intersection over union of two masks.

    Args:
        prediction: (H, W) bool; an empty one scores 0.
        reference: (H, W) bool.

    Returns:
        0 to 1; None for an empty reference mask, whatever is predicted.

    Raises:
        OptionError: masks of another type, or of shapes that differ.

    Source:
        Jaccard, The Distribution of the Flora in the Alpine Zone, New Phytologist 11 (1912) 37.

    >>> iou([[True, True, False]], [[False, True, True]])
    0.3333333333333333
    """
    predicted, there = as_mask_pair(prediction, reference)
    if not there.any():
        return None
    return float((predicted & there).sum() / (predicted | there).sum())


def mean_iou(
    pairs: Iterable[tuple[ArrayLike, ArrayLike]], *, empty_prediction: EmptyPrediction = "left out"
) -> CaseMean:
    """The mean IoU over cases, mIoU.

    Args:
        pairs: for each case, the predicted and the reference mask; may be a generator.
        empty_prediction: "left out" is CheXlocalize's protocol, the mean over cases where both masks have a
            pixel: it does not see what the map misses altogether. "zero" counts such a case as 0.

    Raises:
        OptionError: another option, or masks that do not fit.

    Source:
        Saporta et al., Nature Machine Intelligence 4 (2022) 867, Methods, and the authors' evaluation code.

    >>> there, empty = [[True, False]], [[False, False]]
    >>> mean_iou([(there, there), (empty, there), (there, empty)])
    CaseMean(value=1.0, cases=1, without_reference=1, without_prediction=1)
    >>> mean_iou([(there, there), (empty, there), (there, empty)], empty_prediction="zero")
    CaseMean(value=0.5, cases=2, without_reference=1, without_prediction=0)
    """
    check_option("empty_prediction", empty_prediction, EmptyPrediction)
    return CaseMean.over(
        case_iou(prediction, reference, empty_prediction=empty_prediction) for prediction, reference in pairs
    )


def case_iou(
    prediction: ArrayLike, reference: ArrayLike, *, empty_prediction: EmptyPrediction = "left out"
) -> float | NotScored:
    """What one case gives to :func:`mean_iou`.

    >>> case_iou([[False]], [[True]]), case_iou([[True]], [[False]])
    ('no prediction', 'no reference')
    """
    score = iou(prediction, reference)
    if score is None:
        return "no reference"
    if empty_prediction == "left out" and not np.any(prediction):
        return "no prediction"
    return score


def energy_in_mask(saliency: ArrayLike, mask: ArrayLike) -> float | None:
    """The share of a map's positive saliency that lies in the mask: the energy-based pointing game.

    Args:
        saliency: (H, W), signed; negatives are no evidence.
        mask: (H, W) bool.

    Returns:
        0 to 1; None for an empty mask, and for a map without positive saliency.

    Raises:
        OptionError: shapes that differ, or a map that is not finite.

    Source:
        Wang et al., Score-CAM, CVPR Workshops 2020, arXiv 1910.01279.

    >>> energy_in_mask([[3.0, 1.0, -5.0]], [[True, False, False]])
    0.75
    """
    inside = as_mask(mask)
    shown = evidence(as_map(saliency, inside.shape))
    return float(shown[inside].sum() / shown.sum()) if inside.any() and shown.any() else None


def random_iou(pixels: int, reference: ArrayLike) -> float | None:
    """The expected :func:`iou` of as many pixels, drawn at random without replacement.

    Args:
        pixels: number of pixels of the predicted mask.
        reference: (H, W) bool, the reference mask.

    Returns:
        None for an empty reference mask.

    Raises:
        OptionError: more pixels than the image has, or fewer than none.

    >>> random_iou(1, [[True, False], [False, False]])
    0.25
    """
    there = as_mask(reference)
    if not 0 <= pixels <= there.size:
        raise OptionError(f"{pixels} predicted pixels", expected=f"0 to {there.size}")
    area = int(there.sum())
    if not area:
        return None
    overlap = hypergeom(there.size, area, pixels)
    centre = pixels * area // there.size
    reach = 12 * isqrt(centre) + 24  # twelve standard deviations, and more: beyond them no digit changes
    least, most = max(0, pixels + area - there.size), min(pixels, area)
    both = np.arange(max(least, centre - reach), min(most, centre + reach) + 1)
    return float((overlap.pmf(both) * both / (pixels + area - both)).sum())


def centre_map(shape: tuple[int, int], *, spread: float = 0.25) -> Map:
    """A map that points to the middle whatever the radiograph: the centre baseline.

    Args:
        shape: (H, W).
        spread: standard deviation of the Gaussian, as a share of the height and of the width.

    Returns:
        (H, W) float64, at most 1.

    Raises:
        OptionError: a shape without pixels, or no spread.

    >>> centre_map((3, 3)).round(2).tolist()
    [[0.17, 0.41, 0.17], [0.41, 1.0, 0.41], [0.17, 0.41, 0.17]]
    """
    if min(shape) < 1 or not 0 < spread < np.inf:
        raise OptionError(f"a spread of {spread} in {shape}", expected="more than 0, in 1 pixel or more")
    rows, columns = (((np.arange(extent) + 0.5) / extent - 0.5) / spread for extent in shape)
    return np.asarray(np.exp(-(rows[:, None] ** 2 + columns**2) / 2))
