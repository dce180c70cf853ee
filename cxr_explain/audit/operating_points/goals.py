"""What an operating point is chosen for, and the choice among all that make a difference on some images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from cxr_explain.errors import OptionError
from cxr_explain.measures.statistics.discrimination import scored

GoalName = Literal["youden", "sensitivity", "specificity", "cost"]

_FORMS = "youden, sensitivity=0.9, specificity=0.9 or cost=10 (a missed finding by a false alarm)"


@dataclass(frozen=True)
class Goal:
    """What an operating point is chosen for.

    Args:
        name: "youden", the largest sensitivity + specificity - 1; "sensitivity" or "specificity", at least so
            much of it and then as much as possible of the other; "cost", the least cost of missed findings
            and false alarms together, as often as they are among the tuning images.
        value: the share asked for, above 0 and at most 1; or what a missed finding costs, where a false alarm
            costs 1. None for "youden".

    Raises:
        OptionError: another name, or a value that it cannot have.

    Source:
        Youden, Cancer 3 (1950) 32; Metz, Seminars in Nuclear Medicine 8 (1978) 283, for the cost.

    >>> str(Goal("cost", 10))
    'cost=10'
    """

    name: GoalName
    value: float | None = None

    def __post_init__(self) -> None:
        highest = {"youden": None, "sensitivity": 1.0, "specificity": 1.0, "cost": math.inf}.get(self.name, 0)
        given = self.value
        is_right = given is None if highest is None else given is not None and 0 < given <= highest
        if not is_right or given == math.inf:
            raise OptionError(f"the goal {str(self)[:60]!r}", expected=_FORMS)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The goal as people write it.

        Raises:
            OptionError: something else.

        >>> Goal.parse("sensitivity=0.95"), str(Goal.parse("youden"))
        (Goal(name='sensitivity', value=0.95), 'youden')
        """
        name, equals, number = text.strip().partition("=")
        try:
            value = float(number) if equals else None
        except ValueError:
            value = math.nan
        if name not in get_args(GoalName):
            raise OptionError(f"the goal {text[:60]!r}", expected=_FORMS)
        return cls(name, value)  # type: ignore[arg-type]  # it is one of the names

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value:g}"


@dataclass(frozen=True, eq=False)
class Candidates:
    """Every operating point that makes a difference on some images, from the strictest on.

    Between two scores that follow one another lies one point: half-way in log odds, so that it does not turn
    with the rounding of another engine, and that a temperature changes nothing of whom it calls. The first
    point, 1, calls nobody; it is left out where an image has the probability 1. The last, 0, calls everybody.

    Args:
        points: (c,) probabilities from which on an image is called positive, falling.
        right: (c,) positives that are called.
        wrong: (c,) negatives that are called.
    """

    points: NDArray[np.float64]
    right: NDArray[np.int64]
    wrong: NDArray[np.int64]

    @classmethod
    def of(cls, probabilities: ArrayLike, positives: ArrayLike) -> Self:
        """Find them.

        Args:
            probabilities: (n,) of the finding, in [0, 1].
            positives: (n,) bool, some of them and not all.

        Raises:
            OptionError: shapes that differ, or probabilities that are not finite.

        >>> found = Candidates.of([0.2, 0.5, 0.8], [False, False, True])
        >>> found.points.round(3).tolist(), found.right.tolist(), found.wrong.tolist()
        ([1.0, 0.667, 0.333, 0.0], [0, 1, 1, 1], [0, 0, 1, 2])
        """
        chances, there = scored(probabilities, positives)
        distinct = np.unique(chances)[::-1]
        place = len(distinct) - 1 - np.searchsorted(distinct[::-1], chances)
        right = np.bincount(place[there], minlength=len(distinct))
        wrong = np.bincount(place[~there], minlength=len(distinct))
        points = np.concatenate([[1.0], _half_way(distinct[:-1], distinct[1:]), [0.0]])
        first = int(distinct[0] >= 1)
        called = [np.concatenate([[0], np.cumsum(each)])[first:] for each in (right, wrong)]
        return cls(points[first:], *called)

    @property
    def sensitivity(self) -> NDArray[np.float64]:
        """(c,) share of the positives that are called."""
        return np.asarray(self.right / self.right[-1])

    @property
    def specificity(self) -> NDArray[np.float64]:
        """(c,) share of the negatives that are not called."""
        return np.asarray((self.wrong[-1] - self.wrong) / self.wrong[-1])

    def chosen(self, goal: Goal) -> int | None:
        """Where the point for a goal is; None where none reaches it.

        Of several as good it is the strictest, but for a specificity the least strict: so it is a quantile of
        the negatives, as that for a sensitivity is one of the positives.
        """
        positives, negatives = int(self.right[-1]), int(self.wrong[-1])
        if goal.name == "youden":
            return int(np.argmax(self.right * negatives - self.wrong * positives))  # whole: no tie is lost
        if goal.name == "cost":
            return int(np.argmin(np.float64(goal.value) * (positives - self.right) + self.wrong))
        wanted = self.sensitivity if goal.name == "sensitivity" else self.specificity
        reached = np.flatnonzero(wanted >= np.float64(goal.value))
        if not len(reached):
            return None
        return int(reached[0] if goal.name == "sensitivity" else reached[-1])


def _half_way(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points between scores: above the lower one, and not above the higher one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = expit((logit(above) + logit(below)) / 2)
    middle = np.where((above < 1) & (below > 0), middle, (above + below) / 2)
    return np.where((below < middle) & (middle <= above), middle, above)
