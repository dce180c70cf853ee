"""What a server answered, whole and within a limit, and what its refusals mean."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import requests

from cxr_explain.dicomweb.credentials import WAY_IN
from cxr_explain.errors import DicomWebError
from cxr_explain.support.bounded import parse_json

MOST_JSON = 2**26
"""Bytes of an answer in JSON: the headers of some thousand images."""

_WEB_PAGE = (b"<!doctype html", b"<html")


class Answer(requests.Response):
    """An answer whose body was read.

    Args:
        received: the answer as it comes from the network.
        body: its body.
    """

    def __init__(self, received: requests.Response, body: bytes) -> None:
        super().__init__()
        self.status_code, self.reason, self.headers = received.status_code, received.reason, received.headers
        self.url, self.request = received.url, received.request
        self._body = body

    @property
    def content(self) -> bytes:
        """The body."""
        return self._body

    def json(self, **_: Any) -> Any:
        """The body as DICOM JSON (PS3.18 annex F): a data set, or a list of them.

        Raises:
            DicomWebError: anything else.
        """
        if self._body.lstrip()[:20].lower().startswith(_WEB_PAGE):
            raise DicomWebError(
                "a web page, such as one to log in",
                expected="DICOM JSON",
                remedy="Check the server's address.",
            )
        try:
            said = parse_json(self._body, most=MOST_JSON)
        except ValueError as error:
            raise DicomWebError(
                f"an answer that is no JSON ({type(error).__name__})", expected="DICOM JSON (PS3.18 annex F)"
            ) from None
        if not all(isinstance(each, dict) for each in (said if isinstance(said, list) else [said])):
            raise DicomWebError("JSON that holds no data sets", expected="DICOM JSON (PS3.18 annex F)")
        return said


_REFUSALS = {
    HTTPStatus.BAD_REQUEST: ("a request that the server does not understand", None),
    HTTPStatus.FORBIDDEN: (
        "no permission for this request",
        "Ask the server's administrator to permit it to this user.",
    ),
    HTTPStatus.NOT_FOUND: (
        "nothing under this address",
        "Check the server's address (its DICOMweb root) and the unique identifiers.",
    ),
    HTTPStatus.METHOD_NOT_ALLOWED: ("a service that does not do this here", "Check the server's address."),
    HTTPStatus.NOT_ACCEPTABLE: ("no answer in the form that was asked for", None),
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: ("a proxy that asks for a password", "Set it in HTTPS_PROXY."),
    HTTPStatus.CONFLICT: ("a request that conflicts with what the server holds", None),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (
        "more than the server takes at once",
        "Raise the server's limit (nginx: client_max_body_size).",
    ),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ("a form of data that the server does not take", None),
    HTTPStatus.TOO_MANY_REQUESTS: ("more requests than the server takes", "Try again later."),
    HTTPStatus.SERVICE_UNAVAILABLE: ("a server that is overloaded or being looked after", "Try again later."),
}


def refused(status: int, *, with_credentials: bool) -> DicomWebError:
    """What a status that is no success means; nothing of the answer's body is repeated.

    Args:
        status: the HTTP status.
        with_credentials: whether the request had any.

    >>> print(refused(503, with_credentials=False))
    a server that is overloaded or being looked after (HTTP 503). Try again later.
    """
    found, remedy = _REFUSALS.get(status, ("", None))  # type: ignore[call-overload]
    if status == HTTPStatus.UNAUTHORIZED:
        found = (
            "a user, password or token that the server does not take"
            if with_credentials
            else "a server that asks for a user and password, or a token"
        )
        remedy = WAY_IN
    elif not found:
        server_side = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        found = "a failure of the server" if server_side else "a status that is no success"
        remedy = "Look into the server's log." if server_side else None
    return DicomWebError(f"{found} (HTTP {status})", remedy=remedy)
