"""A real Orthanc with its DICOMweb plugin, on loopback, with a storage folder for itself.

::

    with orthanc(tmp_path) as pacs:
        DicomWebServer(pacs.url)
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from certificates import Certificate

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_PATIENCE = 60.0  # seconds until it answers, or ends

needs_orthanc = [
    pytest.mark.orthanc,
    pytest.mark.skipif(
        shutil.which("Orthanc") is None or not _PLUGIN.exists(),
        reason="Debian's orthanc and orthanc-dicomweb are not installed",
    ),
]


@dataclass
class Orthanc:
    """A server that can be started, killed and started again on what it has stored.

    Args:
        folder: where its configuration and its storage are; the test's own.
        users: passwords by user; with them it asks for basic authentication.
        settings: further entries of the configuration.
    """

    folder: Path
    users: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def base(self) -> str:
        """Address of the server, for its own REST API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Address of the DICOMweb service."""
        return f"{self.base}/dicom-web"

    @property
    def log(self) -> str:
        """What it wrote while it ran."""
        return (self.folder / "orthanc.log").read_text(errors="replace")

    def start(self) -> None:
        """Start it and wait until it answers; on a port that is free, and the same one after that."""
        if not self.port:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
        storage = self.folder / "orthanc"
        storage.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "orthanc.json"
        configuration.write_text(json.dumps(self._configuration(storage)))
        with open(self.folder / "orthanc.log", "ab") as log:
            self.process = subprocess.Popen(["Orthanc", str(configuration)], stdout=log, stderr=log)
        self._wait()

    def stop(self) -> None:
        """End it as a service manager does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without a chance to write anything more."""
        self._end(signal.SIGKILL)

    def get(self, path: str) -> Any:
        """What its own REST API says, such as of "/instances"."""
        with requests.Session() as session:
            session.trust_env = False
            session.auth = next(((user.encode(), word.encode()) for user, word in self.users.items()), None)
            answer = session.get(self.base + path, timeout=20)
            answer.raise_for_status()
            return answer.json()

    def uids(self) -> list[str]:
        """The SOP Instance UIDs of all that it holds, sorted."""
        return sorted(each["MainDicomTags"]["SOPInstanceUID"] for each in self.get("/instances?expand"))

    def _configuration(self, storage: Path) -> dict[str, Any]:
        return {
            "Name": "tests",
            "StorageDirectory": str(storage),
            "IndexDirectory": str(storage),
            "HttpPort": self.port,
            "HttpThreadsCount": 4,
            "DicomServerEnabled": False,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": bool(self.users),
            "RegisteredUsers": dict(self.users),
            "Plugins": [str(_PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": True},
            **self.settings,
        }

    def _wait(self) -> None:
        assert self.process is not None
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log[-2000:]
            try:
                self.get("/system")
                return
            except (requests.ConnectionError, ConnectionError):
                time.sleep(0.05)
        raise AssertionError(f"Orthanc does not answer: {self.log[-2000:]}")

    def _end(self, by: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(by)
            self.process.wait(_PATIENCE)
            self.process = None


@contextmanager
def orthanc(
    folder: Path,
    *,
    users: Mapping[str, str] | None = None,
    **settings: Any,
) -> Iterator[Orthanc]:
    """An Orthanc that runs until the block ends.

    Args:
        folder: the test's own, such as `tmp_path`.
        users: passwords by user.
        **settings: further entries of the configuration.
    """
    server = Orthanc(folder, users or {}, settings)
    try:
        server.start()
        yield server
    finally:
        server.kill()  # its folder is thrown away, and a proper end takes some seconds


@contextmanager
def over_tls(server: Orthanc, certificate: Certificate) -> Iterator[str]:
    """A way to a server over TLS, as through a reverse proxy: Debian's own dies of a request over TLS.

    Yields:
        The address of the DICOMweb service on that way.
    """
    context = certificate.context()

    def accept(outer: socket.socket) -> None:
        with context.wrap_socket(outer, server_side=True) as plain:
            _between(plain, server, _all_of_it, _all_of_it)

    with _listening(accept) as port:
        yield f"https://127.0.0.1:{port}/dicom-web"


@contextmanager
def killed_during(server: Orthanc, received: int, *, answers: bool = False) -> Iterator[str]:
    """A way to a server on which it is killed once, in mid-transfer, and started again.

    Args:
        server: the server, which runs.
        received: bytes that it gets before it is killed.
        answers: whether it is killed after so many bytes of its answers instead, the next of which are lost.

    Yields:
        The address of the DICOMweb service on that way.
    """
    count, lock, once = 0, threading.Lock(), threading.Event()

    def until_killed(data: bytes) -> bytes:
        nonlocal count
        with lock:
            kept = received - count
            count += len(data)
            return data if once.is_set() or count <= received else data[: max(kept, 0)]

    def kill_once() -> bool:
        with lock:
            if count <= received or once.is_set():
                return False
            once.set()
        server.kill()
        server.start()
        return True

    def accept(outer: socket.socket) -> None:
        ways = (_all_of_it, until_killed) if answers else (until_killed, _all_of_it)
        _between(outer, server, *ways, kill_once)

    with _listening(accept) as port:
        yield f"http://127.0.0.1:{port}/dicom-web"
        assert once.is_set(), f"it was not killed: {count} bytes"


def _all_of_it(data: bytes) -> bytes:
    return data


def _between(
    outer: socket.socket,
    server: Orthanc,
    forth: Callable[[bytes], bytes],
    back: Callable[[bytes], bytes],
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Hand on what comes from both sides, until one of them ends."""

    def pump(source: socket.socket, sink: socket.socket, change: Callable[[bytes], bytes]) -> None:
        with suppress(OSError):
            while data := source.recv(4096):
                sink.sendall(change(data))
                if is_over():
                    break
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    with socket.create_connection(("127.0.0.1", server.port)) as inner:
        returning = threading.Thread(target=pump, args=(inner, outer, back))
        returning.start()
        pump(outer, inner, forth)
        returning.join()


@contextmanager
def _listening(accept: Callable[[socket.socket], None]) -> Iterator[int]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                accept(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as way:
        way.daemon_threads = True
        thread = threading.Thread(target=way.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield way.server_address[1]
        finally:
            way.shutdown()
            thread.join()
