"""Where an audit keeps its files: a folder of this machine, or of an object store."""

from __future__ import annotations

import hashlib
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from cxr_explain.audit.address import folder_of, without_secrets
from cxr_explain.errors import AuditError
from cxr_explain.support.links import is_inside
from cxr_explain.support.locks import exclusive
from cxr_explain.support.whole_file import growing, output_errors, tidy, write_whole


class Place(ABC):
    """Files by their names, with `/` between folders; each is whole or not there.

    >>> import tempfile
    >>> place = place_at(tempfile.mkdtemp())
    >>> place.write("parts/a.txt", b"whole")
    >>> place.names("parts"), place.read("parts/a.txt"), place.exists("parts/b.txt")
    (['parts/a.txt'], b'whole', False)
    """

    where: str
    """The folder, or its URL with all that reaches it."""

    @property
    def name(self) -> str:
        """For messages: the folder, or its URL without keys and options."""
        return without_secrets(self.where)

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Write a file whole.

        Raises:
            OutputError: it cannot be written; what was there before is still there.
        """

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            AuditError: it cannot be read.
        """

    @abstractmethod
    def sha256(self, name: str) -> str:
        """Hexadecimal SHA-256 of a file, which is read bit by bit.

        Raises:
            AuditError: it cannot be read.
        """

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether a file is there."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """The files of a folder, sorted; none where there is no such folder."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file; nothing happens where there is none.

        Raises:
            OutputError: it cannot be removed.
        """

    @abstractmethod
    def open(self, name: str) -> Any:
        """A file to read from at any position, for pyarrow."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else writes here meanwhile, where that can be seen to.

        Raises:
            AuditError: somebody else does.
        """
        yield

    @contextmanager
    @abstractmethod
    def growing(self, name: str) -> Iterator[BinaryIO]:
        """A file to write to bit by bit, there once the block ends without an exception."""


class LocalPlace(Place):
    """A folder of this machine; what is in it may come from elsewhere, and no link in it leads out.

    Args:
        folder: made when it is first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.where = str(folder)

    def path(self, name: str) -> Path:
        """Where a file or a folder of this place is, or would be.

        Raises:
            AuditError: a link leads out of the folder, or there is neither a file nor a folder.
        """
        path = self.folder / name
        if not self._is_inside(name):
            raise AuditError(
                "a link that leads out of the run's folder",
                expected="a file or a folder inside it",
                remedy="If the link is yours, copy the folder with what it leads to: cp -rL.",
                source=path,
            )
        if not _is_plain(path):
            raise AuditError("neither a file nor a folder", source=path)
        return path

    def write(self, name: str, content: bytes) -> None:  # noqa: D102 - as the base says
        path = self.path(name)
        with as_output_error(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)

    def read(self, name: str) -> bytes:  # noqa: D102
        with self._reading(name) as file:
            return file.read()

    def sha256(self, name: str) -> str:  # noqa: D102
        with self._reading(name) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @contextmanager
    def _reading(self, name: str) -> Iterator[BufferedReader]:
        path = self.path(name)
        try:
            with path.open("rb") as file:
                yield file
        except OSError as error:
            raise AuditError(
                f"no readable file ({error.strerror})",
                expected="a folder that `cxr-explain audit` wrote",
                source=path,
            ) from error

    def exists(self, name: str) -> bool:  # noqa: D102
        return os.path.isfile(self.path(name))  # False also of a name that no file can have

    def names(self, folder: str) -> list[str]:  # noqa: D102
        try:
            found = os.listdir(self.path(folder))
        except OSError:
            return []
        return sorted(f"{folder}/{name}" for name in found if not name.startswith("."))

    def remove(self, name: str) -> None:  # noqa: D102
        path = self.path(name)
        with as_output_error(path):
            path.unlink(missing_ok=True)

    def open(self, name: str) -> Any:  # noqa: D102
        import pyarrow as pa

        return pa.OSFile(str(self.path(name)))  # a file, where pyarrow would take a folder's for one table

    @contextmanager
    def held(self) -> Iterator[None]:  # noqa: D102
        path = self.path(".lock")
        with ExitStack() as stack:
            with as_output_error(path):
                self.folder.mkdir(parents=True, exist_ok=True)
                try:
                    stack.enter_context(exclusive(path))
                except BlockingIOError:
                    raise AuditError(
                        "an audit that is under way",
                        expected="a folder that no other process writes to",
                        source=self.folder,
                        remedy="Wait for it, or stop it first.",
                    ) from None
            for folder in (self.folder, self.path("parts")):
                tidy(folder)  # here, as nothing more may be written there
            yield

    @contextmanager
    def growing(self, name: str) -> Iterator[BinaryIO]:  # noqa: D102
        path = self.path(name)
        with as_output_error(path), growing(path) as file:
            yield file

    def _is_inside(self, name: str) -> bool:
        try:
            return is_inside(self.folder, name)
        except (OSError, ValueError):  # links in a circle, or a name that no file can have: reading says so
            return True


