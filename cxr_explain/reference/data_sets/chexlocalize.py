"""CheXlocalize: CheXpert's validation and test images with outlines by radiologists.

Source: Saporta et al., Nature Machine Intelligence 4 (2022) 867.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Literal

from cxr_explain.errors import ManifestError
from cxr_explain.options import check_option
from cxr_explain.reference.data_sets.chexpert import chexpert_table, joined
from cxr_explain.reference.data_sets.folders import first_file, folder_of
from cxr_explain.reference.manifest import Manifest
from cxr_explain.reference.masks import MaskReference

ChexlocalizeSplit = Literal["valid", "test"]
Outlined = Literal["segmentation", "annotation"]

Masks = Mapping[str, Mapping[str, MaskReference]]
"""By image_id, then by pathology."""

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
        split: the validation or the test images; both by default.
        masks: which of the two kinds of JSON.

    Returns:
        The manifest; paths of images and masks are relative to `source`.

    Raises:
        ManifestError: a table or a JSON file that is not there, or bad rows.
        ReferenceLabelError: a JSON file that is not CheXlocalize's.
    """
    if split is not None:
        check_option("split", split, ChexlocalizeSplit)
    check_option("masks", masks, Outlined)
    folder = folder_of(source)
    splits = [split] if split else [each for each in _NAMES if _table(folder, each)]
    if not splits:
        raise ManifestError(
            "no label table", expected="CheXpert/val_labels.csv or CheXpert/test_labels.csv", source=folder
        )
    return joined([_of_split(folder, each, masks) for each in splits])


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
    reference = MaskReference(
        "chexlocalize-segmentation" if masks == "segmentation" else "chexlocalize-annotation",
        outlines.relative_to(folder).as_posix(),
    )
    return manifest.with_masks(_outlined(outlines, masks, reference))


def _table(folder: Path, split: str) -> Path | None:
    name = _NAMES[split]
    return first_file(folder, f"CheXpert/{name}_labels.csv", f"CheXpert/{split}.csv")


def _outlined(
    path: Path, masks: Outlined, reference: MaskReference
) -> Mapping[str, Mapping[str, MaskReference]]:
    """By image id, then by pathology; outlines are the evaluation's, a later stage: only read when asked."""
    from cxr_explain.reference.chexlocalize import read_annotations, read_segmentations

    outlines = (read_segmentations if masks == "segmentation" else read_annotations)(path)
    return {
        image_id: {name: reference for name, outline in named.items() if not outline.is_empty}
        for image_id, named in outlines.outlines.items()
    }
