"""A watch over connections: one that gives too little, or takes too long, is cut.

A read timeout starts anew with each byte, so that a server may keep a client for ever: in a greeting, in the
headers, in the sizes of chunks, or in the file. The watch is a thread that shuts the connections down,
whatever they are waiting for.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

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
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        for each in self._sockets:
            each.close()

    def session(self) -> requests.Session:
        """A session whose connections are watched; it follows no redirect, see `cxr_explain.weights.hops`."""
        import requests
        from requests.adapters import HTTPAdapter

        watched = self._watched

        class Adapter(HTTPAdapter):
            def init_poolmanager(self, *args: Any, **options: Any) -> None:
                super().init_poolmanager(*args, **options)
                watched(self.poolmanager)

            def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
                return watched(super().proxy_manager_for(*args, **options))

        class Session(requests.Session):
            def get_redirect_target(self, resp: requests.Response) -> None:
                """None: requests would read the whole answer that redirects, however long it is."""

        session = Session()
        session.mount("https://", Adapter())
        session.mount("http://", Adapter())
        return session

    def _watched(self, manager: Any) -> Any:
        """Have the connections that a manager makes made known to this watch."""
        add, pools = self._add, manager.pool_classes_by_scheme

        def connecting(kind: type[Any]) -> type[Any]:
            def new_connection(connection: Any) -> socket.socket:
                # Before TLS, whose greeting may never end, there is no public place to find the socket at.
                made: socket.socket = kind._new_conn(connection)  # noqa: SLF001
                add(made)
                return made

            def tunnel(connection: Any) -> None:
                kind._tunnel(connection)  # noqa: SLF001 - it takes a cut for the end of a proxy's headers
                if self.is_slow or self.is_over:
                    raise ConnectionAbortedError(errno.ECONNABORTED, "cut")

            return type(kind.__name__, (kind,), {"_new_conn": new_connection, "_tunnel": tunnel})

        manager.pool_classes_by_scheme = {
            scheme: type(pool.__name__, (pool,), {"ConnectionCls": connecting(pool.ConnectionCls)})
            for scheme, pool in pools.items()
        }
        return manager

    def _add(self, made: socket.socket) -> None:
        with self._lock:
            # A second handle of the same connection: TLS takes the first one away.
            self._sockets.append(made.dup())
            if self.is_slow or self.is_over:
                self._cut()

    def _look(self) -> None:
        seen = 0
        while not self._ended.wait(min(PATIENCE, self._until - time.monotonic())):
            with self._lock:
                self.is_over = time.monotonic() >= self._until
                self.is_slow = not self.is_over and self.received - seen < SLOWEST * PATIENCE
                seen = self.received
                if self.is_over or self.is_slow:
                    self._cut()
                    break

    def _cut(self) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
