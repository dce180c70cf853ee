"""A CSV of one's own: a column of images, and labels in one column, or in a column for each pathology."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from cxr_explain.errors import ManifestError
from cxr_explain.pathologies import (
    DATA_SET_PATHOLOGIES,
    PATHOLOGIES,
    LabelState,
    absent_pathologies,
    canonical_pathology,
    labels_in,
    says_no_finding,
)
from cxr_explain.reference.csv_file import is_manifest
from cxr_explain.reference.data_sets.folders import folder_of, paths_of
from cxr_explain.reference.data_sets.labels import holds_states, label_columns
from cxr_explain.reference.data_sets.people import ages_of, sexes_of
from cxr_explain.reference.manifest import Manifest
from cxr_explain.reference.paths import stem_of, without_root
from cxr_explain.reference.problems import as_cell_error, quoted
from cxr_explain.reference.states import (
    DATA_SET_CELLS,
    POSITIVE,
    STATE_CODES,
    States,
    label_states,
    states_by_image,
)
from cxr_explain.reference.table import CsvTable, is_blank, reading

_PATHS = ("path", "image", "Path", "Image")
_IDS = ("image_id", "id")
_LABELS = ("labels", "Labels")
_PEOPLE = ("patient", "view", "sex", "age", "split")


def manifest_of_csv(
    source: str | PathLike[str],
    *,
    images: str | PathLike[str] | None = None,
    further_pathologies: str | None = None,
) -> Manifest:
    """The images of a plain CSV.

    Args:
        source: a CSV with a column `path` or `image`, and either a column `labels`, such as
            `Effusion|Mass=negative|Edema=uncertain` (what is not named is not labelled; `;`, `,`, `/` and a
            Python list separate names, too; "No Finding" is negative for every pathology), or one column for
            each pathology with 1, 0, -1, blank (not mentioned) or `n/a` (not labelled). `image_id`,
            `patient`, `view`, `sex`, `age` and `split` are understood; other columns stay as subgroups.
            Without `image_id`, images are named after their files.
        images: the folder of the images. What the table names is then looked for there, by the whole path or
            by the file name alone, whatever machine the path is of; the manifest's paths are relative to it.
        further_pathologies: names of pathologies beside the known ones, such as those of a model of your own,
            separated by commas.

    Raises:
        ManifestError: no such columns, or bad rows; all of them. An unknown pathology is named with the
            nearest known one.
    """
    further = [name.strip() for name in (further_pathologies or "").split(",") if name.strip()]
    with reading(Path(source)) as table:
        if is_manifest(table):
            raise ManifestError(
                "a manifest",
                expected="a table that is none yet",
                remedy="Give it to the audit as it is.",
            )
        return plain_manifest(table, further, folder=folder_of(images) if images else None)


def has_labels(table: CsvTable, further: Sequence[str] = ()) -> bool:
    """Whether a plain table has a column of labels, or one for some pathology."""
    return table.optional(*_LABELS) is not None or bool(_pathology_columns(table, further))


def plain_manifest(
    table: CsvTable,
    further: Sequence[str] = (),
    *,
    tidy: Callable[[str], str] = str.strip,
    folder: Path | None = None,
) -> Manifest:
    """The manifest of a table as `manifest_of_csv` takes it.

    Args:
        table: the table.
        further: names of pathologies that are known besides this package's.
        tidy: what is done to each path before it is looked at.
        folder: where the images are looked for; None to take the paths as they are.

    Raises:
        ManifestError: no column of images, two kinds of label columns, or bad rows; all of them.
    """
    named = _only(table, _PATHS)
    paths = [tidy(cell) for cell in table.column(*_PATHS)]
    paths = paths if folder is None else _found_in(folder, paths)
    columns = _pathology_columns(table, further)
    of_labels = _only(table, _LABELS)
    text = table.optional(*_LABELS)
    if text is not None and columns:
        raise ManifestError(
            f"a column of labels beside the columns {', '.join(columns)}", expected="one of the two"
        )
    pathologies, states = label_columns(table, columns) if text is None else _from_text(text, table, further)
    known = {*columns, *of_labels, *_PEOPLE, *_IDS, *named}
    further_columns = [name for name in table.header if name not in known]
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
        extra={name: table.columns[name] for name in further_columns},
        lines=table.lines,
        notes=_notes(
            table, further_columns, pathologies, states, is_labelled=bool(columns) or text is not None
        ),
        problems=table.problems,
    )


def _only(table: CsvTable, names: Sequence[str]) -> list[str]:
    """The first of the names that is a column's.

    Raises:
        ManifestError: it is there in two spellings.
    """
    found = [name for name in names if name in table.columns][:1]
    twice = [
        name for name in names if found and name.casefold() == found[0].casefold() and name in table.columns
    ]
    if len(twice) > 1:
        raise ManifestError(f"the columns {' and '.join(map(quoted, twice))}", expected="one of the two")
    return found


def _notes(
    table: CsvTable, further: Sequence[str], pathologies: Sequence[str], states: States, *, is_labelled: bool
) -> Iterator[str]:
    """What columns of one's own table are not taken for labels, though they may well be meant as such."""
    if further and not is_labelled:
        yield f"no labels: none of the columns {table.shown_header} is 'labels' or names a known pathology"
    doubtful = [
        name
        for name in further
        if (holds_states(table, name) or canonical_pathology(name) in DATA_SET_PATHOLOGIES)
        and not says_no_finding(name)
    ]
    if doubtful:
        yield f"taken for columns to group by, and not for labels: {', '.join(map(quoted, doubtful))}"
    diseases = [at for at, name in enumerate(pathologies) if name in absent_pathologies(pathologies)]
    positive = (states[:, diseases] == POSITIVE).any(axis=1)
    for name in further if is_labelled else ():
        if says_no_finding(name) and holds_states(table, name):
            absent = label_states(table, {name: name}, DATA_SET_CELLS)[:, 0] == POSITIVE
            both = np.flatnonzero(absent & positive).tolist()
            if both:
                line = table.lines[both[0]]
                yield f"{len(both)} rows say {quoted(name)} beside a finding, the first in line {line}"


