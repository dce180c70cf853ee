"""A PACS that speaks DICOMweb (PS3.18): its studies, its radiographs, and objects that are stored in it."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from itertools import islice
from os import PathLike
from typing import TYPE_CHECKING, Any

from cxr_explain.dicomweb.addresses import InstanceAddress, check_uid
from cxr_explain.dicomweb.attributes import Json, all_texts, header_of, one_uid, texts
from cxr_explain.dicomweb.credentials import Credentials
from cxr_explain.dicomweb.found import NEEDED, FoundInstance, FoundStudy
from cxr_explain.dicomweb.location import Location
from cxr_explain.dicomweb.matching import check_match, check_query
from cxr_explain.dicomweb.multipart import DICOM, RELATED, decode, encode
from cxr_explain.dicomweb.patience import Patience
from cxr_explain.dicomweb.quiet import quiet_clients
from cxr_explain.dicomweb.storing import StoreOutcome, address_of, batches, why
from cxr_explain.dicomweb.trust import check_authorities
from cxr_explain.errors import CxrExplainWarning, DicomWebError, OptionError, naming
from cxr_explain.support.extras import require

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

    from cxr_explain.dicomweb.session import ServerSession

EXTRA = "dicom"
_PAGE = 200  # results of a query at a time
_MOST_RESULTS = 100_000
_JSON = "application/dicom+json"


@dataclass(frozen=True)
class _Line:
    """What one thread asks through: a session of `requests` is not for several, nor for a forked process."""

    process: int
    session: ServerSession
    client: DICOMwebClient


class DicomWebServer:
    """A DICOMweb service.

    Who asks is told by the environment (CXR_EXPLAIN_DICOMWEB_USER and CXR_EXPLAIN_DICOMWEB_PASSWORD, or
    CXR_EXPLAIN_DICOMWEB_TOKEN), else by a netrc (NETRC, or ~/.netrc). Certificates are always verified.
    Proxies are those of the environment, but for this machine. Needs the extra `dicom`.

    Several threads may use it at once. It can be pickled: credentials are read anew where it is unpickled.

    Args:
        url: address of the service, such as "https://pacs.example/dicom-web".
        ca: a PEM file of the authorities that are trusted instead of the usual ones.
        allow_http: also take plain http to another machine, without credentials.
        attempts: times that a request is sent at most.
        backoff: seconds between the first two; doubled each time.
        timeout: seconds that the server may be silent.
        longest: seconds that a request may take in all.

    Raises:
        DicomWebError: an address, authorities or credentials that cannot be used.
        MissingExtraError: dicomweb-client is not installed.
        OptionError: a number out of range.

    Source:
        PS3.18, chapter 10: the Studies Service.

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
        self._patience = Patience(attempts, backoff, timeout, longest)
        self._ca = None if ca is None else check_authorities(ca)
        self._allow_http = allow_http
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

    def __reduce__(self) -> tuple[Callable[[str], DicomWebServer], tuple[str]]:
        settings = {"ca": self._ca, "allow_http": self._allow_http, **vars(self._patience)}
        return partial(DicomWebServer, **settings), (self.name,)

    def find_studies(self, query: Mapping[str, str], limit: int | None = None) -> Iterator[FoundStudy]:
        """Search for studies (QIDO-RS, PS3.18 10.6), page by page while they are taken.

        Args:
            query: what to match, by keyword or tag, as the standard has it (PS3.4 C.2.2.2):
                {"StudyDate": "20260101-20261231", "ModalitiesInStudy": "DX"}. Empty for all studies. Orthanc
                1.10 finds nothing by a value with a space or another sign that has to be escaped: put "?".
            limit: how many at most.

        Raises:
            DicomWebError: no answer, or none that can be used; a study that does not match.
            OptionError: what is no query, or no number.
        """
        asked = check_query(query)
        if limit is not None and limit < 1:
            raise OptionError(f"limit={limit!r}", expected="1 or more")
        page = _PAGE if limit is None else min(limit, _PAGE)

        def search(client: DICOMwebClient, offset: int) -> list[dict[str, Any]]:
            found = client.search_for_studies(search_filters=asked, limit=page, offset=offset)
            for item in found:
                check_match(asked, item)
            return found

        for uid, item in islice(self._results(search, "StudyInstanceUID"), limit):
            yield FoundStudy(uid, all_texts(item))

    def instances(self, study_uid: str) -> list[FoundInstance]:
        """The instances of a study, and what is needed to choose among them; none of a study unknown to it.

        This takes one request for each 200 instances and one that says there are no more, and one for each
        series that may hold radiographs of which the answer to a query says too little.

        Args:
            study_uid: its Study Instance UID.

        Raises:
            DicomWebError: no answer, none that can be used, or one about another study.
        """

        def search(client: DICOMwebClient, offset: int) -> list[dict[str, Any]]:
            return client.search_for_instances(
                study_instance_uid=check_uid(study_uid), fields=NEEDED, limit=_PAGE, offset=offset
            )

        found = dict[InstanceAddress, FoundInstance]()
        for _, item in self._results(search, "SOPInstanceUID"):
            with naming(self.name):
                address = _address(item, study_uid)
            found[address] = FoundInstance(address, header_of(item, NEEDED))
        for series in dict.fromkeys(each.address.series for each in found.values() if not each.is_told):
            for more in self._series(study_uid, series):
                if more.address in found:
                    found[more.address] = more
        return list(found.values())

    def has(self, address: InstanceAddress) -> bool:
        """Whether the server holds an instance, in its study and series; one small request.

        Args:
            address: where it should be.

        Raises:
            DicomWebError: no answer, or none that can be used.
        """
        with self._asking() as line:
            try:
                items = line.client.search_for_instances(
                    address.study, address.series, search_filters={"SOPInstanceUID": address.instance}
                )
            except OSError as error:  # of `requests`; some servers know no study without instances
                response = getattr(error, "response", None)
                if response is None or response.status_code != HTTPStatus.NOT_FOUND:
                    raise
                return False
            return any(texts(item, "SOPInstanceUID") == (address.instance,) for item in items)

    def retrieve(self, address: InstanceAddress) -> bytes:
        """Retrieve an instance as a DICOM file, in the transfer syntax that it is stored in (WADO-RS, 10.4).

        Args:
            address: where it is.

        Raises:
            DicomWebError: no answer, none that can be used, or another instance than was asked for.
        """
        # Not by dicomweb-client, which gives a data set instead of the file, also of one that was cut off.
        headers = {"Accept": f'{RELATED}; type="{DICOM}"; transfer-syntax=*'}
        with self._asking() as line:
            answer = line.session.get(f"{self.name}/{address.path}", headers=headers)
            answer.raise_for_status()
            parts = decode(answer.content, answer.headers.get("Content-Type", ""))
            if len(parts) != 1:
                raise DicomWebError(f"an answer with {len(parts)} instances", expected="the one asked for")
            if address_of(parts[0], address.study) != address:
                raise DicomWebError("another instance", expected="the one that was asked for")
            return parts[0]

    def store(self, files: Sequence[bytes], study_uid: str) -> list[InstanceAddress]:
        """Store instances in a study (STOW-RS, PS3.18 10.5); those that the server has already are stored.

        What the server does not say it has stored is asked for. Where it says that it changed values, there
        is a `CxrExplainWarning`.

        Args:
            files: DICOM files.
            study_uid: the study that all of them belong to.

        Returns:
            Where they are now, in the order of the files.

        Raises:
            DicomWebError: a file of another study; nothing is sent then. Or one that the server did not
                store; others may be stored, and to store all of them again doubles none.
        """
        with naming(self.name):
            addresses = [address_of(file, check_uid(study_uid)) for file in files]
        for batch in batches(files):
            outcome = self._stow([files[index] for index in batch], study_uid)
            self._check([addresses[index] for index in batch], outcome)
        return addresses

    def _stow(self, files: Sequence[bytes], study_uid: str) -> StoreOutcome:
        # Not by dicomweb-client, which drops what a server says of failures (status 409).
        body, content_type = encode(files)
        headers = {"Content-Type": content_type, "Accept": _JSON}
        with self._asking() as line:
            answer = line.session.post(f"{self.name}/studies/{study_uid}", data=body, headers=headers)
            try:
                outcome = StoreOutcome.of(answer.json())
            except DicomWebError:
                outcome = StoreOutcome()  # in another form: what is there will be asked for
            if answer.status_code != HTTPStatus.CONFLICT and not outcome.failed:
                answer.raise_for_status()
            return outcome

    def _check(self, addresses: Sequence[InstanceAddress], outcome: StoreOutcome) -> None:
        for address in addresses:
            if address.instance in outcome.warned:
                code = outcome.warned[address.instance]
                warnings.warn(
                    CxrExplainWarning(f"{self.name}: stored, with values changed by the server ({code:04X})"),
                    stacklevel=3,
                )
            if address.instance not in outcome.stored and not self.has(address):
                reason = outcome.failed.get(address.instance)
                said = "an instance that was not stored"
                raise DicomWebError(
                    said if reason is None else f"{said}: {why(reason)}",
                    remedy="Look into the server's log.",
                    source=self.name,
                )

    def _series(self, study_uid: str, series_uid: str) -> list[FoundInstance]:
        with self._asking() as line:
            return [
                FoundInstance(_address(item, study_uid), header_of(item, NEEDED))
                for item in line.client.retrieve_series_metadata(study_uid, series_uid)
            ]

    def _results(
        self, search: Callable[[DICOMwebClient, int], list[dict[str, Any]]], key: str
    ) -> Iterator[tuple[str, Json]]:
        """All results by their UIDs, page by page until one has nothing new: some servers know no offset."""
        seen = set[str]()
        while True:
            with self._asking() as line:
                items = {check_uid(one_uid(item, key)): item for item in search(line.client, len(seen))}
                fresh = [(uid, item) for uid, item in items.items() if uid not in seen]
                if len(seen) + len(fresh) > _MOST_RESULTS:
                    raise DicomWebError(f"more than {_MOST_RESULTS:,} results", remedy="Narrow the query.")
            if not fresh:
                return
            seen.update(items)
            yield from fresh

    @contextmanager
    def _asking(self) -> Iterator[_Line]:
        from cxr_explain.dicomweb.trouble import one_line

        with naming(self.name), one_line(with_credentials=bool(self._credentials)), quiet_clients():
            yield self._line()

    def _line(self) -> _Line:
        line: _Line | None = getattr(self._own, "line", None)
        if line is None or line.process != os.getpid():
            from dicomweb_client import DICOMwebClient

            from cxr_explain.dicomweb.session import ServerSession

            session = ServerSession(self._location, self._credentials, self._ca, self._patience)
            client = DICOMwebClient(self.name, session=session)
            client.set_http_retry_params(retry=False)
            self._own.line = line = _Line(os.getpid(), session, client)
        return line


def _address(item: Json, study_uid: str) -> InstanceAddress:
    said = texts(item, "StudyInstanceUID")
    if said and said != (study_uid,):
        raise DicomWebError("an answer about another study", expected="the one that was asked for")
    return InstanceAddress(study_uid, one_uid(item, "SeriesInstanceUID"), one_uid(item, "SOPInstanceUID"))
