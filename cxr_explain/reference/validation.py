"""What a manifest may hold; each rule looks at one column and names the lines that break it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from cxr_explain.errors import ManifestError
from cxr_explain.reference.cells import format_boxes, format_masks
from cxr_explain.reference.columns import FIRST, LABEL, LAST, SPARSE, Columns
from cxr_explain.reference.entry import box_fits, box_text
from cxr_explain.reference.paths import path_problem
from cxr_explain.reference.problems import Problems, quoted
from cxr_explain.reference.states import STATE_CODES
from cxr_explain.reference.table import LONGEST_CELL

OLDEST = 150.0
"""Years; a number above is no age."""

_LONGEST_ID = 256
_TEXTS = ("image_id", "path", "patient", "view", "split", "label_source")


def check_content(manifest: Columns, problems: Problems) -> None:
    """Note every row that breaks a rule.

    Args:
        manifest: the columns to look at.
        problems: gets what is wrong.

    Raises:
        ManifestError: columns that contradict each other, or names that no column may have.
    """
    _check_shapes(manifest)
    _check_names(manifest)
    _check_ids(manifest.ids, manifest.lines, problems)
    for line, path in zip(manifest.lines, manifest.paths, strict=True):
        problem = path_problem(path)
        if problem:
            problems.add(line, problem)
    for name, column in _texts(manifest).items():
        _check_texts(name, column, manifest.lines, problems)
    _check_people(manifest, problems)
    _check_places(manifest, problems)


def _check_shapes(manifest: Columns) -> None:
    n = len(manifest.ids)
    lengths = {name: len(column) for name, column in _texts(manifest).items()}
    lengths |= {"age": len(manifest.ages), "lines": len(manifest.lines), "sex": len(manifest.sexes)}
    wrong = {name: length for name, length in lengths.items() if length != n}
    if wrong:
        raise ManifestError(f"columns of other lengths {wrong}", expected=f"{n} rows, as image_id has")
    if manifest.states.shape != (n, len(manifest.pathologies)):
        raise ManifestError(
            f"states of shape {manifest.states.shape}", expected=f"({n}, {len(manifest.pathologies)})"
        )
    if not np.isin(manifest.states, list(STATE_CODES.values())).all():
        raise ManifestError(
            "an unknown state code", expected=f"one of {sorted(STATE_CODES.values(), reverse=True)}"
        )
    for name in SPARSE:
        if not all(0 <= row < n for row in getattr(manifest, name)):
            raise ManifestError("boxes or masks of a row that is not there", expected=f"rows below {n}")


def _check_names(manifest: Columns) -> None:
    names = [*FIRST, *(LABEL + name for name in manifest.pathologies), *LAST, *manifest.extra]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ManifestError(f"two columns {quoted(twice)}", expected="each name once")
    for name in (*manifest.pathologies, *manifest.extra):
        if not name or name != name.strip() or not _is_text(name) or name.startswith((LABEL, "\ufeff")):
            raise ManifestError(f"a column named {quoted(name)}", expected="a name of its own")


def _check_ids(ids: Sequence[str], lines: Sequence[int], problems: Problems) -> None:
    first: dict[str, int] = {}
    for line, name in zip(lines, ids, strict=True):
        if not name.strip():
            problems.add(line, "no image_id")
        elif not name.isprintable() or len(name) > _LONGEST_ID:
            problems.add(
                line, f"the image_id {quoted(name)}, which is no line of up to {_LONGEST_ID} characters"
            )
        elif first.setdefault(name, line) != line:
            problems.add(line, f"the image_id {quoted(name)} again, after line {first[name]}")


def _check_texts(name: str, column: Sequence[str | None], lines: Sequence[int], problems: Problems) -> None:
    distinct = {cell for cell in column if cell}
    if max(map(len, distinct), default=0) <= LONGEST_CELL and _is_text("".join(distinct), longest=None):
        return
    bad = {cell for cell in distinct if not _is_text(cell)}
    for line, cell in zip(lines, column, strict=True):
        if cell in bad:
            problems.add(line, f"the {name} {quoted(cell)}, which is too long or no plain text")


def _check_people(manifest: Columns, problems: Problems) -> None:
    if not set(manifest.sexes) <= {"F", "M", None}:
        for line, sex in zip(manifest.lines, manifest.sexes, strict=True):
            if sex not in ("F", "M", None):
                problems.add(line, f"the sex {quoted(sex)}, which is not F, M or empty")
    for line, age in zip(manifest.lines, manifest.ages, strict=True):
        if age is not None and not (math.isfinite(age) and 0 <= age <= OLDEST):
            problems.add(line, f"the age {age:g}, which is not from 0 to {OLDEST:g} years")


def _check_places(manifest: Columns, problems: Problems) -> None:
    for row, boxes in manifest.boxes.items():
        for box in boxes:
            if not box_fits(box, manifest.box_spaces.get(row)):
                problems.add(manifest.lines[row], f"the box {box_text(box)}, which is not in its space")
        _check_cell(format_boxes(boxes), "boxes", manifest.lines[row], problems)
    for row, space in manifest.box_spaces.items():
        if not all(isinstance(side, int) and 0 < side < 10**7 for side in space):
            problems.add(manifest.lines[row], f"the box space {quoted(space)}")
    for row, masks in manifest.masks.items():
        _check_cell(format_masks(masks), "masks", manifest.lines[row], problems)


def _check_cell(cell: str, what: str, line: int, problems: Problems) -> None:
    if not _is_text(cell):
        problems.add(line, f"{what} that are too many or no plain text")


def _texts(manifest: Columns) -> Mapping[str, Sequence[str | None]]:
    attributes = {**FIRST, **LAST}
    return {name: getattr(manifest, attributes[name]) for name in _TEXTS} | dict(manifest.extra)


def _is_text(text: str, *, longest: int | None = LONGEST_CELL) -> bool:
    """Whether a cell may hold it: what comes back from a CSV file in UTF-8 as it was."""
    if (longest is not None and len(text) > longest) or "\x00" in text:
        return False
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:  # half a surrogate pair
        return False
