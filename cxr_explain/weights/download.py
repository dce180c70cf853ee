"""Fetch weights: resumed when cut, moved into place whole, once for all processes that ask.

A download grows in `<file>.part`; `<file>.part.json` remembers which version of the remote file it is (its
ETag or date). Only a server that confirms that version, the offset and the total length may continue it;
in every other case the download starts from zero. What does not look like a checkpoint is never moved into
place.

A server may be anybody's, and the way to it, too: see `cxr_explain.weights.hops` for where a request may go,
and `cxr_explain.weights.watch` for how long it may take. What comes is bounded by the length that is
declared, and that by `MOST_BYTES`; compressed answers are refused.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cxr_explain.errors import WeightsDownloadError, WeightsNotFoundError, legible
from cxr_explain.support.bounded import quoted
from cxr_explain.support.locks import exclusive
from cxr_explain.weights.folder import WEIGHTS_DIR_VARIABLE, place_of
from cxr_explain.weights.formats import CHECKPOINT_FORMATS, SNIFFED_BYTES, format_of
from cxr_explain.weights.hops import answer
from cxr_explain.weights.registry import WeightsEntry, find_entry
from cxr_explain.weights.watch import LONGEST, PATIENCE, SLOWEST, Watch

if TYPE_CHECKING:
    import requests

MIRROR_VARIABLE = "CXR_EXPLAIN_WEIGHTS_URL"

LIMIT_VARIABLE = "CXR_EXPLAIN_MAX_DOWNLOAD_MIB"

MOST_BYTES = 2 << 30
"""Bytes of a download at most, unless `$CXR_EXPLAIN_MAX_DOWNLOAD_MIB` has another number of MiB."""

BytesDone = Callable[[int, int | None], None]
"""Called with the bytes received so far and their total, where it is known."""

_ATTEMPTS = 5
_CHUNK = 1 << 16
_COUNT = "([0-9]{1,18})"
_RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})

_log = logging.getLogger(__name__)


class _RetryableError(Exception):
    """A failure that the next attempt may not meet."""


@dataclass(frozen=True)
class _Version:
    """Which remote file the bytes of a `.part` file belong to."""

    url: str
    validator: str  # a strong ETag, or a date
    total: int


def fetch(
    entry: WeightsEntry | str,
    *,
    weights_dir: str | PathLike[str] | None = None,
    url: str | None = None,
    progress: BytesDone | Literal["auto"] | None = "auto",
    offline: bool = False,
    backoff: float = 0.5,
) -> Path:
    """Return the path of the weights file, after downloading it where it is missing.

    The weights that come with the package are never downloaded.

    Args:
        entry: an entry of the registry, or the name of one.
        weights_dir: folder of the weights; see :func:`~cxr_explain.weights.weights_folder`.
        url: another address of the file. Without it, `$CXR_EXPLAIN_WEIGHTS_URL` is the address of a folder
            that mirrors the files under their names; without that, the entry's own address is used.
        progress: a function that is called with the bytes received so far and their total; `"auto"` for a
            progress bar where standard error is a terminal, and for a line where another process downloads
            the file and this one waits; or None.
        offline: whether an error is raised instead of using the network.
        backoff: time before the second of five attempts, in seconds; doubled before each later one.

    Raises:
        UnknownWeightsError: no such name.
        WeightsNotFoundError: missing, and `offline`.
        WeightsDownloadError: the download failed, or was given up: a hop that is not https, more bytes than
            `MOST_BYTES`, too little in too long a time. What came is kept and continued next time, where the
            server says which version of the file it is.
    """
    entry = find_entry(entry) if isinstance(entry, str) else entry
    target = place_of(entry, weights_dir)
    if os.path.isfile(target):  # not Path's, which fails where the folder may not be read
        _tidy(target)
        return target
    mirror = os.environ.get(MIRROR_VARIABLE)
    url = url or (f"{mirror.rstrip('/')}/{entry.file_name}" if mirror else entry.url)
    if entry.bundled or url is None:
        raise WeightsNotFoundError(
            "no such file, which comes with cxr-explain", remedy="Install cxr-explain again.", source=target
        )
    if offline:
        raise WeightsNotFoundError(
            f"no file {target}", expected=f"the weights {entry.name}", remedy=_by_hand(target, url)
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(_beside(target, ".lock"), waiting=lambda: _say_waiting(progress, entry.name)):
            if not target.is_file():  # another process may have fetched it while this one waited
                with _reporting(progress, entry.name) as report:
                    _Download(url, target, report).run(backoff)
    except WeightsDownloadError as error:
        raise _with_remedy(error, target, url) from error.__cause__
    except OSError as error:
        unwritable = WeightsDownloadError(f"a folder that cannot be written ({error.strerror or error})")
        raise _with_remedy(unwritable, target, url) from error
    return target


def _tidy(target: Path) -> None:
    """Remove what a download that was killed once the file was in its place left beside it."""
    part, version, lock = (_beside(target, ending) for ending in (".part", ".part.json", ".lock"))
    if os.path.isfile(version) or os.path.isfile(lock):
        with suppress(OSError), exclusive(lock):  # unless another process is at it, or nobody may write here
            if version.is_file():  # without it, the part may be a browser's
                part.unlink(missing_ok=True)
                version.unlink()


def _with_remedy(error: WeightsDownloadError, target: Path, url: str) -> WeightsDownloadError:
    return WeightsDownloadError(
        f"{error.found} while fetching {target.name}", remedy=_by_hand(target, url), source=_shown(url)
    )


def _by_hand(target: Path, url: str) -> str:
    return (
        f"Download {_shown(url)} by other means and put it at {target}, or name another folder "
        f"(weights_dir or ${WEIGHTS_DIR_VARIABLE}), a mirror (${MIRROR_VARIABLE}), or the "
        "path of a checkpoint file, such as model.safetensors, in place of the weights' name."
    )


def _shown(url: str) -> str:
    """Return the address without the user and password that a private mirror's may hold."""
    return re.sub(r"//[^/@]*@", "//", url)


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(target.name + ending)