class RemotePlace(Place):
    """A folder of an object store, or of whatever pyarrow or fsspec can reach by a URL.

    An object is there once it was sent whole, so that readers see the old one or the new.

    Args:
        url: address of the run's folder, such as "s3://bucket/runs/nih"; options go into its query, as
            pyarrow has them.

    Raises:
        AuditError: nothing that pyarrow or fsspec can reach.
    """

    def __init__(self, url: str) -> None:
        self.where = url
        self._files, self._root = _file_system(url)

    def write(self, name: str, content: bytes) -> None:  # noqa: D102
        with self._writing(name):
            self._files.create_dir(os.path.dirname(self._path(name)), recursive=True)
            with self._files.open_output_stream(self._path(name)) as stream:
                stream.write(content)

    def read(self, name: str) -> bytes:  # noqa: D102
        with self._reading(name), self._files.open_input_stream(self._path(name)) as stream:
            return bytes(stream.read())

    def sha256(self, name: str) -> str:  # noqa: D102
        with self._reading(name), self._files.open_input_stream(self._path(name)) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def exists(self, name: str) -> bool:  # noqa: D102
        with self._reading(name):
            return bool(self._files.get_file_info(self._path(name)).is_file)

    def names(self, folder: str) -> list[str]:  # noqa: D102
        from pyarrow.fs import FileSelector

        with self._reading(folder):
            found = self._files.get_file_info(FileSelector(self._path(folder), allow_not_found=True))
        return sorted(f"{folder}/{info.base_name}" for info in found if info.is_file)

    def remove(self, name: str) -> None:  # noqa: D102
        with self._writing(name):
            if self.exists(name):
                self._files.delete_file(self._path(name))

    def open(self, name: str) -> Any:  # noqa: D102
        return self._files.open_input_file(self._path(name))

    @contextmanager
    def growing(self, name: str) -> Iterator[BinaryIO]:  # noqa: D102
        with self._writing(name), self._files.open_output_stream(self._path(name)) as stream:
            yield stream

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _writing(self, name: str) -> AbstractContextManager[None]:
        return as_output_error(f"{self.name}/{name}")

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each library fails in its own way
            raise AuditError(
                f"no readable object ({_first_line(error, self.where)})", source=f"{self.name}/{name}"
            ) from error


def place_at(where: str | os.PathLike[str]) -> Place:
    """A folder, or a URL such as "s3://bucket/runs/nih".

    Raises:
        AuditError: a URL that names nothing that can be reached.
    """
    folder = folder_of(where)
    return RemotePlace(os.fspath(where)) if folder is None else LocalPlace(folder)


def _file_system(url: str) -> tuple[Any, str]:
    """By pyarrow's own means, else by fsspec's."""
    import pyarrow as pa
    from pyarrow import fs

    try:
        files, root = fs.FileSystem.from_uri(url)
        return files, root.rstrip("/")
    except (pa.ArrowException, OSError):
        pass
    try:
        import fsspec

        files, root = fsspec.core.url_to_fs(url)
    except Exception as error:  # each of fsspec's file systems fails in its own way
        raise AuditError(
            f"a URL that neither pyarrow nor fsspec can reach ({_first_line(error, url)})",
            expected="a folder, or a URL such as s3://bucket/folder",
            source=without_secrets(url),
        ) from error
    if _is_this_machine(files):
        raise AuditError(
            "a chain of file systems that ends on this machine, whose links nobody would check",
            expected="the folder itself",
            source=without_secrets(url),
        )
    return fs.PyFileSystem(fs.FSSpecHandler(files)), str(root).rstrip("/")


def _is_this_machine(files: Any) -> bool:
    """Whether a file system of fsspec reads this machine's folders, also behind a cache."""
    from fsspec.implementations.local import LocalFileSystem

    inner = getattr(files, "fs", None) or getattr(files, "sync_fs", None)
    return isinstance(files, LocalFileSystem) or (inner is not None and _is_this_machine(inner))


def _is_plain(path: Path) -> bool:
    """Whether nothing is there that may never come to an end, such as a pipe."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # nothing is there, or reading says what is wrong
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def as_output_error(path: Path | str) -> AbstractContextManager[None]:
    """Say of an `OSError` within the block which file it was, and the way out."""
    remedy = "What was finished is kept; the same command goes on from there."
    return output_errors("a file", path, remedy=remedy)


def _first_line(error: Exception, url: str) -> str:
    """What a library says, without what the URL keeps from being shown."""
    text = str(error).replace(url, without_secrets(url))
    return (text.splitlines() or [type(error).__name__])[0][:200]
