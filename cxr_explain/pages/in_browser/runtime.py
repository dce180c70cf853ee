"""ONNX Runtime for browsers, which the page is served with: one version, known by its files' digests.

It is taken from a folder that is named, else from this user's cache, else fetched by npm, once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from cxr_explain.errors import OutputError
from cxr_explain.support.cache_root import cache_root
from cxr_explain.support.whole_file import write_together

VERSION: Final = "1.30.0"
"""Version of onnxruntime-web."""

FOLDER_VARIABLE: Final = "CXR_EXPLAIN_ORT_WEB"
"""The environment's variable that names a folder with the package's files."""

DIGESTS: Final[Mapping[str, str]] = {
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""SHA-256 of each file that the page needs."""

_PACKAGE: Final = f"onnxruntime-web@{VERSION}"
_WITHIN: Final = ("", "dist", "package/dist")
_SECONDS: Final = 600


def runtime_files(folder: Path | None = None, *, fetch: bool = True) -> dict[str, bytes]:
    """The runtime's files by name, each with the digest recorded here.

    Args:
        folder: where the package's files are, as npm unpacks them or as they are in its "dist"; by default
            that of `$CXR_EXPLAIN_ORT_WEB`, else this user's cache.
        fetch: have npm fetch the package where it is nowhere else.

    Raises:
        OutputError: files that are missing or others, or a package that cannot be fetched.

    >>> runtime_files(Path("nowhere"))
    Traceback (most recent call last):
    cxr_explain.errors.OutputError: nowhere: found a folder without the files of onnxruntime-web; expected ...
    """
    named = folder or (Path(value) if (value := os.environ.get(FOLDER_VARIABLE)) else None)
    if named is not None:
        return _in_folder(named)
    cache = _cache()
    if not (cache / next(iter(DIGESTS))).exists():
        if not fetch:
            raise _missing("and may not be fetched")
        _fetch_into(cache)
    return _in_folder(cache)


def _in_folder(folder: Path) -> dict[str, bytes]:
    place = next(
        (folder / sub for sub in _WITHIN if all((folder / sub / name).is_file() for name in DIGESTS)), None
    )
    if place is None:
        raise OutputError(
            "a folder without the files of onnxruntime-web",
            expected=" and ".join(DIGESTS),
            remedy=f"Name the folder of {_PACKAGE} as npm unpacks it.",
            source=folder,
        )
    found = {}
    for name, digest in DIGESTS.items():
        found[name] = (place / name).read_bytes()
        if hashlib.sha256(found[name]).hexdigest() != digest:
            raise OutputError(
                "a file of onnxruntime-web with another digest",
                expected=f"that of version {VERSION}, SHA-256 {digest[:12]}",
                remedy="Remove the file, or name another folder with --runtime.",
                source=place / name,
            )
    return found


def _cache() -> Path:
    root = cache_root()
    if root is None:
        raise _missing("and there is no home folder to keep it in")
    return Path(root) / f"onnxruntime-web-{VERSION}"


def _fetch_into(cache: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise _missing("and there is no npm to fetch it")
    with TemporaryDirectory() as folder:
        command = [npm, "pack", "--silent", "--pack-destination", folder, _PACKAGE]
        try:
            subprocess.run(command, cwd=folder, timeout=_SECONDS, capture_output=True, check=True)  # noqa: S603
            files = _unpacked(next(Path(folder).glob("*.tgz")))
        except (OSError, subprocess.SubprocessError, StopIteration, tarfile.TarError, KeyError):
            raise _missing("and npm could not fetch it") from None
        if any(hashlib.sha256(content).hexdigest() != DIGESTS[name] for name, content in files.items()):
            raise _missing("and what npm fetched has another digest")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_together(cache, files)
    except OSError as error:
        raise OutputError(f"a cache that cannot be written ({error.strerror})", source=cache) from None


def _unpacked(archive: Path) -> dict[str, bytes]:
    """The files that are needed, by name; nothing else of the archive is looked at."""
    with tarfile.open(archive) as package:
        members = {name: package.extractfile(f"package/dist/{name}") for name in DIGESTS}
        return {name: member.read() for name, member in members.items() if member is not None}


def _missing(why: str) -> OutputError:
    return OutputError(
        f"no {_PACKAGE}, which the page runs the model with, {why}",
        remedy=f"Run `npm pack {_PACKAGE}` where there is a network, unpack it, and name its folder with "
        f"--runtime DIR or in {FOLDER_VARIABLE}.",
    )