class _Download:
    """One download, over several attempts. The caller holds the lock."""

    def __init__(self, url: str, target: Path, report: BytesDone) -> None:
        self._url = url
        self._target = target
        self._part = _beside(target, ".part")
        self._version_file = _beside(target, ".part.json")
        self._report = report
        self._is_whole = False

    def run(self, backoff: float) -> None:
        """Download, retry, check, and move into place."""
        limit, until = _most_bytes(), time.monotonic() + LONGEST
        try:
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    self._attempt(limit, until)
                    break
                except _RetryableError as error:
                    _log.info("%s: attempt %d of %d: %s", _shown(self._url), attempt, _ATTEMPTS, error)
                    if attempt == _ATTEMPTS:
                        raise WeightsDownloadError(f"{error}, {_ATTEMPTS} times") from error.__cause__
                    time.sleep(backoff * 2 ** (attempt - 1))
        finally:
            if not self._is_whole and not self._version_file.is_file():
                self._discard()  # nothing could go on from it
        self._move_into_place()

    def _attempt(self, limit: int, until: float) -> None:
        import requests
        import urllib3

        begun = self._begun(limit)
        headers = {"Accept-Encoding": "identity"}  # the lengths must be those of the file
        if begun is not None:
            offset, version = begun
            if offset == version.total:
                return
            headers |= {"Range": f"bytes={offset}-", "If-Range": version.validator}
        # A session, so that the proxies of the environment are respected on redirects, too.
        with Watch(until) as watch, watch.session() as session:
            try:
                with answer(session, self._url, headers) as response:
                    _raise_if_cut(watch)  # to whoever reads headers, a cut is their end
                    self._receive(response, begun, limit, watch)
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                _raise_if_cut(watch, error)
                raise _meaning_of(error) from error
            _raise_if_cut(watch)
        self._is_whole = True

    def _begun(self, limit: int) -> tuple[int, _Version] | None:
        """Return how far an earlier attempt came, where it may be continued; else start from nothing."""
        with suppress(OSError, ValueError, TypeError):
            version = _Version(**json.loads(self._version_file.read_text(encoding="utf-8")))
            offset = self._part.stat().st_size
            is_ours = version.url == self._url and _validates(version.validator)
            if is_ours and 0 < offset <= version.total <= limit:
                return offset, version
        self._discard()
        return None

    def _discard(self) -> None:
        self._part.unlink(missing_ok=True)
        self._version_file.unlink(missing_ok=True)

    def _receive(
        self, response: requests.Response, begun: tuple[int, _Version] | None, limit: int, watch: Watch
    ) -> None:
        coding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if response.ok and coding != "identity":
            raise WeightsDownloadError(f"a compressed answer ({quoted(coding)}), which was not asked for,")
        if response.status_code == 206 and begun is not None:
            offset, version = begun
            if not _continues(response, offset, version):
                self._discard()
                raise _RetryableError("another part of the file than was asked for")
            self._copy(response, "ab", offset, version.total, limit, watch)
        elif response.status_code == 200:
            total = _content_length(response)
            self._discard()
            self._check_room(total, limit)
            self._remember_version(response, total)
            self._copy(response, "wb", 0, total, limit, watch)
        elif response.status_code == 416:
            self._discard()
            raise _RetryableError("a refusal to continue the download")
        else:
            found = f"the answer {response.status_code} {legible((response.reason or '')[:60])}".rstrip()
            if response.status_code in _RETRIED_STATUSES:
                raise _RetryableError(found)
            raise WeightsDownloadError(found)

    def _check_room(self, total: int | None, limit: int) -> None:
        if total is not None and total > limit:
            raise _too_much(f"a file of {total:,} bytes", limit)
        free = shutil.disk_usage(self._target.parent).free
        if (total or 0) > free:
            raise WeightsDownloadError(f"{free:,} free bytes in {self._target.parent} for {total:,}")

    def _remember_version(self, response: requests.Response, total: int | None) -> None:
        """Keep what lets a later attempt continue; a server that names no version cannot be continued."""
        etag = response.headers.get("ETag", "")
        # RFC 9110, 13.1.5: If-Range takes no weak ETag.
        validator = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
        if _validates(validator) and total is not None:
            content = json.dumps(asdict(_Version(self._url, validator, total)))
            self._version_file.write_text(content, encoding="utf-8")

    def _copy(
        self, response: requests.Response, mode: str, offset: int, total: int | None, limit: int, watch: Watch
    ) -> None:
        """Append what comes; not a byte more than was declared, or than the limit allows."""
        received, most = offset, limit if total is None else total
        self._report(received, total)
        with self._freeing_a_full_disk(), self._part.open(mode) as stream:
            try:
                # Not `iter_content`, which reads the size of a chunk from a line of any length.
                while chunk := response.raw.read(_CHUNK, decode_content=False):
                    received += len(chunk)
                    watch.received += len(chunk)
                    if received > most:
                        break
                    stream.write(chunk)
                    self._report(received, total)
            finally:
                stream.flush()
                os.fsync(stream.fileno())
        if total is None and received > most:
            raise _too_much("a file without an end", limit)
        if total is not None and received > most:
            self._discard()
        if total is not None and received != total:
            raise _RetryableError(f"{received:,} bytes in place of {total:,}")

    @contextmanager
    def _freeing_a_full_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                self._discard()
            raise

    def _move_into_place(self) -> None:
        with self._part.open("rb") as stream:
            file_format = format_of(stream.read(SNIFFED_BYTES))
        if file_format not in CHECKPOINT_FORMATS:
            self._discard()
            raise WeightsDownloadError(f"{file_format} in place of a checkpoint")
        os.replace(self._part, self._target)
        self._version_file.unlink(missing_ok=True)
        _sync_folder(self._target.parent)


