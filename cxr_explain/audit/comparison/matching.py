"""Which images two audits have in common, and whether their numbers can be held against each other.

Audits of one manifest have an image in common where both explained it. Of two manifests, images are the same
where their files have the same bytes; and what the manifests say of them must be the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Generic, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from cxr_explain.audit.cases import Cases, Counted, counted, says_nothing_found
from cxr_explain.audit.store import AuditRun
from cxr_explain.errors import OptionError
from cxr_explain.measures.statistics.bootstrap import numbered
from cxr_explain.options import LabelPolicy, LabelPolicyLike
from cxr_explain.reference.problems import quoted
from cxr_explain.support.prose import counted as how_many

T = TypeVar("T")

Positions = NDArray[np.intp]


class Pair(NamedTuple, Generic[T]):
    """Something of audit A, and the same of audit B."""

    a: T
    b: T


@dataclass(frozen=True, eq=False)
class MatchedRuns:
    """Two audits, and the n images that both explained.

    Args:
        runs: the two audits.
        at: (n,), positions of the common images in the results of each audit.
        cases: the common images, with what each audit predicts; patients have the same numbers in both.
        only: names of the images that this audit alone explained.
        other_bytes: names of common images whose files differ.
        policy: what reference labels count as.
    """

    runs: Pair[AuditRun]
    at: Pair[Positions]
    cases: Pair[Cases]
    only: Pair[tuple[str, ...]]
    other_bytes: tuple[str, ...]
    policy: LabelPolicy

    @property
    def patients(self) -> NDArray[np.intp]:
        """(n,), number of each image's patient, from 0."""
        return self.cases.a.patients

    @property
    def groups(self) -> int:
        """Number of patients."""
        return self.cases.a.groups

    @cached_property
    def pathologies(self) -> tuple[str, ...]:
        """Those that both models predict, in the order of the first."""
        return tuple(name for name in self.cases.a.pathologies if name in self.cases.b.pathologies)

    @property
    def predicted_by_one(self) -> Pair[tuple[str, ...]]:
        """Those that this model alone predicts."""
        shared = set(self.pathologies)
        a, b = (tuple(name for name in each.pathologies if name not in shared) for each in self.cases)
        return Pair(a, b)

    @cached_property
    def probabilities(self) -> Pair[NDArray[np.float64]]:
        """(n, P) each: of the `pathologies`."""
        a, b = (
            each.probabilities[:, [each.pathologies.index(name) for name in self.pathologies]]
            for each in self.cases
        )
        return Pair(a, b)

    def reference(self, pathology: str) -> Counted:
        """Which of the common images a pathology's reference labels count, and as what."""
        cases = self.cases.a
        return counted(cases.states_of(pathology), self.policy, cases.absent(pathology))


def matched(a: AuditRun, b: AuditRun, *, policy: LabelPolicyLike | None = None) -> MatchedRuns:
    """Find the images that two audits have in common.

    Args:
        a: an audit, finished or not.
        b: another one.
        policy: what reference labels count as; as both were asked by default.

    Raises:
        OptionError: one audit twice; no image or no pathology in common; other policies for reference
            labels; or manifests that say different things of an image.
    """
    if a.place.name == b.place.name:
        raise OptionError(f"one audit twice, {a.place.name}", expected="two audits of the same images")
    policy = LabelPolicy.of(policy) if policy else _policy_of_both(a, b)
    images = Pair(_Images.of(a), _Images.of(b))
    is_one = a.record.manifest_sha256 == b.record.manifest_sha256
    at = _common(*(each.names if is_one else each.keys for each in images))
    if not len(at.a):
        raise OptionError(
            f"no image in common: A is of {a.record.manifest_source}, B of {b.record.manifest_source}",
            expected="two audits of the same images",
        )
    rows = Pair(images.a.rows[at.a], images.b.rows[at.b])
    if not is_one:
        _check_reference(a, b, rows, policy)
    only = Pair(*(each.without(where) for each, where in zip(images, at, strict=True)))
    pairs = zip(at.a.tolist(), at.b.tolist(), strict=True)
    other_bytes = [images.a.names[i] for i, j in pairs if images.a.digests[i] != images.b.digests[j]]
    found = MatchedRuns(Pair(a, b), at, _common_cases(a, b, at, rows), only, tuple(other_bytes), policy)
    if not found.pathologies:
        raise OptionError("no pathology that both models predict", expected="one or more of the same name")
    return found


class _Images(NamedTuple):
    """The explained images of an audit: rows of the manifest, names, and SHA-256 of the files."""

    rows: Positions
    names: list[str]
    digests: list[str]

    @classmethod
    def of(cls, run: AuditRun) -> Self:
        table = run.columns(["row", "image_id", "sha256"])
        return cls(table["row"].to_numpy(), table["image_id"].to_pylist(), table["sha256"].to_pylist())

    @property
    def keys(self) -> list[tuple[str, ...]]:
        """What images of two manifests are known by: their bytes; and names, where bytes are there twice."""
        times = Counter(self.digests)
        both = zip(self.digests, self.names, strict=True)
        return [(digest,) if times[digest] == 1 else (digest, name) for digest, name in both]

    def without(self, at: Positions) -> tuple[str, ...]:
        """The names of all others."""
        there = set(at.tolist())
        return tuple(name for place, name in enumerate(self.names) if place not in there)


