"""Which groups of images are compared with which: values of a column, and where two columns meet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_explain.audit.cases import Cases
from cxr_explain.audit.subgroups import UNKNOWN, members
from cxr_explain.errors import OptionError
from cxr_explain.measures.statistics.basis import LEAST_PATIENTS
from cxr_explain.support.bounded import quoted

MOST_GROUPS = 200
"""Values of columns that are compared: those with the most images."""

MOST_INTERSECTIONS = 60
"""Groups where two columns meet that are compared: those with the most images."""


@dataclass(frozen=True, eq=False)
class Group:
    """Images that have the same value of a column, or of two.

    Args:
        images: (n,) bool.
        values: value by column; {} for the rest of a group, which are images with other known values.
    """

    images: NDArray[np.bool_]
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def column(self) -> str:
        """Its columns in one word."""
        return " and ".join(self.values)

    @property
    def value(self) -> str:
        """Its values in one word."""
        return ", ".join(self.values.values())


@dataclass(frozen=True, eq=False)
class GroupPair:
    """A group, and what it is compared with.

    Args:
        group: the group.
        others: the rest, or another group of the same column.
        is_whole: whether both together are all images with a known value.
    """

    group: Group
    others: Group
    is_whole: bool = True

    @property
    def head(self) -> dict[str, Any]:
        """As the statistics' document names it."""
        names = {"column": self.group.column, "value": self.group.value, "group": dict(self.group.values)}
        return names | {"against": self.others.value or None, "whole": self.is_whole}


@dataclass(frozen=True, eq=False)
class Pairs:
    """The comparisons of an audit.

    Args:
        pairs: each group of a column with the rest, and with the reference, where one is named; then those
            where two columns meet, with the rest.
        groups_left_out: values of columns beyond `MOST_GROUPS`.
        intersections_left_out: groups where two columns meet that are beyond `MOST_INTERSECTIONS`, or have
            too few images for `LEAST_PATIENTS` of two classes.
    """

    pairs: tuple[GroupPair, ...]
    groups_left_out: int = 0
    intersections_left_out: int = 0


def pairs_of(cases: Cases, references: Mapping[str, str]) -> Pairs:
    """Choose what is compared.

    A column with two values is one comparison: of the smaller group with the larger, or of what is not the
    reference with the reference. Images whose value is not known are in no part.

    Args:
        cases: images of the audit with the columns that make subgroups.
        references: by column, the value that the others are compared with.

    Raises:
        OptionError: a reference that no image has.

    >>> cases = Cases(
    ...     ids=tuple("abcd"), patients=np.arange(4), pathologies=(), operating_points=(), labels=(),
    ...     probabilities=np.empty((4, 0)), states=np.empty((4, 0), np.int8),
    ...     columns={"sex": ("F", "M", "M", None), "site": ("A", "B", "C", "C")},
    ... )
    >>> [(each.head["value"], each.head["against"]) for each in pairs_of(cases, {"site": "C"}).pairs]
    [('F', 'M'), ('A', None), ('A', 'C'), ('B', None), ('B', 'C'), ('C', None)]
    """
    columns = {name: _known(name, values) for name, values in cases.columns.items()}
    _check(columns, references)
    kept, left_out = _most_images(columns)
    pairs = [
        pair
        for name, groups in columns.items()
        for pair in _in_column(groups, references.get(name))
        if pair.group in kept
    ]
    meeting, too_many = _intersections(columns)
    return Pairs((*pairs, *meeting), left_out, too_many)


def _known(column: str, values: tuple[str | None, ...]) -> list[Group]:
    """The groups of a column; none where all images have the same value."""
    groups = [Group(at, {column: value}) for value, at in members(values).items() if value != UNKNOWN]
    return groups if len(groups) > 1 else []


def _check(columns: Mapping[str, list[Group]], references: Mapping[str, str]) -> None:
    for name, value in references.items():
        groups = columns.get(name, [])
        if not groups:
            known = ", ".join(quoted(name) for name, groups in columns.items() if groups)
            raise OptionError(
                f"a reference in the column {quoted(name)}",
                expected=f"a column with groups: {known or 'none'}",
            )
        if value not in [group.value for group in groups]:
            known = ", ".join(quoted(group.value) for group in groups)
            raise OptionError(f"the reference {name}={quoted(value)}", expected=f"one of {known}")


def _most_images(columns: Mapping[str, list[Group]]) -> tuple[set[Group], int]:
    groups = [group for groups in columns.values() for group in groups]
    ordered = sorted(groups, key=lambda group: -int(group.images.sum()))
    return set(ordered[:MOST_GROUPS]), len(ordered[MOST_GROUPS:])


def _in_column(groups: list[Group], reference: str | None) -> Iterator[GroupPair]:
    if not groups:
        return
    if len(groups) == 2:
        other = max(groups, key=lambda group: (group.value == reference, int(group.images.sum())))
        yield GroupPair(next(group for group in groups if group is not other), other)
        return
    known = np.any([group.images for group in groups], axis=0)
    for group in groups:
        yield GroupPair(group, Group(known & ~group.images))
        for other in groups:
            if other.value == reference and other is not group:
                yield GroupPair(group, other, is_whole=False)


def _intersections(columns: Mapping[str, list[Group]]) -> tuple[list[GroupPair], int]:
    """The largest groups where two columns meet, but for those that are all of a group of one column."""
    cells = []
    for first, second in combinations([groups for groups in columns.values() if groups], 2):
        one, other = _numbers(first), _numbers(second)
        both = (one >= 0) & (other >= 0)
        counts = np.bincount(
            one[both] * len(second) + other[both], minlength=len(first) * len(second)
        ).reshape(len(first), len(second))
        splits = (counts < counts.sum(axis=1, keepdims=True)) & (counts < counts.sum(axis=0))
        cells += [
            (int(counts[row, column]), first[row], second[column], both)
            for row, column in np.argwhere(splits & (counts > 0)).tolist()
        ]
    cells.sort(key=lambda cell: -cell[0])
    kept = [cell for cell in cells[:MOST_INTERSECTIONS] if cell[0] >= 2 * LEAST_PATIENTS]
    found = []
    for _, one_group, other_group, known in kept:
        images = one_group.images & other_group.images
        group = Group(images, {**one_group.values, **other_group.values})
        found.append(GroupPair(group, Group(known & ~images)))
    return found, len(cells) - len(kept)


def _numbers(groups: list[Group]) -> NDArray[np.intp]:
    """(n,) the number of each image's group; -1 where it is in none."""
    found = np.full(len(groups[0].images), -1, np.intp)
    for number, group in enumerate(groups):
        found[group.images] = number
    return found
