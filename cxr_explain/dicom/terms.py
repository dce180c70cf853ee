"""Texts that a de-identified copy keeps: each is one of a list, so that none can name anybody.

What PS3.15 table E.1-1 does not list may stay, says the profile. But anybody can have typed anything into it:
a name stands in the body part as well as in the comments. So a text stays where it is a term that PS3.3 or
PS3.16 defines for its attribute, or a code that the dictionaries of the standard know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Final

from pydicom import Dataset
from pydicom.sr._snomed_dict import mapping as snomed_mapping
from pydicom.sr.codedict import codes

from cxr_explain.radiograph import PHANTOM_MAKER

_YES_NO: Final = "YES NO"
_MODALITIES: Final = """
AR ASMT AU BDUS BI BMD CFM CR CT CTPROTOCOL DG DMS DOC DX ECG EEG EMG EOG EPS ES FID GM HC HD IO IOL IVOCT
IVUS KER KO LEN LS MG MR M3D NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS OT PA PLAN PR PT PX REG RESP RF RG
RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SC SEG SM SMR SR SRF STAIN TEXTUREMAP TG
US VA XA XAPROTOCOL XC
"""
_BODY_PARTS: Final = """
ABDOMEN ABDOMENPELVIS ANKLE ARM BREAST BRONCHUS CALCANEUS CHEST CHESTABDOMEN CHESTABDPELVIS CLAVICLE COCCYX
CSPINE CTSPINE ELBOW EXTREMITY FACE FEMUR FINGER FOOT FOREARM HAND HEAD HEADNECK HEART HIP HUMERUS JAW KNEE
LEG LSPINE LSSPINE LUNG MEDIASTINUM NECK NECKCHEST PATELLA PELVIS RADIUS RADIUSULNA RIB RIBS SACRUM SCAPULA
SHOULDER SKULL SPINE SSPINE STERNUM TEETH THIGH THORAX THUMB TIBIA TIBIAFIBULA TLSPINE TOE TSPINE ULNA
WHOLEBODY WRIST
"""
_COMPRESSIONS: Final = (
    "ISO_10918_1 ISO_14495_1 ISO_15444_1 ISO_15444_15 ISO_13818_2 ISO_14496_10 ISO_23008_2 ISO_18181_1"
)
_UNITS_OF_VALUES: Final = "OD HU US MGML Z_EFF ED EDW HU_MOD PCT"

_MAKERS: Final = (
    *("Agfa", "AGFA", "Agfa-Gevaert", "Agfa HealthCare", "Canon Inc.", "CANON INC.", "Canon"),
    *("CARESTREAM", "Carestream Health", "CARESTREAM HEALTH", "Carestream", "Eastman Kodak Company", "KODAK"),
    *("FUJIFILM Corporation", "FUJIFILM", "FUJI PHOTO FILM Co., ltd.", "FUJI PHOTO FILM CO. LTD."),
    *("GE Healthcare", "GE HEALTHCARE", "GE MEDICAL SYSTEMS", '"GE Healthcare"', "GE Medical Systems"),
    *("KONICA MINOLTA", "Konica Minolta", "Philips", "PHILIPS", "Philips Medical Systems"),
    *("Philips Medical Systems, Inc.", "Samsung Electronics", "SAMSUNG ELECTRONICS", "SHIMADZU", "Shimadzu"),
    *("SIEMENS", "Siemens", "Siemens Healthineers", "Siemens Healthcare GmbH", "TOSHIBA", "Toshiba"),
    *("Hologic, Inc.", "HOLOGIC, Inc.", "SWISSRAY", "Swissray", "DRTECH", "Rayence", "Vieworks", "iRay"),
)
"""Large makers of radiography, as their devices write themselves; whatever else stands there goes."""

_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ImageType": "ORIGINAL DERIVED PRIMARY SECONDARY POST_CONTRAST POST_PROCESSED OTHER",
        "Modality": _MODALITIES,
        "ConversionType": "DV DI DF WSD SD SI DRW SYN",
        "BodyPartExamined": _BODY_PARTS,
        "ViewPosition": "AP PA LL RL RLD LLD RLO LLO LAT LATERAL LORDOTIC OBL OBLIQUE AXIAL LAO RAO LPO RPO",
        "PatientPosition": "HFP HFS HFDR HFDL FFDR FFDL FFP FFS",
        "Laterality": "R L",
        "ImageLaterality": "R L U B",
        "AnatomicalOrientationType": "BIPED QUADRUPED",
        "PhotometricInterpretation": """MONOCHROME1 MONOCHROME2 RGB YBR_FULL YBR_FULL_422 YBR_ICT YBR_RCT
            YBR_PARTIAL_420""",
        "PresentationLUTShape": "IDENTITY INVERSE",
        "PixelIntensityRelationship": "LIN LOG DISP",
        "RescaleType": _UNITS_OF_VALUES,
        "ModalityLUTType": _UNITS_OF_VALUES,
        "VOILUTFunction": "LINEAR LINEAR_EXACT SIGMOID",
        "LossyImageCompression": "00 01",
        "LossyImageCompressionMethod": _COMPRESSIONS,
        "BurnedInAnnotation": _YES_NO,
        "RecognizableVisualFeatures": _YES_NO,
        "QualityControlImage": f"{_YES_NO} BOTH",
        "SyntheticData": _YES_NO,
        "CalibrationImage": _YES_NO,
        "ContentQualification": "PRODUCT RESEARCH SERVICE",
        "DetectorType": "DIRECT SCINTILLATOR STORAGE FILM",
        "DetectorConfiguration": "AREA SLOT",
        "DetectorActiveShape": "RECTANGLE ROUND HEXAGONAL",
        "DetectorConditionsNominalFlag": _YES_NO,
        "PositionerType": "CARM COLUMN MAMMOGRAPHIC PANORAMIC CEPHALOSTAT RIGID NONE",
        "FieldOfViewShape": "RECTANGLE ROUND HEXAGONAL",
        "FieldOfViewHorizontalFlip": _YES_NO,
        "PixelSpacingCalibrationType": "GEOMETRY FIDUCIAL",
        "CassetteOrientation": "LANDSCAPE PORTRAIT",
        "CassetteSize": "18CMX24CM 8INX10IN 24CMX30CM 10INX12IN 30CMX35CM 30CMX40CM 11INX14IN 35CMX35CM "
        "14INX14IN 35CMX43CM 14INX17IN",
        "ExposureControlMode": "MANUAL AUTOMATIC",
        "ExposureStatus": "NORMAL ABORTED",
        "FilterMaterial": "MOLYBDENUM ALUMINUM COPPER RHODIUM NIOBIUM EUROPIUM LEAD TIN SILVER",
        "AnodeTargetMaterial": "TUNGSTEN MOLYBDENUM RHODIUM",
        "Grid": "FIXED FOCUSED RECIPROCATING PARALLEL CROSSED NONE",
        "TableType": "FIXED TILTING NONE",
        "CollimatorShape": "RECTANGULAR CIRCULAR POLYGONAL",
        "ShutterShape": "RECTANGULAR CIRCULAR POLYGONAL BITMAP",
        "SpatialLocationsPreserved": f"{_YES_NO} REORIENTED_ONLY",
        "PatientSex": "M F O",
        "PatientSexNeutered": "ALTERED UNALTERED",
        "SmokingStatus": f"{_YES_NO} UNKNOWN",
    }
)
_SPACED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "PresentationIntentType": ("FOR PRESENTATION", "FOR PROCESSING"),
        "RescaleType": ("OD REL",),
        "PhotometricInterpretation": ("PALETTE COLOR",),
        "Manufacturer": (PHANTOM_MAKER[0], *_MAKERS),
        "ManufacturerModelName": PHANTOM_MAKER[1:],
    }
)
TERMS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        keyword: frozenset((*_WORDS.get(keyword, "").split(), *_SPACED.get(keyword, ())))
        for keyword in {*_WORDS, *_SPACED}
    }
)
"""The terms that an attribute may have, by keyword."""

_EMPTIED: Final = ("PositionReferenceIndicator",)  # a free text of type 2 (PS3.3 C.7.4.1)

_DIRECTION: Final = re.compile(r"(?!.*(.).*\1)[AFHLPR]{1,3}")
_LONGEST_MEANING: Final = 64
_OLD_NAMES_OF_SNOMED: Final = ("SRT", "SNM3", "99SDM")


def known_values(keyword: str, values: Sequence[str]) -> list[str] | None:
    """What stays of an attribute's texts; None where nothing of the attribute may stay.

    A value in the midst that is no term becomes empty, since the place of a value says what it is.

    Args:
        keyword: the attribute.
        values: its values.

    >>> known_values("ImageType", ["DERIVED", "PRIMARY", "JOHN DOE", "POST_PROCESSED", "WARD 7"])
    ['DERIVED', 'PRIMARY', '', 'POST_PROCESSED']
    >>> known_values("ViewPosition", ["JOHN"]), known_values("StudyComments", ["PA"])
    ([], None)
    """
    if keyword in _EMPTIED:
        return []
    if keyword == "PatientOrientation":
        fit = len(values) == 2 and all(_DIRECTION.fullmatch(value) for value in values)
        return list(values) if fit else []
    terms = TERMS.get(keyword)
    if terms is None:
        return None
    kept = [value if value in terms else "" for value in values]
    while kept and not kept[-1]:
        kept.pop()
    return kept


def known_code(value: str, scheme: str, meaning: str = "") -> Dataset | None:
    """A code as the dictionaries of the standard have it; None where they do not know it.

    Args:
        value: the code.
        scheme: designator of the coding scheme.
        meaning: kept where it is one that the dictionaries have for the code; else theirs is taken.

    >>> known_code("T-D3000", "SRT", "John Doe's chest").CodeMeaning, known_code("4711", "99WARD7")
    ('Thoracic structure (body structure)', None)
    """
    if scheme in _OLD_NAMES_OF_SNOMED:
        known = _meanings().get(("SCT", snomed_mapping["SRT"].get(value, "")))
    else:
        known = _meanings().get((scheme, value))
    if known is None:
        return None
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = value, scheme
    item.CodeMeaning = meaning if meaning in known else min(known, key=len)
    return item


@cache
def _meanings() -> Mapping[tuple[str, str], tuple[str, ...]]:
    """Code meanings by coding scheme and code, as far as they are plain text."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for scheme in codes.schemes():
        for code in getattr(codes, scheme).concepts.values():
            if code.meaning.isascii() and len(code.meaning) <= _LONGEST_MEANING:
                which = code.scheme_designator, code.value
                found[which] = (*found.get(which, ()), code.meaning)
    return MappingProxyType(found)
