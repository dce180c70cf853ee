"""CheXlocalize: CheXpert's validation and test images with outlines by radiologists.

Source: Saporta et al., Nature Machine Intelligence 4 (2022) 867.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Literal

from cxr_explain.errors import ManifestError
from cxr_explain.reference.data_sets.chexpert import chexpert_table
from cxr_explain.reference.data_sets.folders import first_file, folder_of
from cxr_explain.reference.manifest import Manifest
from cxr_explain.reference.masks import OutlineKind, outlined_in

ChexlocalizeSplit = Literal["valid", "test"]
Outlined = Literal["segmentation", "annotation"]

_NAMES: dict[str, str] = {"valid": "val", "test": "test"}


def manifest_of_chexlocalize(
    source: str | PathLike[str],
    *,
    split: ChexlocalizeSplit | None = None,
    masks: Outlined = "segmentation",
) -> Manifest:
    """The images that CheXlocalize outlines, with references to their masks; the outlines are not copied.

    Labels are those of the tables; a mask is referred to where the outline is not empty. Masks are in
    full-resolution pixels: the copies of CheXpert-v1.0-small do not fit.

    Args:
        source: the folder with `CheXpert/` and `gt_segmentations_val.json` or `gt_annotations_val.json`.
        split: take only the validation or the test images; both by default.
        masks: which of the two kinds of JSON to refer to: run lengths (segmentation), or polygons
            (annotation).

    Returns:
        The manifest; paths of images and masks are relative to `source`.

    Raises:
        ManifestError: a table or a JSON file that is not there, or bad rows.
        ReferenceLabelError: a JSON file that is not CheXlocalize's.
    """
    folder = folder_of(source)
    splits = [split] if split else [each for each in _NAMES if _table(folder, each)]
    if not splits:
        raise ManifestError(
            "no label table", expected="CheXpert/val_labels.csv or CheXpert/test_labels.csv", source=folder
        )
    first, *others = [_of_split(folder, each, masks) for each in splits]
    return first.followed_by(*others)


def _of_split(folder: Path, split: str, masks: Outlined) -> Manifest:
    name = _NAMES[split]
    table = _table(folder, split)
    outlines = first_file(folder, f"gt_{masks}s_{name}.json", f"CheXlocalize/gt_{masks}s_{name}.json")
    if table is None or outlines is None:
        raise ManifestError(
            f"no CheXpert/{name}_labels.csv" if table is None else f"no gt_{masks}s_{name}.json",
            expected="CheXlocalize's files",
            source=folder,
        )
    prefix = table.parent.relative_to(folder).as_posix() + "/"
    manifest = chexpert_table(table, folder, prefix=prefix, name="CheXlocalize")
    kind: OutlineKind = "chexlocalize-annotation" if masks == "annotation" else "chexlocalize-segmentation"
    return manifest.with_masks(outlined_in(outlines, kind, folder))


def _table(folder: Path, split: str) -> Path | None:
    name = _NAMES[split]
    return first_file(folder, f"CheXpert/{name}_labels.csv", f"CheXpert/{split}.csv")
