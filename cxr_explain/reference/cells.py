"""Cells of a manifest's CSV that hold more than text: ages, sizes, boxes and masks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from cxr_explain.errors import CxrExplainError
from cxr_explain.pathologies import ReferenceBox, canonical_pathology
from cxr_explain.reference.masks import MaskReference
from cxr_explain.reference.problems import CellError, quoted
from cxr_explain.support.bounded import parse_json

_NUMBER = re.compile(r"\d{1,20}(\.\d{1,30})?(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_SPACE = re.compile(r"([1-9]\d{0,6})x([1-9]\d{0,6})", re.ASCII)
_BOX_KEYS = ("pathology", "x", "y", "width", "height")
_MASK_KEYS = ("kind", "path")
_LARGEST = 1e9


def parse_age(cell: str) -> float:
    """An age in years.

    >>> parse_age("57")
    57.0
    """
    if not _NUMBER.fullmatch(cell):
        raise CellError(f"the age {quoted(cell)}")
    return float(cell)


def format_age(age: float) -> str:
    """The cell of an age in years, from which `parse_age` gives the same number again.

    >>> format_age(57.0)
    '57'
    """
    return str(int(age)) if age == int(age) else repr(float(age))


def parse_space(cell: str) -> tuple[int, int]:
    """Size (width, height) in pixels from a cell such as `1024x1024`.

    >>> parse_space("2828x2320")
    (2828, 2320)
    """
    found = _SPACE.fullmatch(cell)
    if not found:
        raise CellError(f"the box space {quoted(cell)}, which is not like 1024x1024")
    return int(found[1]), int(found[2])


def format_space(space: tuple[int, int]) -> str:
    """The cell of a size (width, height) in pixels, as `parse_space` reads it."""
    return f"{space[0]}x{space[1]}"


def parse_boxes(cell: str) -> tuple[ReferenceBox, ...]:
    """Boxes from a JSON list of objects.

    >>> parse_boxes('[{"pathology": "Mass", "x": 1, "y": 2, "width": 3, "height": 4}]')
    (ReferenceBox(pathology='Mass', x=1.0, y=2.0, width=3.0, height=4.0),)
    """
    items = _load(cell, "boxes")
    if not isinstance(items, list):
        raise CellError(f"the boxes {quoted(cell)}, which are no JSON list")
    return tuple(_box(item) for item in items)


def format_boxes(boxes: tuple[ReferenceBox, ...]) -> str:
    """The cell of some boxes, as `parse_boxes` reads it."""
    return _dump([{key: getattr(box, key) for key in _BOX_KEYS} for box in boxes])


def parse_masks(cell: str) -> dict[str, MaskReference]:
    """Masks by pathology from a JSON object, in which each has its kind and its path.

    >>> parse_masks('{"Mass": {"kind": "png", "path": "a-mass.png"}}')
    {'Mass': MaskReference(kind='png', path='a-mass.png')}
    """
    items = _load(cell, "masks")
    if not isinstance(items, dict):
        raise CellError(f"the masks {quoted(cell)}, which are no JSON object")
    found = {canonical_pathology(name): _mask(item) for name, item in items.items()}
    if len(found) < len(items):
        raise CellError("masks of one pathology under two names")
    return found


def format_masks(masks: Mapping[str, MaskReference]) -> str:
    """The cell of the masks by pathology, as `parse_masks` reads it."""
    return _dump({name: {"kind": mask.kind, "path": mask.path} for name, mask in masks.items()})


def _box(item: Any) -> ReferenceBox:
    if not isinstance(item, dict) or set(item) != set(_BOX_KEYS) or not isinstance(item["pathology"], str):
        raise CellError(f"the box {quoted(item)}, which has not just {', '.join(_BOX_KEYS)}")
    numbers = [item[key] for key in _BOX_KEYS[1:]]
    if not all(_is_number(number) for number in numbers):
        raise CellError(f"the box {quoted(item)}, whose place is not in numbers")
    if not item["pathology"].strip():
        raise CellError("a box without a pathology")
    return ReferenceBox(item["pathology"], *map(float, numbers))


def _mask(item: Any) -> MaskReference:
    if not isinstance(item, dict) or set(item) != set(_MASK_KEYS) or not _are_texts(item):
        raise CellError(f"the mask {quoted(item)}, which has not just {' and '.join(_MASK_KEYS)}")
    try:
        return MaskReference(item["kind"], item["path"])
    except CxrExplainError as error:
        raise CellError(error.found) from None


def _are_texts(item: Mapping[str, Any]) -> bool:
    return all(isinstance(value, str) for value in item.values())


def _is_number(value: Any) -> bool:
    """Whether it is a finite number: Python's JSON reader also gives NaN and infinity."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _load(cell: str, what: str) -> Any:
    try:
        return parse_json(cell, pairs=_without_repeats)
    except ValueError:
        raise CellError(f"the {what} {quoted(cell)}, which are no JSON") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Python's JSON reader would keep the last of several entries of one name, and say nothing."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError
    return found


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
