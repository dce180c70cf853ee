"""Laterality of a series (PS3.3 C.7.3.1): where it belongs, and where the standard does not allow it."""

from __future__ import annotations

from typing import Final

from pydicom import Dataset
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EncapsulatedPDFStorage,
    SegmentationStorage,
)

_UNPAIRED: Final = frozenset(
    {
        *("CHEST", "CHESTABDOMEN", "CHESTABDPELVIS", "NECKCHEST", "NECKCHESTABDOMEN", "NECKCHESTABDPELV"),
        *("MEDIASTINUM", "HEART", "AORTA", "ESOPHAGUS", "TRACHEA", "THYMUS", "STERNUM", "BACK", "WHOLEBODY"),
        *("SPINE", "CSPINE", "CTSPINE", "TSPINE", "TLSPINE", "LSPINE", "LSSPINE", "SSPINE", "COCCYX"),
        *("ABDOMEN", "ABDOMENPELVIS", "PELVIS", "LIVER", "SPLEEN", "STOMACH", "PANCREAS"),
        *("HEAD", "HEADNECK", "NECK", "SKULL", "BRAIN", "FACE", "JAW", "NOSE", "LARYNX", "PHARYNX"),
    }
)
"""Body parts of PS3.16 table L-1 that are no pair, as far as a radiograph of the chest may be called so."""
_UNPAIRED_CODES: Final = frozenset(
    {
        *("43799004", "51185008", "T-D3000"),  # chest, thorax
        *("39607008", "T-28000", "80891009", "T-32000", "72410000", "T-D3300"),  # lung, heart, mediastinum
        *("69536005", "T-D1100", "818983003", "818981001", "T-D4000"),  # head, abdomen
    }
)
"""Codes of such body parts in SNOMED CT and in SNOMED RT (PS3.16 CID 4031, CID 4009)."""
_WITHOUT_GENERAL_SERIES: Final = frozenset(
    {ComprehensiveSRStorage, Comprehensive3DSRStorage, EncapsulatedPDFStorage}
)


def allows_laterality(dataset: Dataset) -> bool:
    """Whether a series may say its laterality: of what may be one of a pair, and no image says it.

    Args:
        dataset: an object, or the header of a source.

    >>> chest = Dataset()
    >>> chest.BodyPartExamined = "CHEST"
    >>> allows_laterality(chest), allows_laterality(Dataset())
    (False, True)
    """
    if "ImageLaterality" in dataset or dataset.get("BodyPartExamined") in _UNPAIRED:
        return False
    regions = (item.get("CodeValue") for item in dataset.get("AnatomicRegionSequence") or ())
    return _UNPAIRED_CODES.isdisjoint(filter(None, regions))


def with_laterality(dataset: Dataset) -> Dataset:
    """Say the laterality of an object's series where it belongs; empty where the source does not say it.

    A segmentation has none: its segments are no pair.

    Args:
        dataset: the object, which is altered in place.

    Returns:
        The object.
    """
    if dataset.SOPClassUID in _WITHOUT_GENERAL_SERIES:
        return dataset
    if dataset.SOPClassUID == SegmentationStorage or not allows_laterality(dataset):
        dataset.pop("Laterality", None)
    elif "Laterality" not in dataset:
        dataset.Laterality = ""  # type 2C
    return dataset
