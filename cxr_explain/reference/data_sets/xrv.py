"""TorchXRayVision's data sets: objects with `.csv`, `.labels` and `.pathologies`.

Source: torchxrayvision 1.5.7, `torchxrayvision/datasets.py`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from string import Formatter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_explain.errors import ManifestError, OptionError
from cxr_explain.pathologies import says_no_finding
from cxr_explain.reference.data_sets.people import believed
from cxr_explain.reference.data_sets.plain import ids_of
from cxr_explain.reference.entry import Sex
from cxr_explain.reference.manifest import Manifest
from cxr_explain.reference.problems import quoted
from cxr_explain.reference.states import NEGATIVE, NOT_LABELLED, POSITIVE

FolderAndPath = tuple[str, str]
"""The folder of a data set's images, and the path of an image below it."""


_PATHS: Mapping[str, str] = {
    "NIH_Dataset": "{Image Index}",
    "NIH_Google_Dataset": "{Image Index}",
    "PC_Dataset": "{ImageID}",
    "CheX_Dataset": "{Path}",
    "CheXlocalize_Dataset": "{Path}",
    "MIMIC_Dataset": "p{subject_id:.2}/p{subject_id}/s{study_id}/{dicom_id}.jpg",
    "BRAX_Dataset": "{PngPath}",
    "Openi_Dataset": "{imageid}.png",
    "COVID19_Dataset": "{filename}",
    "NLMTB_Dataset": "CXR_png/{fname}",
    "TBX11K_Dataset": "imgs/{file_name}",
    "VinDr_Dataset": "{image_id}.dicom",
    "ObjectCXR_Dataset": "train/{image_name}",
    "SIIM_Pneumothorax_Dataset": "{ImageId}.dcm",
    "RSNA_Pneumonia_Dataset": "{patientId}{extension}",
    "StonyBrookCOVID_Dataset": "{row}.jpg",
}
"""How each class finds an image's file in its `__getitem__`, by the columns of its table."""
_LEFT_OUT = re.compile(r"CheXpert-v1\.0(-small)?/|^images/")
"""What the classes take out of the paths of CheXpert's and BRAX's tables."""

_MIXED = frozenset({"CheX_Dataset", "CheXlocalize_Dataset", "MIMIC_Dataset"})
"""Where `unique_patients` takes the first label that is not blank of any of a patient's images."""


def manifest_of_xrv(source: Any) -> Manifest:
    """The images of a data set of TorchXRayVision, with the labels that it has.

    1 and 0 are positive and negative. NaN, which stands there for a blank, an uncertain label and a pathology
    that the data set does not know, is not labelled. A pathology with other numbers, such as the scores of
    Stony Brook's data, becomes a column, and so does "No Finding". Masks are read with the sample:
    `explainer.explain(dataset[i], data_set=dataset)`.

    Args:
        source: an object of any of the 16 classes, or a merged, filtered or partial one.

    Returns:
        The manifest; its paths are relative to the data set's `imgpath`, of several to the folder above them.

    Raises:
        OptionError: something else than a data set of TorchXRayVision.
        ManifestError: an image twice with other labels, or names that no manifest may have.
    """
    labels, pathologies = _labels(source)
    places = _places(source)
    if len(places) != len(labels):
        raise ManifestError(f"{len(places)} images and {len(labels)} rows of labels", expected="as many")
    paths, notes = _below_one_folder(places), _notes(source)
    rows = _first_rows(paths, labels)
    if len(rows) < len(paths):
        notes.append(f"{len(paths) - len(rows)} rows repeat an image, with the same labels")
    is_state = [bool(np.isin(column, (0, 1)).all()) for column in np.nan_to_num(labels).T]
    named = [at for at, name in enumerate(pathologies) if is_state[at] and not says_no_finding(name)]
    others = [at for at in range(len(pathologies)) if at not in named]
    notes += [f"{quoted(pathologies[at])} is kept as a column" for at in others]
    kept = [paths[row] for row in rows]
    return Manifest(
        ids_of(kept),
        kept,
        pathologies=[pathologies[at] for at in named],
        states=_states(labels[rows][:, named]),
        **_people(source.csv, rows),
        label_sources=_label_source(source),
        extra={
            "no_finding" if says_no_finding(pathologies[at]) else pathologies[at]: _texts(labels[rows, at])
            for at in others
        },
        lines=[row + 1 for row in rows],
        notes=notes,
    )


def _labels(source: Any) -> tuple[NDArray[np.float64], list[str]]:
    try:
        labels = np.asarray(source.labels, np.float64)
        pathologies = [str(name) for name in source.pathologies]
        fits = labels.ndim == 2 and labels.shape == (len(source.csv), len(pathologies))
    except (AttributeError, TypeError, ValueError):
        fits = False
    if not fits:
        raise OptionError(
            f"a {type(source).__name__}",
            expected="a data set of TorchXRayVision, with .csv, .labels and .pathologies",
            remedy='In Python: make_manifest("xrv", torchxrayvision.datasets.NIH_Dataset(...)).',
        )
    return labels, pathologies


