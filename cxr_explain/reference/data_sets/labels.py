"""Label columns of a data set's table, one for each pathology."""

from __future__ import annotations

from collections.abc import Sequence

from cxr_explain.errors import ManifestError
from cxr_explain.pathologies import canonical_pathology
from cxr_explain.reference.states import DATA_SET_CELLS, States, label_states
from cxr_explain.reference.table import CsvTable

CHEXPERT_PATHOLOGIES = (
    *("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation"),
    *("Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture"),
    "Support Devices",
)
"""The label columns of CheXpert and of MIMIC-CXR-JPG, in CheXpert's order; "No Finding" is no pathology."""

NO_FINDING = "No Finding"


def label_columns(table: CsvTable, names: Sequence[str]) -> tuple[list[str], States]:
    """Read label columns as data sets write them: 1, 0, -1; a blank is not mentioned.

    Args:
        table: gets the cells that are no state among its `problems`.
        names: names of the label columns; a pathology whose column is not there is not labelled.

    Returns:
        The P pathologies, and (n, P) int8 of `STATE_CODES`.

    Raises:
        ManifestError: two columns for one pathology.
    """
    there = [name for name in names if name in table.columns]
    pathologies = [canonical_pathology(name) for name in there]
    if len(set(pathologies)) < len(pathologies):
        raise ManifestError(f"two columns for one pathology among {there}", expected="one for each")
    return pathologies, label_states(table, dict(zip(there, there, strict=True)), DATA_SET_CELLS)
