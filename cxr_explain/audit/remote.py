"""Images that are not in a folder of this machine: objects of a store, instances of a DICOMweb server."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from cxr_explain.audit.address import without_secrets
from cxr_explain.audit.place import Place, place_at
from cxr_explain.dicomweb.addresses import InstanceAddress
from cxr_explain.dicomweb.places import address_in, server_at
from cxr_explain.errors import (
    AuditError,
    CxrExplainError,
    DicomWebError,
    ImageNotFoundError,
    OptionError,
    UnreadableImageError,
)
from cxr_explain.reference.data_sets.dicomweb import image_name

_NOBODYS_STUDY = "2.25.0"
_WEB = re.compile(r"https?://", re.IGNORECASE)


class RemoteImages(ABC):
    """Images that are fetched one by one; threads may share it."""

    @abstractmethod
    def fetched(self, path: str) -> bytes:
        """The content of an image, which is never copied to a disk.

        Args:
            path: as the manifest has it.

        Raises:
            ImageNotFoundError: it is not there.
            UnreadableImageError: it cannot be fetched.
            AuditError: nor can any other.
        """

    @abstractmethod
    def stem(self, path: str) -> str:
        """What an image is called."""


class StoredImages(RemoteImages):
    """Images in an object store, which is opened when the first is fetched.

    Args:
        url: address of the folder, as pyarrow or fsspec take it.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    @cached_property
    def _place(self) -> Place:
        return place_at(self._url)

    def fetched(self, path: str) -> bytes:
        """The content of an image."""
        place = self._place
        try:
            return place.read(path)
        except AuditError as error:
            missing = isinstance(error.__cause__, FileNotFoundError)
            kind = ImageNotFoundError if missing else UnreadableImageError
            raise kind(error.found, expected="an object of the image folder") from error

    def stem(self, path: str) -> str:
        """What an image is called."""
        return Path(path).stem


class ServedImages(RemoteImages):
    """Radiographs of a DICOMweb server.

    Args:
        where: its address, after `dicomweb+`.

    Raises:
        DicomWebError: no address of a server, one with a password in it, or credentials that cannot be used.
        OptionError: plain http to another machine.
        MissingExtraError: no DICOMweb client is installed.
    """

    def __init__(self, where: str) -> None:
        self._server = server_at(where)
        self._ended: AuditError | None = None

    def fetched(self, path: str) -> bytes:
        """The content of an image."""
        if self._ended is not None:  # said once it is so, not once more for each image
            raise self._ended
        try:
            address = InstanceAddress.of(path)
        except DicomWebError as error:
            raise UnreadableImageError(
                "a path that is no address of an instance", expected="a manifest of the kind dicomweb"
            ) from error
        try:
            return self._server.retrieve(address)
        except DicomWebError as error:
            raise self._failure(address, error) from error

    def _failure(self, address: InstanceAddress, error: DicomWebError) -> CxrExplainError:
        """Whether one image cannot be fetched, or none: the server is asked for what it does not have."""
        try:
            next(self._server.find_studies({"StudyInstanceUID": _NOBODYS_STUDY}, limit=1), None)
        except DicomWebError as second:
            self._ended = AuditError(
                f"a server from which no image can be fetched any more ({second.found})",
                expected=second.expected,
                remedy=second.remedy,
                source=self._server.name,
            )
            return self._ended
        if self._is_missing(address):
            return ImageNotFoundError("nothing there any more", expected="an instance of the server")
        return UnreadableImageError(error.found, expected=error.expected, remedy=error.remedy)

    def _is_missing(self, address: InstanceAddress) -> bool:
        try:
            return not self._server.has(address)
        except DicomWebError:  # a server may read the file to answer that
            return False

    def stem(self, path: str) -> str:
        """What an image is called."""
        return image_name(InstanceAddress.of(path))


def check_named_as_server(where: str, paths: Sequence[str]) -> None:
    """Refuse the bare address of a server for a manifest whose images are on one.

    Args:
        where: the place of the images, as the user named it.
        paths: the manifest's.

    Raises:
        OptionError: it lacks `dicomweb+`, and each image would be asked for as a file of a web server.

    >>> check_named_as_server("https://pacs.example", ["studies/1.2/series/1.3/instances/1.4"])
    Traceback (most recent call last):
    cxr_explain.errors.OptionError: found a web server, and a manifest of a PACS; expected dicomweb+https://pacs...
    """
    if _WEB.match(where) and paths and all(map(_is_address, paths)):
        raise OptionError(
            "a web server, and a manifest of a PACS", expected=f"dicomweb+{without_secrets(where)}"
        )


def remote_images(where: str) -> RemoteImages:
    """The images of a place that no folder of this machine is.

    Args:
        where: the URL of a folder of an object store, or `dicomweb+` and the address of a DICOMweb server.

    Raises:
        DicomWebError: no address of a server, one with a password in it, or credentials that cannot be used.
        OptionError: plain http to another machine.
        MissingExtraError: no DICOMweb client is installed.
    """
    return StoredImages(where) if address_in(where) is None else ServedImages(where)


def _is_address(path: str) -> bool:
    try:
        InstanceAddress.of(path)
    except DicomWebError:
        return False
    return True
