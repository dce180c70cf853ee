"""How far apart the groups of a column are: equal opportunity and equalised odds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_explain.audit.groups import Group, GroupPair
from cxr_explain.measures.statistics.intervals import IndependentCases

_SENSITIVITY, _SPECIFICITY = 1, 2  # places among a pathology's measures
_DRAWS = 4000
_ONE_ERROR = 0.6827  # level of an interval of one standard error to either side


class GapRanges:
    """The largest less the smallest sensitivity of a column's groups, and the same for false positives.

    A range of many groups is above 0 by chance alone. What it would be on average if all groups were alike
    stands beside it, for estimates that scatter as these do: normal, with half the width of each group's
    interval at one standard error.

    Source:
        Hardt, Price and Srebro, Equality of Opportunity in Supervised Learning, NeurIPS 2016; as differences
        of groups, Bird et al., Fairlearn (2020), `equalized_odds_difference`.
    """

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], dict[Group, IndependentCases]] = {}

    def add(self, pair: GroupPair, pathology: str, group: IndependentCases, others: IndependentCases) -> None:
        """Note what was measured of one pathology in the groups of one column.

        Args:
            pair: groups that were compared; those of two columns are left out, and so is the rest.
            pathology: name of the pathology.
            group: its AUROC, sensitivity and specificity in the group.
            others: the same in what the group was compared with.
        """
        for each, shares in ((pair.group, group), (pair.others, others)):
            if len(each.values) == 1:
                self._groups.setdefault((each.column, pathology), {})[each] = shares

    def entries(self) -> Iterator[dict[str, Any]]:
        """The document's entries; none for a pathology with fewer than two groups that are estimable.

        "equal_opportunity" is the range of the sensitivities, "false_positives" that of 1 - specificity, and
        "equalised_odds" the larger of both, where both are estimable.
        """
        for (column, pathology), groups in self._groups.items():
            names = [group.value for group in groups]
            sensitivity = _Range.of(names, groups, _SENSITIVITY)
            specificity = _Range.of(names, groups, _SPECIFICITY)
            if sensitivity is None and specificity is None:
                continue
            entry: dict[str, Any] = {"column": column, "pathology": pathology, "groups": len(groups)}
            entry["equal_opportunity"] = sensitivity.said() if sensitivity else None
            entry["false_positives"] = specificity.said(turned=True) if specificity else None
            entry["equalised_odds"] = None
            if sensitivity and specificity:
                by_chance = np.maximum(sensitivity.by_chance, specificity.by_chance).mean()
                value = max(sensitivity.value, specificity.value)
                entry["equalised_odds"] = {"value": value, "by_chance": float(by_chance)}
            yield entry


class _Range:
    """The range of one measure over the groups in which it is estimable."""

    def __init__(self, values: Mapping[str, float], errors: NDArray[np.float64]) -> None:
        self.largest, self.smallest = max(values, key=values.__getitem__), min(values, key=values.__getitem__)
        self.value = values[self.largest] - values[self.smallest]
        drawn = _normal(len(errors)) * errors
        self.by_chance = drawn.max(axis=1) - drawn.min(axis=1)

    @classmethod
    def of(cls, names: list[str], groups: Mapping[Group, IndependentCases], measure: int) -> _Range | None:
        """None with fewer than two groups."""
        values: dict[str, float] = {}
        errors = []
        for name, shares in zip(names, groups.values(), strict=True):
            value = float(shares.value[measure])
            if not np.isnan(value):
                values[name] = value
                low, high = shares.ends(_ONE_ERROR)
                errors.append((high[measure] - low[measure]) / 2)
        return cls(values, np.array(errors)) if len(values) > 1 else None

    def said(self, *, turned: bool = False) -> dict[str, Any]:
        """As the document has it; turned for 1 less the measure."""
        ends = (self.smallest, self.largest) if turned else (self.largest, self.smallest)
        found = {"value": self.value, "largest": ends[0], "smallest": ends[1]}
        return found | {"by_chance": float(self.by_chance.mean())}


@cache
def _normal(groups: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).standard_normal((_DRAWS, groups))
