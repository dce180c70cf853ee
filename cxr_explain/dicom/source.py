"""The DICOM file that was explained: what objects keep of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from os import PathLike, fsdecode
from typing import Self

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag

from cxr_explain.dicom.greyscale import Greyscale
from cxr_explain.dicom.kept import IDENTITY, REQUIRED, kept_of
from cxr_explain.errors import CxrExplainError, DicomObjectError, ImageTooLargeError, naming
from cxr_explain.loaders.header import mend_decimal_commas, parse_dicom, text
from cxr_explain.loaders.limits import DEFAULT_MAX_PIXELS, Limits
from cxr_explain.loaders.metered import MeteredBytes, check_meter, metered
from cxr_explain.loaders.read import read_bounded
from cxr_explain.loaders.scope import quiet_decoders
from cxr_explain.loaders.sniff import describe, sniff


@dataclass(frozen=True, eq=False)
class Source:
    """The file that was explained, without its pixels.

    Args:
        dataset: the attributes that objects keep, every value of them one that the standard allows.
        sha256: hexadecimal digest of the file's bytes.
        notes: what of the file's header is not kept because the standard does not allow its value, attribute
            by attribute.
        is_deidentified: whether the header went through `change` first.
        greyscale: how stored pixels become grey levels.
    """

    dataset: Dataset = field(repr=False)
    sha256: str
    notes: tuple[str, ...] = ()
    is_deidentified: bool = False
    greyscale: Greyscale = field(default_factory=Greyscale, repr=False)

    @classmethod
    def read(
        cls,
        file: str | PathLike[str] | bytes,
        *,
        change: Callable[[Dataset], None] | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
    ) -> Self:
        """Read a DICOM file, within the limits that `read_radiograph` has, whatever pydicom is set to.

        Args:
            file: its path, or its bytes.
            change: changes the header in place before anything is kept of it, such as a `Deidentifier`.
            max_pixels: limit from which the most bytes and parts of the file follow; see
                `cxr_explain.loaders.limits`.

        Raises:
            RadiographError: a file that cannot be read, or bytes that are no data set.
            DicomObjectError: no DICOM file, or a header without what every object needs: see `kept_of`.
        """
        limits = Limits(max_pixels)
        with nullcontext() if isinstance(file, bytes) else naming(fsdecode(file)):
            data = file if isinstance(file, bytes) else read_bounded(file, limits)
            limits.check_bytes(len(data), "a file")
            known = sniff(data)
            if known is None or known.name != "DICOM":
                raise DicomObjectError(
                    f"a {known.name} file" if known else describe(data),
                    expected="the DICOM file that was explained",
                    remedy="Objects are made in the study of a DICOM file alone.",
                )
            with quiet_decoders():
                dataset, notes, greyscale = _kept(data, change, limits)
            sha256 = hashlib.sha256(data).hexdigest()
            return cls(dataset, sha256, tuple(notes), change is not None, greyscale)


def _kept(
    data: bytes, change: Callable[[Dataset], None] | None, limits: Limits
) -> tuple[Dataset, list[str], Greyscale]:
    """What is kept of a header, notes on it, and its grey scale; only this package's own errors come out."""
    try:
        with metered(limits):
            _check_told_once(data)
        with metered(limits):
            header = parse_dicom(data)
            notes = _notes_on_the_file(header)
            mended = mend_decimal_commas(header)
            if change is not None:
                change(header)
            kept, flaws = kept_of(header)
            greyscale = Greyscale.of(header)
            check_meter()
    except CxrExplainError:
        raise
    except MemoryError:
        raise ImageTooLargeError("a DICOM header that needs more memory than there is") from None
    except Exception as error:
        # The text of an unexpected exception may quote the header, so only its type is passed on.
        raise DicomObjectError(
            f"a DICOM header that cannot be kept ({type(error).__name__})",
            remedy="Check that the file was transferred completely.",
        ) from None
    return kept, [*notes, *(note for note in mended if note.split()[0] in kept), *flaws], greyscale


def _notes_on_the_file(header: Dataset) -> list[str]:
    meta = getattr(header, "file_meta", None)
    named = None if meta is None else text(meta, "MediaStorageSOPInstanceUID")
    if named is None or named == text(header, "SOPInstanceUID"):
        return []
    return ["the file meta information has another SOPInstanceUID than the data set: the data set's is kept"]


def _check_told_once(data: bytes) -> None:
    """Refuse a header that names the patient or the study twice: programs differ in which one they take."""
    seen = Counter[int]()

    def count(tag: BaseTag, _: str | None, length: int) -> bool:
        seen[tag] += length > 0  # pydicom looks at the first element twice, once with the length 0
        return False

    with suppress(Exception):  # what cannot be parsed is told where it is parsed
        read_partial(MeteredBytes(data), stop_when=count, force=True)
    check_meter()
    for keyword in ("SpecificCharacterSet", *IDENTITY, *REQUIRED):
        if seen[tag_for_keyword(keyword) or 0] > 1:
            raise DicomObjectError(
                f"{keyword} twice in the header",
                expected="it once",
                remedy="The file is damaged: export it from the PACS again.",
            )


@contextmanager
def of_a_known_class() -> Iterator[None]:
    """What highdicom makes only of sources whose class it knows; it says so by a KeyError.

    Raises:
        DicomObjectError: it does not know that of the source.

    >>> with of_a_known_class():
    ...     raise KeyError("No IOD found for SOP Class UID")
    Traceback (most recent call last):
    cxr_explain.errors.DicomObjectError: found a SOPClassUID of the source that highdicom does not know; ...
    """
    try:
        yield
    except KeyError as error:
        raise DicomObjectError(
            "a SOPClassUID of the source that highdicom does not know", expected="an image class of PS3.4 B.5"
        ) from error
