"""Manifests of DICOM headers: no labels, and of the headers only what an audit needs.

Headers hold names, dates and numbers of patients. None of them is copied: patients get an invented number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from cxr_explain.reference.data_sets.people import believed, sex_of, years
from cxr_explain.reference.entry import Sex
from cxr_explain.reference.manifest import Manifest

if TYPE_CHECKING:
    import pydicom

_SOURCE = "no labels: DICOM headers"


@dataclass(frozen=True)
class HeaderFacts:
    """What is taken from a header.

    Args:
        image_id: a name that does not repeat data of the header.
        patient: issuer and number, to tell patients apart; they are not written anywhere.
        view: position, such as PA; a term that is known, never free text.
        sex: as recorded.
        age: patient's age in years; 0 is unknown, as files without a name often have it.
    """

    image_id: str
    patient: tuple[str, str] | None = None
    view: str | None = None
    sex: Sex | None = None
    age: float | None = None

    @classmethod
    def of(cls, dataset: pydicom.Dataset, image_id: str) -> Self:
        """Take them from a header.

        Args:
            dataset: the header, or a part of it.
            image_id: a name that does not repeat data of the header.

        >>> from pydicom.dataset import Dataset
        >>> header = Dataset()
        >>> header.PatientID, header.PatientAge, header.ViewPosition = "4711", "058Y", "PA"
        >>> HeaderFacts.of(header, "a")
        HeaderFacts(image_id='a', patient=('', '4711'), view='PA', sex=None, age=58.0)
        """
        from cxr_explain.loaders.acquisition import coded_view
        from cxr_explain.loaders.header import text

        patient, age = text(dataset, "PatientID"), text(dataset, "PatientAge")
        return cls(
            image_id=image_id,
            patient=(text(dataset, "IssuerOfPatientID") or "", patient) if patient else None,
            view=coded_view(dataset),
            sex=sex_of(text(dataset, "PatientSex")),
            age=believed(years(age or "")) or None,
        )


def manifest_of_headers(
    paths: Sequence[str], headers: Sequence[HeaderFacts], *, notes: Iterable[str] = ()
) -> Manifest:
    """The manifest of images of which nothing but their headers is known.

    A patient is a number in the order of first appearance. An image whose name another one has gets -2, -3
    and so on after it.

    Args:
        paths: where each image is, as the manifest is to have it.
        headers: what is taken from each one's header.
        notes: what was left out, for people to read.

    Raises:
        ManifestError: a path that a manifest may not have.

    >>> facts = [HeaderFacts("a", ("", "4711")), HeaderFacts("a", ("", "12")), HeaderFacts("b", ("", "4711"))]
    >>> manifest = manifest_of_headers(["x/a.dcm", "y/a.dcm", "b.dcm"], facts)
    >>> manifest.ids, manifest.patients
    (('a', 'a-2', 'b'), ('1', '2', '1'))
    """
    numbers: dict[tuple[str, str], str] = {}
    return Manifest(
        _unique([header.image_id for header in headers]),
        paths,
        patients=[
            header.patient and numbers.setdefault(header.patient, str(len(numbers) + 1)) for header in headers
        ],
        views=[header.view for header in headers],
        sexes=[header.sex for header in headers],
        ages=[header.age for header in headers],
        label_sources=_SOURCE,
        notes=notes,
    )


def _unique(ids: list[str]) -> list[str]:
    """Names of images in several places may be the same: -2, -3 and so on are put after them."""
    taken = set(ids)
    given: set[str] = set()
    result = []
    for each in ids:
        name, number = each, 1
        while name in given or (number > 1 and name in taken):
            number += 1
            name = f"{each}-{number}"
        given.add(name)
        result.append(name)
    return result
