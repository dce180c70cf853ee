"""What the first bytes of a file say about it, before anything is parsed."""

from __future__ import annotations

from typing import Literal

FileFormat = Literal[
    "torch-zip", "torch-legacy", "safetensors", "tar", "html", "git-lfs-pointer", "empty", "unknown"
]

CHECKPOINT_FORMATS: frozenset[FileFormat] = frozenset({"torch-zip", "torch-legacy", "safetensors"})
"""The formats that :func:`~cxr_explain.weights.read_checkpoint` reads."""

SNIFFED_BYTES = 512
"""How many leading bytes :func:`sniff` wants."""

_WORDS: dict[FileFormat, str] = {
    "torch-zip": "a PyTorch zip archive",
    "torch-legacy": "a PyTorch file in the format before 1.6",
    "safetensors": "a safetensors file",
    "tar": "a tar archive",
    "html": "an HTML page",
    "git-lfs-pointer": "a Git LFS pointer, not the file it points to",
    "empty": "an empty file",
    "unknown": "bytes of no known checkpoint format",
}


def sniff(head: bytes) -> FileFormat:
    r"""Name the format of a file from its first 512 bytes.

    >>> sniff(b"PK\x03\x04...."), sniff(b"<!DOCTYPE html><html>"), sniff(b"")
    ('torch-zip', 'html', 'empty')
    """
    if not head:
        return "empty"
    if head.startswith(b"PK\x03\x04"):
        return "torch-zip"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "torch-legacy"
    if head[8:9] == b"{" and head[6:8] == b"\0\0":  # 64-bit length of a JSON header, then the header
        return "safetensors"
    if head[257:262] == b"ustar":
        return "tar"
    if head.startswith(b"version https://git-lfs"):
        return "git-lfs-pointer"
    if head.lstrip()[:1] == b"<":
        return "html"
    return "unknown"


def describe(file_format: FileFormat) -> str:
    """Say in words what a file is, for error messages."""
    return _WORDS[file_format]
