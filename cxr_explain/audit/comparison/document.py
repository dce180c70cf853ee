"""The comparison of two audits as a JSON document, and in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

from cxr_explain.audit.comparison.localisation import localisation_differences
from cxr_explain.audit.comparison.maps import agreement_of, compared_maps
from cxr_explain.audit.comparison.matching import MatchedRuns, Pair, matched
from cxr_explain.audit.comparison.parting import parting_cases
from cxr_explain.audit.comparison.performance import performance_of
from cxr_explain.audit.comparison.rankings import rankings_of
from cxr_explain.audit.comparison.words import headline_of, tables_of
from cxr_explain.audit.notices import not_complete, training_overlap
from cxr_explain.audit.operating_points.notes import tuning_notes
from cxr_explain.audit.operating_points.split import check_split_rule
from cxr_explain.audit.store import AuditRun
from cxr_explain.figures.texts import phantom_texts
from cxr_explain.measures.statistics.holm import holm
from cxr_explain.options import LabelPolicyLike
from cxr_explain.support.plain_table import PlainTable
from cxr_explain.support.prose import counted, listed
from cxr_explain.support.strict_json import with_digest

COMPARISON_SCHEMA = "cxr-explain/comparison/1"

CASES = 6
"""Images in each list of those in which two audits part, unless told otherwise."""


@dataclass(frozen=True, eq=False)
class RunComparison:
    """What differs between two audits of the same images.

    Args:
        document: as comparison.json has it; all numbers are finite, and None is "not estimable" or withheld.
        runs: the two audits; maps and radiographs of cases come from them.
    """

    document: Mapping[str, Any]
    runs: Pair[AuditRun]

    def to_json(self) -> bytes:
        """As comparison.json has it, with a digest of what it says as the last entry."""
        text = json.dumps(with_digest(self.document), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        return text.encode(errors="backslashreplace")

    @property
    def headline(self) -> tuple[str, ...]:
        """What differs, in sentences."""
        return tuple(headline_of(self.document))

    def tables(self) -> Iterator[PlainTable]:
        """Every number, as plain tables."""
        return tables_of(self.document)

    def to_text(self, *, tables: bool = False) -> str:
        """For a terminal.

        Args:
            tables: also with every number.
        """
        parts = ["\n".join(self.headline), *(table.to_text() for table in self.tables() if tables)]
        return "\n\n".join(parts)


def compare_runs(
    a: AuditRun,
    b: AuditRun,
    *,
    policy: LabelPolicyLike | None = None,
    allow_tuning_images: bool = False,
    level: float = 0.95,
    cases: int = CASES,
    progress: Callable[[str], None] | None = None,
) -> RunComparison:
    """Compare two audits of the same images: two models, weights, engines, precisions or preprocessings.

    Images are the same where they have the same name in one manifest; or, of two manifests, the same bytes.
    Differences are those of A less B; their intervals and p are by Student's t, of what they become without
    each patient (`cxr_explain.measures.statistics.jackknife`), and withheld where a value rests on too few
    patients to have an interval. Every p is also given as Holm adjusts it for all comparisons.

    Args:
        a: an audit, finished or not.
        b: another one.
        policy: what reference labels count as; as both were asked by default.
        allow_tuning_images: do not refuse images that operating points of an audit were fitted on; say so
            instead.
        level: confidence level of the intervals.
        cases: number of images in each list of those in which the audits part most, at most.
        progress: called with what is being done, in words.

    Raises:
        AuditError: a store that cannot be read, or images that operating points were fitted on.
        OptionError: audits that cannot be compared; says why.

    >>> from tempfile import TemporaryDirectory
    >>> from pathlib import Path
    >>> from cxr_explain.audit.example import example_inputs
    >>> from cxr_explain.audit.run import run_audit
    >>> from cxr_explain.explaining.explainer import Explainer
    >>> with TemporaryDirectory() as folder:
    ...     explainer, manifest, images = example_inputs(Path(folder, "data"))
    ...     other = Explainer.from_pretrained("phantom", device="cpu", method="layercam")
    ...     a = run_audit(explainer, manifest, images, Path(folder, "a"))
    ...     b = run_audit(other, manifest, images, Path(folder, "b"))
    ...     found = compare_runs(a, b)
    >>> found.document["images"], found.document["ranking"]["first"]["value"]
    (2, 1.0)
    >>> [each["what"] for each in found.document["differ_in"]]
    ['rule title', 'method']
    """
    tell = progress or (lambda _: None)
    for run in (a, b):
        check_split_rule(run, allow_tuning_images=allow_tuning_images)
    found = matched(a, b, policy=policy)
    tell(f"comparing {counted(len(found.cases.a), 'image')} of {counted(found.groups, 'patient')}")
    pathologies = performance_of(found, level=level)
    localisation, notes = localisation_differences(found, level=level, progress=progress)
    alike = compared_maps(found, progress)
    cells = [cell for entry in (*pathologies, *localisation) for cell in entry["differences"].values()]
    for cell, adjusted in zip(cells, holm([cell["p"] for cell in cells]), strict=True):
        cell["p_adjusted"] = adjusted
    document = {
        "schema": COMPARISON_SCHEMA,
        "runs": {name: _about(run) for name, run in found.runs._asdict().items()},
        "differ_in": [
            dict(zip(("what", "a", "b"), each, strict=True)) for each in a.record.differing(b.record)
        ],
        "policy": asdict(found.policy),
        "level": level,
        "images": len(found.cases.a),
        "patients": found.groups,
        "only": {name: list(names) for name, names in found.only._asdict().items()},
        "other_bytes": list(found.other_bytes),
        "predicted_by_one": {name: list(names) for name, names in found.predicted_by_one._asdict().items()},
        "comparisons": sum(cell["p"] is not None for cell in cells),
        "adjustment": "Holm",
        "pathologies": pathologies,
        "ranking": rankings_of(found, level=level),
        "maps": agreement_of(found, alike, level=level),
        "localisation": localisation,
        "cases": parting_cases(found, alike, most=cases),
        "notes": [*_notes(found), *notes],
    }
    return RunComparison(document, found.runs)


def _about(run: AuditRun) -> dict[str, Any]:
    """What names a run; the last part of where it is alone, as a path may name a person."""
    record = run.record
    return {
        "name": PurePath(run.place.name).name,
        "model": record.model,
        "weights_sha256": record.weights_sha256,
        "data_set": record.manifest_source,
        "explained": len(run.columns(["row"])),
        "failed": len(run.failures),
        "digest": record.digest,
    }


def _notes(found: MatchedRuns) -> Iterator[str]:
    """What a reader must know of each audit, or of both."""
    said: dict[str, list[str]] = {}
    for name, run in found.runs._asdict().items():
        record = run.record
        phantoms = run.columns(["phantom"])["phantom"].to_pylist()
        for note in (
            *training_overlap(record.training_sets, record.manifest_source),
            *phantom_texts(sum(phantoms), len(phantoms), phantom_only=record.phantom_only),
            *record.model_notes,
            *tuning_notes(run),
            *not_complete(len(phantoms) + len(run.failures), record.rows),
        ):
            said.setdefault(note, []).append(name.upper())
    yield from (f"{listed(names)}: {note}" for note, names in said.items())
