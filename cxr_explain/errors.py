"""The exceptions of this package, drawn in one place.

::

    CxrExplainError
    ├── RadiographError            a file that gives no radiograph
    │   ├── ImageNotFoundError     no such file
    │   ├── UnreadableImageError   a file that is there, and may not or cannot be read
    │   ├── NotAnImageError        unknown bytes, or an object without pixels
    │   ├── UnsupportedImageError  an image, but not one that this package may explain
    │   ├── CorruptImageError      truncated or contradictory
    │   └── ImageTooLargeError     above the size limit against decompression bombs
    ├── WeightsError               weights that cannot be used
    │   ├── UnknownWeightsError    a name that is not in the registry
    │   ├── WeightsNotFoundError   a file that is missing, and may not be fetched
    │   ├── WeightsDownloadError   a download that failed
    │   ├── WeightsIntegrityError  truncated, or not the bytes recorded before
    │   ├── UnsafeWeightsError     a pickle that asks for more than tensors
    │   ├── ArchitectureError      tensors that do not fit the model
    │   ├── WeightsMetadataError   metadata that say nothing clear about the model
    │   └── PhantomWeightsError    weights trained on phantoms alone, for another radiograph
    ├── ModelError                 a model that cannot be explained as asked
    ├── OptionError                an argument with a value that it may not have
    ├── MissingExtraError          a package that an extra would install
    ├── ReferenceLabelError        labels, boxes or masks that cannot be read, or do not fit an image
    ├── ManifestError              a table of images (manifest, labels, boxes) that cannot be read
    ├── AuditError                 an audit that cannot begin, or go on
    ├── OutputError                a result that cannot be written or read back
    │   └── DicomObjectError       a DICOM object that the standard, or its source, makes impossible
    └── DicomWebError              a PACS that does not answer, or not as DICOMweb says

Each message says what was found, what was expected and the way out. Code deep inside raises without the
file's name; the boundary (`read_radiograph`, `open_weights`, the command line) adds it with
`CxrExplainError.at`.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from typing import Self

_ACT_ON_A_TERMINAL = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"  # Persian, Indic scripts and emoji need them


def legible(text: str, *, lines: bool = False) -> str:
    r"""A text from outside as a message or a terminal may show it: signs that act, by their numbers.

    A file's name can hold line ends, escape sequences and marks that turn the direction of letters: shown as
    they are, they forge lines.

    Args:
        text: any text, such as a file's name.
        lines: keep line ends and tabs, for what is a text of several lines.

    >>> print(legible("a\nok: 99 images explained\x1b[2J\u202e"))
    a\nok: 99 images explained\x1b[2J\u202e
    """
    if text.isprintable():
        return text
    kept = _JOINERS + "\n\t" * lines
    return "".join(
        c.encode("unicode_escape").decode()
        if unicodedata.category(c) in _ACT_ON_A_TERMINAL and c not in kept
        else c
        for c in text
    )


class CxrExplainError(Exception):
    """Base of every error that this package raises on purpose.

    Args:
        found: what was found, in a few words.
        expected: what was expected instead, in a few words.
        remedy: the way out, a full sentence.
        source: the file, URL or option concerned.

    >>> print(UnsupportedImageError("3 colour channels", expected="a grey image", source="a.dcm"))
    a.dcm: found 3 colour channels; expected a grey image.
    """

    code = "error"

    def __init__(
        self,
        found: str,
        *,
        expected: str | None = None,
        remedy: str | None = None,
        source: str | PathLike[str] | None = None,
    ) -> None:
        super().__init__(found)
        self.found = found
        self.expected = expected
        self.remedy = remedy
        self.source = None if source is None else fspath(source)

    def at(self, source: str | PathLike[str]) -> Self:
        """Name the file, URL or option concerned, unless an inner call already did."""
        if self.source is None:
            self.source = fspath(source)
        return self

    def __str__(self) -> str:
        """One line: source, found, expected, remedy; control signs by their numbers."""
        head = f"{legible(self.source)}: " if self.source else ""
        body = f"found {self.found}; expected {self.expected}." if self.expected else f"{self.found}."
        tail = f" {self.remedy}" if self.remedy else ""
        return head + legible(" ".join(f"{body}{tail}".split()))


def fault(error: Exception) -> CxrExplainError:
    """An exception that nobody foresaw, under its type's name alone: its text may quote a header.

    With CXR_EXPLAIN_DEBUG in the environment it is raised again.

    >>> str(fault(ZeroDivisionError("division by zero")))[:32]
    'an unexpected ZeroDivisionError.'
    """
    if os.environ.get("CXR_EXPLAIN_DEBUG"):
        raise error
    unforeseen = CxrExplainError(
        f"an unexpected {type(error).__name__}",
        remedy="Please report it, with the traceback that CXR_EXPLAIN_DEBUG=1 shows.",
    )
    unforeseen.__cause__ = error
    return unforeseen


@contextmanager
def naming(source: str | PathLike[str]) -> Iterator[None]:
    """Name the file, URL or option concerned in every error of this package that is raised within.

    Args:
        source: the file, URL or option.

    >>> with naming("a.csv"):
    ...     raise ManifestError("an empty file")
    Traceback (most recent call last):
    cxr_explain.errors.ManifestError: a.csv: an empty file.
    """
    try:
        yield
    except CxrExplainError as error:
        error.at(source)
        raise


class RadiographError(CxrExplainError):
    """A file that gives no radiograph."""

    code = "radiograph"


class ImageNotFoundError(RadiographError):
    """No such file."""

    code = "no-such-file"


class UnreadableImageError(RadiographError):
    """A file that is there, and may not or cannot be read: permissions, links, a failing disk."""

    code = "unreadable-file"


class NotAnImageError(RadiographError):
    """Unknown bytes, or an object without pixels."""

    code = "not-an-image"


class UnsupportedImageError(RadiographError):
    """An image, but not one that this package may explain."""

    code = "unsupported-image"


class CorruptImageError(RadiographError):
    """Truncated or contradictory image data."""

    code = "corrupt-image"


class ImageTooLargeError(RadiographError):
    """More pixels than the limit against decompression bombs allows."""

    code = "image-too-large"


class WeightsError(CxrExplainError):
    """Weights that cannot be used."""

    code = "weights"


class UnknownWeightsError(WeightsError):
    """A name that is not in the registry."""

    code = "unknown-weights"


class WeightsNotFoundError(WeightsError):
    """Weights whose file is missing and may not be fetched."""

    code = "weights-not-found"


class WeightsDownloadError(WeightsError):
    """A download that failed."""

    code = "weights-download"


class WeightsIntegrityError(WeightsError):
    """Truncated weights, or other bytes than those recorded before."""

    code = "weights-integrity"


class UnsafeWeightsError(WeightsError):
    """A pickle that asks for more than tensors and known modules."""

    code = "unsafe-weights"


class ArchitectureError(WeightsError):
    """Tensors that do not fit the model."""

    code = "architecture"


class WeightsMetadataError(WeightsError):
    """Metadata of a weights file that say nothing clear about the model."""

    code = "weights-metadata"


class PhantomWeightsError(WeightsError):
    """Weights trained on phantoms alone, for a radiograph that is no phantom."""

    code = "phantom-weights"


class ModelError(CxrExplainError):
    """A model that cannot be explained as asked."""

    code = "model"


class OptionError(CxrExplainError, ValueError):
    """An argument with a value that it may not have."""

    code = "option"


class MissingExtraError(CxrExplainError):
    """A package that an extra of this one would install."""

    code = "missing-extra"


class ReferenceLabelError(CxrExplainError):
    """Reference labels, boxes, masks or outlines that cannot be read, or do not fit their image."""

    code = "reference"


class ManifestError(CxrExplainError):
    """A table of images, such as a manifest or a data set's labels or boxes, that cannot be read."""

    code = "manifest"


class AuditError(CxrExplainError):
    """An audit that cannot begin, or go on."""

    code = "audit"


class OutputError(CxrExplainError):
    """A result that cannot be written or read back."""

    code = "output"


class DicomObjectError(OutputError):
    """A DICOM object that the standard, or what the source lacks, makes impossible."""

    code = "dicom-object"


class DicomWebError(CxrExplainError):
    """A DICOMweb server that cannot be reached, refuses, or answers what the standard does not foresee."""

    code = "dicomweb"


class CxrExplainWarning(UserWarning):
    r"""Something the user should know that does not stop the work.

    >>> print(CxrExplainWarning("a\x1b[2J.png: passed over"))
    a\x1b[2J.png: passed over
    """

    def __str__(self) -> str:
        """The text, with control signs by their numbers."""
        return legible(super().__str__())
