"""Many DICOM files through one explainer: objects of each in a folder, failures as values, memory flat."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol, Self, TypeVar, Unpack, cast

from cxr_explain.dicom.folders import COPY, ObjectFolders, write_objects
from cxr_explain.dicom.objects import EXTRA, DicomObjects, dicom_objects
from cxr_explain.dicom.settings import ObjectOptions, ObjectSettings
from cxr_explain.dicom.source import Source
from cxr_explain.errors import CxrExplainError, DicomObjectError
from cxr_explain.explaining.explainer import Explained, Explainer
from cxr_explain.explaining.files import LabelsFor, unlabelled
from cxr_explain.explaining.many import Outcome, attempt, explain_in_batches
from cxr_explain.explaining.preprocessing import ModelInput
from cxr_explain.explaining.settings import RankingSettings
from cxr_explain.loaders.limits import Limits
from cxr_explain.loaders.read import read_bounded
from cxr_explain.loaders.settings import ReadSettings
from cxr_explain.loaders.sniff import describe, sniff
from cxr_explain.pathologies import ReferenceLabels
from cxr_explain.radiograph import Radiograph
from cxr_explain.support.extras import require

Input = TypeVar("Input")
Result = TypeVar("Result")

_DICOM = "DICOM"


class Deidentifies(Protocol):
    """What takes a patient's identity out of a file, as a `Deidentifier` does."""

    @property
    def key(self) -> bytes:
        """The secret that new identifiers depend on."""

    def whole(self, data: bytes, /) -> bytes:
        """The de-identified copy of a DICOM file."""


@dataclass(frozen=True, eq=False)
class SourceImage:
    """A DICOM file as it is explained, and as objects refer to it.

    Where it is to be de-identified, that comes first: what is explained is the copy, so that nothing of the
    original header can come into an explanation, an error or a name.

    Args:
        radiograph: what is explained.
        source: what objects keep.
        copy: the de-identified file; None where the original is explained.
        notes: what de-identification leaves as it was.
    """

    radiograph: Radiograph
    source: Source
    copy: bytes | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    @classmethod
    def read(
        cls, data: bytes, stem: str, reading: ReadSettings, deidentifier: Deidentifies | None = None
    ) -> Self:
        """Read a file's bytes.

        Args:
            data: the bytes.
            stem: name of the radiograph, unless it repeats patient data. Of a de-identified one it is the new
                SOP Instance UID.
            reading: how to read it.
            deidentifier: makes the copy that is explained.

        Raises:
            DicomObjectError: an image that is no DICOM file, or one that no object can refer to.
            RadiographError: a file that gives no radiograph.
        """
        known = sniff(data)
        if known is None or known.name != _DICOM:
            raise DicomObjectError(
                describe(data) if known is None else f"a {known.name} file",
                expected="a DICOM file, whose study the objects join",
            )
        if deidentifier is None:
            return cls(reading.read_bytes(data, stem), Source.read(data))
        from cxr_explain.dicom.deidentification import folder_name, notes

        left = notes(data, max_pixels=reading.max_pixels)
        data = deidentifier.whole(data)
        source = replace(Source.read(data), is_deidentified=True)
        radiograph = reading.read_bytes(data, Path(COPY).stem)
        return cls(replace(radiograph, id=folder_name(source.dataset)), source, data, left)

    @property
    def instance(self) -> str:
        """SOP Instance UID of what objects refer to."""
        return str(self.source.dataset.SOPInstanceUID)

    def named(self, name: str) -> Self:
        """The same under another name."""
        return replace(self, radiograph=replace(self.radiograph, id=name))

    def objects(
        self, explained: Explained, labels: ReferenceLabels | None, **options: Unpack[ObjectOptions]
    ) -> DicomObjects:
        """The objects of an explanation; see `dicom_objects`."""
        if self.copy is not None:
            labels = labels and replace(labels, source="given by the caller")  # not by a file's name
        return dicom_objects(
            explained.explanation, self.source, labels, radiograph=explained.radiograph, **options
        )


@dataclass(frozen=True, eq=False)
class SavedObjects:
    """The objects of one source that are written.

    Args:
        folder: their folder, whose name is the source's for outputs.
        written: kinds of those that are there.
        not_made: why there are no others, by kind.
        notes: what objects do not keep of the source, and what de-identification leaves as it was.
    """

    folder: Path
    written: tuple[str, ...]
    not_made: dict[str, CxrExplainError]
    notes: tuple[str, ...]


