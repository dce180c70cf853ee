"""Where CheXpert's images lie: in a folder for each split, or in the batches of the download."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from cxr_explain.errors import ManifestError
from cxr_explain.reference.problems import quoted

SplitAndPatient = tuple[str, str]
"""The split and the patient, as the table has them."""

_BATCH = re.compile(r"CheXpert-v1\.0 batch \d+ \((?P<what>[^)]*)\)", re.IGNORECASE)
_PATIENT = re.compile(r"patient\d+", re.ASCII)
_OTHER_NAMES = {"valid": "val", "val": "valid"}
_LAYOUT = (
    "train/patient00001/study1/view1_frontal.jpg beside the tables, or the batches of the download "
    "('CheXpert-v1.0 batch 1 (validate & csv)', 'CheXpert-v1.0 batch 2 (train 1)', ...) in one folder"
)


def is_batch(folder: Path) -> bool:
    """Whether a folder is named as a batch of the download is.

    >>> is_batch(Path("CheXpert-v1.0 batch 2 (train 1)"))
    True
    """
    return _BATCH.fullmatch(folder.name) is not None


def batches_in(folder: Path) -> list[Path]:
    """The batches of the download in a folder, in order."""
    return [each for each in _folders(folder) if is_batch(each)]


def image_folders(root: Path, patients: Iterable[SplitAndPatient]) -> Mapping[SplitAndPatient, str]:
    """The folder of each patient's images, relative to the tables' root.

    `valid/` is called `val/` where CheXlocalize brings it, whatever the table says. Where there are no images
    at all, as beside a table alone, they are expected in the folder of their split.

    Args:
        root: the folder that holds the tables, or the batches.
        patients: split and patient of the images.

    Raises:
        ManifestError: images in another layout.
    """
    wanted = set(patients)
    splits = {split: _split_folder(root, split) for split, _ in wanted}
    missing = {split for split, folder in splits.items() if not (root / folder).is_dir()}
    batched = _in_batches(root) if missing else {}
    if missing and not batched:
        _refuse_other_layouts(root)
    return {
        (split, patient): batched.get((_name(split), patient), splits[split])
        if split in missing
        else splits[split]
        for split, patient in wanted
    }


def _split_folder(root: Path, split: str) -> str:
    other = _OTHER_NAMES.get(split)
    return other if other and (root / other).is_dir() and not (root / split).is_dir() else split


def _name(split: str) -> str:
    """One name for a split that has two."""
    return "valid" if split == "val" else split


def _in_batches(root: Path) -> dict[SplitAndPatient, str]:
    """The folders of patients in batches: in the batch itself, or in a folder of the split in it."""
    found: dict[SplitAndPatient, str] = {}
    for batch in batches_in(root):
        for folder in (batch, *_folders(batch)):
            split = _split_of(folder)
            if split is not None:
                place = folder.relative_to(root).as_posix()
                found |= {
                    (split, each.name): place for each in _folders(folder) if _PATIENT.fullmatch(each.name)
                }
    return found


def _split_of(folder: Path) -> str | None:
    """The split whose images a folder holds, by its name; None for a folder of something else."""
    match = _BATCH.fullmatch(folder.name)
    name = (match["what"] if match else folder.name).casefold()
    return next((split for split in ("train", "valid", "test") if name.startswith(split[:3])), None)


def _refuse_other_layouts(root: Path) -> None:
    if is_batch(root) or is_batch(root.resolve()):
        raise ManifestError(
            f"one batch of CheXpert's download, {quoted(root.name)}",
            expected=_LAYOUT,
            remedy="Name the folder that holds all batches.",
            source=root,
        )
    odd = [
        each
        for folder in (root, *_folders(root))
        for each in _folders(folder)
        if _PATIENT.fullmatch(each.name) and folder.name not in ("train", "valid", "val", "test")
    ]
    if odd:
        raise ManifestError(
            f"images in {quoted(odd[0].relative_to(root).as_posix())}", expected=_LAYOUT, source=root
        )


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir())
    except OSError:
        return []
