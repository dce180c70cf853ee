"""A loopback HTTP server that serves one file and misbehaves on request."""

from __future__ import annotations

import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """`plan` holds one behaviour per coming request, its name or a function; then the server behaves."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.etag: str | None = '"version-1"'
        self.plan: list[str | Callable] = []
        self.requests: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.bodies: list[bytes] = []
        self.received = threading.Semaphore(0)
        self.release = threading.Event()
        self.base = ""

    @property
    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for headers in self.requests]


@contextmanager
def serving(content: bytes, tls: ssl.SSLContext | None = None) -> Iterator[FileServer]:
    state = FileServer(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests.append(dict(self.headers.items()))
            state.paths.append(self.path)
            state.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            behaviour = state.plan.pop(0) if state.plan else "good"
            answer = behaviour if callable(behaviour) else _BEHAVIOURS[behaviour]
            answer(self, state)

        do_POST = do_GET  # noqa: N815 - as the base class has it

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    state.base = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        state.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def scripted(script: Callable[..., None]) -> Iterator[int]:
    """A server of bytes: a script gets the stream to write to, and the event that ends it; gives the port."""
    over = threading.Event()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):  # the client is gone
                script(self.wfile, over)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def to(location: str, body: bytes = b"", **headers: str) -> Callable:
    """A behaviour: a redirect."""

    def answer(handler, state: FileServer) -> None:
        handler.send_response(302)
        handler.send_header("Location", location)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def saying(*lines: str, status: str = "200 OK", body: bytes = b"") -> Callable:
    """A behaviour: a status, headers and a body as they are given."""

    def answer(handler, state: FileServer) -> None:
        head = "\r\n".join((f"HTTP/1.1 {status}", *lines, "", ""))
        handler.wfile.write(head.encode("latin-1") + body)
        handler.close_connection = True

    return answer


def _headers(handler, state: FileServer, length: int) -> None:
    if state.etag:
        handler.send_header("ETag", state.etag)
    handler.send_header("Content-Length", str(length))
    handler.end_headers()


def _good(handler, state: FileServer) -> None:
    """Ranges honoured while If-Range matches, as RFC 9110 asks."""
    asked = handler.headers.get("Range")
    if asked and handler.headers.get("If-Range") == state.etag:
        _partial(handler, state, int(asked.removeprefix("bytes=").rstrip("-")))
    else:
        _whole(handler, state)


def _partial(handler, state: FileServer, start: int) -> None:
    handler.send_response(206)
    size = len(state.content)
    handler.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
    _headers(handler, state, size - start)
    handler.wfile.write(state.content[start:])


def _whole(handler, state: FileServer) -> None:
    handler.send_response(200)
    _headers(handler, state, len(state.content))
    handler.wfile.write(state.content)


def _drop(handler, state: FileServer) -> None:
    handler.send_response(200)
    _headers(handler, state, len(state.content))
    handler.wfile.write(state.content[: len(state.content) // 2])


def _hang(handler, state: FileServer) -> None:
    """Send half, say so, and wait for the test."""
    _drop(handler, state)
    handler.wfile.flush()
    state.received.release()
    state.release.wait(30)


def _slow_whole(handler, state: FileServer) -> None:
    """Announce the request, and answer when the test allows."""
    state.received.release()
    state.release.wait(30)
    _whole(handler, state)


def _wrong_start(handler, state: FileServer) -> None:
    _partial(handler, state, 0)


def _ignores_if_range(handler, state: FileServer) -> None:
    _partial(handler, state, int(handler.headers["Range"].removeprefix("bytes=").rstrip("-")))


def _too_long_a_length(handler, state: FileServer) -> None:
    handler.send_response(200)
    _headers(handler, state, len(state.content) + 1000)
    handler.wfile.write(state.content)


def _no_length(handler, state: FileServer) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(state.content)


def _html(handler, state: FileServer) -> None:
    body = b"<!DOCTYPE html><html><body>Please log in</body></html>"
    handler.send_response(200)
    _headers(handler, state, len(body))
    handler.wfile.write(body)


def _status(code: int):
    def answer(handler, state: FileServer) -> None:
        handler.send_response(code)
        _headers(handler, state, 0)

    return answer


def _to_file(handler, state: FileServer) -> None:
    handler.send_response(302)
    handler.send_header("Location", "file:///etc/passwd")
    _headers(handler, state, 0)


_BEHAVIOURS = {
    "good": _good,
    "whole": _whole,
    "drop": _drop,
    "hang": _hang,
    "slow": _slow_whole,
    "wrong-start": _wrong_start,
    "ignores-if-range": _ignores_if_range,
    "too-long-a-length": _too_long_a_length,
    "no-length": _no_length,
    "html": _html,
    "404": _status(404),
    "416": _status(416),
    "500": _status(500),
    "to-file": _to_file,
}
