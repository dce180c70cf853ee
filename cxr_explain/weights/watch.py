"""A watch over a download: one that gives too little, or takes too long, is cut."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

from cxr_explain.support.connections import Connections

if TYPE_CHECKING:
    import requests

SLOWEST = 1024
"""Bytes a second that have to come on average, over each span of `PATIENCE`."""

PATIENCE = 90.0
"""Seconds: more than a connection and the wait for an answer may take, each by its own timeout."""

LONGEST = 6 * 3600.0
"""Seconds that a download may take in all."""


class Watch:
    """Watches the connections of a session, the one that `session` gives, until the block ends.

    Args:
        until: when the whole download has to be over, on the monotonic clock.

    Attributes:
        received: bytes of the file that came; whoever reads them counts them here.
        is_slow: whether the connections were cut because too little came.
        is_over: whether they were cut because the download took too long.
    """

    def __init__(self, until: float) -> None:
        self.received = 0
        self.is_slow = self.is_over = False
        self._until = until
        self._connections = Connections()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._connections.close()

    def session(self) -> requests.Session:
        """A session whose connections are watched; it follows no redirect, see `cxr_explain.weights.hops`."""
        import requests

        class Session(requests.Session):
            def get_redirect_target(self, resp: requests.Response) -> None:
                """None: requests would read the whole answer that redirects, however long it is."""

        session = Session()
        self._connections.of(session)
        return session

    def _look(self) -> None:
        seen = 0
        while not self._ended.wait(min(PATIENCE, self._until - time.monotonic())):
            self.is_over = time.monotonic() >= self._until
            self.is_slow = not self.is_over and self.received - seen < SLOWEST * PATIENCE
            seen = self.received
            if self.is_over or self.is_slow:
                self._connections.cut()
                break
