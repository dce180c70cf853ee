"""What a server says it did with instances that were to be stored (PS3.18 10.5, annex I)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cxr_explain.dicomweb.addresses import InstanceAddress
from cxr_explain.dicomweb.attributes import Json, texts, values
from cxr_explain.errors import DicomWebError, RadiographError
from cxr_explain.loaders.header import parse_dicom, text
from cxr_explain.loaders.scope import quiet_decoders

MOST_AT_ONCE = 2**25
"""Bytes of the files of one request; a single file may have more."""

PROCESSING_FAILURE = 0x0110
_REASONS: Mapping[int, str] = {
    PROCESSING_FAILURE: "processing failure",
    0x0111: "duplicate SOP instance",
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    0xA700: "out of resources",
    0xA900: "data set does not match SOP class",
    0xC000: "cannot understand",
    0xC122: "transfer syntax not supported",
}


@dataclass(frozen=True)
class StoreOutcome:
    """What became of instances.

    Args:
        stored: SOP Instance UIDs that the server says it has stored.
        failed: why not, in the standard's code, by SOP Instance UID.
        warned: those that are stored otherwise than they were sent, with the standard's code.
    """

    stored: frozenset[str] = frozenset()
    failed: Mapping[str, int] = field(default_factory=dict)
    warned: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, said: object) -> StoreOutcome:
        """Read the data set of a response; what is not there is not known.

        >>> StoreOutcome.of({"00081199": {"vr": "SQ", "Value": [
        ...     {"00081155": {"vr": "UI", "Value": ["1.2"]}}]}}).stored
        frozenset({'1.2'})
        """
        if not isinstance(said, dict):
            return cls()
        done, failures = _instances(said, "ReferencedSOPSequence"), _instances(said, "FailedSOPSequence")
        failed = {uid: _code(item, "FailureReason") or PROCESSING_FAILURE for item, uid in failures}
        warned = {uid: code for item, uid in done if (code := _code(item, "WarningReason"))}
        return cls(frozenset(uid for _, uid in done if uid not in failed), failed, warned)


def why(reason: int) -> str:
    """A failure reason in words (PS3.18 table I.2-2).

    >>> why(0xA700), why(0x1234)
    ('out of resources (A700)', 'failure reason 1234')
    """
    # Of A7xx, A9xx and Cxxx the further digits are the server's own.
    family = reason & 0xF000 if reason >> 12 == 0xC else reason & 0xFF00
    name = _REASONS.get(reason) or _REASONS.get(family)
    return f"{name} ({reason:04X})" if name else f"failure reason {reason:04X}"


def address_of(file: bytes, study: str) -> InstanceAddress:
    """What an instance in a DICOM file is known by.

    Args:
        file: the file's bytes.
        study: the study that it has to belong to.

    Raises:
        DicomWebError: no DICOM file, or one of another study.
    """
    try:
        with quiet_decoders():
            header = parse_dicom(file)
            uids = [text(header, f"{what}InstanceUID") or "" for what in ("Study", "Series", "SOP")]
    except RadiographError as error:
        raise DicomWebError(f"what is no DICOM file ({error.found})") from None
    if not all(uids):
        raise DicomWebError("a DICOM file without the unique identifiers of study, series and instance")
    address = InstanceAddress(*uids)
    if address.study != study:
        raise DicomWebError("an instance of another study", expected="one of the study asked for")
    return address


def batches(files: Sequence[bytes]) -> Iterator[list[int]]:
    """Indices of files that are sent together.

    >>> list(batches([bytes(2**24), bytes(2**24), bytes(2**26), b""]))
    [[0, 1], [2], [3]]
    """
    batch, size = list[int](), 0
    for index, file in enumerate(files):
        if batch and size + len(file) > MOST_AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append(index)
        size += len(file)
    if batch:
        yield batch


def _instances(said: Json, keyword: str) -> list[tuple[dict[str, Any], str]]:
    found = []
    for item in values(said, keyword):
        if isinstance(item, dict):
            found += [(item, uid) for uid in texts(item, "ReferencedSOPInstanceUID")]
    return found


def _code(item: Json, keyword: str) -> int:
    return next((value & 0xFFFF for value in values(item, keyword) if type(value) is int), 0)
