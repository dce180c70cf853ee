"""A Radiograph as MONAI's MetaTensor, and back.

A MetaTensor here is (1, H, W), rows before columns, as a radiograph is displayed and as TorchXRayVision's
models take it. MONAI's own readers give (W, H). The affine says so: it places pixel (row, column) where the
identity of MONAI's readers places (column, row), so that MONAI's spatial transforms know the difference.

The metadata hold strings, one flag, and shapes, so that images collate whatever is unknown of one of them;
'' is unknown. They hold nothing of a DICOM header but what a figure shows, and no path: `filename_or_obj`,
after which MONAI names its outputs, is the safe id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor
from numpy.typing import NDArray
from torch import Tensor

from cxr_explain.errors import OptionError
from cxr_explain.integrations.monai.axes import Axes, Turn
from cxr_explain.options import check_option
from cxr_explain.radiograph import VALUE_RANGE, Radiograph

_KNOWN = {None: "", True: "yes", False: "no"}
_BETWEEN_LINES = "\n"
_BETWEEN_VALUES = "\\"  # as DICOM has it
_ENDINGS = {"DICOM": ".dcm", "JPEG": ".jpg", "TIFF": ".tif", "WEBP": ".webp", "BMP": ".bmp"}
_OVERSHOOT = 0.5  # beyond the range by interpolation: a sixteenth of a grey level of 8 bits
_LEAVES_THE_AFFINE = "Transposed"


def to_meta_tensor(radiograph: Radiograph) -> Tensor:
    """The pixels, (1, H, W) float32 in [-1024, 1024], with what is known of them and without patient data.

    Returns:
        A MetaTensor; a plain tensor while `monai.data.set_track_meta(False)` holds.

    >>> image = to_meta_tensor(Radiograph.from_array(np.zeros((4, 5), np.float32), id="a"))
    >>> tuple(image.shape), image.meta["filename_or_obj"], image.affine[:2, :2].tolist()
    ((1, 4, 5), 'a.png', [[0.0, 1.0], [1.0, 0.0]])
    """
    pixels = torch.from_numpy(np.array(radiograph.pixels)[None])
    if not get_track_meta():
        return pixels
    affine = pixel_affine(radiograph.pixel_spacing)
    meta = {
        "filename_or_obj": radiograph.id + _ENDINGS.get(radiograph.format, ".png"),
        "original_affine": affine.clone(),
        "original_channel_dim": 0,
        "spatial_shape": np.array(radiograph.shape),
        "id": radiograph.id,
        "sha256": radiograph.sha256,
        "pixels_sha256": _digest(radiograph.pixels),
        "format": radiograph.format,
        "view": radiograph.view or "",
        "laterality": radiograph.laterality or "",
        "patient_orientation": _BETWEEN_VALUES.join(radiograph.patient_orientation or ()),
        "pixel_spacing": _BETWEEN_VALUES.join(map(repr, radiograph.pixel_spacing or ())),
        "pixel_spacing_source": radiograph.pixel_spacing_source or "",
        "steps": _BETWEEN_LINES.join(radiograph.steps),
        "warnings": _BETWEEN_LINES.join(radiograph.warnings),
        "xrv_compatible": _KNOWN[radiograph.xrv_compatible],
        "phantom": radiograph.phantom,
    }
    return MetaTensor(pixels, affine=affine, meta=meta)


def pixel_affine(spacing: tuple[float, float] | None) -> Tensor:
    """(4, 4): from (row, column, 0, 1) to (x, y, 0, 1), where columns run along x and rows along y.

    Args:
        spacing: distance of rows and of columns in mm; 1 where it is unknown, as MONAI has it.
    """
    rows, columns = spacing or (1.0, 1.0)
    affine = torch.eye(4, dtype=torch.float64)
    affine[:2, :2] = torch.tensor([[0.0, columns], [rows, 0.0]], dtype=torch.float64)
    return affine


def to_radiograph(image: Tensor, *, axes: Axes = "recorded") -> tuple[Radiograph, Turn]:
    """The radiograph that an image shows, upright, and how the image lies.

    What MONAI's transforms did is among the steps. Where they changed the pixels, the digest is that of the
    pixels, as the file's would name another image.

    Args:
        image: (1, A, B) in [-1024, 1024], one image and no batch.
        axes: see `Axes`; "recorded" takes an image of `ReadRadiographd` alone.

    Raises:
        OptionError: another shape or range, an image that another reader read, or one that MONAI transposed
            without telling the affine.
    """
    check_option("axes", axes, Axes)
    if image.ndim != 3 or len(image) != 1:
        raise OptionError(f"an image of shape {tuple(image.shape)}", expected="(1, H, W), one grey channel")
    meta, done = _known(image)
    turn = _turn(image, meta, done, axes)
    pixels = _within_range(turn.undo(image.detach().cpu().numpy()[0].astype(np.float32)))
    radiograph = Radiograph.from_array(pixels, id=str(meta.get("id", "array")))
    if "sha256" not in meta:
        return radiograph, turn
    return _as_recorded(radiograph, meta, done, turn), turn


def _known(image: Tensor) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The metadata, and the names of the transforms that were recorded."""
    if not isinstance(image, MetaTensor):
        return {}, ()
    return image.meta, tuple(operation["class"] for operation in image.applied_operations)


