"""The model as the device that made the objects."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID

from cxr_explain.dicom.codes import plain
from cxr_explain.dicom.content import MANUFACTURER, ObjectContent
from cxr_explain.dicom.identifiers import uid_of

_LONGEST = 64  # LO (PS3.5 6.2)


def device_uid(content: ObjectContent) -> UID:
    """The identifier of the model, another one for other weights (IHE AI Results, 6.5.3.1).

    Args:
        content: what the objects are made from.
    """
    made = content.explanation.provenance
    return uid_of("cxr-explain", "device", made.model, made.weights_sha256 or "")


def contributing_equipment(content: ObjectContent) -> Dataset:
    """The algorithm as every object names it, an item of the Contributing Equipment Sequence.

    Attributes are those that IHE AI Results asks for (6.5.3.1); the purpose is the one of PS3.16 CID 7005.

    Args:
        content: what the objects are made from.
    """
    made = content.explanation.provenance
    purpose, item = Dataset(), Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning, _ = codes.DCM.ProcessingEquipment
    item.PurposeOfReferenceCodeSequence = [purpose]
    item.Manufacturer = MANUFACTURER
    item.ManufacturerModelName = plain(made.model)[:_LONGEST]
    item.SoftwareVersions = content.common("report")["software_versions"]
    item.DeviceUID = device_uid(content)
    item.ContributionDescription = "Algorithm that computed what the object holds"
    return item
