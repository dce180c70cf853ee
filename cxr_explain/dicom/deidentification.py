"""De-identification of a source, so that it and the objects made of it name nobody (PS3.15 Annex E).

The pixels are never looked at: what is burnt into them stays, and nothing here says that they are clean.
"""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Final, Self

from pydicom import Dataset, uid
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.pixels.utils import get_expected_length

from cxr_explain._version import __version__
from cxr_explain.dicom.profile import EXTRA, PATIENT_CHARACTERISTICS, Cleaning, is_standard, values_of
from cxr_explain.dicom.pseudonyms import Pseudonyms, key_of
from cxr_explain.dicom.terms import known_code
from cxr_explain.errors import CxrExplainError, DicomObjectError, OptionError
from cxr_explain.loaders.header import given, parse_dicom, text
from cxr_explain.loaders.limits import DEFAULT_MAX_PIXELS, Limits
from cxr_explain.loaders.metered import check_meter, metered
from cxr_explain.loaders.scope import quiet_decoders
from cxr_explain.support.extras import require

RETAINABLE: Final = ("patient-characteristics",)
"""What may be retained, by the name of the option of PS3.15 E.3."""

_BASIC, _MODIFIED_DATES, _CHARACTERISTICS = "113100", "113107", "113108"
_OVERLAYS: Final = range(0x6000, 0x6100, 2)
_BIT_POSITION: Final = 0x0102
_REMEDY: Final = "Export the file from the PACS again."


@dataclass(frozen=True)
class Deidentifier:
    """De-identifies headers and files by the Basic Application Level Confidentiality Profile.

    The same key gives the same patients, unique identifiers and dates; `of` reads or makes one.

    Args:
        key: 32 secret bytes. Whoever has them can tell which pseudonym a known patient has.
        retain: names from `RETAINABLE`; nothing by default.
        max_pixels: limit from which the most bytes and parts of a file follow; see
            `cxr_explain.loaders.limits`.

    Raises:
        OptionError: a key of another length, or a name that there is not.
        MissingExtraError: dicom-anonymizer is not installed.

    >>> from cxr_explain.phantom import render, sample_patient
    >>> from cxr_explain.phantom.dicom import to_dicom
    >>> from cxr_explain.loaders.header import parse_dicom
    >>> header = parse_dicom(Deidentifier(bytes(32)).whole(to_dicom(render(sample_patient(42), size=64))))
    >>> header.PatientID == header.PatientName, header.PatientIdentityRemoved, header.PatientSex
    (True, 'YES', '')
    """

    key: bytes = field(repr=False)
    retain: tuple[str, ...] = ()
    max_pixels: int = DEFAULT_MAX_PIXELS

    def __post_init__(self) -> None:
        Pseudonyms(self.key)
        for name in self.retain:
            if name not in RETAINABLE:
                raise OptionError(f"retain={name!r}", expected=f"some of {', '.join(RETAINABLE)}")
        require("dicomanonymizer", EXTRA)

    @classmethod
    def of(
        cls,
        key_file: str | PathLike[str] | None = None,
        retain: tuple[str, ...] = (),
        max_pixels: int = DEFAULT_MAX_PIXELS,
    ) -> Self:
        """With the key in a file, which is made where there is none.

        Args:
            key_file: 64 hexadecimal digits. Without it the key is a new one that nobody keeps: patients and
                dates are then consistent among what this object de-identifies, and with nothing else.
            retain: names from `RETAINABLE`.
            max_pixels: limit for each file.

        Raises:
            OptionError: a file that cannot be read or holds something else, or a name that there is not.
            OutputError: a file that cannot be made.
        """
        return cls(key_of(None if key_file is None else Path(key_file)), retain, max_pixels)

    def __call__(self, header: Dataset) -> None:
        """De-identify a header in place, with what stands before it in its file.

        Args:
            header: the source's data set; its pixels may be there or not.

        Raises:
            DicomObjectError: an SOP class that is none of the standard's.
        """
        with quiet_decoders(), metered(Limits(self.max_pixels)):
            retained = PATIENT_CHARACTERISTICS if self.retain else ()
            Cleaning(self._pseudonyms, _identity(header), retained).clean(header)
            _complete(header, [_BASIC, _MODIFIED_DATES, *([_CHARACTERISTICS] if self.retain else [])])
            sop_class = text(header, "SOPClassUID")
            if sop_class is not None and not is_standard(sop_class):
                raise DicomObjectError("an SOPClassUID that is none of the standard's", remedy=_REMEDY)
            if hasattr(header, "file_meta"):
                header.file_meta = _file_meta(header)
                header.preamble = bytes(128)

    def whole(self, data: bytes) -> bytes:
        """The de-identified copy of a file, with the same pixels in the same transfer syntax.

        Args:
            data: the file's bytes.

        Returns:
            The bytes of the copy. Pixels that are not compressed end where the image ends.

        Raises:
            RadiographError: bytes that are no DICOM file.
            DicomObjectError: a file that no copy can be written of, such as of an unknown transfer syntax.
        """
        with quiet_decoders(), metered(Limits(self.max_pixels)):
            header = parse_dicom(data)
            self(header)
            if not header.file_meta.get("TransferSyntaxUID"):
                raise DicomObjectError("no TransferSyntaxUID that the standard has", remedy=_REMEDY)
            if not given(header, "SOPInstanceUID") or not given(header, "SOPClassUID"):
                raise DicomObjectError("no SOPInstanceUID or no SOPClassUID in the source", remedy=_REMEDY)
            out = io.BytesIO()
            try:
                _end_with_the_image(header)
                header.save_as(out, enforce_file_format=True)
            except (MemoryError, CxrExplainError):
                raise
            except Exception as error:
                check_meter()
                raise DicomObjectError(
                    f"a source that cannot be written again ({type(error).__name__})", remedy=_REMEDY
                ) from None
            return out.getvalue()

    @property
    def _pseudonyms(self) -> Pseudonyms:
        return Pseudonyms(self.key)


