"""The cases of an audit that people marked: lists of ids, files of verdicts, and how far readers agree."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cxr_explain.audit.cases import patient_numbers
from cxr_explain.audit.sections.tables import EstimateTable, Section, ShownEstimate, TableRow
from cxr_explain.errors import AuditError, OptionError, naming
from cxr_explain.measures.statistics.agreement import (
    MISSING,
    cohen_kappa,
    krippendorff_alpha,
    same_category,
)
from cxr_explain.measures.statistics.bootstrap import numbered
from cxr_explain.measures.statistics.jackknife import LeftOut, leave_out
from cxr_explain.support.bounded import quoted, read_bounded
from cxr_explain.support.prose import counted
from cxr_explain.support.spreadsheet import safe_cell
from cxr_explain.support.strict_json import from_plain, read_json

if TYPE_CHECKING:
    from cxr_explain.audit.store import AuditRun
    from cxr_explain.reference import Manifest

VerdictKind = Literal["agree", "disagree", "artefact", "unsure"]
"""What a reader may say of a case."""

SCHEMA = "cxr-explain/verdicts/1"

LARGEST = 2**26
"""Bytes of a list of ids, or of a file of verdicts; a report saves no larger one."""

LEAST_PATIENTS = 20
"""Patients below which the agreement of readers has no interval: none holds there."""

_LONGEST_NOTE = 10_000
_AT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]{5,15}Z")


@dataclass(frozen=True)
class ReaderVerdict:
    """What one reader said of one case.

    Args:
        row: row of the manifest, from 0.
        image_id: the image's id in the manifest.
        verdict: what the reader said; None where there is only a note.
        note: text of any length up to 10,000 letters; '' without one.
        at: when, in UTC as ISO 8601 has it; '' where unknown.

    Raises:
        ValueError: neither a verdict nor a note, too long a note, or another time.
    """

    row: int
    image_id: str
    verdict: VerdictKind | None = None
    note: str = ""
    at: str = ""

    def __post_init__(self) -> None:
        if len(self.note) > _LONGEST_NOTE or not (self.verdict or self.note):
            raise ValueError("a note that is too long" if self.note else "neither a verdict nor a note")
        if self.at and not _AT.fullmatch(self.at):
            raise ValueError("a time that is none")


@dataclass(frozen=True)
class VerdictFile:
    """The verdicts of one reader, as a report saved them.

    Args:
        reader: name of the file without its ending, by which the reader is called.
        run: what the file says of the report that it was saved from.
        verdicts: one for each case that was marked.
    """

    reader: str
    run: Mapping[str, Any]
    verdicts: tuple[ReaderVerdict, ...]

    @property
    def by_row(self) -> dict[int, ReaderVerdict]:
        """The verdicts by the row of the manifest."""
        return {each.row: each for each in self.verdicts}


@dataclass(frozen=True)
class MarkedLine:
    """One marked case.

    Args:
        row: row of the manifest, from 0.
        image_id: the image's id in the manifest.
        verdicts: the verdict of each reader; None where a reader gave none.
        notes: what readers noted.
    """

    row: int
    image_id: str
    verdicts: tuple[VerdictKind | None, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Marked:
    """The cases that somebody marked, in the manifest's order, or in that of a list of ids.

    Args:
        lines: the cases.
        readers: names of the readers, in the order of their verdicts.
        sections: how far the readers agree; () where there are fewer than two.
        images: how many images the audit has.
        notes: what must be known of the files.
    """

    lines: tuple[MarkedLine, ...]
    readers: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    images: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def told(self) -> str:
        """What this is, in words."""
        by = f", by {counted(len(self.readers), 'reader')}" if self.readers else ""
        cases = f"{counted(len(self.lines), 'case')} of the audit's {counted(self.images, 'image')}"
        return " ".join([f"{cases}{by}. The audit's own report has its statistics.", *self.notes])


def marked_by_ids(run: AuditRun, path: str | PathLike[str]) -> Marked:
    """The cases of a list: ids one a line, or a CSV with a column `image_id`, as the report's list saves it.

    Args:
        run: the audit.
        path: the file.

    Raises:
        AuditError: no readable text in UTF-8, no ids, or ids that the audit does not have.

    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.audit.example import example_audit
    >>> with TemporaryDirectory() as folder:
    ...     run = example_audit(folder)
    ...     _ = Path(folder, "ids.txt").write_text(run.manifest.ids[1])
    ...     marked_by_ids(run, f"{folder}/ids.txt").lines[0].row
    1
    """
    with naming(path):
        ids = _ids_in(_text(path))
        row_of = _rows_by_id(run.manifest)
        unknown = [name for name in ids if name not in row_of]
        if unknown or not ids:
            raise AuditError(
                f"{counted(len(unknown), 'id')} that no image of the audit has, such as {quoted(unknown[0])}"
                if unknown
                else "no ids",
                expected="ids of the manifest's images: one a line, or a CSV with a column image_id",
            )
    rows = dict.fromkeys(row_of[name] for name in ids)
    lines = tuple(MarkedLine(row, run.manifest.ids[row]) for row in rows)
    return Marked(lines, images=run.record.rows)


def marked_by_verdicts(
    run: AuditRun, paths: Sequence[str | PathLike[str]], kinds: Iterable[str] = ()
) -> Marked:
    """The cases that readers marked, and how far the readers agree on them.

    Args:
        run: the audit.
        paths: files of verdicts, as a report saves them; one for each reader.
        kinds: keep only cases that a reader gave one of these verdicts, each a `VerdictKind`; by default all,
            also those that have a note alone. The agreement is that of all cases.

    Raises:
        AuditError: a file of something else, or verdicts about other images.
        OptionError: another kind.

    >>> import json
    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.audit.example import example_audit
    >>> with TemporaryDirectory() as folder:
    ...     run = example_audit(folder)
    ...     verdict = {"row": 0, "image_id": run.manifest.ids[0], "verdict": "artefact"}
    ...     about = {"manifest": run.record.manifest_sha256, "model": run.record.model}
    ...     document = {"schema": SCHEMA, "run": about, "verdicts": [verdict]}
    ...     _ = Path(folder, "anna.json").write_text(json.dumps(document))
    ...     marked_by_verdicts(run, [f"{folder}/anna.json"]).lines[0].verdicts
    ('artefact',)
    """
    wanted = tuple(kinds)
    for kind in wanted:
        if kind not in get_args(VerdictKind):
            expected = f"one of {', '.join(get_args(VerdictKind))}"
            raise OptionError(f"the verdict {quoted(kind)}", expected=expected)
    files = [read_verdicts(path) for path in paths]
    for path, each in zip(paths, files, strict=True):
        with naming(path):
            _check_fits(each, run)
    by_reader = [each.by_row for each in files]
    rows = sorted(set().union(*by_reader))
    lines = [_line(row, run.manifest, by_reader) for row in rows]
    if wanted:
        lines = [line for line in lines if not set(wanted).isdisjoint(line.verdicts)]
    if not lines:
        raise AuditError(f"no case with the verdict {' or '.join(wanted)}" if wanted else "no verdicts")
    readers = _names(files)
    return Marked(
        tuple(lines),
        readers,
        tuple(_agreement(readers, by_reader, run.manifest)),
        run.record.rows,
        tuple(_notes(files, run)),
    )


def read_verdicts(path: str | PathLike[str]) -> VerdictFile:
    """Read the verdicts of one reader, as a report saved them (JSON).

    Args:
        path: the file.

    Raises:
        AuditError: anything else.

    >>> read_verdicts("/dev/null")
    Traceback (most recent call last):
    cxr_explain.errors.AuditError: /dev/null: no readable file (a folder, or no regular file).
    """
    expected = "a file that a report saved by “Save verdicts (JSON)”"
    with naming(path):
        try:
            document = read_json(_text(path))
        except ValueError as error:
            raise AuditError(f"no JSON of verdicts ({error})", expected=expected) from error
        is_ours = isinstance(document, dict) and document.get("schema") == SCHEMA
        if not is_ours or not isinstance(document.get("run"), dict):
            raise AuditError("something else than verdicts", expected=expected)
        entries = document.get("verdicts")
        if not isinstance(entries, list):
            raise AuditError("no list of verdicts", expected=expected)
        verdicts = tuple(_entry(number, each) for number, each in enumerate(entries, start=1))
        if len({each.row for each in verdicts}) < len(verdicts):
            raise AuditError("two verdicts on one image", expected="one a reader")
        return VerdictFile(Path(path).stem, document["run"], verdicts)


def _entry(number: int, entry: Any) -> ReaderVerdict:
    try:
        return from_plain(ReaderVerdict, entry, VerdictKind=VerdictKind)
    except ValueError as error:
        raise AuditError(f"verdict {number}: {error}", expected="a verdict as a report saves it") from error


def _text(path: str | PathLike[str]) -> str:
    try:
        return read_bounded(path, LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise AuditError("something else than text in UTF-8", expected="text in UTF-8") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no valid path"
        raise AuditError(f"no readable file ({reason})") from error


def _ids_in(text: str) -> list[str]:
    r"""Ids one a line, or those of the column `image_id`.

    >>> _ids_in("a\nb b\n"), _ids_in("row,image_id\n0,a\n")
    (['a', 'b b'], ['a'])
    """
    try:
        rows = [row for row in csv.reader(text.splitlines(keepends=True)) if any(row)]
    except csv.Error as error:
        raise AuditError(f"no text of ids ({error})") from error
    if not rows or "image_id" not in rows[0]:
        return [line.strip() for line in text.splitlines() if line.strip()]
    at = rows[0].index("image_id")
    return [row[at] for row in rows[1:] if len(row) > at and row[at]]


def _rows_by_id(manifest: Manifest) -> dict[str, int]:
    """The rows by their ids, also as a table for spreadsheets has them."""
    as_cells = {safe_cell(name): row for row, name in enumerate(manifest.ids)}
    return as_cells | {name: row for row, name in enumerate(manifest.ids)}


def _check_fits(file: VerdictFile, run: AuditRun) -> None:
    if file.run.get("manifest") != run.record.manifest_sha256:
        raise AuditError(
            "verdicts about other images (the manifest differs)",
            expected=f"those of a report of this audit, manifest {run.record.manifest_sha256[:12]}",
        )
    ids = run.manifest.ids
    for each in file.verdicts:
        if not 0 <= each.row < len(ids) or ids[each.row] != each.image_id:
            raise AuditError(
                f"a verdict on row {each.row}, {quoted(each.image_id)}", expected="the manifest's id"
            )


def _notes(files: Sequence[VerdictFile], run: AuditRun) -> list[str]:
    record = run.record
    others = [
        file.reader
        for file in files
        if (file.run.get("model"), file.run.get("weights")) != (record.model, record.weights_sha256)
    ]
    return [f"Given to another model's report: {', '.join(others)}."] if others else []


def _names(files: Sequence[VerdictFile]) -> tuple[str, ...]:
    """The readers' names; files of one name in several folders are numbered."""
    names: list[str] = []
    for file in files:
        same = sum(each.reader == file.reader for each in files[: len(names)])
        names.append(f"{file.reader} ({same + 1})" if same else file.reader)
    return tuple(names)