def _turn(image: Tensor, meta: Mapping[str, Any], done: tuple[str, ...], axes: Axes) -> Turn:
    if _LEAVES_THE_AFFINE in done:
        raise OptionError(
            f"an image after {_LEAVES_THE_AFFINE}, which leaves the affine as it was",
            expected="axes that the affine tells",
            remedy="Use Orientationd in its place.",
        )
    if axes == "recorded" and "pixels_sha256" not in meta:
        raise OptionError(
            "an image that ReadRadiographd did not read, or metadata that are not tracked",
            expected="to know which axis runs along the rows: MONAI's own readers swap them",
            remedy="Read it with ReadRadiographd, or say axes='rows-columns' for (1, H, W), "
            "axes='columns-rows' for (1, W, H).",
        )
    matrix = _since_reading(image, meta)
    return Turn.of(matrix[::-1] if axes == "columns-rows" else matrix)


def _since_reading(image: Tensor, meta: Mapping[str, Any]) -> NDArray[np.float64]:
    """(2, 2): from a step along the image's axes to one along the axes it was read with."""
    if not isinstance(image, MetaTensor):
        return np.eye(2)
    # Readers that know no affine leave the identity. MONAI's lazy transforms leave a (3, 3) affine, others a
    # (4, 4) one; directions have the same corner.
    before = torch.as_tensor(meta.get("original_affine", torch.eye(2)), dtype=torch.float64)[:2, :2]
    return (torch.inverse(before) @ image.affine[:2, :2].double().cpu()).numpy()


def _within_range(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take off what an interpolation overshot; more is left for `Radiograph.from_array` to refuse."""
    low, high = VALUE_RANGE
    if pixels.size and low - _OVERSHOOT <= pixels.min() and pixels.max() <= high + _OVERSHOOT:
        return np.clip(pixels, low, high)
    return pixels


def _as_recorded(
    radiograph: Radiograph, meta: Mapping[str, Any], done: tuple[str, ...], turn: Turn
) -> Radiograph:
    same = radiograph.sha256 == meta["pixels_sha256"]
    orientation, spacing = _values(meta["patient_orientation"]), _values(meta["pixel_spacing"])
    words = (f"MONAI: {', '.join(done)}" if done else "MONAI: transforms that leave no record",)
    turned = (f"turned upright for the model ({turn.words})",) if turn.words else ()
    return replace(
        radiograph,
        sha256=meta["sha256"] if same else radiograph.sha256,
        format=meta["format"] if same else "array",
        view=meta["view"] or None,
        laterality=meta["laterality"] or None,
        patient_orientation=(orientation[0], orientation[1]) if orientation else None,
        pixel_spacing=(float(spacing[0]), float(spacing[1])) if spacing and same else None,
        pixel_spacing_source=(meta["pixel_spacing_source"] or None) if same else None,
        steps=(*_lines(meta["steps"]), *(() if same else words), *turned),
        warnings=_lines(meta["warnings"]),
        xrv_compatible={text: known for known, text in _KNOWN.items()}[meta["xrv_compatible"]],
        phantom=bool(meta["phantom"]),
    )


def _digest(pixels: NDArray[np.float32]) -> str:
    """As `Radiograph.from_array` has it."""
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.split(_BETWEEN_LINES)) if text else ()


def _values(text: str) -> tuple[str, ...]:
    return tuple(text.split(_BETWEEN_VALUES)) if text else ()