def _policy_of_both(a: AuditRun, b: AuditRun) -> LabelPolicy:
    if a.record.policy != b.record.policy:
        raise OptionError(
            f"other policies for reference labels, “{a.record.policy.name}” in A and "
            f"“{b.record.policy.name}” in B",
            expected="one policy",
            remedy="Name one for both with --labels-as, policy=.",
        )
    return a.record.policy


def _common(one: Sequence[object], other: Sequence[object]) -> Pair[Positions]:
    """Where the same keys stand in both, in the order of the first."""
    where = {key: at for at, key in enumerate(other)}
    pairs = [(at, where[key]) for at, key in enumerate(one) if key in where]
    a, b = np.array(pairs, np.intp).reshape(-1, 2).T
    return Pair(a, b)


def _common_cases(a: AuditRun, b: AuditRun, at: Pair[Positions], rows: Pair[Positions]) -> Pair[Cases]:
    """The predictions of both for the common images; what makes subgroups is left out."""
    patients = numbered(_patients(a, rows.a))
    one, other = (
        _chosen(cases, where, patients) for cases, where in ((Cases.of(a), at.a), (Cases.of(b), at.b))
    )
    return Pair(one, other)


def _chosen(cases: Cases, at: Positions, patients: NDArray[np.intp]) -> Cases:
    columns = {item.name: getattr(cases, item.name) for item in fields(cases)}
    arrays: dict[str, Any] = {
        name: column[at] for name, column in columns.items() if isinstance(column, np.ndarray)
    }
    ids = tuple(cases.ids[place] for place in at)
    nothing: dict[str, Any] = {"columns": {}, "shares": {}, "uniform_shares": {}}
    return replace(cases, **{**arrays, **nothing, "ids": ids, "patients": patients})


def _patients(run: AuditRun, rows: Positions) -> list[object]:
    """Who each image is of; one whose patient is not known is somebody else's than all others."""
    known = [run.manifest.patients[row] for row in rows]
    return [(place,) if patient is None else patient for place, patient in enumerate(known)]


def _check_reference(a: AuditRun, b: AuditRun, rows: Pair[Positions], policy: LabelPolicy) -> None:
    """See that two manifests say the same of the common images.

    Raises:
        OptionError: they do not; names an image.
    """
    one, other = (numbered(_patients(run, each)) for run, each in zip((a, b), rows, strict=True))
    if not np.array_equal(one, other):
        raise _other_manifests("put the same images to other patients")
    for what, differing in _differing(a, b, rows, policy):
        if differing:
            name = a.manifest.ids[rows.a[differing[0]]]
            images = f"{len(differing):,} of {how_many(len(rows.a), 'common image')}"
            raise _other_manifests(f"have other {what} for {images}, such as {quoted(name)}")


def _differing(
    a: AuditRun, b: AuditRun, rows: Pair[Positions], policy: LabelPolicy
) -> Iterator[tuple[str, list[int]]]:
    """What manifests say of images, and which of the common images it is not the same for."""
    named = [dict(zip(run.manifest.pathologies, run.manifest.states.T, strict=True)) for run in (a, b)]
    for name in [*named[0], *(name for name in named[1] if name not in named[0])]:
        if name in named[0] and name in named[1]:
            differ = np.flatnonzero(named[0][name][rows.a] != named[1][name][rows.b])
        else:
            differ = np.arange(len(rows.a))
        yield f"reference labels of {name}", differ.tolist()
    if policy.no_finding == "negative":  # which a column beside the labels may say
        one, other = (says_nothing_found(run.manifest)[each] for run, each in zip((a, b), rows, strict=True))
        yield "words on “No Finding”", np.flatnonzero(one != other).tolist()
    for what, said in (("boxes", _boxes), ("masks", _masked)):
        both = zip(said(a, rows.a), said(b, rows.b), strict=True)
        yield f"reference {what}", [place for place, (one, other) in enumerate(both) if one != other]


def _boxes(run: AuditRun, rows: Positions) -> list[object]:
    manifest = run.manifest
    return [(manifest.boxes.get(row), manifest.box_spaces.get(row)) for row in rows.tolist()]


def _masked(run: AuditRun, rows: Positions) -> list[object]:
    """Of which pathologies each image has a mask; where its file lies may differ."""
    return [set(run.manifest.masks.get(row, ())) for row in rows.tolist()]


def _other_manifests(what: str) -> OptionError:
    return OptionError(
        f"manifests that {what}",
        expected="manifests that say the same of the images that both audits have",
        remedy="Audit both models with one manifest.",
    )
