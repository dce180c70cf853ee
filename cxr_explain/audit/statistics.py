"""Statistics of an audit: how well predictions and maps agree with the reference standard, and how surely.

Every interval is by patient, and every number of a document is taken without the same blocks of patients, so
that two numbers of it are paired. Probabilities are the model's own, or calibrated ones where operating
points brought a calibration; an operating point is a threshold on them.

How often the intervals hold the truth, and where none is given, stands in docs/explanation/numbers.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cxr_explain.audit.cases import Cases
from cxr_explain.audit.compared import compared
from cxr_explain.audit.curves import curves_of
from cxr_explain.audit.document import STATISTICS_SCHEMA, Statistics
from cxr_explain.audit.findings import findings_of
from cxr_explain.audit.gaps import gaps_of
from cxr_explain.audit.left_out import failures_by_group
from cxr_explain.audit.localisation import LOCALISATION_MEASURES, Located, localisation_of
from cxr_explain.audit.measures import MEASURES, Scored, as_cells
from cxr_explain.audit.notes import data_notes, result_notes
from cxr_explain.audit.notices import not_complete, training_overlap
from cxr_explain.audit.operating_points.notes import points_notes, tuning_notes
from cxr_explain.audit.operating_points.split import check_split_rule
from cxr_explain.audit.peaks import PLACE_MEASURES, FramedMaps, framed_maps_of, place_entries
from cxr_explain.audit.policies import POLICY_MEASURES, policy_cases
from cxr_explain.audit.subgroups import SMALL, SUBGROUP_MEASURES, cells_of, is_small
from cxr_explain.audit.where import WHERE_MEASURES, where_entries
from cxr_explain.measures.statistics.bootstrap import grouped_means
from cxr_explain.measures.statistics.intervals import RestingStatistics, check_level, estimates
from cxr_explain.measures.statistics.jackknife import LeftOut, leave_out
from cxr_explain.options import LabelPolicy, LabelPolicyLike
from cxr_explain.support.prose import counted

if TYPE_CHECKING:
    from cxr_explain.audit.store import AuditRun


class _Entry(NamedTuple):
    """An entry of the document that waits for its estimates.

    Args:
        head: the document's entry, without its estimates.
        names: names of the measures.
        measures: function that gives the measures.
    """

    head: dict[str, Any]
    names: Sequence[str]
    measures: RestingStatistics

    def filled(self, found: LeftOut, level: float) -> dict[str, Any]:
        """The entry with its estimates."""
        cells = as_cells(self.names, estimates(found, self.measures.bases, level=level))
        return self.head | {"estimates": cells}


def statistics(
    cases: Cases,
    *,
    policy: LabelPolicyLike = "strict",
    located: Sequence[Located] = (),
    framed: FramedMaps | None = None,
    level: float = 0.95,
    failures: int = 0,
    failed: Sequence[Mapping[str, Any]] = (),
    notes: Sequence[str] = (),
    references: Mapping[str, str] | None = None,
    joined: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Statistics:
    """All statistics of an audit.

    An estimate is {"value", "low", "high", "withheld"}: a value of null is not estimable; "withheld" says why
    there is no interval, see `cxr_explain.measures.statistics.intervals`. Beside the images with a positive
    and a negative reference label stand the patients with such an image, and "small" marks an entry with
    fewer than `SMALL` of either.

    Args:
        cases: the images that were explained.
        policy: what reference labels count as; other policies that make a difference are shown beside it.
        located: how well class maps point, from `localisation_of`.
        framed: the class maps in the frame of the thorax, from `framed_maps_of`.
        level: confidence level of the intervals, between 0 and 1.
        failures: images of the audit that could not be explained.
        failed: whether that leaves out a subgroup, from `failures_by_group`.
        notes: remarks that come before those on the data and the results.
        references: by column, the value that the column's other values are compared with, besides the rest.
        joined: where columns come from that the manifest did not have, see `JoinedManifest.record`.
        progress: function that is called with what is being done, in words.

    Raises:
        OptionError: an unknown policy, a level outside of (0, 1), or a reference that no image has.

    >>> cases = Cases(
    ...     ids=tuple("abcd"), patients=np.arange(4), pathologies=("Mass",), operating_points=(0.5,),
    ...     probabilities=np.array([[0.1], [0.4], [0.6], [0.9]]), labels=("Mass",),
    ...     states=np.array([[0], [1], [0], [1]], np.int8),
    ... )
    >>> mass = statistics(cases).document["pathologies"][0]
    >>> mass["estimates"]["auroc"]["value"], mass["estimates"]["sensitivity"]["value"]
    (0.75, 0.5)
    """
    check_level(level)
    tell = progress or (lambda _: None)
    policy = LabelPolicy.of(policy)
    sections = {
        "pathologies": list(_pathologies(cases, policy, level)),
        "subgroups": list(_subgroups(cases, policy)),
        "policies": list(_policies(cases, policy)),
        "where": list(_where(cases)),
        "places": list(_places(cases, framed)),
        "localisation": list(_located(cases, located)),
    }
    tell("comparing subgroups")
    gaps = gaps_of(cases, policy=policy, level=level, references=references)
    tell(f"intervals: leaving out {counted(cases.groups, 'patient')} in turns")
    measures = [entry.measures for section in sections.values() for entry in section]
    found = iter(leave_out(measures, cases.groups))
    filled = {
        name: [entry.filled(next(found), level) for entry in section] for name, section in sections.items()
    }
    for entry in filled["where"]:
        cells = entry.pop("estimates")
        entry |= {"estimate": cells.pop("mean"), **cells}
    document = {
        "schema": STATISTICS_SCHEMA,
        "policy": asdict(policy),
        "level": level,
        "images": len(cases),
        "patients": cases.groups,
        "failures": failures,
        "small": SMALL,
        "references": dict(references or {}),
        "joined": None if joined is None else dict(joined),
        "notes": [],
        **filled,
        "compared": compared(cases, policy=policy, level=level, located=located) | {"failures": [*failed]},
        **gaps,
    }
    document["findings"] = findings_of(document)
    document["notes"] = [*notes, *result_notes(document)]
    return Statistics(document)


def statistics_of(
    run: AuditRun,
    *,
    policy: LabelPolicyLike | None = None,
    references: Mapping[str, str] | None = None,
    level: float = 0.95,
    progress: Callable[[str], None] | None = None,
    allow_tuning_images: bool = False,
) -> Statistics:
    """The statistics of a run, finished or not, from its store.

    Args:
        run: the audit.
        policy: what reference labels count as; as the audit was asked by default.
        references: by column, the value that the column's other values are compared with, besides the rest.
        level: confidence level of the intervals, between 0 and 1.
        progress: function that is called with what is being done, in words.
        allow_tuning_images: do not refuse images that the operating points were fitted on; say so instead.

    Raises:
        AuditError: a store that cannot be read, or images that the operating points were fitted on.
        ManifestError: a table that cannot be joined.
        OptionError: an unknown policy, a level outside of (0, 1), or a reference that no image has.

    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.audit.example import example_audit
    >>> with TemporaryDirectory() as folder:
    ...     statistics_of(example_audit(folder)).document["images"]
    2
    """
    check_split_rule(run, allow_tuning_images=allow_tuning_images)
    cases = Cases.of(run)
    localisation = localisation_of(run, progress=progress)
    rows = run.columns(["row"])["row"].to_pylist()
    without_patient = sum(run.manifest.patients[row] is None for row in rows)
    return statistics(
        cases,
        policy=policy or run.record.policy,
        located=localisation.located,
        framed=framed_maps_of(run, progress=progress),
        level=level,
        failures=len(run.failures),
        failed=failures_by_group(run),
        notes=[
            *tuning_notes(run),
            *not_complete(len(rows) + len(run.failures), run.record.rows),
            *training_overlap(run.record.training_sets, run.manifest.source),
            *points_notes(run.record),
            *data_notes(cases, without_patient),
            *localisation.notes,
            *(run.further.notes if run.further else ()),
        ],
        references=references,
        joined=run.further.record if run.further else None,
        progress=progress,
    )


def _pathologies(cases: Cases, policy: LabelPolicy, level: float) -> Iterator[_Entry]:
    for pathology in cases.pathologies:
        scored = Scored.of(cases, pathology, policy=policy)
        counts = scored.counts
        head = {"pathology": pathology, **counts, "small": is_small(counts)}
        head |= {"excluded": dict(scored.excluded), "changed": dict(scored.changed)}
        head |= {"operating_point": scored.operating_point, "curves": curves_of(scored, level=level)}
        yield _Entry(head, MEASURES, scored.measured())


def _subgroups(cases: Cases, policy: LabelPolicy) -> Iterator[_Entry]:
    for head, scored in cells_of(cases, policy=policy):
        yield _Entry(head, SUBGROUP_MEASURES, scored.measured(*SUBGROUP_MEASURES))


def _policies(cases: Cases, policy: LabelPolicy) -> Iterator[_Entry]:
    for head, scored in policy_cases(cases, policy):
        yield _Entry(head | {"small": is_small(head)}, POLICY_MEASURES, scored.measured(*POLICY_MEASURES))


def _where(cases: Cases) -> Iterator[_Entry]:
    for head, measures in where_entries(cases):
        yield _Entry(head, WHERE_MEASURES, measures)


def _places(cases: Cases, framed: FramedMaps | None) -> Iterator[_Entry]:
    if framed is not None:
        for head, measures in place_entries(cases, framed):
            yield _Entry(head, PLACE_MEASURES, measures)


def _located(cases: Cases, located: Sequence[Located]) -> Iterator[_Entry]:
    for pathology in sorted({each.pathology for each in located}):
        chosen = [each for each in located if each.pathology == pathology]
        patients = cases.patients[[each.at for each in chosen]]
        entry = {"pathology": pathology, "images": len(chosen), "patients": len(np.unique(patients))}
        values = np.array([each.values for each in chosen], np.float64)
        yield _Entry(entry, LOCALISATION_MEASURES, grouped_means(values, patients, cases.groups))