def notes(source: Dataset | bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[str, ...]:
    """What de-identification leaves to whoever looks at the pixels, a line each.

    Args:
        source: header or bytes of the source or the copy; of overlays within the pixels, only the source
            tells.
        max_pixels: limit for the bytes.

    Raises:
        RadiographError: bytes that are no DICOM file.

    >>> header = Dataset()
    >>> header.BurnedInAnnotation = "YES"
    >>> notes(header)
    ('BurnedInAnnotation is YES: the pixels show text, and are as they were',)
    """
    found = []
    with quiet_decoders(), metered(Limits(max_pixels)):
        header = parse_dicom(source) if isinstance(source, bytes) else source
        said = (text(header, "BurnedInAnnotation") or "").upper()
        in_pixels = any(_lies_in_pixels(header, group) for group in _OVERLAYS)
    if said == "YES":
        found.append("BurnedInAnnotation is YES: the pixels show text, and are as they were")
    elif said != "NO":
        found.append("no BurnedInAnnotation: the pixels may show text, and are as they were")
    if in_pixels:
        found.append("OverlayBitPosition: an overlay lies in unused bits of the pixels, and stays")
    return tuple(found)


def created(copy: Dataset) -> datetime | None:
    """When objects of a de-identified source may say that they were made: at the moved time of the study.

    The real time, moved like the study, would give the days away to whoever knows when the files were made;
    as it is, it says when the study was at the latest.

    Args:
        copy: the de-identified header.

    Returns:
        None without a date in the header, so that nothing can be concluded from the real one.

    >>> header = Dataset()
    >>> header.StudyDate, header.StudyTime = "20150102", "0930"
    >>> created(header)
    datetime.datetime(2015, 1, 2, 9, 30)
    """
    for what in ("Study", "Series", "Acquisition", "Content"):
        day, time = text(copy, f"{what}Date"), (text(copy, f"{what}Time") or "").partition(".")[0]
        if day is not None:
            for moment in (day + time.ljust(6, "0"), day + "0" * 6):
                with suppress(ValueError):
                    return datetime.strptime(moment, "%Y%m%d%H%M%S")
    return None


def folder_name(copy: Dataset) -> str:
    """The name of the folder for a de-identified source and its objects: nothing of the source's own name.

    Args:
        copy: the de-identified header.

    >>> header = Dataset()
    >>> header.SOPInstanceUID = "2.25.1"
    >>> folder_name(header)
    '2.25.1'
    """
    return str(copy.SOPInstanceUID)


def _identity(header: Dataset) -> bytes:
    """What tells patients from each other: their number and who gave it.

    Without a number each study is another patient, as two persons must never become one.
    """
    number, issuer = (_bytes_of(header, keyword) for keyword in ("PatientID", "IssuerOfPatientID"))
    if number:
        return b"number\0" + number + b"\0" + issuer
    study = _bytes_of(header, "StudyInstanceUID") or _bytes_of(header, "SOPInstanceUID")
    return b"study\0" + study


def _bytes_of(header: Dataset, keyword: str) -> bytes:
    element = header.get_item(keyword)
    if isinstance(element, RawDataElement) and isinstance(element.value, bytes):
        return element.value.strip(b" \0")
    return "\\".join(values_of(element)).encode("utf-8", "surrogatepass")


def _complete(header: Dataset, applied: list[str]) -> None:
    """Say what was done (PS3.15 E.1.1), and put in what every object has."""
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
        if keyword not in header:
            setattr(header, keyword, "")
    header.PatientIdentityRemoved = "YES"
    header.DeidentificationMethod = [
        "PS3.15 Annex E Basic Profile",
        f"cxr-explain {__version__}, dicom-anonymizer {version('dicom-anonymizer')}",
    ]
    header.DeidentificationMethodCodeSequence = [known_code(value, "DCM") for value in applied]
    header.LongitudinalTemporalInformationModified = "MODIFIED"


def _file_meta(header: Dataset) -> FileMetaDataset:
    """File meta information (PS3.10 7.1) of nothing but the instance and its transfer syntax."""
    old, new = header.file_meta, FileMetaDataset()
    syntax = uid.UID(text(old, "TransferSyntaxUID") or _encoding_of(header))
    if is_standard(syntax) and syntax.is_transfer_syntax:
        new.TransferSyntaxUID = syntax
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        if value := text(header, keyword):
            setattr(new, f"MediaStorage{keyword}", value)
    return new


def _encoding_of(header: Dataset) -> uid.UID:
    """The transfer syntax of a data set that says none."""
    is_implicit, is_little = header.original_encoding
    if is_implicit:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if is_little else uid.ExplicitVRBigEndian


def _end_with_the_image(header: Dataset) -> None:
    """Cut off what lies behind the last pixel, where pixels are not compressed."""
    if "PixelData" not in header or header.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    element = header["PixelData"]
    expected = get_expected_length(header)
    if len(element.value) > expected + expected % 2:
        element.value = element.value[:expected] + b"\0" * (expected % 2)


def _lies_in_pixels(header: Dataset, group: int) -> bool:
    element = header.get_item((group, _BIT_POSITION))
    value = None if element is None else element.value
    return any(value) if isinstance(value, bytes) else bool(value)