def by_name(table: CsvTable, further: Sequence[str] = ()) -> Manifest:
    """The manifest of a plain table whose images are to be found by their names, whatever their folders."""
    return plain_manifest(table, further, tidy=without_root)


def _found_in(folder: Path, paths: Sequence[str]) -> list[str]:
    """Paths below a folder: as they are where such a file is there, else by the file name alone.

    Raises:
        ManifestError: a name in two folders.
    """
    relative = [without_root(path) for path in paths]
    others = [path for path in relative if not (folder / path).is_file()]
    names = [path.rpartition("/")[2] for path in others]
    found = dict(zip(others, paths_of(names, folder, otherwise=""), strict=True))
    return [found.get(path, path) for path in relative]


def _pathology_columns(table: CsvTable, further: Sequence[str]) -> list[str]:
    """What a data set labels may be something else in a table of one's own: there, the cells decide."""
    sure = {*PATHOLOGIES, *map(canonical_pathology, further)}
    named = [(name, canonical_pathology(name)) for name in table.header]
    return [
        name
        for name, pathology in named
        if pathology in sure or (pathology in DATA_SET_PATHOLOGIES and holds_states(table, name))
    ]


def _from_text(cells: tuple[str, ...], table: CsvTable, further: Sequence[str]) -> tuple[list[str], States]:
    def said(cell: str) -> tuple[dict[str, LabelState], bool]:
        with as_cell_error():
            return labels_in("" if is_blank(cell) else cell, further)

    nothing: tuple[dict[str, LabelState], bool] = ({}, False)
    read = table.parsed(cells, said, nothing)
    _check_slashes(table, cells, [tuple(named) for named, _ in read])
    absent = absent_pathologies((*further, *dict.fromkeys(name for named, _ in read for name in named)))
    whole = [
        {**dict.fromkeys(absent if is_absence else (), LabelState.NEGATIVE), **named}
        for named, is_absence in read
    ]
    return states_by_image([{name: STATE_CODES[state] for name, state in row.items()} for row in whole])


def _check_slashes(table: CsvTable, cells: tuple[str, ...], named: list[tuple[str, ...]]) -> None:
    """Where slashes separate names in some rows, a name with a slash in another row is not clear."""
    slashed = [row for row, names in enumerate(named) if "/" in cells[row] and names]
    joint = [row for row in slashed if any("/" in name for name in named[row])]
    split = [row for row in slashed if not any("/" in name for name in named[row])]
    for row in joint if split else ():
        text = (
            f"the labels {quoted(cells[row])}, while slashes separate names in line {table.lines[split[0]]}"
        )
        table.problems.add(table.lines[row], text)


def _ids(table: CsvTable, paths: list[str]) -> list[str]:
    """Ids as given; else by the files."""
    given = table.optional(*_IDS)
    return ids_of(paths) if given is None else [cell.strip() for cell in given]


def ids_of(paths: Sequence[str]) -> list[str]:
    """Names of images after their files, with their folders where names repeat.

    >>> ids_of(["p1/x.png", "p2/x.png"])
    ['p1_x', 'p2_x']
    """
    stems = [stem_of(path) for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    folders = (path.rpartition("/")[0] for path in paths)
    return [
        f"{folder}/{stem}".strip("/").replace("/", "_") for folder, stem in zip(folders, stems, strict=True)
    ]
