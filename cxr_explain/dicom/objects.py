"""An explanation as DICOM objects: each is made by a function for its kind, and finished and written here."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Unpack

from pydicom import Dataset
from pydicom.uid import UID

from cxr_explain._version import __version__
from cxr_explain.dicom.character_sets import with_character_set
from cxr_explain.dicom.content import ObjectContent
from cxr_explain.dicom.equipment import contributing_equipment
from cxr_explain.dicom.kept import PATIENT_AND_STUDY
from cxr_explain.dicom.kinds import OBJECT_KINDS
from cxr_explain.dicom.laterality import with_laterality
from cxr_explain.dicom.settings import ObjectOptions, ObjectSettings
from cxr_explain.dicom.source import Source
from cxr_explain.errors import CxrExplainError, DicomObjectError, fault
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.loaders.scope import quiet_decoders
from cxr_explain.pathologies import ReferenceLabels, ReferenceLabelsLike
from cxr_explain.radiograph import Radiograph
from cxr_explain.support.extras import require
from cxr_explain.support.whole_file import write_output

EXTRA = "dicom"
_IMPLEMENTATION = UID("2.25.118329744390129875124905")
_VERSION_NAME = f"cxr-explain {__version__}"[:16]


@dataclass(frozen=True, eq=False)
class DicomObject:
    """One object.

    Args:
        kind: a name from `OBJECT_KINDS`.
        dataset: the object itself.
    """

    kind: str
    dataset: Dataset = field(repr=False)

    @property
    def uid(self) -> UID:
        """Its SOP Instance UID."""
        return UID(self.dataset.SOPInstanceUID)

    def to_bytes(self) -> bytes:
        """The object as a DICOM file (PS3.10)."""
        out = io.BytesIO()
        self.dataset.save_as(out, enforce_file_format=True)
        return out.getvalue()


@dataclass(frozen=True, eq=False)
class DicomObjects:
    """What became of one explanation.

    Args:
        objects: those that were made, in the order of `OBJECT_KINDS`.
        not_made: why there are no others, by kind.
        notes: what objects do not keep of their source.

    >>> made = DicomObjects((), {"segmentation": DicomObjectError("no region of evidence")}, ())
    >>> len(made), list(made.not_made)
    (0, ['segmentation'])
    """

    objects: tuple[DicomObject, ...]
    not_made: dict[str, CxrExplainError]
    notes: tuple[str, ...]

    def __iter__(self) -> Iterator[DicomObject]:
        return iter(self.objects)

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, kind: str) -> DicomObject:
        for each in self.objects:
            if each.kind == kind:
                return each
        raise KeyError(kind)

    def save(self, folder: str | PathLike[str]) -> list[Path]:
        """Write each object whole, as `<kind>.dcm`, and make the folder.

        Args:
            folder: where to.

        Returns:
            The paths written.

        Raises:
            OutputError: a folder that cannot be written to.
        """
        return [
            write_output(Path(folder) / f"{each.kind}.dcm", each.to_bytes(), "a DICOM object")
            for each in self
        ]


def dicom_objects(
    explanation: Explanation,
    source: Source | str | PathLike[str] | bytes,
    reference_labels: ReferenceLabelsLike = None,
    *,
    radiograph: Radiograph | None = None,
    **options: Unpack[ObjectOptions],
) -> DicomObjects:
    """Make DICOM objects of an explanation, in the study of the file that was explained.

    Needs the extra `dicom` (highdicom). What the standard makes impossible for one kind is told in
    `not_made`; the others are made.

    Args:
        explanation: the explanation.
        source: the DICOM file that was explained: its path, its bytes, or what `Source.read` gave.
        reference_labels: reference labels and boxes, in any form that `ReferenceLabels.coerce` takes; by
            default those of the explanation's `reference`.
        radiograph: needed after `Explanation.load`, which does not store pixels.
        **options: what is made, and how; see `ObjectSettings`.

    Raises:
        DicomObjectError: a source that no object can refer to.
        MissingExtraError: highdicom is not installed.
        OptionError: an option with a value that it may not have.
        OutputError: another source or radiograph than was explained.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import cxr_explain as cxr
    >>> from cxr_explain.phantom import render, sample_patient
    >>> from cxr_explain.phantom.dicom import to_dicom
    >>> explainer = cxr.Explainer.from_pretrained("phantom", device="cpu")
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "chest.dcm")
    ...     _ = file.write_bytes(to_dicom(render(sample_patient(42), size=96)))
    ...     made = dicom_objects(explainer.explain(file, top_k=3), file, kinds=("overlay",))
    >>> [str(each.dataset.SOPClassUID.name) for each in made]
    ['Secondary Capture Image Storage']
    """
    require("highdicom", EXTRA)
    source = source if isinstance(source, Source) else Source.read(source)
    settings = ObjectSettings.of(**_on_the_day_of(source, options))
    if source.sha256 != explanation.provenance.radiograph_sha256:
        raise DicomObjectError(
            f"a source with SHA-256 {source.sha256[:12]}",
            expected=f"the file that was explained, {explanation.provenance.radiograph_sha256[:12]}",
        )
    predicted = [prediction.pathology for prediction in explanation.ranking.predictions]
    given = reference_labels
    if given is None and explanation.reference is not None:
        given = explanation.reference.labels
    labels = ReferenceLabels.coerce(given, further=predicted)
    content = ObjectContent(explanation, explanation.own_radiograph(radiograph), source, labels, settings)
    objects, not_made = list[DicomObject](), dict[str, CxrExplainError]()
    for kind in (name for name in OBJECT_KINDS if name in settings.kinds):
        try:
            with quiet_decoders():  # highdicom's warnings quote names
                objects.append(DicomObject(kind, _finished(OBJECT_KINDS[kind].make(content), content)))
        except CxrExplainError as error:
            not_made[kind] = error
        except Exception as error:
            not_made[kind] = fault(error)
    return DicomObjects(tuple(objects), not_made, source.notes)


def _on_the_day_of(source: Source, options: ObjectOptions) -> ObjectOptions:
    """The options; of a de-identified source also the time that its objects may tell."""
    if options.get("created") is not None or not source.is_deidentified:
        return options
    from cxr_explain.dicom.deidentification import created

    return {**options, "created": created(source.dataset)}


def _finished(dataset: Dataset, content: ObjectContent) -> Dataset:
    """Put in what no constructor takes: patient and study, who wrote the file, and when."""
    source = content.source.dataset
    created = _in_zone_of(source, content.settings.created)
    for keyword in PATIENT_AND_STUDY:
        if keyword in source:
            dataset[keyword] = source[keyword]
    for what in ("InstanceCreation", "Content", "PresentationCreation"):
        if what == "InstanceCreation" or f"{what}Date" in dataset:
            setattr(dataset, f"{what}Date", created.strftime("%Y%m%d"))
            setattr(dataset, f"{what}Time", created.strftime("%H%M%S.%f"))
    if "DateOfSecondaryCapture" in dataset:
        dataset.DateOfSecondaryCapture, dataset.TimeOfSecondaryCapture = (
            dataset.ContentDate,
            dataset.ContentTime,
        )
    others = dataset.get("ContributingEquipmentSequence", ())
    dataset.ContributingEquipmentSequence = [*others, contributing_equipment(content)]
    for equipment in dataset.ContributingEquipmentSequence:
        if "ContributionDateTime" in equipment:
            equipment.ContributionDateTime = created.strftime("%Y%m%d%H%M%S.%f")
    dataset.file_meta.ImplementationClassUID = _IMPLEMENTATION
    dataset.file_meta.ImplementationVersionName = _VERSION_NAME
    return with_character_set(with_laterality(dataset), source)


def _in_zone_of(source: Dataset, created: datetime) -> datetime:
    """A time in the zone that a source declares, and with it every object of the source (PS3.3 C.12.1.1.8).

    Args:
        source: the source's kept attributes.
        created: stays as it is where it has no zone, or the source declares none.
    """
    offset = source.get("TimezoneOffsetFromUTC")
    if not offset or created.tzinfo is None:
        return created
    return created.astimezone(datetime.strptime(offset, "%z").tzinfo)
