"""Who asks: from the environment or a netrc, never from the command line, an address or a file of results."""

from __future__ import annotations

import base64
import netrc
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn, Self

from cxr_explain.errors import DicomWebError

if TYPE_CHECKING:
    from requests import PreparedRequest

USER, PASSWORD, TOKEN = (f"CXR_EXPLAIN_DICOMWEB_{what}" for what in ("USER", "PASSWORD", "TOKEN"))
WAY_IN = f"Set {USER} and {PASSWORD}, or {TOKEN}, in the environment, or enter the server in ~/.netrc."

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 2.1


@dataclass(frozen=True)
class Credentials:
    """What a request says about who asks; none, where nothing is known.

    It can be neither shown nor pickled.

    Args:
        header: value of the header Authorization; empty for none.

    >>> Credentials("Bearer secret")
    Credentials()
    >>> bool(Credentials()), bool(Credentials("Bearer secret"))
    (False, True)
    """

    header: str = field(default="", repr=False)

    @classmethod
    def for_host(cls, host: str) -> Self:
        """Those of the environment, else those that a netrc has for a host.

        Args:
            host: name or address of the server, without its port.

        Raises:
            DicomWebError: two kinds of them, half of one, or one that no header may hold.
        """
        user, password, token = (os.environ.get(name, "") for name in (USER, PASSWORD, TOKEN))
        if token and (user or password):
            raise DicomWebError(
                f"both {TOKEN} and {USER} or {PASSWORD} in the environment", expected="one of the two kinds"
            )
        if bool(user) != bool(password):
            there, missing = (USER, PASSWORD) if user else (PASSWORD, USER)
            raise DicomWebError(f"{there} in the environment without {missing}", expected="both")
        if token:
            if not _TOKEN.fullmatch(token):
                raise DicomWebError(f"a {TOKEN} with a sign that no bearer token has (RFC 6750)")
            return cls(f"Bearer {token}")
        return cls(_basic(user, password, USER) if user else _of_netrc(host))

    def __bool__(self) -> bool:
        return bool(self.header)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Sign a request, as `requests` asks for it; without it, `requests` would look for a netrc itself."""
        if self.header:
            request.headers["Authorization"] = self.header
        return request

    def __reduce__(self) -> NoReturn:
        raise TypeError("credentials are not pickled: each process reads its own environment")


def _of_netrc(host: str) -> str:
    path = os.environ.get("NETRC") or os.path.expanduser("~/.netrc")
    try:
        found = netrc.netrc(path).authenticators(host)
    except FileNotFoundError:
        return ""
    except (OSError, netrc.NetrcParseError, UnicodeError) as error:
        raise DicomWebError(f"a netrc that cannot be read ({type(error).__name__})", remedy=WAY_IN) from None
    if found is None or not found[0]:
        return ""
    return _basic(found[0], found[2] or "", "a netrc's login")


def _basic(user: str, password: str, where: str) -> str:
    """RFC 7617, in UTF-8."""
    if ":" in user or not (user + password).isprintable():
        raise DicomWebError(f"{where} or its password with a sign that basic authentication cannot carry")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
