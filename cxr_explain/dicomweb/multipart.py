"""Messages of several parts (PS3.18 8.6, RFC 2387): what is sent to a server, and what comes from one.

The parser of dicomweb-client takes what ends without its last boundary for a whole part, and one without a
boundary for a file: a transfer that was cut would pass for a radiograph.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from email.message import Message

from cxr_explain.errors import DicomWebError

DICOM = "application/dicom"
RELATED = "multipart/related"
_END_OF_HEADERS = b"\r\n\r\n"


def encode(files: Sequence[bytes]) -> tuple[bytes, str]:
    """A message that holds DICOM files, and the content type that goes with it.

    Args:
        files: DICOM files (PS3.10).

    >>> body, content_type = encode([b"first", b"second"])
    >>> decode(body, content_type)
    [b'first', b'second']
    """
    boundary = secrets.token_hex(16)  # unguessable, so that no file can hold it
    head = f"--{boundary}\r\nContent-Type: {DICOM}\r\n\r\n".encode()
    body = b"".join(
        (*(piece for file in files for piece in (head, file, b"\r\n")), f"--{boundary}--".encode())
    )
    return body, f'{RELATED}; type="{DICOM}"; boundary={boundary}'


def decode(body: bytes, content_type: str) -> list[bytes]:
    """The parts of a message.

    Args:
        body: the message.
        content_type: the header of that name.

    Raises:
        DicomWebError: another kind of message, one without a boundary, or one that was cut off.
    """
    header = Message()
    header["Content-Type"] = content_type
    kind, boundary = header.get_content_type(), header.get_boundary()
    if kind == DICOM:  # some servers send a single file as it is
        return [body]
    if kind != RELATED:
        raise DicomWebError("an answer of another kind than was asked for", expected=f"{RELATED} or {DICOM}")
    if not boundary:
        raise DicomWebError("an answer of several parts that does not name what separates them")
    marker = b"--" + boundary.encode("latin-1", "replace")
    return _parts(body, marker)


def _parts(body: bytes, marker: bytes) -> list[bytes]:
    at = 0 if body.startswith(marker) else body.find(b"\r\n" + marker) + 2
    if at == 1:
        raise DicomWebError("an answer of several parts without the first of them")
    parts = list[bytes]()
    while True:
        at += len(marker)
        if body.startswith(b"--", at):
            return parts
        start, end = body.find(_END_OF_HEADERS, at), body.find(b"\r\n" + marker, at)
        if end < 0:
            raise DicomWebError("an answer that was cut off", expected="the mark behind the last part")
        if not at <= start < end:
            raise DicomWebError("an answer with a part whose headers have no end")
        parts.append(body[start + len(_END_OF_HEADERS) : end])
        at = end + 2
