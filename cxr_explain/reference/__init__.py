"""What is known of images: their labels, boxes and masks, by manifest row or by file name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxr_explain.support.lazy_names import lazy_names

if TYPE_CHECKING:
    from cxr_explain.reference.check import ManifestCheck as ManifestCheck
    from cxr_explain.reference.check import check_manifest as check_manifest
    from cxr_explain.reference.check import present as present
    from cxr_explain.reference.coverage import coverage_notes as coverage_notes
    from cxr_explain.reference.coverage import unpredicted_notes as unpredicted_notes
    from cxr_explain.reference.csv_file import parse_manifest as parse_manifest
    from cxr_explain.reference.csv_file import read_manifest as read_manifest
    from cxr_explain.reference.csv_file import write_manifest as write_manifest
    from cxr_explain.reference.data_sets.registry import DATA_SETS as DATA_SETS
    from cxr_explain.reference.data_sets.registry import DataSet as DataSet
    from cxr_explain.reference.data_sets.registry import make_manifest as make_manifest
    from cxr_explain.reference.entry import Entry as Entry
    from cxr_explain.reference.joining import JoinedManifest as JoinedManifest
    from cxr_explain.reference.joining import join_columns as join_columns
    from cxr_explain.reference.manifest import Manifest as Manifest
    from cxr_explain.reference.masks import MaskReference as MaskReference
    from cxr_explain.reference.standard import ReferenceStandard as ReferenceStandard
    from cxr_explain.reference.standard import read_references as read_references
    from cxr_explain.reference.states import STATE_CODES as STATE_CODES

_HOMES = {
    "check": ("ManifestCheck", "check_manifest", "present"),
    "coverage": ("coverage_notes", "unpredicted_notes"),
    "csv_file": ("parse_manifest", "read_manifest", "write_manifest"),
    "data_sets.registry": ("DATA_SETS", "DataSet", "make_manifest"),
    "entry": ("Entry",),
    "joining": ("JoinedManifest", "join_columns"),
    "manifest": ("Manifest",),
    "masks": ("MaskReference",),
    "standard": ("ReferenceStandard", "read_references"),
    "states": ("STATE_CODES",),
}

__all__, __getattr__, __dir__ = lazy_names(__name__, _HOMES)
