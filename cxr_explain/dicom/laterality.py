"""Laterality of a series (PS3.3 C.7.3.1): where it belongs, and where the standard does not allow it."""

from __future__ import annotations

from typing import Final

from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage, EncapsulatedPDFStorage

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
    return "ImageLaterality" not in dataset and dataset.get("BodyPartExamined") not in _UNPAIRED


def with_laterality(dataset: Dataset) -> Dataset:
    """Say the laterality of an object's series where it belongs; empty where the source does not say it.

    Args:
        dataset: the object, which is altered in place.

    Returns:
        The object.
    """
    if dataset.SOPClassUID in _WITHOUT_GENERAL_SERIES:
        return dataset
    if not allows_laterality(dataset):
        dataset.pop("Laterality", None)
    elif "Laterality" not in dataset:
        dataset.Laterality = ""  # type 2C
    return dataset
