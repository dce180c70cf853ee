"""What a server answered, read whole and within a limit."""

from __future__ import annotations

from typing import Any

import requests

from cxr_explain.errors import DicomWebError
from cxr_explain.support.bounded import parse_json

MOST_JSON = 2**26
"""Bytes of an answer in JSON: the headers of some thousand images."""

_DICOM_JSON = "DICOM JSON (PS3.18 annex F)"


class Answer(requests.Response):
    """An answer whose body was read.

    Args:
        received: the answer as it comes from the network.
        body: its body.
    """

    def __init__(self, received: requests.Response, body: bytes) -> None:
        super().__init__()
        self.status_code, self.reason, self.headers = received.status_code, received.reason, received.headers
        self.url, self.request = received.url, received.request
        self._body = body

    @property
    def content(self) -> bytes:
        """The body."""
        return self._body

    def json(self, **_: Any) -> Any:
        """The body as a data set, or a list of them.

        Raises:
            DicomWebError: anything else.
        """
        if self._body.lstrip()[:1] == b"<":
            raise DicomWebError(
                "a page in HTML or XML, such as one to log in",
                expected=_DICOM_JSON,
                remedy="Check the server's address: the root of the DICOMweb service.",
            )
        try:
            said = parse_json(self._body, most=MOST_JSON)
        except ValueError:
            raise DicomWebError("an answer that is no JSON, or was cut off", expected=_DICOM_JSON) from None
        if not all(isinstance(each, dict) for each in (said if isinstance(said, list) else [said])):
            raise DicomWebError("JSON that holds something else than data sets", expected=_DICOM_JSON)
        return said
