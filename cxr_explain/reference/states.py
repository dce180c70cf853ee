"""Label states as small numbers, a column of the manifest at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cxr_explain.pathologies import LabelState
from cxr_explain.reference.problems import quoted
from cxr_explain.reference.table import BLANKS, CsvTable

States = NDArray[np.int8]

STATE_CODES: Mapping[LabelState, int] = MappingProxyType(
    {
        LabelState.POSITIVE: 1,
        LabelState.NEGATIVE: 0,
        LabelState.UNCERTAIN: -1,
        LabelState.NOT_MENTIONED: -2,
        LabelState.NOT_LABELLED: -3,
    }
)
"""The number of each state in `Manifest.states`."""

POSITIVE, NEGATIVE, UNCERTAIN, NOT_MENTIONED, NOT_LABELLED = STATE_CODES.values()

CELLS: Mapping[str, int] = MappingProxyType(
    {"1": POSITIVE, "0": NEGATIVE, "-1": UNCERTAIN, "": NOT_MENTIONED, "n/a": NOT_LABELLED}
)
"""The code of each text that a label cell of a manifest may hold."""

MANIFEST_CELLS: Mapping[str, int] = MappingProxyType(
    {**CELLS, "1.0": POSITIVE, "0.0": NEGATIVE, "-1.0": UNCERTAIN}
)
"""The code of each text that is read in a manifest: pandas writes a column with blanks as such numbers."""

DATA_SET_CELLS: Mapping[str, int] = MappingProxyType(
    {
        **MANIFEST_CELLS,
        "true": POSITIVE,
        "yes": POSITIVE,
        "false": NEGATIVE,
        "no": NEGATIVE,
        **dict.fromkeys(BLANKS, NOT_MENTIONED),
        **{str(state): code for state, code in STATE_CODES.items()},
    }
)
"""The code of each text that a label cell of a data set may hold: CheXpert's numbers, pandas' or a word."""

_BAD = -100


def label_states(table: CsvTable, columns: Mapping[str, str], cells: Mapping[str, int] = CELLS) -> States:
    r"""Read the label columns of a table.

    Args:
        table: gets the cells that are no state among its `problems`.
        columns: the pathology of each of the P label columns, by the column's name; the pathology is for
            messages.
        cells: the code of each text that a cell may hold.

    Returns:
        (n, P) int8 of `STATE_CODES`; a cell that is no state is taken as not labelled.

    >>> from cxr_explain.reference.table import parse_table
    >>> table = parse_table(b"Mass,x\n1,a\n,b\nn/a,c", "a.csv")
    >>> label_states(table, {"Mass": "Mass"}).tolist()
    [[1], [-2], [-3]]
    """
    states = np.zeros((len(table), len(columns)), np.int8)
    for at, (column, pathology) in enumerate(columns.items()):
        texts, code_of = table.columns[column], dict(cells).get
        states[:, at] = [code_of(cell, _BAD) for cell in texts]
        for row in np.flatnonzero(states[:, at] == _BAD).tolist():
            code = cells.get(texts[row].strip().casefold())
            if code is None:
                table.problems.add(table.lines[row], f"the label {quoted(texts[row])} of {quoted(pathology)}")
            states[row, at] = NOT_LABELLED if code is None else code
    return states


def states_by_image(rows: Sequence[Mapping[str, int]]) -> tuple[list[str], States]:
    """States that are named image by image, as one array.

    Args:
        rows: the codes of each of the n images, by pathology; what is not named is not labelled.

    Returns:
        The P pathologies that are named, and (n, P) int8 of `STATE_CODES`.

    >>> names, states = states_by_image([{"Mass": 1}, {"Edema": 0}])
    >>> names, states.tolist()
    (['Mass', 'Edema'], [[1, -3], [-3, 0]])
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    states = [[row.get(name, NOT_LABELLED) for name in names] for row in rows]
    return names, np.array(states, np.int8).reshape(len(rows), len(names))


def named_states(codes: Sequence[int], names: Sequence[str]) -> dict[str, LabelState]:
    """The states of one image by pathology, without the pathologies that are not labelled.

    Args:
        codes: `STATE_CODES` of one image, one code for each name.
        names: names of the pathologies, in the order of the codes.
    """
    return {name: _STATES[code] for name, code in zip(names, codes, strict=True) if code != NOT_LABELLED}


_STATES = {code: state for state, code in STATE_CODES.items()}
