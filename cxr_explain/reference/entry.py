"""One image of a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from cxr_explain.errors import ReferenceLabelError
from cxr_explain.pathologies import ReferenceBox, ReferenceLabels, canonical_pathology
from cxr_explain.reference.masks import MaskReference, box_mask, read_mask
from cxr_explain.reference.problems import quoted
from cxr_explain.support.arrays import Mask

Sex = Literal["F", "M"]

MARGIN = 1.0
"""Pixels by which a box may leave its image: drawn boxes end on the last pixel's far edge, or just beyond."""

_SAY_THE_SPACE = (
    "If the image is a smaller copy, the column box_space says how large the one was that was drawn on."
)


@dataclass(frozen=True)
class Entry:
    """One row of a manifest.

    Args:
        image_id: unique in its manifest.
        path: POSIX, relative to the image folder.
        patient: name of the group that the bootstrap keeps together; None where it is not known.
        view: such as PA, AP, LL or lateral.
        sex: as recorded.
        age: patient's age in years.
        split: such as train, valid or test.
        labels: states and their source, without boxes.
        boxes: reference boxes, in the pixels of `box_space`.
        box_space: (width, height) in pixels of the image that the boxes were drawn on; None stands for this
            image.
        masks: where the reference masks are, by pathology.
        extra: cells of the manifest's other columns, by name.
        line: the line of the manifest's CSV, from 1.

    >>> box = ReferenceBox("Mass", 256, 512, 128, 64)
    >>> entry = Entry("a", "a.png", boxes=(box,), box_space=(1024, 1024))
    >>> entry.boxes_in((512, 512))
    (ReferenceBox(pathology='Mass', x=128.0, y=256.0, width=64.0, height=32.0),)
    """

    image_id: str
    path: str
    patient: str | None = None
    view: str | None = None
    sex: Sex | None = None
    age: float | None = None
    split: str | None = None
    labels: ReferenceLabels = field(default_factory=ReferenceLabels)
    boxes: tuple[ReferenceBox, ...] = ()
    box_space: tuple[int, int] | None = None
    masks: Mapping[str, MaskReference] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)
    line: int = 0

    def boxes_in(self, shape: tuple[int, int]) -> tuple[ReferenceBox, ...]:
        """The boxes in a radiograph's pixels.

        Args:
            shape: (H, W) of the radiograph: the image that the boxes were drawn on, or a scaled copy.

        Raises:
            ReferenceLabelError: another aspect ratio than that of `box_space`, or a box outside of the
                radiograph.
        """
        if not self.boxes:
            return ()
        height, width = shape
        space = self.box_space or (width, height)
        across, down = width / space[0], height / space[1]
        if not _is_copy(space, (width, height)):
            raise ReferenceLabelError(
                f"boxes in {space[0]} x {space[1]} pixels for an image of {width} x {height}",
                expected="an image of the same aspect ratio",
                remedy="Name the folder with the images that the boxes were drawn on.",
                source=self.image_id,
            )
        for box in self.boxes:
            if not box_fits(box, space):
                raise ReferenceLabelError(
                    f"the box {box_text(box)}",
                    expected=f"a box inside of {space[0]} x {space[1]} pixels",
                    remedy=None if self.box_space else _SAY_THE_SPACE,
                    source=self.image_id,
                )
        return tuple(
            ReferenceBox(box.pathology, box.x * across, box.y * down, box.width * across, box.height * down)
            for box in self.boxes
        )

    def mask_in(self, pathology: str, shape: tuple[int, int], folder: Path) -> Mask:
        """The mask of a pathology.

        Args:
            pathology: the pathology, under any name that it has.
            shape: the radiograph's height and width (H, W) in pixels.
            folder: the folder that the masks' paths are relative to; no file outside of it is read.

        Returns:
            (H, W) bool.

        Raises:
            ReferenceLabelError: no mask of this pathology, or one of another size.
            ManifestError: a file outside of the folder.
            CxrExplainError: a file that holds no mask.
        """
        name = canonical_pathology(pathology)
        if name not in self.masks:
            raise ReferenceLabelError(
                f"no mask of {quoted(name)}",
                expected=f"one of {', '.join(self.masks) or '(none)'}",
                source=self.image_id,
            )
        return read_mask(self.masks[name], self.image_id, name, shape, folder)

    def masks_in(self, shape: tuple[int, int], folder: Path) -> dict[str, Mask]:
        """Where each outlined pathology is: the pixels of the pathology's mask and boxes together.

        Args:
            shape: the radiograph's height and width (H, W) in pixels.
            folder: the folder that the masks' paths are relative to; no file outside of it is read.

        Returns:
            (H, W) bool by pathology.

        Raises:
            ReferenceLabelError: boxes or masks that do not fit the radiograph.
            ManifestError: a file outside of the folder.
            CxrExplainError: a file that holds no mask.

        >>> entry = Entry("a", "a.png", boxes=(ReferenceBox("Mass", 0, 0, 1, 2),))
        >>> entry.masks_in((2, 2), Path())["Mass"].tolist()
        [[True, False], [True, False]]
        """
        found = {name: self.mask_in(name, shape, folder) for name in self.masks}
        for box in self.boxes_in(shape):
            inside = box_mask(box, shape)
            found[box.pathology] = found.get(box.pathology, inside) | inside
        return found

    def labels_in(self, shape: tuple[int, int]) -> ReferenceLabels:
        """The labels with the view, and with the boxes in a radiograph's pixels.

        Args:
            shape: the radiograph's height and width (H, W) in pixels.

        Raises:
            ReferenceLabelError: boxes that do not fit the radiograph.
        """
        return replace(self.labels, boxes=self.boxes_in(shape), view=self.view)


def box_fits(box: ReferenceBox, space: tuple[int, int] | None) -> bool:
    """Whether a box has an area and lies in an image, up to a pixel.

    Args:
        box: the box, in the image's pixels.
        space: (width, height) of the image in pixels; None where it is not known.

    >>> box_fits(ReferenceBox("Mass", 0, 0, 1025, 10), (1024, 1024))
    True
    >>> box_fits(ReferenceBox("Mass", 0, 0, float("nan"), 10), None)
    False
    """
    width, height = space or (float("inf"), float("inf"))
    right, bottom = box.x + box.width, box.y + box.height
    inside = 0 <= box.x < right <= width + MARGIN and 0 <= box.y < bottom <= height + MARGIN
    return inside and box.x < width and box.y < height and right < float("inf") and bottom < float("inf")


def box_text(box: ReferenceBox) -> str:
    """A box as a message shows it."""
    return f"{quoted(box.pathology)} at x={box.x:g}, y={box.y:g}, width={box.width:g}, height={box.height:g}"


def _is_copy(space: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether `size` is `space` scaled, up to the rounding of the shorter side by a pixel."""
    (from_width, from_height), (width, height) = space, size
    return abs(width * from_height - height * from_width) <= max(from_width, from_height)
