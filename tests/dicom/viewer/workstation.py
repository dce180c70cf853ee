"""Orthanc, nginx and OHIF's site, set up by the files of docs/how_to/pacs.md, on ports of their own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from orthanc_server import Orthanc, orthanc

SETTINGS = Path(__file__).parents[3] / "docs" / "how_to" / "pacs"
_PATIENCE = 30.0
_BOUNDARY = "cxr-explain-tests"


def missing() -> str:
    """What a viewer needs and this machine has not; '' where all is there."""
    programs = [name for name in ("Orthanc", "nginx", "chromium") if shutil.which(name) is None]
    if programs:
        return f"not installed: {', '.join(programs)}"
    site = os.environ.get("CXR_EXPLAIN_OHIF")
    if not site or not Path(site, "index.html").is_file():
        return "set CXR_EXPLAIN_OHIF to the folder of the OHIF viewer's built site"
    return ""


@dataclass
class Workstation:
    """A server and a viewer that are running.

    Args:
        pacs: the server.
        address: where the viewer is.
    """

    pacs: Orthanc
    address: str

    def study(self, uid: str) -> str:
        """The viewer's address of a study."""
        return f"{self.address}/viewer?StudyInstanceUIDs={uid}"

    def store(self, files: Iterable[bytes]) -> None:
        """Store DICOM files as PS3.18 10.5 has it (STOW-RS), through nginx."""
        head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = b"".join(head + data + b"\r\n" for data in files) + f"--{_BOUNDARY}--\r\n".encode()
        kind = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
        answer = _direct().post(
            f"{self.address}/dicom-web/studies",
            body,
            headers={"Content-Type": kind, "Accept": "application/dicom+json"},
            timeout=60,
        )
        answer.raise_for_status()
        assert not answer.json().get("00081198", {}).get("Value"), answer.text  # the Failed SOP Sequence


@contextmanager
def workstation(folder: Path) -> Iterator[Workstation]:
    """Server and viewer, until the block ends.

    Args:
        folder: where their files are; the test's own.
    """
    settings = json.loads((SETTINGS / "orthanc.json").read_text())
    for ours in ("HttpPort", "StorageDirectory", "IndexDirectory"):
        del settings[ours]
    with orthanc(folder, **settings) as pacs:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        _lay_out(folder, pacs.port, port)
        here = "daemon off;" + " user root;" * (os.getuid() == 0)  # else it may not read our folder
        served = subprocess.Popen(["nginx", "-p", str(folder), "-c", "nginx.conf", "-g", here])
        try:
            running = Workstation(pacs, f"http://127.0.0.1:{port}")
            _wait(f"{running.address}/dicom-web/studies")
            yield running
        finally:
            served.terminate()
            served.wait(_PATIENCE)


def _lay_out(folder: Path, pacs_port: int, port: int) -> None:
    """The folder as the page has it, with our ports."""
    text = (SETTINGS / "nginx.conf").read_text()
    (folder / "nginx.conf").write_text(text.replace("8042", str(pacs_port)).replace("8090", str(port)))
    viewer = folder / "viewer"
    viewer.mkdir()
    for path in Path(os.environ["CXR_EXPLAIN_OHIF"]).iterdir():
        if path.name != "app-config.js":
            (viewer / path.name).symlink_to(path.resolve())
    shutil.copy(SETTINGS / "app-config.js", viewer)


def _wait(url: str) -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            _direct().get(url, timeout=5).raise_for_status()
            return
        except requests.RequestException:
            assert time.monotonic() < until, f"no answer from {url}"
            time.sleep(0.05)


def _direct() -> requests.Session:
    """Without the proxy that the environment may name."""
    session = requests.Session()
    session.trust_env = False
    return session