def _line(row: int, manifest: Manifest, by_reader: Sequence[Mapping[int, ReaderVerdict]]) -> MarkedLine:
    given = [verdicts.get(row) for verdicts in by_reader]
    notes = tuple(each.note for each in given if each and each.note)
    return MarkedLine(row, manifest.ids[row], tuple(each.verdict if each else None for each in given), notes)


def _agreement(
    readers: Sequence[str], by_reader: Sequence[Mapping[int, ReaderVerdict]], manifest: Manifest
) -> Iterable[Section]:
    """The agreement of each two readers, and of all where there are more; nothing for one alone."""
    if len(readers) < 2:
        return
    rows = sorted(set().union(*by_reader))
    patients = patient_numbers(manifest.patients)
    categories = np.array([[_category(verdicts.get(row)) for verdicts in by_reader] for row in rows], np.intp)
    groups = patients[rows]
    table = [
        _pair(f"{readers[a]}, {readers[b]}", categories[:, [a, b]], groups)
        for a, b in combinations(range(len(readers)), 2)
    ]
    if len(readers) > 2:
        table.append(_all_readers(f"all {len(readers)}", categories, groups))
    basis = (
        "Of the images that both readers gave a verdict: how often it was the same, and Cohen's kappa, which "
        "is 0 for agreement by chance and 1 for full agreement"
        + ("; of all readers, Krippendorff's alpha. " if len(readers) > 2 else ". ")
        + "Intervals: 95 %, by leaving out patients; none for fewer than "
        f"{LEAST_PATIENTS} patients, or where nothing differs."
    )
    title = "Agreement of readers"
    heads, shown = ("Readers", "Images", "Patients"), ("same", "kappa")
    yield Section("agreement", title, [basis], [EstimateTable(title, heads, shown, table, plotted=False)])


