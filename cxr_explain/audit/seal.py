"""Digests by which a run's files are known again: of a whole run, and of each part by itself.

They show what went wrong on a disk or on the way, what was edited by hand, and what came from another run.
They are no signatures: whoever means to deceive writes new ones.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

from cxr_explain.audit.place import Place
from cxr_explain.errors import AuditError

SEAL = "SHA256SUMS.txt"
"""Written last: where it is, the run came to its end. `sha256sum -c SHA256SUMS.txt` reads it, too."""

WRITTEN_ANEW = "Copy it again, or run the same `cxr-explain audit` command again: it writes it anew."

_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")
_TAIL = 8  # a Parquet file ends in the length of the index and in "PAR1"
_DIGEST = hashlib.sha256().digest_size


def seal(place: Place, names: Iterable[str]) -> None:
    """Write down the digests of a finished run's files.

    Args:
        place: the run's folder.
        names: its files.
    """
    lines = (f"{place.sha256(name)}  {name}\n" for name in names)
    place.write(SEAL, "".join(lines).encode())


def check_seal(place: Place, remedies: Mapping[str, str]) -> None:
    """See that the files of a finished run are those that were written.

    They are read once, some at a time: about a second a gigabyte.

    Args:
        place: the run's folder.
        remedies: the way out where a file is another, for each of the files that must have a digest.

    Raises:
        AuditError: names a file that is missing, or that was changed.
    """
    digests = _digests_in(place)
    for name, remedy in remedies.items():
        if name not in digests:
            raise AuditError(f"no digest of {name}", source=f"{place.name}/{SEAL}", remedy=WRITTEN_ANEW)
        there = place.exists(name)
        if not there or place.sha256(name) != digests[name]:
            raise AuditError(
                "a file that was changed since it was written" if there else "no such file",
                expected=f"the one of {SEAL}, with SHA-256 {digests[name][:12]}",
                source=f"{place.name}/{name}",
                remedy=remedy,
            )


def is_sealed(place: Place, remedies: Mapping[str, str]) -> bool:
    """Whether a run came to its end, and its files are those that were written then."""
    if not place.exists(SEAL):
        return False
    try:
        check_seal(place, remedies)
    except AuditError:
        return False
    return True


def _digests_in(place: Place) -> dict[str, str]:
    lines = place.read(SEAL).decode("ascii", "replace").splitlines()
    found = [_LINE.fullmatch(line) for line in lines]
    return {match[2]: match[1] for match in found if match}


def with_digest(parquet: bytes) -> bytes:
    """A Parquet file that carries its own SHA-256, and that every reader of Parquet still reads.

    The digest stands before the index at the file's end, which says where everything else is.

    >>> table = _example()
    >>> is_as_written(with_digest(table)), is_as_written(table), is_as_written(b"")
    (True, False, False)
    """
    index = _index_of(parquet)
    return parquet[:index] + hashlib.sha256(parquet).digest() + parquet[index:]


def is_as_written(parquet: bytes) -> bool:
    """Whether a Parquet file is what it was when `with_digest` made it."""
    index = _index_of(parquet)
    digest = parquet[max(index - _DIGEST, 0) : max(index, 0)]
    return hashlib.sha256(parquet[: max(index - _DIGEST, 0)] + parquet[max(index, 0) :]).digest() == digest


def _index_of(parquet: bytes) -> int:
    """Where the index begins; it may lie before the file where this is none."""
    return len(parquet) - _TAIL - int.from_bytes(parquet[-_TAIL:-4], "little")


def _example() -> bytes:
    return b"PAR1 pages, index" + len(b" index").to_bytes(4, "little") + b"PAR1"
