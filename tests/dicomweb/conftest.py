"""What the tests of DICOMweb share: an environment without secrets, and phantoms as files."""

from __future__ import annotations

import io
from pathlib import Path

import pydicom
import pytest
from dicom_sources import phantom_file

from cxr_explain.dicomweb.addresses import InstanceAddress
from cxr_explain.dicomweb.credentials import PASSWORD, TOKEN, USER


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials, proxies or certificates of whoever runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in (USER, PASSWORD, TOKEN, "NETRC", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def files() -> list[bytes]:
    """Three radiographs of three patients."""
    return [phantom_file(seed, 96) for seed in (1, 2, 3)]


@pytest.fixture(scope="session")
def addresses(files: list[bytes]) -> list[InstanceAddress]:
    """What they are known by."""
    found = []
    for file in files:
        header = pydicom.dcmread(io.BytesIO(file), stop_before_pixels=True)
        uids = (header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID)
        found.append(InstanceAddress(*map(str, uids)))
    return found
