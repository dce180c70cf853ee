"""Label columns of a data set's table, one for each pathology."""

from __future__ import annotations

from collections.abc import Sequence

from cxr_explain.errors import ManifestError
from cxr_explain.pathologies import NO_FINDING, canonical_pathology, near_miss
from cxr_explain.reference.problems import quoted
from cxr_explain.reference.states import DATA_SET_CELLS, States, label_states
from cxr_explain.reference.table import BLANKS, CsvTable

CHEXPERT_PATHOLOGIES = (
    *("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation"),
    *("Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture"),
    "Support Devices",
)
"""The label columns of CheXpert and of MIMIC-CXR-JPG, in CheXpert's order; "No Finding" is no pathology."""


def label_columns(table: CsvTable, names: Sequence[str]) -> tuple[list[str], States]:
    """Read label columns as data sets write them: 1, 0, -1; a blank is not mentioned.

    Args:
        table: gets the cells that are no state among its `problems`.
        names: names of the label columns, in any spelling; a pathology whose column is not there is not
            labelled.

    Returns:
        The P pathologies, and (n, P) int8 of `STATE_CODES`.

    Raises:
        ManifestError: two columns for one pathology, or a column whose name seems to be misspelt.
    """
    order = [canonical_pathology(name) for name in names]
    columns = [name for name in table.header if canonical_pathology(name) in order]
    there = sorted(columns, key=lambda name: order.index(canonical_pathology(name)))
    check_columns(table)
    pathologies = [canonical_pathology(name) for name in there]
    if len(set(pathologies)) < len(pathologies):
        raise ManifestError(f"two columns for one pathology among {there}", expected="one for each")
    return pathologies, label_states(table, dict(zip(there, there, strict=True)), DATA_SET_CELLS)


def check_columns(table: CsvTable) -> None:
    """Refuse a column of label states whose name is nearly that of a pathology: it would be left out.

    Raises:
        ManifestError: such a column.
    """
    for name in table.header:
        nearest = near_miss(name)
        if nearest and holds_states(table, name):
            raise ManifestError(
                f"the column {quoted(name)}; the nearest known pathology is {nearest!r}",
                expected="a pathology that this package or a data set knows",
                remedy="Rename the column.",
            )


def holds_states(table: CsvTable, name: str) -> bool:
    """Whether every cell of a column is a label state, and not all of them are blank."""
    cells = {cell.strip().casefold() for cell in table.columns[name]}
    return cells <= set(DATA_SET_CELLS) and not cells <= BLANKS


def no_finding_cells(table: CsvTable) -> dict[str, list[str]]:
    """The column "No Finding" as a manifest keeps it, under `no_finding`; nothing where there is none."""
    column = table.optional(NO_FINDING)
    return {} if column is None else {"no_finding": [cell.strip().removesuffix(".0") for cell in column]}
