"""Find, open, list and verify weights by name or path."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path

from cxr_explain.errors import WeightsError, WeightsIntegrityError, WeightsNotFoundError, naming
from cxr_explain.support.names import visible
from cxr_explain.weights import download
from cxr_explain.weights.checkpoint import Checkpoint, read_bytes, read_checkpoint
from cxr_explain.weights.digests import (
    check_digest,
    check_pin,
    digest_of,
    pinned_digest,
    record_digest,
    recorded_digest,
)
from cxr_explain.weights.facts import CheckpointFacts
from cxr_explain.weights.folder import place_of
from cxr_explain.weights.registry import (
    ALL,
    WeightsEntry,
    known_entry,
    unknown_name,
)

_FILE_ENDINGS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")


@dataclass(frozen=True)
class Weights:
    """Which weights were used: what a figure or a report says about them.

    Attributes:
        name: the registry's name, or the file's.
        path: the file.
        sha256: SHA-256 of the bytes that were read, in hexadecimal.
        entry: the registry's entry, completed by what a bundled file says; None for a file given by its path.
        pathologies: name of each output, `""` for one that was never trained, as the registry or the file
            says; None where neither does.
    """

    name: str
    path: Path
    sha256: str
    entry: WeightsEntry | None = None
    pathologies: tuple[str, ...] | None = None


@dataclass(frozen=True)
class WeightsRow:
    """One row of `cxr-explain weights list`.

    Attributes:
        entry: the registry's entry.
        path: where the file lies, or would lie; None where that is the home folder of a user who has none.
        size: size of the file in bytes; None while it is missing.
        recorded_sha256: the SHA-256 that the next use is compared with, recorded at the first use or pinned;
            None before the first use.
    """

    entry: WeightsEntry
    path: Path | None
    size: int | None
    recorded_sha256: str | None

    @property
    def name(self) -> str:
        """The registry's name."""
        return self.entry.name

    @property
    def present(self) -> bool:
        """Whether the file is in the folder."""
        return self.size is not None


def resolve(
    weights: WeightsEntry | str | PathLike[str],
    weights_dir: str | PathLike[str] | None = None,
    *,
    fetch: bool = True,
) -> Path:
    """Return the file of these weights, fetching it where it is missing and may be fetched.

    Args:
        weights: an entry of the registry, its name or alias, or the path of a checkpoint file.
        weights_dir: folder of the weights with a name; see :func:`~cxr_explain.weights.weights_folder`.
        fetch: whether a missing file of the registry is downloaded.

    Raises:
        UnknownWeightsError: neither a name nor anything like a path.
        WeightsNotFoundError: a missing file that may not or cannot be fetched.
        WeightsDownloadError: the download failed.
    """
    entry = _entry_of(weights)
    if entry is not None:
        return download.fetch(entry, weights_dir=weights_dir, offline=not fetch)
    path = Path(os.path.expanduser(fspath(weights)))  # type: ignore[arg-type]  # no entry any more
    if isinstance(weights, str) and not _looks_like_a_path(weights, path):
        raise unknown_name(weights)
    if not _is_there(path):
        raise WeightsNotFoundError(
            "no such checkpoint file",
            remedy="Check the path, or give a name from `cxr-explain weights list`.",
            source=path,
        )
    return path


def open_weights(
    weights: WeightsEntry | str | PathLike[str],
    weights_dir: str | PathLike[str] | None = None,
    *,
    fetch: bool = True,
) -> tuple[Weights, Checkpoint]:
    """Resolve, read and check weights in one go: the way for everything that builds a model.

    The file is read once. Its SHA-256 is compared with the one recorded at the first use, and recorded if
    this is the first use; a file that is no checkpoint is never recorded. Bundled weights are compared with
    the digest that the package pins, and nothing is recorded.

    Args:
        weights: an entry of the registry, its name or alias, or the path of a checkpoint file.
        weights_dir: folder of the weights with a name; see :func:`~cxr_explain.weights.weights_folder`.
        fetch: whether a missing file of the registry is downloaded.

    Raises:
        WeightsError: weights that cannot be found, fetched, read or trusted.
    """
    return _open(_entry_of(weights), resolve(weights, weights_dir, fetch=fetch))


def identify(
    weights: WeightsEntry | str | PathLike[str],
    weights_dir: str | PathLike[str] | None = None,
    *,
    fetch: bool = True,
) -> Weights:
    """Which weights these are, by the file's SHA-256, which is checked as in `open_weights`.

    The file is not looked into, so that nothing is recorded, and `pathologies` is None: see `remember`.

    Args:
        weights: an entry of the registry, its name or alias, or the path of a checkpoint file.
        weights_dir: folder of the weights with a name; see :func:`~cxr_explain.weights.weights_folder`.
        fetch: whether a missing file of the registry is downloaded.

    Raises:
        WeightsError: weights that cannot be found, fetched, read or trusted.

    >>> identify("phantom").name
    'densenet-res224-phantom'
    """
    entry, path = _entry_of(weights), resolve(weights, weights_dir, fetch=fetch)
    digest = digest_of(read_bytes(path))
    if entry is not None and entry.bundled:
        check_pin(path, digest)
    else:
        check_digest(path, digest)
    return Weights(entry.name if entry else visible(path.name), path, digest, entry)


