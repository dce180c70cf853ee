"""How long a server is waited for, and what may pass if it is asked again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from cxr_explain.errors import OptionError

LONGEST_WAIT = 60.0
"""Seconds between two tries, at most."""

_LONGEST = 24 * 3600.0

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which a server is asked again: too early, too often, too busy, or broken for the moment."""


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for, and how often it is asked.

    Args:
        attempts: times that a request is sent at most.
        backoff: seconds between the first two; doubled each time.
        timeout: seconds that the server may be silent.
        longest: seconds for all of them together.

    Raises:
        OptionError: a number out of range.

    >>> list(Patience(attempts=4).pauses())
    [0.5, 1.0, 2.0]
    """

    attempts: int = 5
    backoff: float = 0.5
    timeout: float = 30.0
    longest: float = 600.0

    def __post_init__(self) -> None:
        for name, least, most in (("attempts", 1, 20), ("backoff", 0.0, LONGEST_WAIT)):
            if not least <= getattr(self, name) <= most:
                raise OptionError(f"{name}={getattr(self, name)!r}", expected=f"{least:g} to {most:g}")
        for name in ("timeout", "longest"):
            if not 0 < getattr(self, name) <= _LONGEST:
                raise OptionError(f"{name}={getattr(self, name)!r}", expected="a number of seconds")

    def pauses(self) -> Iterator[float]:
        """Seconds to wait after each try but the last."""
        for attempt in range(self.attempts - 1):
            yield min(self.backoff * 2**attempt, LONGEST_WAIT)


def asked_to_wait(retry_after: str) -> float:
    """Seconds that a server asks to wait, by the header Retry-After (RFC 9110 10.2.3); 0 where it says none.

    >>> asked_to_wait("7"), asked_to_wait("tomorrow"), asked_to_wait("Wed, 21 Oct 2015 07:28:00 GMT")
    (7.0, 0.0, 0.0)
    """
    if re.fullmatch(r"[0-9]{1,9}", retry_after.strip()):
        return float(retry_after)
    try:
        when = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return 0.0
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
