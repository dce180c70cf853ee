"""What an audit did, in sentences for a paper's methods section."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cxr_explain.audit.notices import not_complete, training_overlap
from cxr_explain.audit.record import Record
from cxr_explain.figures.bibliography import Citing
from cxr_explain.figures.lettering import one_line
from cxr_explain.figures.methods import (
    Methods,
    asked_text,
    gradient_sentences,
    map_sentences,
    model_sentences,
    recorded,
    software_sentence,
)
from cxr_explain.options import RULES
from cxr_explain.pathologies import canonical_pathology
from cxr_explain.support.prose import counted, listed, paragraph


@dataclass(frozen=True)
class Done:
    """What became of an audit's images.

    Args:
        explained: number of images that were explained.
        failures: number of images that failed, by the code of the error.
        phantoms: number of the explained images that are computed phantoms.
        gradients: every route to the gradients that was taken.
        devices: every device that computed.
        regions: whether lungs and thorax were looked for.
    """

    explained: int
    failures: Mapping[str, int]
    phantoms: int
    gradients: Sequence[str]
    devices: Sequence[str]
    regions: bool


def methods_of_run(record: Record, done: Done) -> Methods:
    """How an audit was made.

    Args:
        record: the identity of the audit.
        done: what became of the images.

    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.audit.example import example_audit
    >>> with TemporaryDirectory() as folder:
    ...     print(example_audit(folder).methods_text())
    2 images of NIH ChestX-ray14, Data_Entry_2017_v2020.csv (SHA-256 of the manifest ...
    """
    cite, k = Citing(), _most_explained(record)
    sentences = [
        *_images(record, done),
        *model_sentences(record, len(record.pathologies), cite),
        *_preparation(record, cite),
        *_ranking(record, k),
        *(map_sentences(record, k, cite) if k else ()),
        *gradient_sentences(done.gradients),
        *_statistics(record, done),
        software_sentence(record, done.devices, cite),
        recorded("note", record.model_notes),
        *training_overlap(record.training_sets, record.manifest_source),
    ]
    return Methods(paragraph(sentences), cite.citations)


def _most_explained(record: Record) -> int:
    """How many pathologies an image is explained for at most: K, or fewer where there are no more to rank."""
    asked = record.ranking_settings
    wanted = None if asked.pathologies is None else set(map(canonical_pathology, asked.pathologies))
    with_point = asked.above_operating_point or asked.rank_by == "calibrated"
    candidates = [
        name
        for name, point in record.points.items()
        if (wanted is None or canonical_pathology(name) in wanted) and not (with_point and point is None)
    ]
    return min(asked.top_k, len(candidates))


def _images(record: Record, done: Done) -> Iterator[str]:
    yield (
        f"{counted(record.rows, 'image')} of {one_line(record.manifest_source)} (SHA-256 of the manifest "
        f"{record.manifest_sha256}) {'was' if record.rows == 1 else 'were'} audited"
    )
    failed = sum(done.failures.values())
    codes = f" ({listed(f'{one_line(code)} {count:,}' for code, count in done.failures.items())})"
    yield (
        f"{done.explained:,} {'was' if done.explained == 1 else 'were'} explained, and "
        f"{f'{failed:,}{codes}' if failed else 'none'} failed"
    )
    yield from not_complete(done.explained + failed, record.rows)
    every = done.phantoms == done.explained
    if done.phantoms == 1:
        yield f"{'The explained image' if every else '1 image'} is a computed phantom, nobody's chest"
    elif done.phantoms:
        which = "All of the explained images" if every else f"{done.phantoms:,} images"
        yield f"{which} are computed phantoms, nobody's chest"


def _preparation(record: Record, cite: Citing) -> Iterator[str]:
    reading, maps = record.read_settings, record.map_settings
    if reading.xrv_compatible:
        yield f"Images were read, cropped and resized as TorchXRayVision does{cite('TorchXRayVision')}"
    else:
        frame = "" if reading.frame is None else f", frame {reading.frame}"
        voi = one_line(str(reading.voi))
        yield f"Images were read with voi = {voi}, for the values of interest of DICOM{frame}"
    if reading.rendering == "equalised":
        yield (
            "The classifier saw each image after scaling to 8 bits and histogram equalisation, as the JPEGs "
            "of MIMIC-CXR-JPG and CheXpert were made from DICOM"
        )
    yield f"An image of more than {reading.max_pixels:,} pixels was refused"
    square = {
        "crop": "the largest centred square of each image",
        "pad": "the smallest square around each image, with black margins,",
    }[maps.fit]
    size = f"{record.input_size} x {record.input_size}"
    yield f"The classifier saw {square} at {size} pixels; the results hold the steps taken for each image"


def _ranking(record: Record, k: int) -> Iterator[str]:
    asked = record.ranking_settings
    how = asked_text(asked, record.probability_kind)
    fewer = f"; {asked.top_k} were asked for" if k < asked.top_k else ""
    most = "up to" if asked.above_operating_point else "the"
    if k == 1:
        yield f"In each image the pathology with the {how} was explained (K = 1{fewer})"
    else:
        yield f"In each image {most} {k} pathologies with the {how} were explained (K = {k}{fewer})"


def _statistics(record: Record, done: Done) -> Iterator[str]:
    if done.regions and record.regions == RULES:
        yield "Lungs and thorax were found by fixed rules"
    elif done.regions:
        digest = f" (SHA-256 {record.regions_sha256})" if record.regions_sha256 else ""
        yield f"Lungs and thorax were found by the segmentation network {one_line(record.regions)}{digest}"
    yield f"In the statistics, {record.policy.words('were')}"
