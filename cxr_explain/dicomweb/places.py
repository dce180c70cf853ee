"""How a DICOMweb server is named where a folder or an object store could stand as well."""

from __future__ import annotations

import re

from cxr_explain.dicomweb.location import Location
from cxr_explain.dicomweb.server import DicomWebServer
from cxr_explain.errors import OptionError

_PREFIX = "dicomweb+"
_PLACE = re.compile(r"dicomweb\+(?P<url>https?://.*)", re.IGNORECASE | re.DOTALL)


def address_in(place: str) -> str | None:
    """The address of the DICOMweb server that a place is; None for another place.

    >>> address_in("dicomweb+https://pacs.example/dicom-web"), address_in("s3://bucket/images")
    ('https://pacs.example/dicom-web', None)
    """
    found = _PLACE.fullmatch(place)
    return None if found is None else found["url"]


def place_of(server: DicomWebServer) -> str:
    """What a server is called as a place; without secrets, as its address has none.

    >>> place_of(server_at("http://127.0.0.1:8042/dicom-web/"))
    'dicomweb+http://127.0.0.1:8042/dicom-web'
    """
    return _PREFIX + server.name


def server_at(where: str) -> DicomWebServer:
    """The server that is asked for images; nothing is sent yet.

    Args:
        where: its address, with or without `dicomweb+`.

    Raises:
        DicomWebError: no address of a server, one with a password in it, or credentials that cannot be used.
        OptionError: plain http to another machine.
        MissingExtraError: no DICOMweb client is installed.
    """
    url = address_in(where) or where
    if Location.of(url, allow_http=True).is_readable_by_others:
        raise OptionError(
            "a DICOMweb server over plain http, where all in the network can read what it sends",
            expected="https, or a server on this machine",
            remedy="Where it has no https, lead a port of this machine to it: ssh -L.",
        )
    return DicomWebServer(url)
