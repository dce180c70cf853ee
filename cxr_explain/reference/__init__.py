"""What is known of images: their labels, boxes and masks, by manifest row or by file name."""

from cxr_explain.reference.check import ManifestCheck, check_manifest, present
from cxr_explain.reference.csv_file import parse_manifest, read_manifest, write_manifest
from cxr_explain.reference.data_sets.registry import DATA_SETS, DataSet, data_set_option, make_manifest
from cxr_explain.reference.entry import Entry
from cxr_explain.reference.manifest import Manifest
from cxr_explain.reference.masks import MaskReference
from cxr_explain.reference.standard import ReferenceStandard, read_references
from cxr_explain.reference.states import STATE_CODES

__all__ = [
    "DATA_SETS",
    "STATE_CODES",
    "DataSet",
    "Entry",
    "Manifest",
    "ManifestCheck",
    "MaskReference",
    "ReferenceStandard",
    "check_manifest",
    "data_set_option",
    "make_manifest",
    "parse_manifest",
    "present",
    "read_manifest",
    "read_references",
    "write_manifest",
]
