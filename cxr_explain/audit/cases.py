"""The explained images of an audit, column by column: what its statistics are made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from cxr_explain.errors import AuditError
from cxr_explain.measures.statistics.bootstrap import numbered
from cxr_explain.options import Uncertain, check_option
from cxr_explain.reference.joining import MOST_VALUES
from cxr_explain.reference.states import NEGATIVE, NOT_LABELLED, NOT_MENTIONED, POSITIVE, UNCERTAIN

if TYPE_CHECKING:
    from cxr_explain.audit.store import AuditRun
    from cxr_explain.reference import Manifest

TextColumn = tuple[str | None, ...]

AGE_BANDS: tuple[tuple[int, str], ...] = (
    (18, "0-17"),
    (40, "18-39"),
    (60, "40-59"),
    (80, "60-79"),
    (121, "80+"),
)
"""The age in years below which a band ends, and its name."""


@dataclass(frozen=True, eq=False)
class Cases:
    """The images of an audit that were explained.

    Args:
        ids: (n,) the manifest's name of each image.
        patients: (n,) number of each image's patient, from 0; images without a patient have a number each.
        pathologies: the model's P trained outputs.
        probabilities: (n, P) float64, the model's own, not calibrated.
        operating_points: (P,) probability from which on an image is called positive; None without.
        labels: names of the Q reference labels.
        states: (n, Q) int8 of `reference.states.STATE_CODES`.
        columns: by a column's name, (n,) the value that puts each image in a subgroup; None if not known.
        shares: by a region's name, (n,) float64, share of the saliency in it; NaN where not estimable.

    Raises:
        AuditError: columns of different lengths.
    """

    ids: tuple[str, ...]
    patients: NDArray[np.intp]
    pathologies: tuple[str, ...]
    probabilities: NDArray[np.float64]
    operating_points: tuple[float | None, ...]
    labels: tuple[str, ...]
    states: NDArray[np.int8]
    columns: Mapping[str, TextColumn] = field(default_factory=dict)
    shares: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n, P, Q = len(self.ids), len(self.pathologies), len(self.labels)
        lengths = {
            "patients": (np.shape(self.patients), (n,)),
            "probabilities": (np.shape(self.probabilities), (n, P)),
            "operating points": ((len(self.operating_points),), (P,)),
            "states": (np.shape(self.states), (n, Q)),
            **{name: ((len(column),), (n,)) for name, column in self.columns.items()},
            **{name: (np.shape(share), (n,)) for name, share in self.shares.items()},
        }
        for name, (found, expected) in lengths.items():
            if found != expected:
                raise AuditError(f"{name} of shape {found}", expected=f"{expected}")

    @classmethod
    def of(cls, run: AuditRun) -> Self:
        """Gather them from a run's store, without its maps.

        Args:
            run: an audit, finished or not.
        """
        from cxr_explain.audit.rows import SHARES

        names = [f"probability {name}" for name in run.record.pathologies]
        table = run.columns(["row", "image_id", "view", *names, *SHARES])
        rows = table["row"].to_numpy()
        manifest = run.manifest
        return cls(
            ids=tuple(table["image_id"].to_pylist()),
            patients=patient_numbers([manifest.patients[row] for row in rows]),
            pathologies=run.record.pathologies,
            probabilities=np.stack([table[name].to_numpy() for name in names], axis=1),
            operating_points=tuple(run.record.points.values()),
            labels=tuple(manifest.pathologies),
            states=manifest.states[rows],
            columns=subgroup_columns(manifest, rows, table["view"].to_pylist()),
            shares={name: _with_nan(table[name].to_pylist()) for name in SHARES},
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def groups(self) -> int:
        """How many patients there are."""
        return int(self.patients.max(initial=-1)) + 1

    def states_of(self, pathology: str) -> NDArray[np.int8]:
        """(n,) int8: the reference labels of a pathology; not labelled where no column has its name."""
        if pathology in self.labels:
            return self.states[:, self.labels.index(pathology)]
        return np.full(len(self), NOT_LABELLED, np.int8)


@dataclass(frozen=True, eq=False)
class Counted:
    """Which images a pathology's reference labels count, and as what.

    Args:
        included: (n,) bool, positive or negative.
        positive: (n,) bool.
        excluded: how many are not, by reason.
    """

    included: NDArray[np.bool_]
    positive: NDArray[np.bool_]
    excluded: Mapping[str, int]


def counted(states: NDArray[np.int8], policy: Uncertain) -> Counted:
    """Sort images by their reference label.

    What is not mentioned, or not labelled, is never a negative.

    Args:
        states: (n,) of `reference.states.STATE_CODES`.
        policy: what an uncertain label counts as: nothing, a negative or a positive.

    Raises:
        OptionError: another policy.

    >>> found = counted(np.array([1, 0, -1, -2, -3], np.int8), "ones")
    >>> found.positive.tolist(), found.excluded["uncertain"], found.excluded["not mentioned"]
    ([True, False, True, False, False], 0, 1)
    """
    check_option("policy", policy, Uncertain)
    uncertain = states == UNCERTAIN
    positive = (states == POSITIVE) | (uncertain & (policy == "ones"))
    negative = (states == NEGATIVE) | (uncertain & (policy == "zeros"))
    excluded = {
        "uncertain": int(uncertain.sum()) if policy == "ignore" else 0,
        "not mentioned": int((states == NOT_MENTIONED).sum()),
        "not labelled": int((states == NOT_LABELLED).sum()),
    }
    return Counted(positive | negative, positive, excluded)


def patient_numbers(patients: Iterable[str | None]) -> NDArray[np.intp]:
    """(n,) the number of each image's patient; an image without one counts as another patient.

    >>> patient_numbers(["b", None, "b", None]).tolist()
    [0, 1, 0, 2]
    """
    return numbered((number,) if name is None else name for number, name in enumerate(patients))


def age_band(age: float | None) -> str | None:
    """The band of an age in years; None where it is not known, or nobody's age.

    NIH ChestX-ray14 has ages up to 414: what is above 120 is not known.

    >>> age_band(17.9), age_band(80), age_band(414)
    ('0-17', '80+', None)
    """
    if age is None or not 0 <= age < AGE_BANDS[-1][0]:
        return None
    return next(name for below, name in AGE_BANDS if age < below)


def subgroup_columns(
    manifest: Manifest, rows: NDArray[np.int32], views: Sequence[str | None]
) -> dict[str, TextColumn]:
    """The columns of a manifest that make subgroups: sex, age, view, and those with a few values.

    Args:
        manifest: the audit's manifest.
        rows: (n,) the manifest's row of each image.
        views: (n,) the view that each image's header has, used where the manifest says nothing.

    Returns:
        By name; without those of which nothing is known.
    """
    seen = [manifest.views[row] or view for row, view in zip(rows, views, strict=True)]
    columns: dict[str, TextColumn] = {
        "sex": tuple(manifest.sexes[row] for row in rows),
        "age": tuple(age_band(manifest.ages[row]) for row in rows),
        "view": tuple(seen),
    }
    for name, column in {"split": manifest.splits, **manifest.extra}.items():
        values = tuple(column[row] or None for row in rows)
        if 1 < len(set(values) - {None}) <= MOST_VALUES:
            columns.setdefault(name, values)
    return {name: column for name, column in columns.items() if any(column)}


def _with_nan(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([math.nan if value is None else value for value in values], np.float64)
