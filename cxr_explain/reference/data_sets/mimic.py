"""MIMIC-CXR-JPG.

Source: Johnson et al., MIMIC-CXR-JPG, arXiv 1901.07042; https://physionet.org/content/mimic-cxr-jpg/.
"""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from cxr_explain.reference.data_sets.folders import first_file, folder_of, required_file
from cxr_explain.reference.data_sets.labels import CHEXPERT_PATHOLOGIES, label_columns, no_finding_cells
from cxr_explain.reference.manifest import Manifest
from cxr_explain.reference.problems import quoted
from cxr_explain.reference.states import NOT_LABELLED
from cxr_explain.reference.table import CsvTable, read_pairs, reading

MimicSplit = Literal["train", "validate", "test"]
MimicLabeler = Literal["chexpert", "negbio"]

_VIEWS = {
    "postero-anterior": "PA",
    "antero-posterior": "AP",
    "lateral": "LATERAL",
    "left lateral": "LL",
    "right lateral": "RL",
}
"""View positions by the meaning of DICOM's code (PS3.16, CID 4010)."""

Study = tuple[str, str]  # subject_id, study_id


class _Labels(NamedTuple):
    """The table of labels, by study.

    Args:
        pathologies: names of the P label columns.
        states: P codes of `STATE_CODES` by study.
        no_finding: cells of "No Finding" by study, under the column's name; empty where there is no column.
    """

    pathologies: list[str]
    states: dict[Study, list[int]]
    no_finding: dict[str, dict[Study, str]]


def manifest_of_mimic(
    source: str | PathLike[str],
    *,
    split: MimicSplit | None = None,
    labeler: MimicLabeler = "chexpert",
) -> Manifest:
    """The images of MIMIC-CXR-JPG: its metadata, its split and the labels of one labeler, joined.

    Labels come from the report of a study, so all images of a study share them; a blank is not mentioned.
    Images of a study without a row of labels are not labelled. Dates are left out; sex and age are in
    MIMIC-IV, not here. The study becomes the column `study`, and "No Finding" the column `no_finding`.

    Args:
        source: the folder with `mimic-cxr-2.*-metadata.csv`, `-split.csv` and `-chexpert.csv` or
            `-negbio.csv`, gzipped or not, and with `files/`.
        split: take only the images of one split.
        labeler: the program that read the labels from the reports: CheXpert's, or NegBio.

    Returns:
        The manifest; paths are relative to `source`, `files/p10/p10000032/s50414267/ID.jpg`.

    Raises:
        ManifestError: a table that is not there, or bad rows; all of one table.
    """
    folder = folder_of(source)
    labels_path = _named(folder, labeler)
    labels = _labels(labels_path)
    splits = _splits(folder, is_needed=split is not None)
    with reading(_named(folder, "metadata")) as table:
        manifest = _manifest(table, labels, splits, labels_path.name)
    return manifest.in_split(split)


def _manifest(
    table: CsvTable,
    labels: _Labels,
    splits: dict[str, str],
    labels_name: str,
) -> Manifest:
    ids = [cell.strip() for cell in table.column("dicom_id")]
    studies = list(_studies(table))
    table.problems.raise_any()
    unlabelled = [NOT_LABELLED] * len(labels.pathologies)
    states = np.array([labels.states.get(study, unlabelled) for study in studies], np.int8)
    missing = sum(study not in labels.states for study in studies)
    return Manifest(
        ids,
        [
            f"files/p{subject[:2]}/p{subject}/s{study}/{name}.jpg"
            for name, (subject, study) in zip(ids, studies, strict=True)
        ],
        pathologies=labels.pathologies,
        states=states.reshape(len(ids), len(labels.pathologies)),
        patients=[subject for subject, _ in studies],
        views=_views(table),
        splits=[splits.get(name) for name in ids],
        label_sources=f"MIMIC-CXR-JPG, {labels_name}, of the study's report",
        extra={
            "study": [study for _, study in studies],
            **{
                name: [cells.get(study, "") for study in studies] for name, cells in labels.no_finding.items()
            },
        },
        lines=table.lines,
        notes=[f"{missing} of {len(ids)} images are of studies that {labels_name} has not"]
        if missing
        else [],
        problems=table.problems,
    )


def _views(table: CsvTable) -> list[str | None]:
    """The view position; where it is blank, what the code of the view means."""
    meanings = [_VIEWS.get((cell or "").casefold()) for cell in table.texts("ViewCodeSequence_CodeMeaning")]
    positions = table.texts("ViewPosition")
    return [position or meaning for position, meaning in zip(positions, meanings, strict=True)]


def _labels(path: Path) -> _Labels:
    with reading(path) as table:
        pathologies, states = label_columns(table, CHEXPERT_PATHOLOGIES)
        studies = list(_studies(table))
        _check_once(studies, table)
        no_finding = no_finding_cells(table)
    return _Labels(
        pathologies,
        dict(zip(studies, states.tolist(), strict=True)),
        {name: dict(zip(studies, cells, strict=True)) for name, cells in no_finding.items()},
    )


def _studies(table: CsvTable) -> Iterator[Study]:
    """Subject and study of each row; both are numbers."""
    columns = table.column("subject_id"), table.column("study_id")
    for line, subject, study in zip(table.lines, *columns, strict=True):
        pair = subject.strip().removesuffix(".0"), study.strip().removesuffix(".0")
        for number in pair:
            if not (number.isascii() and number.isdigit()):
                table.problems.add(line, f"the number {quoted(number)} of a subject or study")
        yield pair


def _check_once(studies: list[Study], table: CsvTable) -> None:
    seen: set[Study] = set()
    for line, study in zip(table.lines, studies, strict=True):
        if study in seen:
            table.problems.add(line, f"the study {quoted(study[1])} again")
        seen.add(study)


def _splits(folder: Path, *, is_needed: bool) -> dict[str, str]:
    path = _named(folder, "split") if is_needed else first_file(folder, *_patterns("split"))
    return read_pairs(path, "dicom_id", "split")


def _named(folder: Path, what: str) -> Path:
    return required_file(folder, *_patterns(what))


def _patterns(what: str) -> tuple[str, str]:
    return f"mimic-cxr-2.*-{what}.csv", f"mimic-cxr-2.*-{what}.csv.gz"
