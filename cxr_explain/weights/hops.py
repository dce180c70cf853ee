"""From an address to the answer behind the redirects: every hop over https, none into the user's network."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from cxr_explain.errors import WeightsDownloadError

if TYPE_CHECKING:
    import requests

MOST_HOPS = 10
"""Redirects at most; GitHub needs one."""

_CONNECT_AND_READ_TIMEOUT = (10.0, 60.0)  # seconds


@contextmanager
def answer(session: requests.Session, url: str, headers: dict[str, str]) -> Iterator[requests.Response]:
    """The answer to a request, its body yet unread; what redirects is not read at all.

    Plain http is for an address that the user names, on this machine, and for redirects from there to this
    machine.

    Args:
        session: a session that follows no redirect by itself.
        url: the address that the user or the registry names.
        headers: headers of each request.

    Raises:
        WeightsDownloadError: an address or a redirect that may not be followed, or too many of them.
        requests.RequestException: whatever else fails.
    """
    import requests
    from requests.utils import get_auth_from_url

    check_named(url)
    at, own = url, get_auth_from_url(url)
    for _ in range(MOST_HOPS + 1):
        auth = own if any(own) and not session.should_strip_auth(url, at) else None
        response = session.get(
            at,
            headers=headers,
            auth=auth,
            stream=True,
            timeout=_CONNECT_AND_READ_TIMEOUT,
            allow_redirects=False,
        )
        with response:
            # Of the class: the session's own gives none, see `Watch.session`.
            target = requests.Session.get_redirect_target(session, response)
            if target is None:
                yield response
                return
        at = next_hop(url, at, target)
    raise WeightsDownloadError(f"more than {MOST_HOPS} redirects")


def check_named(url: str) -> None:
    """Refuse an address that is neither https nor plain http on this machine.

    Raises:
        WeightsDownloadError: any other.

    >>> check_named("https://github.com/a.pt"), check_named("http://127.0.0.1:8000/a.pt")
    (None, None)
    >>> check_named("http://mirror.example/a.pt")
    Traceback (most recent call last):
    cxr_explain.errors.WeightsDownloadError: an address over plain http, which is for this machine alone...
    """
    scheme, host = _parts(url)
    if scheme == "http" and not _is_this_machine(host):
        raise WeightsDownloadError("an address over plain http, which is for this machine alone (use https),")
    if scheme not in ("http", "https"):
        raise WeightsDownloadError(
            "an address that cannot be used, as it begins with neither https nor http,"
        )


def next_hop(named: str, at: str, target: str) -> str:
    """The address that a redirect leads to.

    Args:
        named: the address that the user or the registry names.
        at: the address that redirects.
        target: where to, as the server writes it.

    Raises:
        WeightsDownloadError: one that may not be followed.

    >>> next_hop("https://a.example/x", "https://a.example/x", "/y")
    'https://a.example/y'
    >>> next_hop("https://a.example/x", "https://a.example/x", "http://a.example/y")
    Traceback (most recent call last):
    cxr_explain.errors.WeightsDownloadError: a redirect to an address that is not https.
    """
    try:
        url = urljoin(at, target)
    except ValueError as error:
        raise WeightsDownloadError("a redirect to an address that cannot be used") from error
    (first, origin), (scheme, host) = _parts(named), _parts(url)
    stays = first == scheme == "http" and _is_this_machine(origin) and _is_this_machine(host)
    if scheme != "https" and not stays:
        kind = "that is not https" if scheme == "http" else "that cannot be used"
        raise WeightsDownloadError(f"a redirect to an address {kind}")
    if host != origin and _is_inside(host, url) and not _is_inside(origin, named):
        raise WeightsDownloadError("a redirect from a public address to one inside this network")
    return url


def _parts(url: str) -> tuple[str, str]:
    """Scheme and host."""
    try:
        parts = urlsplit(url)
        return parts.scheme, (parts.hostname or "").rstrip(".")
    except ValueError as error:
        raise WeightsDownloadError("an address that cannot be used") from error


def _is_this_machine(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _is_inside(host: str, url: str) -> bool:
    """Whether a host is this machine or in a private network; names are looked up where no proxy does it."""
    from requests.utils import get_environ_proxies

    address = _address(host)
    if address is not None or host == "localhost":
        return address is None or not address.is_global
    if get_environ_proxies(url):
        return False
    try:
        found = {_address(str(each[4][0])) for each in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return False  # the request says so
    return not all(each is not None and each.is_global for each in found)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is written as; also `127.1` and a plain number, which systems take for one."""
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        try:
            return IPv4Address(socket.inet_aton(host))
        except (OSError, UnicodeError):
            return None
    return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found
