"""Studies of a PACS: their radiographs are explained, and the objects stored in the same study."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Unpack, cast

from cxr_explain.dicom.files import Deidentifies, SourceImage, finished, prepared, save_made
from cxr_explain.dicom.folders import ObjectFolders
from cxr_explain.dicom.journal import JOURNAL, MadeBefore, StudyJournal, settings_of
from cxr_explain.dicom.objects import EXTRA, DicomObjects
from cxr_explain.dicom.settings import ObjectOptions, ObjectSettings
from cxr_explain.dicom.study import StudyImage, StudyResult
from cxr_explain.dicomweb.addresses import InstanceAddress, check_uid
from cxr_explain.dicomweb.contact import Contact
from cxr_explain.dicomweb.found import FoundInstance
from cxr_explain.dicomweb.server import DicomWebServer
from cxr_explain.errors import CxrExplainError, DicomObjectError, OptionError, OutputError
from cxr_explain.explaining.explainer import Explained, Explainer
from cxr_explain.explaining.many import explain_in_batches, make_output_folder
from cxr_explain.explaining.preprocessing import ModelInput
from cxr_explain.explaining.settings import RankingSettings
from cxr_explain.loaders.settings import ReadSettings
from cxr_explain.support.extras import require
from cxr_explain.support.locks import exclusive

LOCK: Final = ".lock"


def explain_studies(
    explainer: Explainer,
    server: DicomWebServer,
    studies: Iterable[str],
    *,
    store: bool = False,
    output: Path | None = None,
    asked: RankingSettings | None = None,
    reading: ReadSettings | None = None,
    deidentifier: Deidentifies | None = None,
    batch_size: int = 8,
    **options: Unpack[ObjectOptions],
) -> Iterator[StudyResult]:
    """Explain the frontal chest radiographs of studies, and store the objects in them, or write files.

    What is there already is neither stored again nor made again. The server is asked for it, by identifiers
    that follow from radiograph and settings: after a kill at any moment the same call goes on, and nothing is
    lost or there twice. With an output folder, a journal in it spares what was made before a second
    explanation; without one it is explained again, and only what is missing is stored.

    Args:
        explainer: the model, with its preprocessing and its rule.
        server: the PACS.
        studies: Study Instance UIDs.
        store: store the objects on the server.
        output: folder for a journal, and, unless they are stored, for `<id>/<kind>.dcm`.
        asked: which pathologies to explain.
        reading: how to read the files; by default as the explainer prepares them.
        deidentifier: takes the patient's identity out of each file before it is explained; for files only.
        batch_size: images in one forward pass.
        **options: which objects are made, and how; see `ObjectSettings`.

    Yields:
        Each study in order, once its radiographs are done. What failed is a value.

    Raises:
        DicomWebError: the server fails three times in a row.
        MissingExtraError: highdicom is not installed.
        OptionError: an option that fits no radiograph; de-identified objects for the server.
        OutputError: a folder that cannot be made, or into which another process writes.
    """
    require("highdicom", EXTRA)
    if store and deidentifier is not None:
        raise OptionError("de-identified objects for a study that is not", expected="files of them")
    if not store and output is None:
        raise OptionError("no place for the objects", expected="the server, store=True, or output=FOLDER")
    objects, asked = ObjectSettings.of(**options), asked or RankingSettings()
    reading = reading or ReadSettings(xrv_compatible=explainer.settings.xrv_compatible)
    explainer.settings.check_read_alike(reading.xrv_compatible)
    settings = settings_of(explainer.facts, asked, reading, objects)
    with _own(output), _journal(explainer, output, settings, deidentifier) as journal:
        folders = None if store or output is None else ObjectFolders(output)
        run = _Run(explainer, server, folders, journal, reading, deidentifier, options)
        for outcomes in explain_in_batches(explainer, run.coming(studies), asked, batch_size):
            while outcomes:
                (study, address, is_last), result = finished(outcomes.pop(0), run.save)
                if address is not None:
                    study.images.append(_result(address, result))
                if is_last:
                    yield study
            if run.contact.gone is not None:
                raise run.contact.gone


def study_of(server: DicomWebServer, uid: str, contact: Contact) -> StudyResult:
    """What a study holds, as far as that matters here; what goes wrong is its error.

    Args:
        server: the PACS.
        uid: Study Instance UID.
        contact: where it is counted how often the server fails.
    """
    try:
        check_uid(uid)  # before the server is asked, whose failures are counted
        with contact.asking():
            return StudyResult.of(server, uid)
    except CxrExplainError as error:
        return StudyResult(uid, error=error)


class _Key(NamedTuple):
    """A radiograph of a study, or a study without one that is to be explained."""

    study: StudyResult
    address: InstanceAddress | None
    is_last: bool


@dataclass
class _Run:
    """What is done with each radiograph of a run.

    Args:
        explainer: the model.
        server: the PACS.
        folders: where objects are written; None stores them on the server.
        journal: which objects were made before.
        reading: how to read the files.
        deidentifier: takes the patient's identity out of each.
        options: which objects are made, and how.
        contact: how often the server has failed.
    """

    explainer: Explainer
    server: DicomWebServer
    folders: ObjectFolders | None
    journal: StudyJournal
    reading: ReadSettings
    deidentifier: Deidentifies | None
    options: ObjectOptions
    contact: Contact = field(default_factory=Contact)

    def coming(
        self, studies: Iterable[str]
    ) -> Iterator[tuple[tuple[_Key, SourceImage | None], ModelInput | CxrExplainError]]:
        """Every radiograph that is to be explained, and at least one entry for each study."""
        for uid in studies:
            if self.contact.gone is not None:
                return
            study = study_of(self.server, uid, self.contact)
            wanted = [each.address for each in study.radiographs if not self._is_done(study, each)]
            if not wanted:
                yield (_Key(study, None, is_last=True), None), CxrExplainError("nothing to explain")
            for number, address in enumerate(wanted, start=1):
                key = _Key(study, address, is_last=number == len(wanted))
                yield prepared(self.explainer, key, partial(self._read, address))

    def save(self, key: _Key, image: SourceImage, explained: Explained) -> StudyImage:
        """Make the objects of a radiograph, and store those that are not there, or write them."""
        study, address = key.study, cast(InstanceAddress, key.address)  # there is no image without one
        made = image.objects(explained, None, **self.options)
        folder = None if self.folders is None else self.folders.output / image.radiograph.id
        notes = (*_notes(study, address), *made.notes, *image.notes)
        if folder is not None:
            written = save_made(image, made, folder).written
            folder, new = folder if written else None, len(written)
        else:
            new = self._stored(study, made)
        self.journal.add(address, _remembered(made, folder, notes))
        kinds = tuple(each.kind for each in made)
        return StudyImage(address, kinds, new, folder, made.not_made, notes)

    def _is_done(self, study: StudyResult, found: FoundInstance) -> bool:
        """Whether all that a radiograph gives is there already; then it is among the study's images."""
        before = self.journal.made_before(found.address)
        if before is None:
            return False
        if self.folders is None:
            there = before.is_in(study.uid, study.there)
        else:
            there = before.is_below(self.folders.output)
        if there:
            study.images.append(_image_of(found.address, before, self.folders))
        return there

    def _read(self, address: InstanceAddress) -> SourceImage:
        with self.contact.asking():
            data = self.server.retrieve(address)
        image = SourceImage.read(data, "", self.reading, self.deidentifier)
        if self.folders is None:
            return image
        name = image.radiograph.id
        folder = self.folders.folder(name, instance=image.instance, sha256=image.source.sha256)
        return image.named(folder.name)

    def _stored(self, study: StudyResult, made: DicomObjects) -> int:
        files = {
            InstanceAddress(study.uid, str(each.dataset.SeriesInstanceUID), str(each.uid)): each.to_bytes()
            for each in made
        }
        missing = {address: file for address, file in files.items() if address not in study.there}
        if missing:
            with self.contact.asking():
                study.there.update(self.server.store(list(missing.values()), study.uid))
        return len(missing)


