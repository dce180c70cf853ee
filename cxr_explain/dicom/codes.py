"""What pathologies are called in DICOM: codes of SNOMED CT and of DICOM, else of this package.

A public code stands here only if a source that is independent of this package says the same of it; the page
"DICOM objects" of the documentation says which. A private one is of a scheme that its objects declare
(PS3.3 C.12.1.1, Coding Scheme Identification Sequence).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pydicom import Dataset
from pydicom.sr.coding import Code

from cxr_explain._version import __version__
from cxr_explain.dicom.identifiers import uid_of
from cxr_explain.pathologies import LabelState, canonical_pathology, readable

PRIVATE_SCHEME = "99CXREXPLAIN"
_LONGEST_VALUE, _LONGEST_MEANING = 16, 64  # SH and LO (PS3.5 6.2)
_DIGITS = 6
_JOINERS = "\u200c\u200d"  # which the spelling of Persian and Hindi needs


@dataclass(frozen=True)
class PathologyCode:
    """The code of a pathology.

    Args:
        code: value, scheme and meaning.
        scope: how the data sets' label differs from the concept; '' where it is the same.
        source: what the code was compared with.
    """

    code: Code
    scope: str
    source: str


_PYDICOM = "PS3.16"
_FHIR = "FHIR guides"
_FINDINGS = "a public model of imaging findings"


def _sct(value: str, meaning: str, source: str, scope: str = "") -> PathologyCode:
    return PathologyCode(Code(value, "SCT", meaning), scope, source)


PATHOLOGY_CODES: Mapping[str, PathologyCode] = MappingProxyType(
    {
        "Atelectasis": _sct("46621007", "Atelectasis", "a FHIR concept map"),
        "Consolidation": _sct("95436008", "Lung consolidation", _FHIR),
        "Infiltration": _sct(
            "409609008", "Radiologic infiltrate of lung", "UMLS",
            "reports use the word loosely",
        ),
        "Pneumothorax": _sct("36118008", "Pneumothorax", _PYDICOM),
        "Edema": _sct("19242006", "Pulmonary edema", _PYDICOM),
        "Emphysema": _sct("87433001", "Pulmonary emphysema", _FHIR),
        "Fibrosis": _sct("51615001", "Fibrosis of lung", _FHIR),
        "Effusion": _sct("60046008", "Pleural effusion", _PYDICOM),
        "Pneumonia": _sct("233604007", "Pneumonia", _FHIR, "a clinical diagnosis, read from reports"),
        "Cardiomegaly": _sct(
            "8186001", "Cardiomegaly", _FINDINGS, "the size of a silhouette, which position and view change"
        ),
        "Nodule": _sct("786838002", "Nodule of lung", _FHIR, "one or several"),
        "Mass": _sct("309529002", "Mass of lung", _FHIR),
        "Hernia": _sct("39839004", "Diaphragmatic hernia", _FHIR, "with that of the hiatus"),
        "Fracture": _sct("125605004", "Fracture of bone", _FHIR, "of any bone in view"),
        "Lung Opacity": PathologyCode(
            Code("112033", "DCM", "Abnormal opacity"), "the concept is not of the lung alone", _PYDICOM
        ),
        "Bronchiectasis": _sct("12295008", "Bronchiectasis", _FHIR),
        "Clavicle fracture": _sct("58150001", "Fracture of clavicle", _FHIR),
        "COPD": _sct("13645005", "Chronic obstructive lung disease", _FHIR),
        "COVID-19": _sct("840539006", "COVID-19", _FHIR),
        "ILD": _sct("233703007", "Interstitial lung disease", _FHIR),
        "PulmonaryTuberculosis": _sct("154283005", "Pulmonary tuberculosis", _FHIR),
        "Tuberculosis": _sct("56717001", "Tuberculosis", _FHIR),
    }
)  # fmt: skip
"""Pathologies with a code of a public scheme; all others have a private one, see `pathology_code`."""

PRIVATE_SCOPES: Mapping[str, str] = MappingProxyType(
    {
        "Pleural_Thickening": "no code that two sources agree on",
        "Lung Lesion": "CheXpert's: a nodule, a mass or another focal lesion; public concepts are narrower",
        "Enlarged Cardiomediastinum": "CheXpert's: a silhouette, which no public concept was found for",
    }
)
"""Why some of `PATHOLOGIES` have a private code."""


def pathology_code(pathology: str) -> Code:
    """The code of a pathology, whether this package knows it or a model brings it.

    Args:
        pathology: its name.

    >>> pathology_code("Pleural Effusion")
    Code(value='60046008', scheme_designator='SCT', meaning='Pleural effusion', scheme_version=None)
    >>> tuple(pathology_code("Lung Lesion"))[:3]
    ('LUNG-LESION', '99CXREXPLAIN', 'Lung Lesion')
    """
    known = PATHOLOGY_CODES.get(canonical_pathology(pathology))
    return known.code if known else private_code(pathology, readable(pathology))


def private_code(value: str, meaning: str) -> Code:
    """A code of this package's own scheme.

    Args:
        value: what tells it from others; where it does not fit, a part and a digest of it do.
        meaning: what a reader sees.

    >>> tuple(private_code("Probability of Enlarged Cardiomediastinum", "Enlarged Cardiomediastinum"))[0]
    'PROBABILI-153FE6'
    """
    return Code(_short(value), PRIVATE_SCHEME, plain(meaning)[:_LONGEST_MEANING].strip() or "unnamed")


def _short(value: str) -> str:
    """A code value of capitals, digits and hyphens, and the same for no other text that is met."""
    bare = re.sub("[^A-Z0-9]+", "-", value.upper()).strip("-")
    if len(bare) <= _LONGEST_VALUE and bare and value.isascii():
        return bare
    digest = hashlib.sha256(value.encode(errors="backslashreplace")).hexdigest()[:_DIGITS].upper()
    return f"{bare[: _LONGEST_VALUE - _DIGITS - 1].strip('-')}-{digest}".strip("-")


def plain(text: str) -> str:
    r"""A text in one line, in which no sign acts or divides values.

    Letters of every script stay; `with_character_set` declares a set that has them.

    >>> plain("\u80ba\u708e\n film \\ 1\x1b")
    '\u80ba\u708e film / 1?'
    """
    signs = (sign if sign.isprintable() or sign in _JOINERS else "?" for sign in " ".join(text.split()))
    return "".join(signs).replace("\\", "/")


def coding_scheme() -> Dataset:
    """The declaration of the private scheme, an item of the Coding Scheme Identification Sequence."""
    item = Dataset()
    item.CodingSchemeDesignator = PRIVATE_SCHEME
    item.CodingSchemeUID = uid_of("cxr-explain", "coding scheme")
    item.CodingSchemeName = "Codes of cxr-explain"
    item.CodingSchemeVersion = __version__[:_LONGEST_VALUE]
    item.CodingSchemeResponsibleOrganization = "cxr-explain"
    return item


CHEST_RADIOGRAPHY = Code("399208008", "SCT", "Plain chest X-ray")
"""The procedure that a report reports on; compared with the value sets of FHIR guides."""

VIEWS: Mapping[str, Code] = MappingProxyType(
    {
        "PA": Code("272479007", "SCT", "postero-anterior"),
        "AP": Code("399348003", "SCT", "antero-posterior"),
    }
)
"""Views by the header's term (PS3.16 CID 4010)."""

