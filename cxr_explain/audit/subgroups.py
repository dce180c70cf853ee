"""How well the model does in parts of the data set: by sex, age, view, and what else the manifest tells."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_explain.audit.cases import Cases, TextColumn
from cxr_explain.audit.measures import Measure, Scored
from cxr_explain.options import LabelPolicyLike

SUBGROUP_MEASURES: tuple[Measure, ...] = ("auroc", "sensitivity", "specificity")

SMALL = 10
"""What rests on fewer positive patients, or fewer negative ones, is small, and not to be relied on."""

UNKNOWN = "unknown"

_FROM = re.compile(r"(under )?(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)")


def is_small(counts: Mapping[str, int]) -> bool:
    """Whether there are fewer than `SMALL` patients with a positive image, or with a negative one.

    >>> is_small({"positive_patients": 9, "negative_patients": 500})
    True
    """
    return min(counts["positive_patients"], counts["negative_patients"]) < SMALL


def cells_of(cases: Cases, *, policy: LabelPolicyLike) -> Iterator[tuple[dict[str, Any], Scored]]:
    """Each pathology in each subgroup that has a reference label of it.

    Args:
        cases: images of the audit with their probabilities and reference labels.
        policy: what reference labels count as.

    Yields:
        What the statistics' document says beside the estimates, and the images that count.
    """
    for column, values in cases.columns.items():
        for value, among in members(values).items():
            for pathology in cases.pathologies:
                scored = Scored.of(cases, pathology, policy=policy, among=among)
                if images := len(scored.positive):
                    head = {"column": column, "value": value, "pathology": pathology, "images": images}
                    yield head | scored.counts | {"small": is_small(scored.counts)}, scored


def members(values: TextColumn) -> dict[str, NDArray[np.bool_]]:
    """The images of each value, (n,) bool: bands of numbers in their order, others by name, the unknown last.

    >>> [(value, at.tolist()) for value, at in members(("M", None, "F")).items()]
    [('F', [False, False, True]), ('M', [True, False, False]), ('unknown', [False, True, False])]
    """
    column = np.array([UNKNOWN if value is None else value for value in values], object)
    return {value: column == value for value in sorted(set(column.tolist()), key=_place)}


def _place(value: str) -> tuple[bool, float, bool, str]:
    number = _FROM.match(value)
    begin = float(number[2]) if number else math.inf
    return value == UNKNOWN, begin, number is not None and not number[1], value
