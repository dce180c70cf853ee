"""The connections of a session, which can be cut, whatever they are waiting for.

A read timeout starts anew with each byte, so that a server may keep a client for ever: in a greeting, in the
headers, in the sizes of chunks, or in the body.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import requests

_MOST = 16


class Connections:
    """The latest connections that a session made: those of one thread, which makes one after another.

    Attributes:
        is_cut: whether they were cut; those that are made later are cut at once.
    """

    def __init__(self) -> None:
        self.is_cut = False
        self._sockets: deque[socket.socket] = deque()
        self._lock = threading.Lock()

    def of(self, session: requests.Session) -> None:
        """Have the connections that a session makes made known here."""
        from requests.adapters import HTTPAdapter

        known = self._known

        class Adapter(HTTPAdapter):
            def init_poolmanager(self, *args: Any, **options: Any) -> None:
                super().init_poolmanager(*args, **options)
                known(self.poolmanager)

            def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
                return known(super().proxy_manager_for(*args, **options))

        session.mount("https://", Adapter())
        session.mount("http://", Adapter())

    def cut(self) -> None:
        """Shut them down."""
        with self._lock:
            self.is_cut = True
            for each in self._sockets:
                _shut(each)

    def begin_anew(self) -> None:
        """Forget that they were cut."""
        with self._lock:
            self.is_cut = False

    def close(self) -> None:
        """Let go of them, without an end to what goes on in them."""
        with self._lock:
            while self._sockets:
                self._sockets.popleft().close()

    def _known(self, manager: Any) -> Any:
        add, pools = self._add, manager.pool_classes_by_scheme

        def connecting(kind: type[Any]) -> type[Any]:
            def new_connection(connection: Any) -> socket.socket:
                # Before TLS, whose greeting may never end, there is no public place to find the socket at.
                made: socket.socket = kind._new_conn(connection)  # noqa: SLF001
                add(made)
                return made

            def tunnel(connection: Any) -> None:
                kind._tunnel(connection)  # noqa: SLF001 - it takes a cut for the end of a proxy's headers
                if self.is_cut:
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
            if self.is_cut:
                _shut(self._sockets[-1])
            if len(self._sockets) > _MOST:
                self._sockets.popleft().close()


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
