"""What stands for a patient, a unique identifier and a date, as a secret key has it.

The same key gives the same for the same, in every run and on every machine. Without the key nothing leads
back: a plain digest would, as there are few enough patient numbers and dates to try them all.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

from pydicom.uid import UID

from cxr_explain.errors import OptionError
from cxr_explain.support.bounded import read_bounded
from cxr_explain.support.whole_file import output_errors, staging_folder

KEY_BYTES: Final = 32
_HEXADECIMAL: Final = re.compile(rb"[0-9a-fA-F]{%d}" % (2 * KEY_BYTES))
_LONGEST_KEY_FILE: Final = 256
_DIGITS_OF_A_PSEUDONYM: Final = 20
_FEWEST_DAYS, _DAYS = 365, 3652


@dataclass(frozen=True)
class Pseudonyms:
    """Pseudonyms, by HMAC-SHA256 (RFC 2104).

    Args:
        key: 32 secret bytes.

    Raises:
        OptionError: another number of bytes.
    """

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise OptionError(f"a key of {len(self.key)} bytes", expected=f"{KEY_BYTES} bytes")

    def uid(self, old: str) -> UID:
        """What stands for a unique identifier: 2.25 and a UUID (PS3.5 B.2).

        >>> Pseudonyms(bytes(32)).uid("1.2.3")
        '2.25.234032717547690397412713252077312254305'
        """
        return UID(f"2.25.{UUID(bytes=self._digest('uid', old.encode())[:16], version=4).int}")

    def patient(self, identity: bytes) -> str:
        """What stands for a patient, as number and as name.

        >>> Pseudonyms(bytes(32)).patient(b"4711")
        'DEID-E2896DCF5D40A879451C'
        """
        return f"DEID-{self._digest('patient', identity).hex()[:_DIGITS_OF_A_PSEUDONYM].upper()}"

    def days(self, identity: bytes) -> int:
        """By how many days the dates of a patient are moved back: between one and eleven years.

        >>> 365 <= Pseudonyms(bytes(32)).days(b"4711") < 365 + 3652
        True
        """
        return _FEWEST_DAYS + int.from_bytes(self._digest("days", identity)) % _DAYS

    def _digest(self, what: str, of: bytes) -> bytes:
        return hmac.digest(self.key, what.encode() + b"\0" + of, hashlib.sha256)


def key_of(file: Path | None) -> bytes:
    """The key in a file, which is made where there is none; without a file, one that nobody will see again.

    Args:
        file: 64 hexadecimal digits, readable by its owner alone.

    Raises:
        OptionError: a file that cannot be read, or holds something else.
        OutputError: a file that cannot be made.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     key_of(Path(folder, "key")) == key_of(Path(folder, "key")), key_of(None) == key_of(None)
    (True, False)
    """
    if file is None:
        return secrets.token_bytes(KEY_BYTES)
    if not file.exists():
        _make(file)
    try:
        content = read_bounded(file, _LONGEST_KEY_FILE).strip()
    except OSError as error:
        raise _no_key(f"a key that cannot be read ({error.strerror})", file) from error
    if not _HEXADECIMAL.fullmatch(content):
        raise _no_key("a file that holds no key", file)
    return bytes.fromhex(content.decode("ascii"))


def _make(file: Path) -> None:
    """Write a new key, whole, for the owner alone; where another process was faster, its key stays."""
    with output_errors("a key", file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with staging_folder(file.parent) as folder:
            new = folder / "key"
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                stream.write(secrets.token_hex(KEY_BYTES).encode() + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
            try:
                os.link(new, file)
            except FileExistsError:
                return
            except OSError:  # a file system without hard links
                new.rename(file)


def _no_key(found: str, file: Path) -> OptionError:
    return OptionError(
        found,
        expected=f"{2 * KEY_BYTES} hexadecimal digits, as this package wrote them",
        remedy="Name a file that is not there yet, and a key is made; keep the one that earlier copies have.",
        source=file,
    )
