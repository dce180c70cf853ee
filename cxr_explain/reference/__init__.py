"""Manifests: one table of images, reference labels and metadata, from the tables that data sets publish."""

from cxr_explain.reference.check import ManifestCheck, check_manifest, present
from cxr_explain.reference.csv_file import parse_manifest, read_manifest, write_manifest
from cxr_explain.reference.data_sets.registry import MANIFEST_READERS, make_manifest, manifest_options
from cxr_explain.reference.entry import Entry
from cxr_explain.reference.manifest import Manifest
from cxr_explain.reference.masks import MaskReference
from cxr_explain.reference.states import STATE_CODES

__all__ = [
    "MANIFEST_READERS",
    "STATE_CODES",
    "Entry",
    "Manifest",
    "ManifestCheck",
    "MaskReference",
    "check_manifest",
    "make_manifest",
    "manifest_options",
    "parse_manifest",
    "present",
    "read_manifest",
    "write_manifest",
]
