"""What an instance on a DICOMweb server is known by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from cxr_explain.errors import DicomWebError

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID = 64
_PATH = re.compile(r"studies/([0-9.]+)/series/([0-9.]+)/instances/([0-9.]+)")


def check_uid(uid: str) -> str:
    """Refuse what is no unique identifier (PS3.5 9.1), and could lead to another address.

    Raises:
        DicomWebError: it is none.

    >>> check_uid("1.2.840.10008.1.1")
    '1.2.840.10008.1.1'
    >>> check_uid("../instances")
    Traceback (most recent call last):
    cxr_explain.errors.DicomWebError: found what is no unique identifier; expected digits and points, ... 64.
    """
    if len(uid) > _LONGEST_UID or not _UID.fullmatch(uid):
        raise DicomWebError("what is no unique identifier", expected="digits and points, at most 64")
    return uid


@dataclass(frozen=True)
class InstanceAddress:
    """The unique identifiers of an instance.

    Args:
        study: its Study Instance UID.
        series: its Series Instance UID.
        instance: its SOP Instance UID.

    Raises:
        DicomWebError: what is no unique identifier (PS3.5 9.1).

    >>> InstanceAddress("1.2", "1.2.3", "1.2.3.4").path
    'studies/1.2/series/1.2.3/instances/1.2.3.4'
    >>> InstanceAddress.of("studies/1.2/series/1.2.3/instances/1.2.3.4").instance
    '1.2.3.4'
    """

    study: str
    series: str
    instance: str

    def __post_init__(self) -> None:
        for uid in (self.study, self.series, self.instance):
            check_uid(uid)

    @property
    def path(self) -> str:
        """The resource below the server's address (PS3.18 10.4)."""
        return f"studies/{self.study}/series/{self.series}/instances/{self.instance}"

    @classmethod
    def of(cls, path: str) -> Self:
        """The address of a resource's path, as a manifest has it.

        Raises:
            DicomWebError: any other path.
        """
        match = _PATH.fullmatch(path)
        if match is None:
            raise DicomWebError("no path of an instance", expected="studies/UID/series/UID/instances/UID")
        return cls(*match.groups())
