"""The DICOM file that was explained: what the objects made of its explanation keep of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Self

from pydicom import Dataset

from cxr_explain.dicom.greyscale import Greyscale
from cxr_explain.dicom.kept import kept_of
from cxr_explain.errors import OutputError, naming
from cxr_explain.loaders.header import parse_dicom


@dataclass(frozen=True, eq=False)
class Source:
    """The file that was explained, without its pixels.

    Args:
        dataset: the attributes that objects keep, every value of them one that the standard allows.
        sha256: hexadecimal digest of the file's bytes.
        notes: what of the file's header is not kept because the standard does not allow its value, attribute
            by attribute.
        is_deidentified: whether the header went through `change` first.
        greyscale: how stored pixels become grey levels.
    """

    dataset: Dataset = field(repr=False)
    sha256: str
    notes: tuple[str, ...] = ()
    is_deidentified: bool = False
    greyscale: Greyscale = field(default_factory=Greyscale, repr=False)

    @classmethod
    def read(
        cls,
        file: str | PathLike[str] | bytes,
        *,
        change: Callable[[Dataset], None] | None = None,
    ) -> Self:
        """Read a DICOM file.

        Args:
            file: its path, or its bytes.
            change: changes the header in place before anything is kept of it, such as a `Deidentifier`.

        Raises:
            RadiographError: bytes that are no DICOM file.
            OutputError: a header without what every object needs: see `kept_of`.
        """
        with naming("the source" if isinstance(file, bytes) else fspath(file)):
            data = file if isinstance(file, bytes) else _bytes_of(Path(file))
            header = parse_dicom(data)
            if change is not None:
                change(header)
            dataset, notes = kept_of(header)
            sha256 = hashlib.sha256(data).hexdigest()
            is_deidentified, greyscale = change is not None, Greyscale.of(header)
            return cls(dataset, sha256, tuple(notes), is_deidentified, greyscale)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OutputError(
            f"a source that cannot be read ({error.strerror})", expected="the DICOM file that was explained"
        ) from error
