"""A real Orthanc with its DICOMweb plugin, on loopback, with a storage folder of its own.

::

    with orthanc(tmp_path) as pacs:
        DicomWebServer(pacs.url)
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

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
        certificate: a PEM file of its certificate and private key; with it, it speaks TLS.
        settings: further entries of its configuration.
    """

    folder: Path
    users: Mapping[str, str] = field(default_factory=dict)
    certificate: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def base(self) -> str:
        """Address of the server, for its own REST API."""
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Address of its DICOMweb service."""
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
        """What its own REST API says, such as of "/instances"; not over TLS."""
        with requests.Session() as session:
            session.trust_env = False
            session.auth = next(iter(self.users.items()), None)
            answer = session.get(self.base + path, timeout=20)
            answer.raise_for_status()
            return answer.json()

    def uids(self) -> list[str]:
        """The SOP Instance UIDs of all that it holds, sorted."""
        return sorted(each["MainDicomTags"]["SOPInstanceUID"] for each in self.get("/instances?expand"))

    def _configuration(self, storage: Path) -> dict[str, Any]:
        tls = (
            {} if self.certificate is None else {"SslEnabled": True, "SslCertificate": str(self.certificate)}
        )
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
            **tls,
            **self.settings,
        }

    def _wait(self) -> None:
        assert self.process is not None
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log[-2000:]
            try:
                if self.certificate is None:
                    self.get("/system")
                    return
                # Whether the certificate is trusted is for the test to say.
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
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
    certificate: Path | None = None,
    **settings: Any,
) -> Iterator[Orthanc]:
    """An Orthanc that runs until the block ends.

    Args:
        folder: the test's own, such as `tmp_path`.
        users: passwords by user.
        certificate: a PEM file of certificate and key.
        **settings: further entries of its configuration.
    """
    server = Orthanc(folder, users or {}, certificate, settings)
    try:
        server.start()
        yield server
    finally:
        server.stop()