def remember(weights: Weights) -> None:
    """Record the digest of weights that are known to be a checkpoint, if this is their first use."""
    if weights.entry is None or not weights.entry.bundled:
        record_digest(weights.path, weights.sha256)


def verify(
    weights: WeightsEntry | str | PathLike[str],
    weights_dir: str | PathLike[str] | None = None,
    *,
    accept: bool = False,
) -> Weights:
    """Check that the file is a whole checkpoint and unchanged since its first use; never downloads.

    Args:
        weights: an entry of the registry, its name or alias, or the path of a checkpoint file.
        weights_dir: folder of the weights with a name; see :func:`~cxr_explain.weights.weights_folder`.
        accept: record the SHA-256 of the file as it is now; not for bundled weights, which are pinned.

    Raises:
        WeightsNotFoundError: there is no file to verify.
        WeightsIntegrityError: truncated, or changed since its first use, or since it was pinned.
        UnsafeWeightsError: it asks for more than tensors and known layers.
    """
    return _open(_entry_of(weights), resolve(weights, weights_dir, fetch=False), accept=accept)[0]


def list_weights(weights_dir: str | PathLike[str] | None = None) -> list[WeightsRow]:
    """Return one row for each set of weights with a name, present or not; reads and imports little.

    Args:
        weights_dir: folder of the weights; see :func:`~cxr_explain.weights.weights_folder`.

    >>> [row.name for row in list_weights("/nowhere")][:2]
    ['densenet121-res224-all', 'densenet121-res224-nih']
    """
    return [_row(entry, weights_dir) for entry in ALL]


def _row(entry: WeightsEntry, weights_dir: str | PathLike[str] | None) -> WeightsRow:
    try:
        path = place_of(entry, weights_dir)
    except WeightsNotFoundError:
        return WeightsRow(entry, None, None, None)
    size = path.stat().st_size if os.path.isfile(path) else None  # not Path's, which fails without permission
    if not entry.bundled:
        return WeightsRow(entry, path, size, recorded_digest(path))
    pin = None
    # A list shows what there is; opening the file says what is wrong with it.
    with suppress(OSError, ValueError, WeightsError):
        pin = pinned_digest(path)
        entry = _completed(entry, CheckpointFacts.of_file(path))
    return WeightsRow(entry, path, size, pin)


def _completed(entry: WeightsEntry, facts: CheckpointFacts) -> WeightsEntry:
    """What a bundled file says, in its entry; that it saw phantoms alone is the registry's word."""
    return replace(
        entry,
        pathologies=facts.pathologies or (),
        operating_points=facts.operating_points or (None,) * len(facts.pathologies or ()),
        input_size=facts.input_size or entry.input_size,
        training_sets=facts.training_sets or entry.training_sets,
    )


def _open(entry: WeightsEntry | None, path: Path, *, accept: bool = False) -> tuple[Weights, Checkpoint]:
    bundled = entry is not None and entry.bundled
    content = read_bytes(path)
    digest = digest_of(content)
    if bundled and accept:
        raise WeightsIntegrityError(
            f"an attempt to accept another SHA-256 for {path.stem}",
            expected=f"the one that the package pins, {pinned_digest(path)}",
            source=path,
        )
    if bundled:
        check_pin(path, digest)
    elif not accept:
        check_digest(path, digest)
    with naming(path):
        checkpoint = read_checkpoint(content)
    if not bundled:
        record_digest(path, digest, replace=accept)
    elif entry is not None:
        entry = _completed(entry, checkpoint.facts)
    pathologies = (entry.pathologies if entry else checkpoint.pathologies) or None
    name = entry.name if entry else visible(path.name)
    return Weights(name, path, digest, entry, pathologies), checkpoint


def _entry_of(weights: WeightsEntry | str | PathLike[str]) -> WeightsEntry | None:
    """Return the registry's entry, or None for a path; a name wins over a file of that name."""
    if isinstance(weights, WeightsEntry):
        return weights
    return known_entry(weights) if isinstance(weights, str) else None


def _looks_like_a_path(text: str, path: Path) -> bool:
    return path.name != text or path.suffix in _FILE_ENDINGS or os.path.isfile(path)


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:
        return True  # as far as anyone can tell; reading it says what is wrong
