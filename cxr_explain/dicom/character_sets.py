"""The character set of an object: the source's, where it has letters for everything that the object says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from pydicom import Dataset
from pydicom.charset import (
    STAND_ALONE_ENCODINGS,
    convert_encodings,
    decode_bytes,
    encode_string,
    python_encoding,
)
from pydicom.valuerep import TEXT_VR_DELIMS

from cxr_explain.dicom.vetted import LETTERS, texts
from cxr_explain.errors import DicomObjectError
from cxr_explain.loaders.scope import quiet_decoders

_UNICODE: Final = "ISO_IR 192"
_EXTENSION: Final = "ISO 2022 IR "
_SINGLE: Final = "ISO_IR "
_NAME_DELIMITERS: Final = re.compile(r"[=^]")


def is_defined(terms: Sequence[str]) -> bool:
    """Whether values of SpecificCharacterSet are what PS3.3 C.12.1.1.2 defines: one, or code extensions.

    >>> is_defined(["ISO_IR 100"]), is_defined(["", "ISO 2022 IR 87"])
    (True, True)
    >>> is_defined(["utf-8"]), is_defined(["ISO_IR 192", "ISO 2022 IR 87"])
    (False, False)
    """
    extensions = {term for term in python_encoding if term.startswith(_EXTENSION)}
    if len(terms) > 1:
        return terms[0] in {"", *extensions} and extensions.issuperset(terms[1:])
    single = {term for term in python_encoding if term.startswith(_SINGLE)}
    return {"", *extensions, *single, *STAND_ALONE_ENCODINGS}.issuperset(terms)


def with_character_set(dataset: Dataset, kept: Dataset) -> Dataset:
    """Declare the character set of a whole object: the source's, else Unicode in UTF-8.

    The source's set keeps a name the same bytes as in the images beside it. Where it has no letters for
    something else that the object says, such as where its labels are from, the object is in UTF-8 as a whole
    (PS3.3 C.12.1.1.2).

    Args:
        dataset: the object, which is altered in place.
        kept: what it keeps of the source, see `kept_of`.

    Returns:
        The object.

    Raises:
        DicomObjectError: the patient's identity has letters whose set the source does not declare, and the
            object itself has such letters: no one set holds both.

    >>> made, source = Dataset(), Dataset()
    >>> made.PatientName = source.PatientName = "M\u00fcller"
    >>> source.SpecificCharacterSet, made.SeriesDescription = "ISO_IR 100", "\u80ba"
    >>> with_character_set(made, source).SpecificCharacterSet
    'ISO_IR 192'
    """
    with quiet_decoders():
        said, declared = set(_letters(dataset)), kept.get("SpecificCharacterSet")
        dataset.pop("SpecificCharacterSet", None)
        if declared is None:
            undeclared = set(_letters(kept))
            if undeclared and said - undeclared:
                raise DicomObjectError(
                    "a patient's identity in letters whose SpecificCharacterSet the source does not declare",
                    expected="a declared set, as the object has letters beyond ASCII besides",
                    remedy="Give labels and weights names in ASCII, or correct the source in the PACS.",
                )
            if said and not undeclared:
                dataset.SpecificCharacterSet = _UNICODE
        else:
            encodings = convert_encodings(declared)
            holds = all(_encodable(text, encodings) for text in said)
            dataset.SpecificCharacterSet = declared if holds else _UNICODE
    return dataset


def _letters(dataset: Dataset) -> Iterator[str]:
    """Every text beyond ASCII, in the items of sequences too; of names, each component."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                item.pop("SpecificCharacterSet", None)
                yield from _letters(item)
        elif element.VR in LETTERS:
            said = texts(element.value)
            if element.VR == "PN":  # which are encoded one by one
                said = [part for name in said for part in _NAME_DELIMITERS.split(name)]
            yield from (text for text in said if not text.isascii())


def _encodable(text: str, encodings: Sequence[str]) -> bool:
    """Whether a text is the same once written and read."""
    return decode_bytes(encode_string(text, encodings), encodings, TEXT_VR_DELIMS) == text
