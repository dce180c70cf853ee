"""What it means when a request brings no answer, or a refusal: one line, without what was sent or received.

Neither the exceptions of `requests`, which hold addresses and their queries, nor bodies of answers are
quoted: both may name patients.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import requests
from requests import exceptions
from urllib3.exceptions import HTTPError as PoolError

from cxr_explain.dicomweb.credentials import WAY_IN
from cxr_explain.errors import CxrExplainError, DicomWebError

_ADDRESS = "Check the server's address: the root of the DICOMweb service."
_REFUSALS: dict[int, tuple[str, str | None]] = {
    HTTPStatus.BAD_REQUEST: (
        "a request, or a file, that the server cannot read",
        "Check the server's address, and look into the server's log.",
    ),
    HTTPStatus.FORBIDDEN: ("no permission for this", "Ask the server's administrator to permit it."),
    HTTPStatus.NOT_FOUND: ("nothing under this address", f"{_ADDRESS} And the unique identifiers."),
    HTTPStatus.METHOD_NOT_ALLOWED: ("a server that does not do this here", _ADDRESS),
    HTTPStatus.NOT_ACCEPTABLE: ("a server that cannot answer in the form that is needed", None),
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: ("a proxy that asks for a password", "Set it in HTTPS_PROXY."),
    HTTPStatus.CONFLICT: ("a conflict with what the server holds", "Look into the server's log."),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (
        "more than the server takes at once",
        "Raise the server's limit (in nginx: client_max_body_size).",
    ),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ("a form of data that the server does not take", None),
    HTTPStatus.TOO_MANY_REQUESTS: ("more requests than the server takes", "Try again later."),
    HTTPStatus.SERVICE_UNAVAILABLE: ("a server that is overloaded or being looked after", "Try again later."),
    HTTPStatus.INSUFFICIENT_STORAGE: ("a server without room for more", None),
}


def refused(status: int, *, with_credentials: bool) -> DicomWebError:
    """What a status means that is no success.

    Args:
        status: the HTTP status.
        with_credentials: whether the request had any.

    >>> print(refused(503, with_credentials=False))
    a server that is overloaded or being looked after (HTTP 503). Try again later.
    """
    if status == HTTPStatus.UNAUTHORIZED:
        found = (
            "a user, password or token that the server does not take"
            if with_credentials
            else "a server that asks for a user and password, or a token"
        )
        return DicomWebError(f"{found} (HTTP {status})", remedy=WAY_IN)
    otherwise = (
        ("a failure of the server", "Look into the server's log.")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR
        else ("an answer that is no success", _ADDRESS)
    )
    found, remedy = _REFUSALS.get(status, otherwise)
    return DicomWebError(f"{found} (HTTP {status})", remedy=remedy)


def may_pass(error: Exception) -> bool:
    """Whether a request that failed so may succeed when it is sent again."""
    if isinstance(error, exceptions.SSLError):
        return _broke_off(error)
    passing = (exceptions.ConnectionError, exceptions.Timeout, exceptions.ChunkedEncodingError)
    return not isinstance(error, exceptions.ProxyError) and isinstance(
        error, (*passing, exceptions.ContentDecodingError, http.client.HTTPException)
    )


def trouble(error: Exception) -> DicomWebError:
    """What went wrong with a request to which there is no answer."""
    if isinstance(error, exceptions.SSLError) and _broke_off(error):
        error = exceptions.ConnectionError()
    for kind, found, remedy in _TROUBLES:
        if isinstance(error, kind):
            return DicomWebError(found, remedy=remedy)
    return DicomWebError(f"a request that failed ({type(error).__name__})")


def _broke_off(error: BaseException) -> bool:
    """Whether TLS ended without a word, as where a server dies."""
    seen = list[BaseException]()
    waiting = [error]
    while waiting and len(seen) < 20:
        each = waiting.pop()
        seen.append(each)
        inner = (*each.args, getattr(each, "reason", None), each.__cause__, each.__context__)
        waiting += [other for other in inner if isinstance(other, BaseException) and other not in seen]
    return any(isinstance(each, ssl.SSLEOFError | ssl.SSLZeroReturnError) for each in seen)


_BROKEN = "no connection, or one that broke off"
_UP = "Check that the server is up, and how much it takes at once."
_TROUBLES: tuple[tuple[type[Exception], str, str | None], ...] = (
    (
        exceptions.SSLError,
        "a server that speaks no TLS, or whose certificate is not trusted",
        "Give the certificates of the authority with ca= / --ca; there is no way to go without.",
    ),
    (exceptions.ProxyError, "a proxy that lets nothing through", "Check HTTPS_PROXY and NO_PROXY."),
    (exceptions.ConnectTimeout, "no connection within the time allowed", _UP),
    (
        exceptions.Timeout,
        "no whole answer within the time allowed",
        "Give more with timeout= in Python, or try again later.",
    ),
    (exceptions.ConnectionError, _BROKEN, _UP),
    (http.client.HTTPException, _BROKEN, _UP),
    (exceptions.ChunkedEncodingError, "an answer that broke off", _UP),
    (exceptions.ContentDecodingError, "an answer that is packed wrongly", None),
)


@contextmanager
def one_line(*, with_credentials: bool) -> Iterator[None]:
    """Turn what dicomweb-client, requests and what lies beneath raise into this package's error."""
    try:
        yield
    except CxrExplainError:
        raise
    except requests.HTTPError as error:
        status = 0 if error.response is None else error.response.status_code
        raise refused(status, with_credentials=with_credentials) from None
    except (OSError, PoolError, http.client.HTTPException, ValueError) as error:
        raise trouble(error) from None
