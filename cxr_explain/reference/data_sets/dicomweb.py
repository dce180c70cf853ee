"""The frontal chest radiographs that a DICOMweb server has of the studies that a query finds."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydicom import Dataset

from cxr_explain.dicomweb.addresses import InstanceAddress
from cxr_explain.dicomweb.found import FoundInstance, FoundStudy
from cxr_explain.dicomweb.places import server_at
from cxr_explain.dicomweb.query import EXPECTED_QUERY, query_of
from cxr_explain.errors import ManifestError, OptionError
from cxr_explain.loaders.scope import quiet_decoders
from cxr_explain.reference.data_sets.headers import HeaderFacts, manifest_of_headers
from cxr_explain.reference.manifest import Manifest
from cxr_explain.support.prose import counted

_PERSON = ("PatientID", "IssuerOfPatientID", "PatientSex", "PatientAge")


def manifest_of_dicomweb(source: str, *, query: Mapping[str, str] | Sequence[str] | None = None) -> Manifest:
    """The frontal chest radiographs of the studies that a query finds; only headers are read.

    View, sex and age come from the headers, a view only as a term that is known, never as free text. A
    patient is a number in the order of the rows, never the header's. An image is named by `image_name`; its
    path is its address on the server, made of unique identifiers. Rows are in the order of their paths. Notes
    say what else the studies hold.

    Args:
        source: the server's address, such as "https://pacs.example/dicom-web", with or without `dicomweb+`.
            Who asks is told by the environment or a netrc, see `DicomWebServer`.
        query: what the studies must have, all of it, by keyword, as PS3.18 10.6 and PS3.4 C.2.2.2 have it:
            {"StudyDate": "20240101-20240331"}, or ["StudyDate=20240101-20240331"].

    Raises:
        OptionError: no query, or something else than keywords and values; plain http to another machine.
        DicomWebError: no address of a server, or one that does not answer as the standard has it.
        ManifestError: no such radiograph.
        MissingExtraError: no DICOMweb client is installed.
    """
    asked = query_of(query or ())
    if not asked:
        raise OptionError("no query", expected=EXPECTED_QUERY, remedy="Say so with --query, query=.")
    server, found = server_at(source), _Found()
    for study in server.find_studies(asked):
        found.add(study, server.instances(study.uid))
    if not found.images:
        raise ManifestError(
            "; ".join((f"no frontal chest radiograph in {_studies(found.studies)}", *found.notes())),
            expected="studies that hold one",
            remedy="Ask for others with --query, query=.",
            source=server.name,
        )
    paths = sorted(found.images)
    return manifest_of_headers(paths, [found.images[path] for path in paths], notes=found.notes())


def image_name(address: InstanceAddress) -> str:
    """What an image is called: the same in every manifest, and not its unique identifier.

    Returns:
        The first twelve hexadecimal digits of the SHA-256 of the SOP Instance UID.

    >>> image_name(InstanceAddress("1.2", "1.2.3", "1.2.3.4"))
    '6694f83c9f47'
    """
    return hashlib.sha256(address.instance.encode("ascii")).hexdigest()[:12]


def with_person(header: Dataset, study: FoundStudy) -> Dataset:
    """A header that says of the patient also what only an answer about the study does.

    A server must tell a study's patient (PS3.18 table 10.6.3-3), and may leave that out of an instance.

    Args:
        header: what a server says of an instance; it is changed.
        study: what it says of the instance's study.

    >>> with_person(Dataset(), FoundStudy("1.2", {"PatientID": "4711", "PatientName": "ROE"}))
    (0010,0020) Patient ID                          LO: '4711'
    """
    for keyword in _PERSON:
        if keyword not in header and keyword in study.attributes:
            setattr(header, keyword, study.attributes[keyword])
    return header


@dataclass
class _Found:
    """What was found so far.

    Args:
        images: what is taken of the headers of frontal chest radiographs, by path.
        studies: number of studies.
        passed_over: number of other instances, by what they are.
        unknown: number of radiographs that are taken, by what is not known of them.
    """

    images: dict[str, HeaderFacts] = field(default_factory=dict)
    studies: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)

    def add(self, study: FoundStudy, instances: Sequence[FoundInstance]) -> None:
        """Sort the instances of a study; no more is kept of a header than a manifest has."""
        self.studies += 1
        with quiet_decoders():
            for each in instances:
                why_not = each.why_not
                if why_not is not None:
                    self.passed_over[why_not] += 1
                    continue
                header = with_person(each.header, study)
                self.images[each.address.path] = HeaderFacts.of(header, image_name(each.address))
                self.unknown.update(each.notes)

    def notes(self) -> tuple[str, ...]:
        """What is not taken, and what is taken for want of a better knowledge, in sentences."""
        return tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        if self.passed_over:
            kinds = ", ".join(f"{what} {count}" for what, count in sorted(self.passed_over.items()))
            total = counted(self.passed_over.total(), "instance")
            yield f"passed over {total} of {_studies(self.studies)}: {kinds}"
        for what, count in sorted(self.unknown.items()):
            yield f"{what}: {counted(count, 'image')}, taken as frontal chest radiographs"


def _studies(count: int) -> str:
    return f"{count:,} {'study' if count == 1 else 'studies'}"
