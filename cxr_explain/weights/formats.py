"""What the first bytes of a weights file say about it, before anything is parsed."""

from __future__ import annotations

from enum import StrEnum


class FileFormat(StrEnum):
    """What a file is, in the words of error messages."""

    TORCH_ZIP = "a PyTorch zip archive"
    TORCH_LEGACY = "a PyTorch file in the format before 1.6"
    SAFETENSORS = "a safetensors file"
    TAR = "a tar archive"
    HTML = "an HTML page"
    GIT_LFS_POINTER = "a Git LFS pointer, not the file it points to"
    EMPTY = "an empty file"
    UNKNOWN = "bytes of no known checkpoint format"


CHECKPOINT_FORMATS = frozenset({FileFormat.TORCH_ZIP, FileFormat.TORCH_LEGACY, FileFormat.SAFETENSORS})
"""The formats that :func:`~cxr_explain.weights.read_checkpoint` reads."""

SNIFFED_BYTES = 512
"""How many leading bytes :func:`format_of` wants."""


def format_of(head: bytes) -> FileFormat:
    r"""The format of a file, from its first 512 bytes.

    >>> str(format_of(b"PK\x03\x04....")), str(format_of(b"<!DOCTYPE html><html>"))
    ('a PyTorch zip archive', 'an HTML page')
    """
    if not head:
        return FileFormat.EMPTY
    if head.startswith(b"PK\x03\x04"):
        return FileFormat.TORCH_ZIP
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return FileFormat.TORCH_LEGACY
    if head[8:9] == b"{" and head[6:8] == b"\0\0":  # 64-bit length of a JSON header, then the header
        return FileFormat.SAFETENSORS
    if head[257:262] == b"ustar":
        return FileFormat.TAR
    if head.startswith(b"version https://git-lfs"):
        return FileFormat.GIT_LFS_POINTER
    if head.lstrip()[:1] == b"<":
        return FileFormat.HTML
    return FileFormat.UNKNOWN
