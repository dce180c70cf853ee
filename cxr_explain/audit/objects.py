"""DICOM objects of an audit's images, from the maps that are stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Unpack

import numpy as np

from cxr_explain.audit.results import position_of, safe_name
from cxr_explain.audit.store import AuditRun, StoredCase
from cxr_explain.dicom.files import Deidentifies, SavedObjects, SourceImage, save_made
from cxr_explain.dicom.folders import ObjectFolders
from cxr_explain.dicom.objects import EXTRA
from cxr_explain.dicom.settings import ObjectOptions, ObjectSettings
from cxr_explain.errors import CxrExplainError, DicomObjectError
from cxr_explain.explaining.explainer import Explained
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.explaining.many import attempt
from cxr_explain.radiograph import Radiograph
from cxr_explain.support.extras import require


def save_objects(
    run: AuditRun,
    image_ids: Sequence[str],
    output: Path,
    *,
    deidentifier: Deidentifies | None = None,
    **options: Unpack[ObjectOptions],
) -> Iterator[tuple[str, SavedObjects | CxrExplainError]]:
    """Save the DICOM objects of images, with their reference labels and boxes.

    Args:
        run: an audit of DICOM files, finished or not.
        image_ids: the images' names in the manifest.
        output: folder for `<id>/<kind>.dcm`; see `ObjectFolders`.
        deidentifier: takes the patient's identity out of each file first; the copy is written beside the
            objects, as `radiograph.dcm`, and all are named after new identifiers.
        **options: which objects are made, and how; see `ObjectSettings`.

    Raises:
        MissingExtraError: highdicom is not installed.
        OptionError: no such image, or one that failed; every other error is the value of one image.
        OutputError: an output folder that cannot be made.
    """
    require("highdicom", EXTRA)
    ObjectSettings.of(**options)
    positions = {image_id: position_of(run, image_id) for image_id in image_ids}
    folders = ObjectFolders(output)

    def save(image_id: str, position: int) -> SavedObjects:
        case = run.case(position)
        image, explanation = _of_case(case, deidentifier)
        known = safe_name(image_id, run.manifest.ids, "")
        name = str(known) if deidentifier is None else image.radiograph.id
        folder = folders.folder(name, instance=image.instance, sha256=image.source.sha256, source=image_id)
        image = image.named(folder.name)
        explained = Explained(image.radiograph, replace(explanation, id=folder.name))
        return save_made(image, image.objects(explained, case.reference_labels, **options), folder)

    for image_id, position in positions.items():
        result = attempt(partial(save, image_id, position))
        if isinstance(result, CxrExplainError) and deidentifier is not None:
            result.source = None  # which names the image
        yield image_id, result


def _of_case(case: StoredCase, deidentifier: Deidentifies | None) -> tuple[SourceImage, Explanation]:
    reading = case.run.record.read_settings
    data = case.file()
    image = SourceImage.read(data, case.explanation.id, reading, deidentifier)
    if deidentifier is None:
        return image, case.explanation
    original = reading.read_bytes(data, case.explanation.id)
    return image, _carried(case.explanation, original, image.radiograph)


def _carried(explanation: Explanation, original: Radiograph, copy: Radiograph) -> Explanation:
    """The explanation of a radiograph as that of a copy, which has the same pixels and another header."""
    if not np.array_equal(original.pixels, copy.pixels):
        raise DicomObjectError(
            "a de-identified copy that reads to other pixels than were explained",
            expected="the same pixels",
            remedy="Explain the file itself: cxr-explain dicom FILE --deidentify.",
        )
    provenance = explanation.provenance
    further = provenance.steps[len(original.steps) :]
    before = provenance.warnings[: len(provenance.warnings) - len(original.warnings)]
    return replace(
        explanation,
        provenance=replace(
            provenance,
            radiograph_sha256=copy.sha256,
            steps=(*copy.steps, *further),
            warnings=(*before, *copy.warnings),
            view=copy.view,
            laterality=copy.laterality,
            patient_orientation=copy.patient_orientation,
        ),
    )
