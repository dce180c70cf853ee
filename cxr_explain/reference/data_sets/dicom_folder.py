"""A folder of DICOM files: no labels, and of the headers only what `HeaderFacts` has.

An image whose file name repeats data of the header is named after the digest of the file. Only the column
`path` has file names as they are, since without them the files cannot be found.
"""

from __future__ import annotations

import hashlib
import warnings
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from cxr_explain.errors import CxrExplainWarning, ManifestError
from cxr_explain.loaders.search import INDEX, FolderSearch, kind_of
from cxr_explain.reference.data_sets.folders import folder_of
from cxr_explain.reference.data_sets.headers import HeaderFacts, manifest_of_headers
from cxr_explain.reference.manifest import Manifest
from cxr_explain.reference.paths import path_problem

if TYPE_CHECKING:
    import pydicom

_BLOCK = 2**20


def manifest_of_dicom(source: str | PathLike[str]) -> Manifest:
    """The DICOM files below a folder, whatever their extension; other files are left out.

    View, sex and age come from the header, a view only as a term that is known, never as free text; an age
    of 0 is unknown, as files without a name often have it. A patient is a number in the order of first
    appearance, never the header's. A damaged header gives a row without metadata: its audit will say what is
    wrong with the file.

    Args:
        source: the folder; linked folders are not entered, nor linked files read that lie elsewhere: a
            warning names them, and a DICOMDIR, the index of a disc.

    Raises:
        ManifestError: no DICOM file, or a file name that a manifest may not have.
    """
    folder = folder_of(source)
    paths = _dicom_files(folder)
    if not paths:
        raise ManifestError("no DICOM file", expected="a folder of DICOM files", source=folder)
    odd = [problem for path in paths if (problem := path_problem(path))]
    if odd:
        raise ManifestError(f"{len(odd)} names such as {odd[0]}", remedy="Rename the files.", source=folder)
    return manifest_of_headers(paths, [_header(folder / path) for path in paths])


def _dicom_files(folder: Path) -> list[str]:
    """POSIX paths below the folder, sorted; a warning has the names of links and of a disc's index."""
    root, search, found = folder.resolve(), FolderSearch(folder), []
    for path in search.files():
        kind = _kind_of(path)
        if kind == "DICOM" and path.resolve().is_relative_to(root):
            found.append(path)
        elif kind == "DICOM":
            search.pass_over(path, "links that lead out of the folder")
        elif kind == "DICOMDIR":
            search.pass_over(path, INDEX)
    for note in search.notes():
        warnings.warn(note, CxrExplainWarning, stacklevel=3)
    return [path.relative_to(folder).as_posix() for path in sorted(found)]


def _kind_of(path: Path) -> str | None:
    try:
        return kind_of(path)
    except OSError:
        return None


def _header(path: Path) -> HeaderFacts:
    """Never raises because of what a header holds."""
    from cxr_explain.loaders.header import parse_header
    from cxr_explain.loaders.limits import Limits
    from cxr_explain.loaders.metered import metered
    from cxr_explain.loaders.scope import quiet_decoders

    with quiet_decoders(), metered(Limits()):
        try:
            dataset = parse_header(path)
            return HeaderFacts.of(dataset, _image_id(path, dataset))
        except MemoryError:
            raise
        except Exception:  # any damage; the message of the exception may quote the header
            return HeaderFacts(_digest(path)[:12])


def _image_id(path: Path, dataset: pydicom.Dataset) -> str:
    """As the loaders name the image: the digest is only computed where the file name may not be used."""
    from cxr_explain.loaders.decode_settings import DecodeSettings
    from cxr_explain.loaders.identity import choose_id
    from cxr_explain.loaders.voi import parse_voi

    def request(sha256: str) -> DecodeSettings:
        return DecodeSettings(format="DICOM", sha256=sha256, stem=path.stem, voi=parse_voi("auto"))

    image_id, warnings = choose_id(dataset, request(""))
    return image_id if image_id and not warnings else choose_id(dataset, request(_digest(path)))[0]


def _digest(path: Path) -> str:
    """The SHA-256 digest of a file, or of the beginning of one that is too large to be read."""
    from cxr_explain.loaders.limits import Limits

    digest = hashlib.sha256()
    with path.open("rb") as file:
        for _ in range(1 + Limits().bytes // _BLOCK):
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()