def _result(address: InstanceAddress, result: StudyImage | CxrExplainError) -> StudyImage:
    return StudyImage(address, error=result) if isinstance(result, CxrExplainError) else result


def _notes(study: StudyResult, address: InstanceAddress) -> tuple[str, ...]:
    return next((each.notes for each in study.radiographs if each.address == address), ())


def _remembered(made: DicomObjects, folder: Path | None, notes: tuple[str, ...]) -> MadeBefore:
    return MadeBefore(
        "" if folder is None else folder.name,
        tuple((each.kind, str(each.dataset.SeriesInstanceUID), str(each.uid)) for each in made),
        tuple((kind, str(error)) for kind, error in made.not_made.items()),
        notes,
    )


def _image_of(address: InstanceAddress, before: MadeBefore, folders: ObjectFolders | None) -> StudyImage:
    return StudyImage(
        address,
        before.kinds,
        folder=None if folders is None or not before.folder else folders.output / before.folder,
        not_made={kind: DicomObjectError(why.rstrip(".")) for kind, why in before.not_made},
        notes=before.notes,
    )


def _journal(
    explainer: Explainer, output: Path | None, settings: str, deidentifier: Deidentifies | None
) -> StudyJournal:
    """The journal of a run; of a model that no digest tells from others, nothing is remembered."""
    is_known = output is not None and explainer.classifier.weights_sha256 is not None
    path = output / JOURNAL if output is not None and is_known else None
    return StudyJournal(path, settings, b"" if deidentifier is None else deidentifier.key)


@contextmanager
def _own(output: Path | None) -> Iterator[None]:
    """Make a folder, and keep other processes from writing into it.

    Raises:
        OutputError: one does, or it cannot be made.
    """
    if output is None:
        yield
        return
    make_output_folder(output)
    try:
        with exclusive(output / LOCK):
            yield
    except BlockingIOError:
        raise OutputError(
            "a folder that another process is writing to",
            expected="one that no other process writes to",
            source=output,
            remedy="Wait for it, or stop it first.",
        ) from None
