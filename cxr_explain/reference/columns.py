"""The columns that a manifest has, in memory and in its CSV file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cxr_explain.pathologies import ReferenceBox
from cxr_explain.reference.entry import Sex
from cxr_explain.reference.masks import MaskReference
from cxr_explain.reference.states import States

FIRST: Mapping[str, str] = {
    "image_id": "ids",
    "path": "paths",
    "patient": "patients",
    "view": "views",
    "sex": "sexes",
    "age": "ages",
    "split": "splits",
}
"""The columns before the labels: the name in the CSV, and the attribute of `Columns`."""

LAST: Mapping[str, str] = {
    "boxes": "boxes",
    "box_space": "box_spaces",
    "masks": "masks",
    "label_source": "label_sources",
}
"""The columns after the labels, which are left out of the CSV where they are empty."""

LABEL = "label:"
"""Begins the name of a label column in the CSV."""

SPARSE = ("boxes", "box_spaces", "masks")
"""Attributes that most rows have no value of: mappings by row."""

FULL = (*FIRST.values(), "label_sources")
"""Attributes with a value for every row."""

Space = tuple[int, int]
"""(width, height) in pixels."""


@dataclass(frozen=True, eq=False, repr=False)
class Columns:
    """What a manifest holds; see `Manifest` for what each column is."""

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    pathologies: tuple[str, ...]
    states: States
    patients: tuple[str | None, ...]
    views: tuple[str | None, ...]
    sexes: tuple[Sex | None, ...]
    ages: tuple[float | None, ...]
    splits: tuple[str | None, ...]
    label_sources: tuple[str, ...]
    boxes: Mapping[int, tuple[ReferenceBox, ...]]
    box_spaces: Mapping[int, Space]
    masks: Mapping[int, Mapping[str, MaskReference]]
    extra: Mapping[str, tuple[str, ...]]
    lines: tuple[int, ...]
    notes: tuple[str, ...]
