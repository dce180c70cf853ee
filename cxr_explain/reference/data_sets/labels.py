"""Label columns of a data set's table, one a pathology."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxr_explain.errors import ManifestError
from cxr_explain.pathologies import canonical_pathology
from cxr_explain.reference.problems import Problems
from cxr_explain.reference.states import DATA_SET_CELLS, States, parse_states
from cxr_explain.reference.table import Table

CHEXPERT_PATHOLOGIES = (
    *("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation"),
    *("Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture"),
    "Support Devices",
)
"""The label columns of CheXpert and of MIMIC-CXR-JPG, in CheXpert's order; "No Finding" is no pathology."""

NO_FINDING = "No Finding"


def label_columns(table: Table, names: Sequence[str], problems: Problems) -> tuple[list[str], States]:
    """Read label columns as data sets write them: 1, 0, -1, blank is not mentioned.

    Args:
        table: of the data set.
        names: of the columns; those that are not there are left out, so they are not labelled.
        problems: gets the cells that are no state.

    Returns:
        The pathologies, and (n, P) codes.

    Raises:
        ManifestError: two columns for one pathology.
    """
    there = [name for name in names if name in table.columns]
    pathologies = [canonical_pathology(name) for name in there]
    if len(set(pathologies)) < len(pathologies):
        raise ManifestError(f"two columns for one pathology among {there}", expected="one for each")
    columns = [
        parse_states(table.columns[name], name, table.lines, problems, DATA_SET_CELLS) for name in there
    ]
    return pathologies, np.stack(columns, axis=1) if columns else np.zeros((len(table), 0), np.int8)
