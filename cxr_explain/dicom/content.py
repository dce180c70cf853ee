"""Everything that the DICOM objects of one explanation are made from, and what they have in common."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydicom.uid import UID

from cxr_explain._version import __version__
from cxr_explain.dicom.identifiers import fingerprint, uid_of
from cxr_explain.dicom.kinds import OBJECT_KINDS
from cxr_explain.dicom.regions import EvidenceRegion, evidence_regions
from cxr_explain.dicom.settings import ObjectSettings
from cxr_explain.dicom.source import Source
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.figures.texts import engine_text
from cxr_explain.pathologies import ReferenceLabels
from cxr_explain.radiograph import Radiograph

MANUFACTURER = "cxr-explain"
MODEL_NAME = "FM-G-CAM"
_UNSEALED = "weights given as an object"


@dataclass(frozen=True, eq=False)
class ObjectContent:
    """What objects are made from.

    Args:
        explanation: the explanation.
        radiograph: the radiograph that was explained.
        source: its DICOM file.
        labels: reference labels; without any state where none were given.
        settings: what objects are made, and how.
    """

    explanation: Explanation
    radiograph: Radiograph
    source: Source
    labels: ReferenceLabels
    settings: ObjectSettings

    @cached_property
    def regions(self) -> tuple[EvidenceRegion, ...]:
        """The regions of the ranked pathologies that have one, best rank first."""
        return evidence_regions(self.explanation, self.settings.threshold, self.settings.colours)

    @cached_property
    def fingerprint(self) -> str:
        """What tells these objects from those of any other explanation or settings."""
        return fingerprint(self.explanation, self.source, self.labels, self.settings)

    def uid(self, *what: str) -> UID:
        """A unique identifier within these objects, such as that of a series or of a tracked region."""
        return uid_of("cxr-explain", __version__, self.fingerprint, *what)

    def instance_uid(self, kind: str) -> UID:
        """The SOP Instance UID of the object of a kind, which others may refer to."""
        return self.uid("instance", kind)

    def common(self, kind: str) -> dict[str, Any]:
        """What highdicom's constructors take for every object of a kind: identifiers and equipment.

        Args:
            kind: a name from `OBJECT_KINDS`.
        """
        known = OBJECT_KINDS[kind]
        return {
            "series_instance_uid": self.uid("series", known.series),
            "series_number": known.series_number,
            "series_description": known.description,
            "sop_instance_uid": self.instance_uid(kind),
            "instance_number": known.instance_number,
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": MODEL_NAME,
            "software_versions": self.software_versions,
            "device_serial_number": self.serial_number,
            "specific_character_set": None,  # `with_character_set` decides, once everything is said
        }

    @property
    def software_versions(self) -> list[str]:
        """Name and version of what made the object and the explanation."""
        provenance = self.explanation.provenance
        versions = (
            f"cxr-explain {__version__}",
            f"torch {provenance.torch_version}",
            engine_text(provenance),
        )
        return list(filter(None, versions))

    @property
    def serial_number(self) -> str:
        """By what the device is known: the weights, as the device is a model."""
        sha256 = self.explanation.provenance.weights_sha256
        return f"weights {sha256[:12]}" if sha256 else _UNSEALED