SIDES: Mapping[bool | None, Code] = MappingProxyType(
    {
        True: private_code("OP-REACHED", "At or above the operating point"),
        False: private_code("OP-NOT-REACHED", "Below the operating point"),
        None: private_code("OP-NONE", "No operating point"),
    }
)
"""On which side of the operating point a probability is."""

LABEL_STATES: Mapping[LabelState, Code] = MappingProxyType(
    {
        LabelState.POSITIVE: Code("10828004", "SCT", "Positive"),
        LabelState.NEGATIVE: Code("260385009", "SCT", "Negative"),
        LabelState.UNCERTAIN: private_code("UNCERTAIN", "Uncertain"),
        LabelState.NOT_MENTIONED: private_code("NOT-MENTIONED", "Not mentioned"),
        LabelState.NOT_LABELLED: private_code("NOT-LABELLED", "Not labelled"),
    }
)
"""States of reference labels (PS3.16 CID 250 for two of them)."""

REGION_STATES: Mapping[str, Code] = MappingProxyType(
    {
        "outlined": private_code("OUTLINED", "Outlined"),
        "not ranked": private_code("NOT-RANKED", "None: not ranked, so not explained"),
        "no gradient": private_code("NO-GRADIENT", "None: no gradient of the score reaches the layer"),
        "nowhere": private_code("NOWHERE", "None: the map shows it nowhere"),
        "faint": private_code("FAINT", "None: faint beside the strongest evidence"),
        "outside": private_code("OUTSIDE", "None: beyond the edge of the radiograph"),
    }
)
"""Whether the evidence of a pathology has a region, and why not."""