def save_made(image: SourceImage, made: DicomObjects, folder: Path) -> SavedObjects:
    """Write the objects of one source, all or none; where none was made, nothing is written.

    Args:
        image: the source.
        made: its objects.
        folder: as `ObjectFolders.folder` gave it.

    Raises:
        OutputError: a folder that cannot be written to.
    """
    files = {f"{each.kind}.dcm": each.to_bytes() for each in made}
    if files:
        copy = {} if image.copy is None else {COPY: image.copy}
        write_objects(folder, copy | files, outdated=[f"{kind}.dcm" for kind in made.not_made])
    return SavedObjects(folder, tuple(each.kind for each in made), made.not_made, (*made.notes, *image.notes))


def explain_to_objects(
    explainer: Explainer,
    files: Sequence[Path],
    output: Path,
    *,
    asked: RankingSettings | None = None,
    reading: ReadSettings | None = None,
    labels_for: LabelsFor = unlabelled,
    deidentifier: Deidentifies | None = None,
    batch_size: int = 8,
    **options: Unpack[ObjectOptions],
) -> Iterator[tuple[Path, SavedObjects | CxrExplainError]]:
    """Read, explain and save DICOM objects file by file.

    Args:
        explainer: the model, with its preprocessing and its rule.
        files: DICOM files, in the order in which they are explained.
        output: folder for `<id>/<kind>.dcm`; made if missing. What is there of the same source is replaced,
            what is of another is not: see `ObjectFolders`.
        asked: which pathologies to explain.
        reading: how to read the files; by default as the explainer prepares them.
        labels_for: gives the reference labels of a file.
        deidentifier: takes the patient's identity out of each file before it is explained; the copy is
            written beside the objects, as `radiograph.dcm`, and all are named after new identifiers.
        batch_size: images in one forward pass.
        **options: which objects are made, and how; see `ObjectSettings`.

    Raises:
        MissingExtraError: highdicom is not installed.
        OutputError: an output folder that cannot be made; every other error is the value of one file.
        OptionError: an option that fits no file.
    """
    require("highdicom", EXTRA)
    ObjectSettings.of(**options)
    reading = reading or ReadSettings(xrv_compatible=explainer.settings.xrv_compatible)
    explainer.settings.check_read_alike(reading.xrv_compatible)
    folders = ObjectFolders(output)

    def read(path: Path) -> SourceImage:
        data = read_bounded(path, Limits(reading.max_pixels))
        image = SourceImage.read(data, path.stem, reading, deidentifier)
        return image.named(folder_of(path, image).name)

    def folder_of(path: Path, image: SourceImage) -> Path:
        of_source = {"instance": image.instance, "sha256": image.source.sha256}
        return folders.folder(image.radiograph.id, **of_source, source=os.path.realpath(path))

    def save(path: Path, image: SourceImage, explained: Explained) -> SavedObjects:
        labels = labels_for(path, explained.radiograph.shape)
        return save_made(image, image.objects(explained, labels, **options), output / image.radiograph.id)

    coming = (prepared(explainer, path, partial(read, path)) for path in files)
    for outcomes in explain_in_batches(explainer, coming, asked or RankingSettings(), batch_size):
        while outcomes:  # emptied as it goes, for the memory that pixels take
            path, result = finished(outcomes.pop(0), save)
            named = isinstance(result, CxrExplainError) and deidentifier is None
            yield path, result.at(path) if named else result  # type: ignore[union-attr]


def prepared(
    explainer: Explainer, key: Input, read: Callable[[], SourceImage]
) -> tuple[tuple[Input, SourceImage | None], ModelInput | CxrExplainError]:
    """Read and prepare one source for `explain_in_batches`; what goes wrong is a value."""
    image = attempt(read)
    if isinstance(image, CxrExplainError):
        return (key, None), image
    return (key, image), attempt(partial(explainer.prepare, image.radiograph))


def finished(
    outcome: Outcome[tuple[Input, SourceImage | None]],
    save: Callable[[Input, SourceImage, Explained], Result],
) -> tuple[Input, Result | CxrExplainError]:
    """Save one explained source; what went wrong before, or goes wrong now, is a value."""
    (key, image), found = outcome.item, outcome.found
    if isinstance(found, CxrExplainError) or image is None:  # there is no explanation without an image
        return key, cast(CxrExplainError, found)
    return key, attempt(partial(save, key, image, found))
