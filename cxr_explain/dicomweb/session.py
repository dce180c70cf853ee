"""Requests to one server: over TLS that is verified, with bounds on time, bytes, tries and redirects."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests import PreparedRequest

from cxr_explain.dicomweb.answer import MOST_JSON, Answer
from cxr_explain.dicomweb.credentials import Credentials
from cxr_explain.dicomweb.location import Location, is_this_machine
from cxr_explain.dicomweb.multipart import RELATED
from cxr_explain.dicomweb.patience import LONGEST_WAIT, PASSING, Patience, asked_to_wait
from cxr_explain.dicomweb.trouble import may_pass, refused, trouble
from cxr_explain.errors import DicomWebError
from cxr_explain.loaders.limits import Limits
from cxr_explain.support.connections import Connections

MOST_FILE = Limits().bytes + 2**20
"""Bytes of an answer that holds a DICOM file: the largest that the readers take, and a message around it."""

_REDIRECTS = range(300, 400)
_KEEPING_THE_METHOD = frozenset({307, 308})
_MOST_HOPS = 5
_CHUNK = 2**18


def plain_query(url: str) -> str:
    """An address whose query is escaped no more than RFC 3986 3.4 asks for.

    dicomweb-client escapes all it can and writes a space as in a form. Orthanc 1.10 takes escapes for what
    they look like, so that it would not know a wildcard.

    >>> plain_query("https://pacs.example/studies?PatientName=DOE%2A&StudyID=1+%2B2")
    'https://pacs.example/studies?PatientName=DOE*&StudyID=1%20%2B2'
    """
    path, mark, query = url.partition("?")
    query = query.replace("+", "%20")
    for sign in "*?,/:@":
        query = query.replace(f"%{ord(sign):02X}", sign)
    return path + mark + query


class _PassingError(Exception):
    """A failure that may pass.

    Args:
        failure: what to say if it does not.
        wait: seconds that the server asks to wait.
    """

    def __init__(self, failure: DicomWebError, wait: float = 0.0) -> None:
        super().__init__()
        self.failure, self.wait = failure, wait


class ServerSession(requests.Session):
    """A session with one server, as dicomweb-client takes it; for one thread.

    Every request is repeated where that may help: reading changes nothing, and to store an instance twice
    leaves one, since its unique identifiers are the same. dicomweb-client's own repetition is not used: it
    sends a large body only once, and an empty one after that.

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
        self.headers["Accept-Encoding"] = "identity"  # packing radiographs costs more time than it saves
        self._location, self._ca, self._patience = location, ca, patience
        self._connections = Connections()
        self._connections.of(self)
        weakref.finalize(self, self._connections.close)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: redirects are followed here, where it is known which may be."""

    def send(self, request: PreparedRequest, **settings: Any) -> Answer:
        """Send a request until there is an answer that another try would not change.

        Raises:
            DicomWebError: there is none.
        """
        request.headers.pop("Host", None)  # dicomweb-client sets it without the port
        request.url = plain_query(request.url or "")
        settings |= {"stream": True, "allow_redirects": False, "timeout": self._patience.timeout}
        # The environment's REQUESTS_CA_BUNDLE comes with `settings`, and counts where there is no `ca`.
        settings["verify"] = self._ca or settings.get("verify") or True
        if is_this_machine(self._location.host):
            settings["proxies"] = {}
        pauses = self._patience.pauses()
        with self._cut_after(self._patience.longest) as until:
            while True:
                try:
                    return self._try(request, settings)
                except _PassingError as passing:
                    pause = next(pauses, None)
                    pause = None if pause is None else max(pause, passing.wait)
                    if pause is None or pause > LONGEST_WAIT or time.monotonic() + pause > until:
                        raise passing.failure from None
                time.sleep(pause)

    def _try(self, request: PreparedRequest, settings: dict[str, Any]) -> Answer:
        """An answer that another try would not change.

        Raises:
            DicomWebError: there is none, and there would be none.
            _PassingError: there is none, and another try may bring one.
        """
        try:
            answer = self._followed(request, settings)
        except DicomWebError:
            raise
        except Exception as error:
            if self._connections.is_cut:
                raise trouble(requests.Timeout()) from None
            if may_pass(error):
                raise _PassingError(trouble(error)) from None
            raise trouble(error) from None
        if self._connections.is_cut:  # to whoever reads headers, a cut is their end
            raise trouble(requests.Timeout())
        if answer.status_code in PASSING:
            failure = refused(answer.status_code, with_credentials=bool(self.auth))
            raise _PassingError(failure, asked_to_wait(answer.headers.get("Retry-After", "")))
        return answer

    def _followed(self, request: PreparedRequest, settings: dict[str, Any]) -> Answer:
        for _ in range(_MOST_HOPS + 1):
            answer = self._once(request, settings)
            if answer.status_code not in _REDIRECTS:
                return answer
            keeps = answer.status_code in _KEEPING_THE_METHOD or request.method == "GET"
            request = request.copy()
            request.url = self._next(request.url or "", answer.headers.get("Location", ""), keeps=keeps)
        raise DicomWebError(f"more than {_MOST_HOPS} redirects")

    def _next(self, at: str, target: str, *, keeps: bool) -> str:
        """The address that a redirect leads to; the server itself may send elsewhere within it."""
        try:
            url = urljoin(at, target)
            parts = urlsplit(url)
            named = f"{parts.scheme}://{parts.hostname}" if parts.hostname else "nowhere"
        except ValueError:
            url, named = "", "what is no address"
        if not (target and url.isascii() and url.isprintable() and keeps and self._location.has(url)):
            raise DicomWebError(
                f"a redirect to {named[:80]}",
                expected="an answer of the server itself",
                remedy="If that is the right server, give its address; it may be a page to log in.",
            )
        return url

    def _once(self, request: PreparedRequest, settings: dict[str, Any]) -> Answer:
        with super().send(request, **settings) as received:
            most = MOST_FILE if RELATED in request.headers.get("Accept", "") else MOST_JSON
            body = bytearray()
            for chunk in received.iter_content(_CHUNK):
                body += chunk
                if len(body) > most:
                    raise DicomWebError(f"an answer of more than {most / 2**20:.0f} MiB")
            return Answer(received, bytes(body))

    @contextmanager
    def _cut_after(self, seconds: float) -> Iterator[float]:
        """Cut the connections when time is up; gives when that is."""
        self._connections.begin_anew()
        timer = threading.Timer(seconds, self._connections.cut)
        timer.daemon = True
        timer.start()
        try:
            yield time.monotonic() + seconds
        finally:
            timer.cancel()
            if self._connections.is_cut:
                self.close()
