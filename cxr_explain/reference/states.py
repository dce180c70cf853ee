"""Label states as small numbers, a column at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cxr_explain.pathologies import LabelState
from cxr_explain.reference.problems import quoted
from cxr_explain.reference.table import CsvTable

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
"""A state as a manifest's cell has it."""

DATA_SET_CELLS: Mapping[str, int] = MappingProxyType(
    {
        **CELLS,
        "1.0": POSITIVE,
        "0.0": NEGATIVE,
        "-1.0": UNCERTAIN,
        **{str(state): code for state, code in STATE_CODES.items()},
    }
)
"""A state as data sets have it: CheXpert's numbers, or a word."""

_BAD = -100


def parse_states(table: CsvTable, column: str, pathology: str, cells: Mapping[str, int] = CELLS) -> States:
    r"""Read a label column.

    Args:
        table: gets the cells that are no state among its `problems`.
        column: name of the column.
        pathology: whose labels they are, for messages.
        cells: the code of each text that a cell may hold.

    Returns:
        (n,) int8 of `STATE_CODES`; a cell that is no state is taken as not labelled.

    >>> from cxr_explain.reference.table import parse_table
    >>> parse_states(parse_table(b"Mass,x\n1,\n,\nn/a,\n0,.", "a.csv"), "Mass", "Mass").tolist()
    [1, -2, -3, 0]
    """
    texts, code_of = table.columns[column], dict(cells).get
    codes = np.array([code_of(cell, _BAD) for cell in texts], np.int8)
    for row in np.flatnonzero(codes == _BAD).tolist():
        code = cells.get(texts[row].strip().casefold())
        if code is None:
            table.problems.add(table.lines[row], f"the label {quoted(texts[row])} of {quoted(pathology)}")
        codes[row] = NOT_LABELLED if code is None else code
    return codes


def named_states(codes: Sequence[int], names: Sequence[str]) -> dict[str, LabelState]:
    """The states of one image, without those that are not labelled."""
    return {name: _STATES[code] for name, code in zip(names, codes, strict=True) if code != NOT_LABELLED}


_STATES = {code: state for state, code in STATE_CODES.items()}
