"""Reference masks that a manifest points to; the files stay where they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cxr_explain.errors import CxrExplainError, ManifestError
from cxr_explain.loaders import read_radiograph
from cxr_explain.radiograph import VALUE_RANGE
from cxr_explain.reference.paths import file_inside, path_problem
from cxr_explain.reference.problems import quoted

if TYPE_CHECKING:
    from cxr_explain.reference.chexlocalize import OutlineSet

MaskKind = Literal["png", "chexlocalize-segmentation", "chexlocalize-annotation"]
"""An image whose pixels above zero are the finding, or one of CheXlocalize's two kinds of JSON."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class MaskReference:
    """Where the mask of one pathology in one image is.

    Args:
        kind: of file. In CheXlocalize's JSON the mask is found by the image id of the manifest.
        path: POSIX, relative to the manifest's mask folder.

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
        reference: where it is.
        image_id: of the manifest.
        pathology: under any of its names.
        shape: (H, W) of the radiograph.
        folder: of the masks; no file outside of it is read.

    Returns:
        (H, W) bool.

    Raises:
        ManifestError: a file outside of the folder, or a mask of another size.
        CxrExplainError: a file that holds no mask.
    """
    path = file_inside(folder, reference.path)
    if reference.kind == "png":
        mask = _read_image(path)
    else:
        mask = _read_outlines(path, reference.kind).mask(image_id, pathology)
    if mask.shape != tuple(shape):
        raise ManifestError(
            f"a mask of {_size(mask.shape)} for an image of {_size(shape)}",
            expected="the image that the mask was drawn on, in its own pixels",
            source=path,
        )
    return mask


def _read_image(path: Path) -> Mask:
    try:
        return np.asarray(read_radiograph(path).pixels > VALUE_RANGE[0])
    except CxrExplainError as error:
        raise error.at(path) from error


def _read_outlines(path: Path, kind: MaskKind) -> OutlineSet:
    try:
        status = path.stat()
    except OSError as error:
        raise ManifestError(
            f"no readable file ({error.strerror})", expected="one of CheXlocalize's JSON files", source=path
        ) from error
    return _cached_outlines(path, kind, (status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=2)
def _cached_outlines(path: Path, kind: MaskKind, _version: tuple[int, int]) -> OutlineSet:
    """One file holds the masks of all images; `_version` reads it again where it changed.

    CheXlocalize's files are read by the evaluation, a later stage, so only when they are asked for.
    """
    from cxr_explain.reference.chexlocalize import read_annotations, read_segmentations

    return read_annotations(path) if kind == "chexlocalize-annotation" else read_segmentations(path)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} pixels"
