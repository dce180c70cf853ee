"""The address of a DICOMweb service: what it may be, and how it is named."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self
from urllib.parse import urlsplit

from cxr_explain.dicomweb.credentials import WAY_IN
from cxr_explain.errors import DicomWebError

_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")


@dataclass(frozen=True)
class Location:
    """Where a DICOMweb service is.

    Args:
        url: its address, with scheme, host, port and path; nothing secret, and no slash at the end.
        scheme: https or http.
        host: name or address of the machine.
        port: number of the port.

    >>> Location.of("https://PACS.example/dicom-web/").url
    'https://pacs.example/dicom-web'
    """

    url: str
    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str, *, allow_http: bool = False) -> Self:
        """Take an address apart, and refuse what is none.

        Args:
            url: what the user gave.
            allow_http: also take plain http to another machine.

        Raises:
            DicomWebError: no address of a service, one with a password in it, or plain http to another
                machine. No message repeats the address.

        >>> Location.of("http://pacs.example/dicom-web")
        Traceback (most recent call last):
        cxr_explain.errors.DicomWebError: a DICOMweb server over plain http, which all in the network can ...
        """
        try:
            parts = urlsplit(url.strip())
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            raise _no_address() from None
        if "@" in parts.netloc:
            raise DicomWebError("a user or password in the server's address", remedy=WAY_IN)
        if parts.scheme not in ("https", "http") or not _HOST.fullmatch(host):
            raise _no_address()
        path = parts.path.rstrip("/")
        if parts.query or parts.fragment or not _PATH.fullmatch(path):
            raise _no_address()
        if parts.scheme == "http" and not is_this_machine(host) and not allow_http:
            raise DicomWebError(
                "a DICOMweb server over plain http, which all in the network can read",
                remedy="Use https; allow_http= / --allow-http takes it as it is, without a password.",
            )
        own_port = 443 if parts.scheme == "https" else 80
        shown = f"[{host}]" if ":" in host else host
        if port is not None and port != own_port:
            shown += f":{port}"
        return cls(f"{parts.scheme}://{shown}{path}", parts.scheme, host, own_port if port is None else port)

    @property
    def is_readable_by_others(self) -> bool:
        """Whether what is sent there can be read in the network."""
        return self.scheme == "http" and not is_this_machine(self.host)

    def has(self, url: str) -> bool:
        """Whether another address is on the same server: same scheme, host and port."""
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
            host = (parts.hostname or "").rstrip(".")
        except ValueError:
            return False
        return "@" not in parts.netloc and (parts.scheme, host, port) == (self.scheme, self.host, self.port)


def is_this_machine(host: str) -> bool:
    """Whether a host is the loopback.

    >>> is_this_machine("127.0.0.1"), is_this_machine("::1"), is_this_machine("localhost.example")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _no_address() -> DicomWebError:
    return DicomWebError(
        "what is no address of a DICOMweb service", expected="one such as https://pacs.example/dicom-web"
    )
