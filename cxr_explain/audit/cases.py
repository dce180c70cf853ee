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
from cxr_explain.options import LabelPolicy, LabelPolicyLike
from cxr_explain.pathologies import LabelState, absent_pathologies, canonical_pathology, says_no_finding
from cxr_explain.reference.joining import MOST_VALUES
from cxr_explain.reference.states import (
    DATA_SET_CELLS,
    NEGATIVE,
    NOT_LABELLED,
    NOT_MENTIONED,
    POSITIVE,
    STATE_CODES,
    UNCERTAIN,
    States,
)

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
        probabilities: (n, P) float64, the model's own, or calibrated where the audit has a calibration.
        operating_points: (P,) probability from which on an image is called positive; None without.
        labels: names of the Q reference labels.
        states: (n, Q) int8 of `reference.states.STATE_CODES`.
        columns: by a column's name, (n,) the value that puts each image in a subgroup; None if not known.
        shares: by a region's name, (n,) float64, share of the saliency in it; NaN where not estimable.
        no_finding: (n,) bool, whether "No Finding" is positive; None where nothing is said of it.
        uniform_shares: by a region's name, (n,) float64, share of an even map in it; NaN where not estimable.

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
    no_finding: NDArray[np.bool_] | None = None
    uniform_shares: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n, P, Q = len(self.ids), len(self.pathologies), len(self.labels)
        lengths = {
            "patients": (np.shape(self.patients), (n,)),
            "probabilities": (np.shape(self.probabilities), (n, P)),
            "operating points": ((len(self.operating_points),), (P,)),
            "states": (np.shape(self.states), (n, Q)),
            "no_finding": ((n,) if self.no_finding is None else np.shape(self.no_finding), (n,)),
            **{name: ((len(column),), (n,)) for name, column in self.columns.items()},
            **{name: (np.shape(share), (n,)) for name, share in self.shares.items()},
            **{f"even {name}": (np.shape(share), (n,)) for name, share in self.uniform_shares.items()},
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
        from cxr_explain.audit.rows import SHARES, UNIFORM_SHARES

        names = [f"probability {name}" for name in run.record.pathologies]
        table = run.columns(["row", "image_id", "view", *names, *SHARES, *UNIFORM_SHARES.values()])
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
            no_finding=says_nothing_found(manifest)[rows],
            uniform_shares={
                name: _with_nan(table[column].to_pylist()) for name, column in UNIFORM_SHARES.items()
            },
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

    def absent(self, pathology: str) -> NDArray[np.bool_]:
        """(n,): whether "No Finding" says that a pathology is not there; it says nothing of devices."""
        if self.no_finding is None or not no_finding_denies(pathology):
            return np.zeros(len(self), bool)
        return self.no_finding


@dataclass(frozen=True, eq=False)
class Counted:
    """Which images a pathology's reference labels count, and as what.

    Args:
        included: (n,) bool, positive or negative.
        positive: (n,) bool.
        excluded: how many are not, by reason.
        changed: how many count as something else than they say, by what they say and count as.
    """

    included: NDArray[np.bool_]
    positive: NDArray[np.bool_]
    excluded: Mapping[str, int]
    changed: Mapping[str, int]


def counted(states: States, policy: LabelPolicyLike, absent: NDArray[np.bool_] | None = None) -> Counted:
    """Sort images by their reference label.

    What is not labelled is never a negative.

    Args:
        states: (n,) of `reference.states.STATE_CODES`.
        policy: what labels count as.
        absent: (n,) bool, where a positive "No Finding" says that the pathology is not there; by default
            nowhere.

    Raises:
        OptionError: another policy.

    >>> found = counted(np.array([1, 0, -1, -2, -3], np.int8), "ones")
    >>> found.positive.tolist(), found.excluded["uncertain"], found.excluded["not mentioned"]
    ([True, False, True, False, False], 0, 1)
    >>> counted(np.array([1, -2, -3], np.int8), "chexpert").changed
    {'not mentioned as negative': 1}
    """
    now = counting_as(states, policy, absent)
    pairs = ((said, to) for said in _CHANGEABLE for to in (LabelState.POSITIVE, LabelState.NEGATIVE))
    changed = {
        f"{said} as {to}": int(((states == STATE_CODES[said]) & (now == STATE_CODES[to])).sum())
        for said, to in pairs
        if said is not to
    }
    return Counted(
        included=(now == POSITIVE) | (now == NEGATIVE),
        positive=now == POSITIVE,
        excluded={str(state): int((now == STATE_CODES[state]).sum()) for state in _EXCLUDED},
        changed={what: count for what, count in changed.items() if count},
    )


_EXCLUDED = (LabelState.UNCERTAIN, LabelState.NOT_MENTIONED, LabelState.NOT_LABELLED)
_CHANGEABLE = (LabelState.POSITIVE, LabelState.UNCERTAIN, LabelState.NOT_MENTIONED)


def counting_as(states: States, policy: LabelPolicyLike, absent: NDArray[np.bool_] | None = None) -> States:
    """What each reference label counts as.

    Args:
        states: (n,) of `reference.states.STATE_CODES`.
        policy: what labels count as.
        absent: (n,) bool, where a positive "No Finding" says that the pathology is not there; by default
            nowhere.

    Returns:
        (n,) int8: positive or negative where it counts, and what it was where it does not.

    Raises:
        OptionError: another policy.

    >>> counting_as(np.array([1, -2, -3], np.int8), "xrv", np.array([True, True, True])).tolist()
    [0, 0, -3]
    """
    policy = LabelPolicy.of(policy)
    now = states.copy()
    if policy.uncertain != "ignore":
        now[states == UNCERTAIN] = POSITIVE if policy.uncertain == "ones" else NEGATIVE
    if policy.blanks == "negative":
        now[states == NOT_MENTIONED] = NEGATIVE
    if policy.no_finding == "negative" and absent is not None:
        now[absent & (states != NOT_LABELLED)] = NEGATIVE
    return now


def no_finding_denies(pathology: str) -> bool:
    """Whether "No Finding" says that a pathology is not there; of devices it says nothing.

    >>> no_finding_denies("Mass"), no_finding_denies("Support Devices")
    (True, False)
    """
    return canonical_pathology(pathology) in absent_pathologies([pathology])


def says_nothing_found(manifest: Manifest) -> NDArray[np.bool_]:
    """(n,): where a column of a manifest, or a reference label of it, says "No Finding".

    NIH ChestX-ray14 and PadChest say it by labels that are all negative: those are negative already.

    Args:
        manifest: the audit's manifest.

    >>> from cxr_explain.reference import Manifest
    >>> says_nothing_found(Manifest("ab", ["a.png", "b.png"], extra={"no_finding": ["1.0", ""]})).tolist()
    [True, False]
    """
    found = np.zeros(len(manifest.ids), bool)
    for name, cells in manifest.extra.items():
        if says_no_finding(name):
            found |= [DATA_SET_CELLS.get(cell.strip().casefold()) == POSITIVE for cell in cells]
    for at, name in enumerate(manifest.pathologies):
        if says_no_finding(name):
            found |= manifest.states[:, at] == POSITIVE
    return found


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
