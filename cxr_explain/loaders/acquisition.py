"""View, laterality, orientation and spacing, as the DICOM header has them; never guessed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import pydicom
from pydicom.multival import MultiValue

from cxr_explain.loaders.header import element, given, items, numbers, text

SpacingSource = Literal["PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"]

_FRONTAL: Final = frozenset({"PA", "AP"})
_VIEWS: Final = _FRONTAL | {
    *("LL", "RL", "LAT", "LATERAL", "LLD", "RLD", "LLO", "RLO", "LAO", "RAO", "LPO", "RPO", "OBL", "OBLIQUE"),
    *("LORDOTIC", "AXIAL", "SUPINE", "ML", "LM", "SWIMMERS"),
}
# As MIMIC-CXR's headers have them; the models know none of these.
_COMBINED_VIEWS: Final = frozenset(
    f"{view} {how}"
    for view in ("AP", "PA")
    for how in ("AXIAL", "LLD", "RLD", "SUPINE", "OBLIQUE", "LORDOTIC")
) | {"XTABLE LATERAL", "LATERO-MEDIAL", "MEDIO-LATERAL"}
# PS3.16 CID 4010, in SNOMED CT and both of its older codings.
_VIEW_CODES: Final = {
    **dict.fromkeys(("272479007", "R-40888", "R-10214"), "PA"),
    **dict.fromkeys(("399348003", "R-10206"), "AP"),
    **dict.fromkeys(("399173006", "R-10236"), "LL"),
    **dict.fromkeys(("399198007", "R-10232"), "RL"),
    **dict.fromkeys(("399067008", "R-102CD"), "LATERAL"),
    **dict.fromkeys(("399135007", "R-10220"), "LAO"),
    **dict.fromkeys(("399356000", "R-40985"), "RAO"),
    **dict.fromkeys(("399006002", "R-10212"), "LPO"),
    **dict.fromkeys(("399038007", "R-10210"), "RPO"),
}
_SPACING_SOURCES: Final[tuple[SpacingSource, ...]] = (
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
)
_DIRECTIONS: Final = frozenset("LRAPHF")
_MAX_SPACING_MM = 50.0


@dataclass(frozen=True)
class Acquisition:
    """What the header says about how the image was taken and how it lies.

    Args:
        view: projection, such as "PA"; None where unknown.
        laterality: "L", "R", "B" or "U"; None where unknown.
        patient_orientation: directions of a row and of a column, such as ("L", "F"); None where unknown.
        pixel_spacing: spacing of rows and of columns in mm; None where unknown.
        pixel_spacing_source: keyword of the attribute that the spacing came from; None where unknown.
        warnings: what is invalid or unusual, in sentences.
    """

    view: str | None = None
    laterality: str | None = None
    patient_orientation: tuple[str, str] | None = None
    pixel_spacing: tuple[float, float] | None = None
    pixel_spacing_source: SpacingSource | None = None
    warnings: list[str] = field(default_factory=list)


def read_acquisition(dataset: pydicom.Dataset) -> Acquisition:
    """Read what is valid; name what is not."""
    warnings: list[str] = []
    view = _view(dataset, warnings)
    laterality = _laterality(dataset, warnings)
    orientation = _orientation(dataset, warnings)
    if orientation is not None:
        _check_upright(orientation, view, warnings)
    spacing, source = _spacing(dataset, warnings)
    _check_aspect(dataset, spacing, warnings)
    return Acquisition(view, laterality, orientation, spacing, source, warnings)


def coded_view(dataset: pydicom.Dataset) -> str | None:
    """The view as a manifest may have it: a term of the standard or of the usual data sets, never free text.

    >>> from pydicom.dataset import Dataset
    >>> header = Dataset()
    >>> header.ViewPosition = "JANE DOE"
    >>> coded_view(header) is None
    True
    """
    value = (text(dataset, "ViewPosition") or "").upper()
    return value if value in _COMBINED_VIEWS else _view(dataset, [])


def _view(dataset: pydicom.Dataset, warnings: list[str]) -> str | None:
    value = (text(dataset, "ViewPosition") or "").upper()
    coded = (text(item, "CodeValue") for item in items(dataset, "ViewCodeSequence"))
    view = value if value in _VIEWS else next((_VIEW_CODES[c] for c in coded if c in _VIEW_CODES), None)
    if view is None and value:
        warnings.append("view position of an unknown name: taken as unknown")
    if view is not None and view not in _FRONTAL:
        warnings.append(f"view {view}: the models know frontal chest radiographs only")
    return view


def _laterality(dataset: pydicom.Dataset, warnings: list[str]) -> str | None:
    for keyword in ("ImageLaterality", "Laterality"):
        value = (text(dataset, keyword) or "").upper()
        if value in {"L", "R", "B", "U"}:
            return value
        if value:
            warnings.append(f"{keyword} is none of L, R, B, U: taken as unknown")
    return None


def _orientation(dataset: pydicom.Dataset, warnings: list[str]) -> tuple[str, str] | None:
    value = element(dataset, "PatientOrientation")
    if value is None:
        return None
    if isinstance(value, MultiValue) and len(value) == 2:
        row, column = (str(v).strip().upper() for v in value)
        if row and column and set(row + column) <= _DIRECTIONS and len(row + column) <= 6:
            return row, column
        if not row and not column:
            return None
    warnings.append("Patient Orientation is invalid: taken as unknown")
    return None


def _check_upright(orientation: tuple[str, str], view: str | None, warnings: list[str]) -> None:
    """A radiograph hangs with the feet down; a frontal one with the patient's left at the viewer's right."""
    mirrored = view in _FRONTAL and orientation[0][0] != "L"
    if mirrored or orientation[1][0] != "F":
        row, column = orientation
        warnings.append(
            f"patient orientation {row}\\{column} is not upright (L\\F): shown as stored, not turned"
        )


def _spacing(
    dataset: pydicom.Dataset, warnings: list[str]
) -> tuple[tuple[float, float], SpacingSource] | tuple[None, None]:
    for keyword in _SPACING_SOURCES:
        if not given(dataset, keyword):
            continue
        values = numbers(dataset, keyword)
        if len(values) == 2 and all(0 < v <= _MAX_SPACING_MM for v in values):
            return (values[0], values[1]), keyword
        warnings.append(f"{keyword} is invalid: left out")
    return None, None


def _check_aspect(dataset: pydicom.Dataset, spacing: tuple[float, float] | None, warnings: list[str]) -> None:
    ratio = numbers(dataset, "PixelAspectRatio")
    stretched = len(ratio) == 2 and ratio[0] != ratio[1]
    uneven = spacing is not None and abs(spacing[0] / spacing[1] - 1) > 0.01
    if stretched or uneven:
        warnings.append("pixels are not square: the image is used as stored, not resampled")
