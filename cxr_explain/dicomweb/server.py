"""A PACS that speaks DICOMweb (PS3.18): its studies, its radiographs, and objects that are stored in it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import TYPE_CHECKING, Any

from cxr_explain.dicomweb.addresses import InstanceAddress
from cxr_explain.dicomweb.answer import refused
from cxr_explain.dicomweb.attributes import Json, all_texts, header_of, one_uid, tag_of, texts
from cxr_explain.dicomweb.credentials import Credentials
from cxr_explain.dicomweb.found import NEEDED, FoundInstance, FoundStudy
from cxr_explain.dicomweb.location import Location
from cxr_explain.dicomweb.multipart import DICOM, RELATED, decode, encode
from cxr_explain.dicomweb.session import Patience, ServerSession, http_errors
from cxr_explain.dicomweb.storing import Outcome, address_of, batches, why
from cxr_explain.errors import DicomWebError, naming
from cxr_explain.support.extras import require

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

EXTRA = "dicom"
_PAGE = 200  # results of a query at a time
_MOST_RESULTS = 100_000
_JSON = "application/dicom+json"


class DicomWebServer:
    """A DICOMweb service.

    Who asks is told by the environment (CXR_EXPLAIN_DICOMWEB_USER and CXR_EXPLAIN_DICOMWEB_PASSWORD, or
    CXR_EXPLAIN_DICOMWEB_TOKEN) or by a netrc. Needs the extra `dicom`. It can be used by several threads, and
    pickled: credentials are read anew where it is unpickled.

    Args:
        url: address of the service, such as "https://pacs.example/dicom-web".
        ca: a PEM file of the authorities that are trusted instead of the usual ones.
        allow_http: also take plain http to another machine, without credentials.
        attempts: times that a request is sent at most.
        backoff: seconds between the first two; doubled each time.
        timeout: seconds that the server may be silent.
        longest: seconds that a request may take in all.

    Raises:
        DicomWebError: an address or credentials that cannot be used.
        MissingExtraError: dicomweb-client is not installed.

    >>> DicomWebServer("http://127.0.0.1:8042/dicom-web/")
    DicomWebServer('http://127.0.0.1:8042/dicom-web')
    """

    def __init__(
        self,
        url: str,
        *,
        ca: str | PathLike[str] | None = None,
        allow_http: bool = False,
        attempts: int = 5,
        backoff: float = 0.5,
        timeout: float = 30.0,
        longest: float = 600.0,
    ) -> None:
        require("dicomweb_client", EXTRA)
        self._location = Location.of(url, allow_http=allow_http)
        self._settings: dict[str, Any] = {
            "ca": None if ca is None else os.fspath(ca),
            "allow_http": allow_http,
            "attempts": attempts,
            "backoff": backoff,
            "timeout": timeout,
            "longest": longest,
        }
        self._patience = Patience(attempts, backoff, timeout, longest)
        with naming(self.name):
            self._credentials = Credentials.for_host(self._location.host)
            if self._credentials and self._location.is_readable_by_others:
                raise DicomWebError(
                    "credentials for a server over plain http, where all in the network can read them",
                    remedy="Use https.",
                )
        self._own = threading.local()

    @property
    def name(self) -> str:
        """The server's address, without anything secret."""
        return self._location.url

    def __repr__(self) -> str:
        return f"DicomWebServer({self.name!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.name, **self._settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def find_studies(self, query: Mapping[str, str], limit: int | None = None) -> Iterator[FoundStudy]:
        """Search for studies (QIDO-RS, PS3.18 10.6).

        Args:
            query: what to match, by keyword or tag, as the standard has it (PS3.4 C.2.2.2):
                {"StudyDate": "20260101-20261231", "ModalitiesInStudy": "DX"}.
            limit: how many at most.

        Raises:
            DicomWebError: no answer, or none that can be used.
        """
        found = 0
        results = self._pages(
            lambda offset: self._client.search_for_studies(
                search_filters=dict(query), limit=_page(limit), offset=offset
            ),
            "StudyInstanceUID",
        )
        for item in results:
            if limit is not None and found >= limit:
                return
            found += 1
            with naming(self.name):
                uid = one_uid(item, "StudyInstanceUID")
                InstanceAddress(uid, uid, uid)  # refuses what is no unique identifier
            yield FoundStudy(uid, all_texts(item))

    def instances(self, study_uid: str) -> list[FoundInstance]:
        """The instances of a study, and what is needed to choose among them.

        One request, and one more for each series that may hold radiographs of which the server says too
        little in answer to a query.

        Args:
            study_uid: its Study Instance UID.

        Raises:
            DicomWebError: no answer, none that can be used, or one about another study.
        """
        with naming(self.name):
            InstanceAddress(study_uid, study_uid, study_uid)
        items = list(
            self._pages(
                lambda offset: self._client.search_for_instances(
                    study_instance_uid=study_uid, fields=NEEDED, limit=_PAGE, offset=offset
                ),
                "SOPInstanceUID",
            )
        )
        with naming(self.name):
            found = {_address(item, study_uid): item for item in items}
        self._complete(found)
        return [FoundInstance(address, header_of(item, NEEDED)) for address, item in found.items()]

    def has(self, address: InstanceAddress) -> bool:
        """Whether the server holds an instance, in its study and series.

        Args:
            address: where it should be.

        Raises:
            DicomWebError: no answer, or none that can be used.
        """
        with self._asking() as client:
            try:
                items = client.search_for_instances(
                    study_instance_uid=address.study,
                    series_instance_uid=address.series,
                    search_filters={"SOPInstanceUID": address.instance},
                    limit=2,
                )
            except Exception as error:
                if _is_not_found(error):
                    return False
                raise
            return any(texts(item, "SOPInstanceUID") == (address.instance,) for item in items)

    def retrieve(self, address: InstanceAddress) -> bytes:
        """Retrieve an instance as a DICOM file, in the transfer syntax that it is stored in (WADO-RS, 10.4).

        Args:
            address: where it is.

        Raises:
            DicomWebError: no answer, none that can be used, or another instance than was asked for.
        """
        accept = f'{RELATED}; type="{DICOM}"; transfer-syntax=*'
        with self._asking() as client:
            answer = self._session_of(client).get(f"{self.name}/{address.path}", headers={"Accept": accept})
            answer.raise_for_status()
            parts = decode(answer.content, answer.headers.get("Content-Type", ""))
            if len(parts) != 1:
                raise DicomWebError(f"{len(parts)} instances", expected="the one that was asked for")
            if address_of(parts[0], address.study) != address:
                raise DicomWebError("another instance", expected="the one that was asked for")
            return parts[0]

    def store(self, files: Sequence[bytes], study_uid: str) -> list[InstanceAddress]:
        """Store instances in a study (STOW-RS, PS3.18 10.5); those that the server has already are stored.

        Args:
            files: DICOM files.
            study_uid: the study that all of them belong to.

        Returns:
            Where they are now, in the order of the files.

        Raises:
            DicomWebError: a file of another study, or one that the server did not store: no later one is
                sent.
        """
        with naming(self.name):
            addresses = [address_of(file, study_uid) for file in files]
        for batch in batches(files):
            outcome = self._stow([files[index] for index in batch], study_uid)
            self._check([addresses[index] for index in batch], outcome)
        return addresses

    def _stow(self, files: Sequence[bytes], study_uid: str) -> Outcome:
        body, content_type = encode(files)
        headers = {"Content-Type": content_type, "Accept": _JSON}
        with self._asking() as client:
            answer = self._session_of(client).post(
                f"{self.name}/studies/{study_uid}", data=body, headers=headers
            )
            try:
                outcome = Outcome.of(answer.json())
            except DicomWebError:
                outcome = Outcome()  # in another form: what is there is asked for instead
            if not answer.ok and not outcome.failed:
                raise refused(answer.status_code, with_credentials=bool(self._credentials))
            return outcome

    def _check(self, addresses: Sequence[InstanceAddress], outcome: Outcome) -> None:
        for address in addresses:
            if address.instance in outcome.stored or self.has(address):
                continue
            reason = outcome.failed.get(address.instance)
            said = "an instance that was not stored"
            raise DicomWebError(
                said if reason is None else f"{said}: {why(reason)}",
                remedy="Look into the server's log.",
                source=self.name,
            )

    def _complete(self, found: dict[InstanceAddress, Json]) -> None:
        """Read the headers of series of which the query said too little."""
        for address, item in list(found.items()):
            instance = FoundInstance(address, header_of(item, NEEDED))
            # Every image has PhotometricInterpretation: without it, the server did not give what was asked for.
            told = tag_of("PhotometricInterpretation") in found[address] and instance.view is not None
            if told or not instance.is_frontal_chest:
                continue
            with self._asking() as client:
                items = client.retrieve_series_metadata(address.study, address.series)
                for more in items:
                    known = _address(more, address.study)
                    if known in found:
                        found[known] = {**found[known], **more}

    def _pages(self, search: Any, key: str) -> Iterator[Json]:
        """All results, page by page, until a page has nothing new: servers that know no offset repeat themselves."""
        seen = set[str]()
        while True:
            with self._asking():
                items = search(len(seen))
                fresh = {one_uid(item, key): item for item in items}
                fresh = {uid: item for uid, item in fresh.items() if uid not in seen}
                if len(seen) + len(fresh) > _MOST_RESULTS:
                    raise DicomWebError(f"more than {_MOST_RESULTS:,} results", remedy="Narrow the query.")
            if not fresh:
                return
            seen |= fresh.keys()
            yield from fresh.values()

    @contextmanager
    def _asking(self) -> Iterator[DICOMwebClient]:
        with naming(self.name), http_errors(with_credentials=bool(self._credentials)):
            yield self._client

    @property
    def _client(self) -> DICOMwebClient:
        """A client of this thread's own: a session of `requests` is not for several."""
        if not hasattr(self._own, "client"):
            from dicomweb_client import DICOMwebClient

            session = ServerSession(self._location, self._credentials, self._settings["ca"], self._patience)
            client = DICOMwebClient(self.name, session=session)
            client.set_http_retry_params(retry=False)
            self._own.client, self._own.session = client, session
        client: DICOMwebClient = self._own.client
        return client

    def _session_of(self, _: DICOMwebClient) -> ServerSession:
        session: ServerSession = self._own.session
        return session


def _page(limit: int | None) -> int:
    return _PAGE if limit is None else min(limit, _PAGE)


def _address(item: Json, study_uid: str) -> InstanceAddress:
    said = texts(item, "StudyInstanceUID")
    if said and said != (study_uid,):
        raise DicomWebError("an answer about another study", expected="the one that was asked for")
    return InstanceAddress(study_uid, one_uid(item, "SeriesInstanceUID"), one_uid(item, "SOPInstanceUID"))


def _is_not_found(error: Exception) -> bool:
    response = getattr(error, "response", None)
    return response is not None and response.status_code == 404
