"""PadChest.

Source: Bustos et al., PadChest, Medical Image Analysis 66 (2020) 101797; https://bimcv.cipf.es/bimcv-projects/padchest/.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from os import PathLike
from pathlib import Path

import numpy as np

from cxr_explain.errors import ManifestError
from cxr_explain.pathologies import says_no_finding
from cxr_explain.reference.data_sets.folders import first_file, folder_of, paths_of
from cxr_explain.reference.data_sets.people import believed, sexes_of
from cxr_explain.reference.manifest import Manifest
from cxr_explain.reference.problems import CellError, quoted
from cxr_explain.reference.states import NEGATIVE, NOT_LABELLED, POSITIVE, States
from cxr_explain.reference.table import CsvTable, reading

_TABLES = ("PADCHEST_chest_x_ray_images_labels_160K*.csv", "PADCHEST*.csv", "*labels_160K*.csv")
_WORDS: Mapping[str, tuple[str, ...]] = {
    "Air Trapping": ("air trapping",),
    "Aortic Atheromatosis": ("aortic atheromatosis",),
    "Aortic Elongation": ("aortic elongation",),
    "Atelectasis": ("atelectasis",),
    "Bronchiectasis": ("bronchiectasis",),
    "Cardiomegaly": ("cardiomegaly",),
    "Consolidation": ("consolidation", "air bronchogram"),
    "Costophrenic Angle Blunting": ("costophrenic angle blunting",),
    "Edema": ("edema",),
    "Effusion": ("effusion",),
    "Emphysema": ("emphysema",),
    "Fibrosis": ("fibrosis",),
    "Flattened Diaphragm": ("flattened diaphragm",),
    "Fracture": ("fracture",),
    "Granuloma": ("granuloma",),
    "Hemidiaphragm Elevation": ("hemidiaphragm elevation",),
    "Hernia": ("hernia",),
    "Hilar Enlargement": ("hilar enlargement", "adenopathy", "pulmonary artery enlargement"),
    "Infiltration": (
        *("infiltration", "infiltrates", "interstitial pattern", "ground glass pattern"),
        *("reticular interstitial pattern", "reticulonodular interstitial pattern", "alveolar pattern"),
        *("consolidation", "air bronchogram"),
    ),
    "Mass": ("mass",),
    "Nodule": ("nodule",),
    "Pleural_Thickening": ("pleural thickening",),
    "Pneumonia": ("pneumonia",),
    "Pneumothorax": ("pneumothorax",),
    "Scoliosis": ("scoliosis",),
    "Support Devices": ("support devices", "device", "pacemaker"),
    "Tube": (),
    "Tuberculosis": ("tuberculosis",),
}
"""TorchXRayVision's mapping: a pathology is there where one of its words is in one of the image's labels."""
_TUBES = ("tube", "stent")  # at the end of a label
_VIEWS = {"L": "lateral", "AP_horizontal": "AP supine", "UNK": None}
_QUOTED = r"(?:'[^']*'|\"[^\"]*\")"
_LIST = re.compile(rf"\[\s*+(?:{_QUOTED}(?:\s*+,\s*+{_QUOTED})*+)?\s*+\]")  # gives nothing back: long blanks
_SHOWN = 10


def manifest_of_padchest(
    source: str | PathLike[str], *, images: str | PathLike[str] | None = None
) -> Manifest:
    """The images of PadChest's table; its labels become the 28 pathologies of TorchXRayVision's mapping.

    The mapping goes by words, so that "pericardial effusion" is an Effusion. Labels that stand for none of
    the 28 are left out, and counted in the manifest's `notes`. An image without any label is not labelled.
    The age is the year of the study less that of birth. How the labels were made (`Physician`, `RNN_model`)
    becomes the column `label_method`.

    Args:
        source: the folder with `PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv`, gzipped or not; or
            the table itself.
        images: the folder that the paths are relative to; by default that of the table. The files may lie in
            it or in folders below.

    Raises:
        ManifestError: no table, or bad rows; all of them.
    """
    path = Path(source)
    if not path.is_file():
        patterns = [each for name in _TABLES for each in (name, f"{name}.gz")]
        found = first_file(folder_of(source), *patterns)
        if found is None:
            raise ManifestError("no label table", expected=f"a file {_TABLES[0]}", source=path)
        path = found
    with reading(path) as table:
        return _manifest(table, folder_of(images) if images else path.parent)


def _manifest(table: CsvTable, images: Path) -> Manifest:
    names = [cell.strip() for cell in table.column("ImageID")]
    labels = table.parsed(table.column("Labels"), _labels, None)
    return Manifest(
        [name.rpartition(".")[0] or name for name in names],
        paths_of(names, images, otherwise=""),
        pathologies=list(_WORDS),
        states=_states(labels),
        patients=table.texts("PatientID"),
        views=[_VIEWS.get(view, view) if view else None for view in table.texts("Projection")],
        sexes=sexes_of(table, "PatientSex_DICOM"),
        ages=_ages(table),
        label_sources=f"PadChest, {table.source}, mapped as TorchXRayVision does",
        extra={"label_method": [cell or "" for cell in table.texts("MethodLabel")]},
        lines=table.lines,
        notes=_notes(labels),
        problems=table.problems,
    )


def _labels(cell: str) -> tuple[str, ...] | None:
    """The labels of an image, which are a Python list; None where there is no label at all."""
    text = cell.strip()
    if text in ("", "nan"):
        return None
    if not _LIST.fullmatch(text):
        raise CellError(f"the labels {quoted(cell)}, which are no list such as ['normal']")
    return tuple(label for each in re.findall(_QUOTED, text) if (label := each[1:-1].strip())) or None


def _states(labels: list[tuple[str, ...] | None]) -> States:
    """(n, 28); what an image's labels do not stand for is negative."""
    states = np.full((len(labels), len(_WORDS)), NOT_LABELLED, np.int8)
    for row, named in enumerate(labels):
        if named is not None:
            states[row] = NEGATIVE
            for label in named:
                states[row, _meant(label)] = POSITIVE
    return states


@cache
def _meant(label: str) -> list[int]:
    """The columns of the pathologies that a label stands for."""
    text = label.casefold()
    return [
        at
        for at, (name, words) in enumerate(_WORDS.items())
        if any(word in text for word in words) or (name == "Tube" and text.endswith(_TUBES))
    ]


def _notes(labels: list[tuple[str, ...] | None]) -> list[str]:
    """What was left out, by name and number of images."""
    counts = Counter(label for named in labels for label in set(named or ()))
    left_out = Counter(
        {label: n for label, n in counts.items() if not _meant(label) and not says_no_finding(label)}
    )
    if not left_out:
        return []
    shown = ", ".join(f"{quoted(label)} {n}" for label, n in left_out.most_common(_SHOWN))
    more = f" and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
    return [f"{len(left_out)} labels that stand for no pathology here are left out: {shown}{more}"]


def _ages(table: CsvTable) -> list[float | None]:
    """Years from birth to the study, to a year."""
    columns = table.texts("StudyDate_DICOM"), table.texts("PatientBirth")
    return [
        None if not study or not birth else _age(study, birth) for study, birth in zip(*columns, strict=True)
    ]


def _age(study: str, birth: str) -> float | None:
    born = birth.removesuffix(".0")
    if not (born.isascii() and born.isdigit() and study[:4].isascii() and study[:4].isdigit()):
        return None
    years = float(int(study[:4]) - int(born))
    return believed(years) if years >= 0 else None
