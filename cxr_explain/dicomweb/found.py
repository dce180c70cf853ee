"""What a query finds: studies, and instances of which it has to be said whether they are to be explained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pydicom import Dataset

from cxr_explain.dicomweb.addresses import InstanceAddress
from cxr_explain.errors import RadiographError
from cxr_explain.loaders.acceptance import body_part_elsewhere, check_kind, says_chest, says_radiograph
from cxr_explain.loaders.acquisition import coded_view
from cxr_explain.loaders.header import number, text
from cxr_explain.radiograph import PHANTOM_MAKER

NEEDED: Final = (
    *("SOPClassUID", "Modality", "PresentationIntentType", "PhotometricInterpretation", "SamplesPerPixel"),
    *("BodyPartExamined", "ViewPosition", "ViewCodeSequence", "ImageLaterality", "Laterality"),
    *("Manufacturer", "ManufacturerModelName", "SeriesDescription", "NumberOfFrames", "Rows", "Columns"),
    *("PatientID", "IssuerOfPatientID", "PatientSex", "PatientAge"),
)
"""What a decision, or a row of a manifest, needs to know of an instance."""

FRONTAL: Final = frozenset({"AP", "PA"})
_LATERAL: Final = frozenset({"LL", "RL", "LAT", "LATERAL", "XTABLE LATERAL", "ML", "LM"})


@dataclass(frozen=True)
class FoundStudy:
    """A study that a query found.

    Args:
        uid: its Study Instance UID.
        attributes: what the server says of it, by keyword; patient data among it.
    """

    uid: str
    attributes: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, eq=False)
class FoundInstance:
    """An instance of a study, and what the server says of it.

    Args:
        address: where it is.
        header: attributes from `NEEDED`, as far as the server has them.

    >>> header = Dataset()
    >>> header.Modality, header.ViewPosition, header.BodyPartExamined = "DX", "LL", "CHEST"
    >>> found = FoundInstance(InstanceAddress("1.2", "1.2.3", "1.2.3.4"), header)
    >>> found.is_frontal_chest, found.why_not
    (False, 'lateral view (LL)')
    """

    address: InstanceAddress
    header: Dataset = field(repr=False)

    @property
    def sop_class(self) -> str | None:
        """Its SOP Class UID."""
        return text(self.header, "SOPClassUID")

    @property
    def modality(self) -> str | None:
        """Its modality, such as DX."""
        return text(self.header, "Modality")

    @property
    def view(self) -> str | None:
        """Its view, where it is a term of the standard or of the usual data sets."""
        return coded_view(self.header)

    @property
    def body_part(self) -> str | None:
        """The body part that its header names."""
        return text(self.header, "BodyPartExamined")

    @property
    def series_description(self) -> str | None:
        """What its series is described by: free text."""
        return text(self.header, "SeriesDescription")

    @property
    def is_own(self) -> bool:
        """Whether this package made it of an explanation; a phantom is a source like any other."""
        maker, model = text(self.header, "Manufacturer"), text(self.header, "ManufacturerModelName")
        return maker == PHANTOM_MAKER[0] and model != PHANTOM_MAKER[1]

    @property
    def why_not(self) -> str | None:
        """Why it is no frontal chest radiograph to be explained; None where it is one.

        The readers' own rules for modality, storage class, intent, grey scale and body part, and the view: AP
        and PA are taken, and an unknown one, which `notes` names. Where the modality does not say that it is
        a radiograph (secondary captures), the header has to say that it is a chest, or a frontal view.
        """
        ruled_out = self.ruled_out
        if ruled_out is None and not (
            says_radiograph(self.header) or says_chest(self.header) or self.view in FRONTAL
        ):
            return "nothing in the header that says it is a chest radiograph"
        return ruled_out

    @property
    def ruled_out(self) -> str | None:
        """What rules it out, whatever else there is to know of it."""
        if self.is_own:
            return "an object of cxr-explain"
        try:
            check_kind(self.header)
        except RadiographError as error:
            return error.found
        frames = number(self.header, "NumberOfFrames")
        if frames is not None and frames > 1:
            return "more than one frame"
        elsewhere = body_part_elsewhere(self.header)
        if elsewhere is not None:
            return f"body part {elsewhere}"
        if self.view is None or self.view in FRONTAL:
            return None
        return f"lateral view ({self.view})" if self.view in _LATERAL else f"view {self.view}"

    @property
    def is_frontal_chest(self) -> bool:
        """Whether it is to be explained, see `why_not`."""
        return self.why_not is None

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not known of it, in a few words each."""
        unknown = {"view": self.view, "body part": self.body_part}
        return tuple(f"{what} unknown" for what, value in unknown.items() if value is None)

    @property
    def is_told(self) -> bool:
        """Whether a query's answer is enough to decide.

        Every image has Photometric Interpretation (PS3.3 C.7.6.3): a server that does not give it leaves out
        what it was asked for. View codes are in no query's answer.
        """
        return self.ruled_out is not None or (
            "PhotometricInterpretation" in self.header and self.view is not None
        )
