"""Requests to one server: over TLS that is verified, with bounds on time, bytes, tries and redirects."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests import PreparedRequest

from cxr_explain.dicomweb.answer import MOST_JSON, Answer, refused
from cxr_explain.dicomweb.credentials import Credentials
from cxr_explain.dicomweb.location import Location, is_this_machine
from cxr_explain.dicomweb.multipart import DICOM
from cxr_explain.errors import DicomWebError
from cxr_explain.loaders.limits import Limits

MOST_FILE = Limits().bytes + 2**20
"""Bytes of an answer that holds a DICOM file: the largest that the readers take, and a message around it."""

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEEPING_THE_METHOD = frozenset({307, 308})
_MOST_HOPS = 5
_LONGEST_WAIT = 60.0  # seconds between two tries
_CHUNK = 2**18


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for, and how often it is asked.

    Args:
        attempts: times that a request is sent at most.
        backoff: seconds between the first two; doubled each time.
        timeout: seconds that the server may be silent.
        longest: seconds for all of them together.
    """

    attempts: int = 5
    backoff: float = 0.5
    timeout: float = 30.0
    longest: float = 600.0


class ServerSession(requests.Session):
    """A session with one server, as dicomweb-client takes it.

    Every request is repeated where that may help: reading changes nothing, and to store an instance twice
    leaves one, since its unique identifiers are the same.

    Args:
        location: the server.
        credentials: who asks.
        ca: a PEM file of the authorities that are trusted instead of the usual ones.
        patience: how long it is waited for.
    """

    def __init__(
        self, location: Location, credentials: Credentials, ca: str | None, patience: Patience
    ) -> None:
        super().__init__()
        self.auth = credentials
        self.headers["Accept-Encoding"] = "identity"
        self._location, self._ca, self._patience = location, ca, patience

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: redirects are followed here, where it is known which may be."""

    def send(self, request: PreparedRequest, **settings: Any) -> Answer:
        """Send a request until there is an answer that another try would not change.

        Raises:
            DicomWebError: there is none.
        """
        # dicomweb-client sets it without the port.
        request.headers.pop("Host", None)
        settings |= {"stream": True, "allow_redirects": False, "timeout": self._patience.timeout}
        settings["verify"] = self._ca or settings.get("verify") or True
        if is_this_machine(self._location.host):
            settings["proxies"] = {}
        until = time.monotonic() + self._patience.longest
        pauses = self._pauses()
        while True:
            asked: float | None = None
            try:
                answer = self._followed(request, settings, until)
            except requests.RequestException as error:
                failure, again = _trouble(error), _may_pass(error)
            else:
                if answer.status_code not in _AGAIN:
                    return answer
                failure, again = refused(answer.status_code, with_credentials=bool(self.auth)), True
                asked = _asked_to_wait(answer)
            pause = next(pauses, None)
            if not again or pause is None:
                raise failure
            pause = max(pause, asked or 0.0)
            if pause > _LONGEST_WAIT or time.monotonic() + pause > until:
                raise failure
            time.sleep(pause)

    def _pauses(self) -> Iterator[float]:
        for attempt in range(self._patience.attempts - 1):
            yield min(self._patience.backoff * 2**attempt, _LONGEST_WAIT)

    def _followed(self, request: PreparedRequest, settings: dict[str, Any], until: float) -> Answer:
        for _ in range(_MOST_HOPS + 1):
            answer = self._once(request, settings, until)
            target = answer.headers.get("Location")
            if answer.status_code not in _REDIRECTS or not target:
                return answer
            keeps = answer.status_code in _KEEPING_THE_METHOD or request.method == "GET"
            request = request.copy()
            request.url = self._next(request.url or "", target, keeps)
        raise DicomWebError(f"more than {_MOST_HOPS} redirects")

    def _next(self, at: str, target: str, keeps: bool) -> str:
        try:
            url = urljoin(at, target)
            parts = urlsplit(url)
            named = f"{parts.scheme}://{parts.hostname}"
        except ValueError:
            raise DicomWebError("a redirect to what is no address") from None
        if not self._location.has(url) or not keeps:
            raise DicomWebError(
                f"a redirect to {named}",
                expected="an answer of the server itself",
                remedy="If that is the right server, give its address; it may be a page to log in.",
            )
        return url

    def _once(self, request: PreparedRequest, settings: dict[str, Any], until: float) -> Answer:
        with super().send(request, **settings) as received:
            most = MOST_FILE if DICOM + '"' in request.headers.get("Accept", "") else MOST_JSON
            return Answer(received, _body(received, most, until))


def _body(received: requests.Response, most: int, until: float) -> bytes:
    body = bytearray()
    for chunk in received.iter_content(_CHUNK):
        body += chunk
        if len(body) > most:
            raise DicomWebError(f"an answer of more than {most / 2**20:.0f} MiB")
        if time.monotonic() > until:
            raise requests.ReadTimeout
    return bytes(body)


def _asked_to_wait(answer: Answer) -> float | None:
    """Seconds, by the header Retry-After (RFC 9110 10.2.3)."""
    value = answer.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _may_pass(error: requests.RequestException) -> bool:
    if isinstance(error, requests.exceptions.SSLError | requests.exceptions.ProxyError):
        return False
    return isinstance(
        error,
        requests.ConnectionError
        | requests.Timeout
        | requests.exceptions.ChunkedEncodingError
        | requests.exceptions.ContentDecodingError,
    )


def _trouble(error: requests.RequestException) -> DicomWebError:
    """What went wrong, without the address and its query, which name patients."""
    if isinstance(error, requests.exceptions.SSLError):
        return DicomWebError(
            "a server whose certificate is not trusted, or that speaks no TLS",
            remedy="Give the authority's certificates with ca= / --ca; there is no way to go without.",
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return DicomWebError(
            "a proxy that does not let this through", remedy="Check HTTPS_PROXY and NO_PROXY."
        )
    if isinstance(error, requests.ConnectTimeout):
        return DicomWebError("no connection within the time allowed", remedy="Is the server up?")
    if isinstance(error, requests.Timeout):
        return DicomWebError("no whole answer within the time allowed", remedy="Raise timeout= / --timeout.")
    if isinstance(error, requests.ConnectionError):
        return DicomWebError("no connection, or one that broke off", remedy="Is the server up?")
    if isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
        return DicomWebError("an answer that broke off, or is garbled")
    return DicomWebError(f"a request that failed ({type(error).__name__})")


@contextmanager
def http_errors(*, with_credentials: bool) -> Iterator[None]:
    """Turn what dicomweb-client and requests raise into this package's error."""
    try:
        yield
    except requests.HTTPError as error:
        raise refused(error.response.status_code, with_credentials=with_credentials) from None
    except requests.RequestException as error:
        raise _trouble(error) from None
