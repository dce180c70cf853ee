"""Where the findings of an image file are: reference boxes, masks, or outlines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cxr_explain.errors import CxrExplainError, ReferenceLabelError
from cxr_explain.loaders import read_radiograph
from cxr_explain.pathologies import PATHOLOGIES, ReferenceBox, canonical_pathology
from cxr_explain.radiograph import VALUE_RANGE
from cxr_explain.reference.chexlocalize import (
    CHEXLOCALIZE_NAMES,
    OutlineSet,
    read_annotations,
    read_segmentations,
)
from cxr_explain.reference.label_tables import ReferenceTable

Mask = NDArray[np.bool_]
Masks = dict[str, Mask]
Shape = tuple[int, int]


class References(Protocol):
    """The masks of image files."""

    def covers(self, path: Path) -> bool:
        """Whether something is known of an image; without reading it."""

    def masks(self, path: Path, shape: Shape) -> Masks:
        """By pathology, (H, W) bool."""


@dataclass(frozen=True)
class Boxes:
    """Reference boxes as masks: the pixels whose centre lies in a box.

    Args:
        table: with boxes.
    """

    table: ReferenceTable

    def covers(self, path: Path) -> bool:
        """Whether the image has a box."""
        return self.table.has_boxes(path)

    def __str__(self) -> str:
        return "boxes"

    def boxes(self, path: Path, shape: Shape) -> tuple[ReferenceBox, ...]:
        """The boxes of an image, in its pixels."""
        labels = self.table.labels_for(path, shape)
        return labels.boxes if labels else ()

    def masks(self, path: Path, shape: Shape) -> Masks:
        """The boxes of each pathology together."""
        found: Masks = {}
        y, x = np.arange(shape[0])[:, None] + 0.5, np.arange(shape[1])[None] + 0.5
        for box in self.boxes(path, shape):
            inside = (box.x <= x) & (x < box.x + box.width) & (box.y <= y) & (y < box.y + box.height)
            name = canonical_pathology(box.pathology)
            found[name] = found.get(name, np.zeros(shape, bool)) | inside
        return found


@dataclass(frozen=True)
class MaskFolder:
    """A folder of masks, `IMAGE-pathology.png` each, as `cxr-explain phantom` writes them.

    Args:
        folder: what is not zero in a file is the finding.

    Raises:
        ReferenceLabelError: no such folder, or none of its files is named so.
    """

    folder: Path

    def __post_init__(self) -> None:
        if not self._files:
            raise ReferenceLabelError(
                "no mask", expected="files named IMAGE-pathology.png, such as a-mass.png", source=self.folder
            )

    @cached_property
    def _files(self) -> Mapping[str, Mapping[str, Path]]:
        """By image, then by pathology."""
        known = {name.lower(): name for name in PATHOLOGIES}
        found: dict[str, dict[str, Path]] = {}
        for path in sorted(self.folder.glob("*-*.png")):
            image, _, pathology = path.stem.rpartition("-")
            if pathology.lower() in known:
                found.setdefault(image, {})[known[pathology.lower()]] = path
        return found

    def covers(self, path: Path) -> bool:
        """Whether there is a mask named after the image."""
        return path.stem in self._files

    def __str__(self) -> str:
        return "masks"

    def masks(self, path: Path, shape: Shape) -> Masks:
        """The masks of an image; one of another size is refused."""
        return {name: _mask(file, shape) for name, file in self._files[path.stem].items()}


@dataclass(frozen=True)
class Outlines:
    """CheXlocalize's outlines.

    Args:
        outlines: of the radiographs; see `read_outlines`.
    """

    outlines: OutlineSet

    def covers(self, path: Path) -> bool:
        """Whether the image is outlined, by its path's last parts."""
        return _chexlocalize_id(path, self.outlines) is not None

    def __str__(self) -> str:
        return "outlines"

    def masks(self, path: Path, shape: Shape) -> Masks:
        """The masks of an image; those of another size are refused."""
        image_id = _chexlocalize_id(path, self.outlines) or ""
        if self.outlines.shape(image_id) != shape:
            raise ReferenceLabelError(
                f"outlines of {_size(self.outlines.shape(image_id))} for an image of {_size(shape)}",
                expected="the image that was outlined, in its own pixels",
                source=path,
            )
        named = [name for name in CHEXLOCALIZE_NAMES if not self.outlines.outline(image_id, name).is_empty]
        return {name: self.outlines.mask(image_id, name) for name in named}


def read_outlines(path: Path) -> Outlines:
    """Read either of CheXlocalize's two kinds of JSON.

    Raises:
        ReferenceLabelError: neither of them.
    """
    try:
        return Outlines(read_segmentations(path))
    except ReferenceLabelError as first:
        try:
            return Outlines(read_annotations(path))
        except ReferenceLabelError as second:
            if second.found == first.found:
                raise
            raise ReferenceLabelError(
                f"neither segmentations ({first.found}) nor annotations ({second.found})",
                expected="one of CheXlocalize's JSON files",
                source=path,
            ) from second


def _chexlocalize_id(path: Path, outlines: OutlineSet) -> str | None:
    """patient1/study1/view1_frontal.jpg has the id patient1_study1_view1_frontal."""
    parts = [*path.parts[:-1], path.stem]
    ids = ("_".join(parts[-count:]) for count in (3, 1))
    return next((each for each in ids if each in outlines.outlines), None)


def _mask(path: Path, shape: Shape) -> Mask:
    try:
        pixels = read_radiograph(path).pixels
    except CxrExplainError as error:
        raise error.at(path) from error
    if pixels.shape != shape:
        raise ReferenceLabelError(
            f"a mask of {_size(pixels.shape)} for an image of {_size(shape)}", source=path
        )
    return np.asarray(pixels > VALUE_RANGE[0])


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} pixels"
