"""Reference masks that a manifest points to; the files stay where they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

from cxr_explain.errors import ManifestError, ReferenceLabelError
from cxr_explain.loaders import read_radiograph
from cxr_explain.pathologies import ReferenceBox
from cxr_explain.radiograph import VALUE_RANGE
from cxr_explain.reference.chexlocalize import OutlineSet, read_annotations, read_segmentations
from cxr_explain.reference.paths import file_inside, path_problem
from cxr_explain.reference.problems import quoted
from cxr_explain.support.arrays import Mask

OutlineKind = Literal["chexlocalize-segmentation", "chexlocalize-annotation"]
"""CheXlocalize's two kinds of JSON: run lengths, or polygons."""

MaskKind = Literal["png", "chexlocalize-segmentation", "chexlocalize-annotation"]
"""The kinds of file that a mask may be in: an image whose pixels above zero are the finding, or JSON."""

_READERS: Mapping[OutlineKind, Callable[[Path], OutlineSet]] = MappingProxyType(
    {"chexlocalize-segmentation": read_segmentations, "chexlocalize-annotation": read_annotations}
)


@dataclass(frozen=True)
class MaskReference:
    """Where the mask of one pathology in one image is.

    Args:
        kind: kind of file. In CheXlocalize's JSON the mask is found by the image id of the manifest.
        path: of the file, POSIX, relative to the manifest's mask folder.

    Raises:
        ManifestError: an unknown kind, or a path that a manifest may not have.

    >>> MaskReference("png", "masks/a-effusion.png").path
    'masks/a-effusion.png'
    """

    kind: MaskKind
    path: str

    def __post_init__(self) -> None:
        if self.kind not in get_args(MaskKind):
            raise ManifestError(
                f"the mask kind {quoted(self.kind)}", expected=f"one of {', '.join(get_args(MaskKind))}"
            )
        problem = path_problem(self.path)
        if problem:
            raise ManifestError(problem, expected="a path relative to the mask folder")


def read_mask(
    reference: MaskReference, image_id: str, pathology: str, shape: tuple[int, int], folder: Path
) -> Mask:
    """Read a mask.

    Args:
        reference: where the mask is.
        image_id: the image's id in the manifest.
        pathology: under any of the pathology's names.
        shape: (H, W) of the radiograph.
        folder: the folder that the reference's path is relative to; no file outside of it is read.

    Returns:
        (H, W) bool.

    Raises:
        ManifestError: a file outside of the folder.
        ReferenceLabelError: a mask of another size.
        CxrExplainError: a file that holds no mask.
    """
    path = file_inside(folder, reference.path)
    if reference.kind == "png":
        mask = np.asarray(read_radiograph(path).pixels > VALUE_RANGE[0])
    else:
        mask = read_outlines(path, reference.kind).mask(image_id, pathology)
    if mask.shape != tuple(shape):
        raise ReferenceLabelError(
            f"a mask of {_size(mask.shape)} for an image of {_size(shape)}",
            expected="the image that the mask was drawn on, in its own pixels",
            source=path,
        )
    return mask


def box_mask(box: ReferenceBox, shape: tuple[int, int]) -> Mask:
    """The pixels whose centre lies in a box.

    Args:
        box: in the radiograph's pixels.
        shape: (H, W) of the radiograph.

    Returns:
        (H, W) bool.

    >>> box_mask(ReferenceBox("Mass", x=0, y=0.6, width=1.5, height=1), (2, 2)).tolist()
    [[False, False], [True, False]]
    """
    y, x = np.arange(shape[0])[:, None] + 0.5, np.arange(shape[1])[None] + 0.5
    across = (box.x <= x) & (x < box.x + box.width)
    return np.asarray(across & (box.y <= y) & (y < box.y + box.height))


def read_outlines(path: Path, kind: OutlineKind) -> OutlineSet:
    """Read one of CheXlocalize's files.

    The two that were read last are kept, since one file has the outlines of all images.

    Args:
        path: of the JSON file.
        kind: which of the two kinds of JSON the file is.

    Raises:
        ReferenceLabelError: no such file, or anything in it that is not as it should be.
    """
    try:
        status = path.stat()
    except OSError:  # which the reader will name
        return _READERS[kind](path)
    return _cached_outlines(path, kind, (status.st_mtime_ns, status.st_size))


def outline_kind(path: Path) -> OutlineKind:
    """Which of CheXlocalize's two kinds of JSON a file is.

    Raises:
        ReferenceLabelError: neither of them.
    """
    found: list[str] = []
    kind: OutlineKind
    for kind in get_args(OutlineKind):
        try:
            read_outlines(path, kind)
        except ReferenceLabelError as error:
            found.append(error.found)
        else:
            return kind
    neither = f"neither segmentations ({found[0]}) nor annotations ({found[-1]})"
    raise ReferenceLabelError(
        found[0] if found[0] == found[-1] else neither,
        expected="one of CheXlocalize's JSON files",
        source=path,
    )


def outlined_in(path: Path, kind: OutlineKind, folder: Path) -> dict[str, dict[str, MaskReference]]:
    """The masks of one of CheXlocalize's files that are not empty, by image id, then by pathology.

    Args:
        path: of the JSON file.
        kind: which of the two kinds of JSON the file is.
        folder: the folder that the references' path is to be relative to.

    Raises:
        ReferenceLabelError: no such file, or anything in it that is not as it should be.
    """
    reference = MaskReference(kind, path.relative_to(folder).as_posix())
    return {
        image_id: {name: reference for name, outline in named.items() if not outline.is_empty}
        for image_id, named in read_outlines(path, kind).outlines.items()
    }


@lru_cache(maxsize=2)
def _cached_outlines(path: Path, kind: OutlineKind, _version: tuple[int, int]) -> OutlineSet:
    """`_version`, the file's time and size, is there so that a file that changed is read again."""
    return _READERS[kind](path)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} pixels"