def _raise_if_cut(watch: Watch, cause: Exception | None = None) -> None:
    if watch.is_over:
        raise WeightsDownloadError(f"no end after {LONGEST / 3600:g} hours") from cause
    if watch.is_slow:
        raise _RetryableError(f"less than {SLOWEST:,} bytes a second for {PATIENCE:g} seconds") from cause


def _meaning_of(error: Exception) -> Exception:
    """What is to be said of a request that failed; of some failures, that they are tried again."""
    import requests
    from urllib3.exceptions import ReadTimeoutError

    if isinstance(error, requests.exceptions.SSLError):
        return WeightsDownloadError("a certificate that cannot be verified")
    if isinstance(error, requests.ConnectionError):
        return _RetryableError("a connection that failed or broke off")
    if isinstance(error, (requests.Timeout, ReadTimeoutError)):
        return _RetryableError("no answer in time")
    if isinstance(error, requests.RequestException):
        return WeightsDownloadError(f"a failed request ({legible(_shown(str(error))[:300])})")
    return _RetryableError("a connection that failed or broke off")


def _most_bytes() -> int:
    said = os.environ.get(LIMIT_VARIABLE, "")
    if said and not re.fullmatch("0*[1-9][0-9]{0,11}", said):
        raise WeightsDownloadError(
            f"{LIMIT_VARIABLE}={quoted(said)}, which is no number of MiB (such as 4096),"
        )
    return int(said) << 20 if said else MOST_BYTES


def _too_much(found: str, limit: int) -> WeightsDownloadError:
    allowed = f"more than the {limit >> 20:,} MiB that {LIMIT_VARIABLE} allows"
    return WeightsDownloadError(f"{found}, {allowed} (2,048 where it is not set),")


def _validates(validator: object) -> bool:
    """Whether a version's name may be sent back to the server."""
    return isinstance(validator, str) and re.fullmatch("[ -~]{1,200}", validator) is not None


def _continues(response: requests.Response, offset: int, version: _Version) -> bool:
    span = re.fullmatch(f"bytes {_COUNT}-{_COUNT}/{_COUNT}", response.headers.get("Content-Range", ""))
    if span is None or tuple(map(int, span.groups())) != (offset, version.total - 1, version.total):
        return False
    # A server may overlook If-Range. RFC 9110, 15.3.7: it says an ETag again, and may leave a date out.
    if version.validator.startswith('"'):
        return response.headers.get("ETag") == version.validator
    return response.headers.get("Last-Modified", version.validator) == version.validator


def _content_length(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    if re.fullmatch(_COUNT, length):
        return int(length)
    if response.headers.get("Transfer-Encoding", "").lower() == "chunked":
        return None  # its end is marked, so that a cut is noticed
    raise WeightsDownloadError("an answer that does not say its length")


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _reporting(progress: BytesDone | Literal["auto"] | None, name: str) -> Iterator[BytesDone]:
    if callable(progress):
        yield progress
    elif progress == "auto" and sys.stderr.isatty():
        with _bar(name) as report:
            yield report
    else:
        yield lambda *_: None


def _say_waiting(progress: BytesDone | Literal["auto"] | None, name: str) -> None:
    if progress == "auto":
        sys.stderr.write(f"another process downloads {name}; waiting for it\n")


@contextmanager
def _bar(name: str) -> Iterator[BytesDone]:
    from rich import progress as rich_progress
    from rich.console import Console

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.DownloadColumn(),
        rich_progress.TransferSpeedColumn(),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None)
        yield lambda received, total: bar.update(task, completed=received, total=total)