def _places(source: Any) -> list[FolderAndPath]:
    """Where the file of each image is; merged and partial data sets ask those that they are made of."""
    if hasattr(source, "datasets"):
        return [place for each in source.datasets for place in _places(each)]
    if hasattr(source, "idxs"):
        places = _places(source.dataset)
        return [places[at] for at in source.idxs]
    if hasattr(source, "site") and hasattr(source, "d2"):
        both = _places(source.d1), _places(source.d2)
        return [both[site][at] for site, at in zip(source.site, source.imageids, strict=True)]
    template = next((_PATHS[each.__name__] for each in type(source).__mro__ if each.__name__ in _PATHS), None)
    if template is None:
        raise OptionError(
            f"a {type(source).__name__}, of which the images' files are not known",
            expected=f"one of {', '.join(_PATHS)}",
        )
    root = str(getattr(source, "imgpath", ""))
    found = getattr(source, "file_map", {})  # SIIM's files lie in folders of their own
    paths = [_LEFT_OUT.sub("", template.format_map(row)) for row in _fields(source, template)]
    return [(root, os.path.relpath(found[path], root) if path in found else path) for path in paths]


def _fields(source: Any, template: str) -> Iterator[dict[str, str]]:
    """What a template needs of each row."""
    known = {"extension": [getattr(source, "extension", "")] * len(source.csv), "row": range(len(source.csv))}
    names = [name for _, name, _, _ in Formatter().parse(template) if name]
    columns = [known[name] if name in known else source.csv[name].tolist() for name in names]
    return (dict(zip(names, map(str, cells), strict=True)) for cells in zip(*columns, strict=True))


def _below_one_folder(places: Sequence[FolderAndPath]) -> list[str]:
    roots = {root: os.path.abspath(root) for root in {root for root, _ in places}}
    top = os.path.commonpath(roots.values()) if roots else ""
    inner = {root: os.path.relpath(whole, top) for root, whole in roots.items()}
    return [path if inner[root] == "." else f"{inner[root]}/{path}" for root, path in places]


def _first_rows(paths: Sequence[str], labels: NDArray[np.float64]) -> list[int]:
    """The first row of each image.

    Raises:
        ManifestError: another row with other labels.
    """
    first: dict[str, int] = {}
    for row, path in enumerate(paths):
        earlier = first.setdefault(path, row)
        if not np.array_equal(labels[row], labels[earlier], equal_nan=True):
            raise ManifestError(f"{quoted(path)} in rows {earlier} and {row}, with other labels")
    return list(first.values())


def _states(labels: NDArray[np.float64]) -> NDArray[np.int8]:
    known = np.where(labels == 1, POSITIVE, NEGATIVE)
    return np.where(np.isnan(labels), NOT_LABELLED, known).astype(np.int8)


def _people(csv: Any, rows: Sequence[int]) -> dict[str, Any]:
    """Patient, view, sex and age from the columns that TorchXRayVision adds to each table."""

    def column(name: str) -> list[Any]:
        cells = csv[name].tolist() if name in csv.columns else [None] * len(csv)
        return [None if cells[row] != cells[row] else cells[row] for row in rows]

    sexes: list[Sex | None] = [
        "F" if female else "M" if male else None
        for female, male in zip(column("sex_female"), column("sex_male"), strict=True)
    ]
    ages = [None if age is None or age < 0 else believed(float(age)) for age in column("age_years")]
    texts = {name: column(name) for name in ("patientid", "view")}
    return {
        "patients": [None if cell is None else str(cell) for cell in texts["patientid"]],
        "views": [None if cell in (None, "UNKNOWN") else str(cell) for cell in texts["view"]],
        "sexes": sexes,
        "ages": ages,
    }


def _texts(column: NDArray[np.float64]) -> list[str]:
    return ["" if np.isnan(value) else f"{value:g}" for value in column]


def _notes(source: Any) -> list[str]:
    notes = []
    if getattr(source, "pathology_masks", False):
        notes.append("masks are not in the manifest: they come with the samples")
    if _is_mixed(source):
        notes.append(
            "with unique_patients, TorchXRayVision mixes the labels of a patient's images; "
            "make the data set with unique_patients=False"
        )
    return notes


def _is_mixed(source: Any) -> bool:
    """Whether each patient has one row, so that labels may be those of another image of the patient."""
    if type(source).__name__ not in _MIXED or "patientid" not in source.csv.columns:
        return False
    return max(Counter(source.csv["patientid"].tolist()).values(), default=0) == 1 and len(source.csv) > 1


def _label_source(source: Any) -> str:
    mixed = ", labels of a patient's images mixed" if _is_mixed(source) else ""
    return f"TorchXRayVision's {type(source).__name__}{mixed}"