def _category(verdict: ReaderVerdict | None) -> int:
    given = verdict and verdict.verdict
    return MISSING if given is None else get_args(VerdictKind).index(given)


def _pair(name: str, categories: NDArray[np.intp], groups: NDArray[np.intp]) -> TableRow:
    """The row of two readers, of the images that both judged."""
    both = (categories != MISSING).all(axis=1)
    (first, second), member = categories[both].T, numbered(groups[both])
    n = int(member.max(initial=-1)) + 1
    statistics = [same_category(first, second, member, n), cohen_kappa(first, second, member, n)]
    same, kappa = leave_out(statistics, n)
    return _row(name, member, n, _estimate(same, n, 0.0), _estimate(kappa, n, -1.0))


def _all_readers(name: str, categories: NDArray[np.intp], groups: NDArray[np.intp]) -> TableRow:
    """The row of all readers, of the images that two or more judged."""
    several = (categories != MISSING).sum(axis=1) > 1
    member = numbered(groups[several])
    n = int(member.max(initial=-1)) + 1
    (alpha,) = leave_out([krippendorff_alpha(categories[several], member, n)], n)
    return _row(name, member, n, ShownEstimate(), _estimate(alpha, n, -1.0))


def _row(name: str, member: NDArray[np.intp], patients: int, *estimates: ShownEstimate) -> TableRow:
    return TableRow((name, f"{len(member):,}", f"{patients:,}"), estimates)


def _estimate(found: LeftOut, patients: int, least: float) -> ShownEstimate:
    """A statistic with its interval, which is cut where the statistic can go no further."""
    value = float(found.value[0])
    low, high = (float(end[0]) for end in found.interval())
    if np.isnan(value):
        return ShownEstimate()
    if patients < LEAST_PATIENTS:
        return ShownEstimate(value, withheld=counted(patients, "patient"))
    if np.isnan(low):
        return ShownEstimate(value, withheld="no patient differs")
    return ShownEstimate(value, max(low, least), min(high, 1.0))
