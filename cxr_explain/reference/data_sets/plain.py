"""A CSV of one's own: a column of images, and labels in one column, or in a column for each pathology."""

from __future__ import annotations

from os import PathLike
from pathlib import Path, PurePosixPath

from cxr_explain.errors import ManifestError, ReferenceLabelError
from cxr_explain.pathologies import PATHOLOGIES, ReferenceLabels, canonical_pathology
from cxr_explain.reference.data_sets.labels import label_columns
from cxr_explain.reference.data_sets.people import ages_of, sexes_of
from cxr_explain.reference.manifest import Manifest
from cxr_explain.reference.problems import CellError
from cxr_explain.reference.states import STATE_CODES, States, states_by_image
from cxr_explain.reference.table import CsvTable, reading

_PATHS = ("path", "image", "Path", "Image")
_IDS = ("image_id", "id")
_LABELS = ("labels", "Labels")
_PEOPLE = ("patient", "view", "sex", "age", "split")


def manifest_of_csv(source: str | PathLike[str]) -> Manifest:
    """The images of a plain CSV.

    Args:
        source: a CSV with a column `path` or `image`, and either a column `labels`, such as
            `Effusion|Mass=negative|Edema=uncertain` (what is not named is not labelled), or one column for
            each pathology with 1, 0, -1, blank (not mentioned) or `n/a` (not labelled). `image_id`,
            `patient`, `view`, `sex`, `age` and `split` are understood; other columns stay as subgroups.
            Without `image_id`, images are named after their files.

    Raises:
        ManifestError: no such columns, or bad rows; all of them.
    """
    with reading(Path(source)) as table:
        return plain_manifest(table)


def has_labels(table: CsvTable) -> bool:
    """Whether a plain table has a column of labels, or one for some pathology."""
    return table.optional(*_LABELS) is not None or bool(_pathology_columns(table))


def plain_manifest(table: CsvTable) -> Manifest:
    """The manifest of a table as `manifest_of_csv` takes it.

    Raises:
        ManifestError: no column of images, two kinds of label columns, or bad rows; all of them.
    """
    paths = [cell.strip() for cell in table.column(*_PATHS)]
    columns = _pathology_columns(table)
    text = table.optional(*_LABELS)
    if text is not None and columns:
        raise ManifestError(
            f"a column of labels beside the columns {', '.join(columns)}", expected="one of the two"
        )
    pathologies, states = label_columns(table, columns) if text is None else _from_text(text, table)
    known = {*columns, *_LABELS, *_PEOPLE, *_IDS, *_PATHS}
    return Manifest(
        _ids(table, paths),
        paths,
        pathologies=pathologies,
        states=states,
        patients=table.texts("patient"),
        views=table.texts("view"),
        sexes=sexes_of(table, "sex"),
        ages=ages_of(table, "age", zero_is_known=True),
        splits=table.texts("split"),
        label_sources=table.source,
        extra={name: table.columns[name] for name in table.header if name not in known},
        lines=table.lines,
        problems=table.problems,
    )


def _pathology_columns(table: CsvTable) -> list[str]:
    return [name for name in table.header if canonical_pathology(name) in PATHOLOGIES]


def _from_text(cells: tuple[str, ...], table: CsvTable) -> tuple[list[str], States]:
    return states_by_image(table.parsed(cells, _codes, {}))


def _codes(cell: str) -> dict[str, int]:
    try:
        named = ReferenceLabels.from_text(cell).states
    except ReferenceLabelError as error:
        raise CellError(error.found) from None
    return {name: STATE_CODES[state] for name, state in named.items()}


def _ids(table: CsvTable, paths: list[str]) -> list[str]:
    """Ids as given; else the names of the files, with their folders where names repeat."""
    given = table.optional(*_IDS)
    if given is not None:
        return [cell.strip() for cell in given]
    stems = [PurePosixPath(path).stem for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    return [str(PurePosixPath(path).with_suffix("")).replace("/", "_") if path else "" for path in paths]
