"""Where the class map of a pathology points, against its reference boxes and masks.

The maps are the raw class maps that the run stored for the pathologies that are outlined there, whether they
ranked among the K best or not. What is measured, and how, stands in `cxr_explain.measures.ruler`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import ArrayLike

from cxr_explain.audit.rows import Failed, unpacked
from cxr_explain.errors import CxrExplainError
from cxr_explain.geometry import Geometry
from cxr_explain.measures.ruler import ClassMapMeasures, Ruler
from cxr_explain.pathologies import ReferenceBox
from cxr_explain.support.prose import counted

if TYPE_CHECKING:
    from cxr_explain.audit.store import AuditRun

THRESHOLDS = (0.1, 0.5)
"""T(IoBB) of the statistics: a map finds the boxes at T where its IoBB exceeds T."""

_NUMBERS = ("peak_hit", "tolerant_hit", "random_hit", "centre_hit", "energy", "iou")

LOCALISATION_MEASURES = (*_NUMBERS, *(f"iobb_{threshold}" for threshold in THRESHOLDS))

_COLUMNS = (
    "row", "width", "height", "map_shape", "reference_pathologies", "reference_scale", "reference_maps"
)  # fmt: skip
_TOLD_EVERY = 200  # images


@dataclass(frozen=True)
class Located:
    """How well one class map of one image points.

    Args:
        at: position of the image in the results.
        pathology: the outlined pathology that the map is of.
        values: one number for each of `LOCALISATION_MEASURES`; NaN where it is not estimable.
    """

    at: int
    pathology: str
    values: tuple[float, ...]


def locate(
    maps: Mapping[str, ArrayLike],
    geometry: Geometry,
    *,
    boxes: Sequence[ReferenceBox] = (),
    masks: Mapping[str, ArrayLike] | None = None,
) -> dict[str, ClassMapMeasures]:
    """Measure all class maps of one image.

    Args:
        maps: class map (I, J) by pathology, raw and signed.
        geometry: where the maps lie on the radiograph.
        boxes: reference boxes, in radiograph pixels.
        masks: reference mask (H, W) bool by pathology.

    Returns:
        By pathology.

    >>> box = ReferenceBox("Mass", 0, 0, 2, 2)
    >>> locate({"Mass": np.eye(4)}, Geometry.fit_square((4, 4), 4), boxes=[box])["Mass"].peak_hit
    0.5
    """
    ruler = Ruler.of(geometry, boxes=boxes, masks=masks)
    return {pathology: ruler.class_map(pathology, saliency) for pathology, saliency in maps.items()}


@dataclass(frozen=True)
class Localisation:
    """How well the stored class maps of an audit point.

    Args:
        located: one for each class map of an outlined pathology.
        left_out: why an image was left out, for each that was.
    """

    located: tuple[Located, ...]
    left_out: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """What a reader must know."""
        if not self.left_out:
            return []
        count = len(self.left_out)
        return [
            f"Localisation leaves out {count} image{'s' * (count > 1)}, the first since: {self.left_out[0]}"
        ]


def localisation_of(run: AuditRun, *, progress: Callable[[str], None] | None = None) -> Localisation:
    """Measure every stored class map of an outlined pathology.

    An image whose boxes do not fit it, or whose mask cannot be read, is left out, and why is kept.

    Args:
        run: an audit, finished or not.
        progress: function that is called with how far it is, in words.
    """
    table = run.columns(_COLUMNS)
    outlined = np.flatnonzero(pc.list_value_length(table["reference_pathologies"]).to_numpy())
    located: list[Located] = []
    left_out: list[str] = []
    if progress and len(outlined):
        progress(f"measuring where class maps point in {counted(len(outlined), 'image')} with boxes or masks")
    for done, row in enumerate(table.take(outlined).to_pylist()):
        if progress and done and done % _TOLD_EVERY == 0:
            progress(f"measuring where class maps point: {done:,} of {len(outlined):,} images done")
        try:
            found = _measured(run, row)
        except CxrExplainError as error:
            left_out.append(f"{run.manifest.ids[row['row']]}: {Failed.of(error).message}")
        else:
            located.extend(Located(int(outlined[done]), name, _values(each)) for name, each in found.items())
    return Localisation(tuple(located), tuple(left_out))


def boxes_left_out(run: AuditRun) -> Localisation:
    """What a localisation leaves out for boxes that do not fit their images; no map is measured.

    Args:
        run: an audit, finished or not.
    """
    left_out = []
    for row in run.columns(("row", "height", "width")).to_pylist():
        if row["row"] in run.manifest.boxes:
            try:
                run.manifest[row["row"]].boxes_in((row["height"], row["width"]))
            except CxrExplainError as error:
                left_out.append(f"{run.manifest.ids[row['row']]}: {Failed.of(error).message}")
    return Localisation((), tuple(left_out))


def _values(found: ClassMapMeasures) -> tuple[float, ...]:
    """The `LOCALISATION_MEASURES`."""
    numbers = [getattr(found, name) for name in _NUMBERS]
    over = [None if found.iobb is None else float(found.iobb > threshold) for threshold in THRESHOLDS]
    return tuple(math.nan if number is None else number for number in (*numbers, *over))


def _measured(run: AuditRun, row: Mapping[str, Any]) -> dict[str, ClassMapMeasures]:
    names = row["reference_pathologies"]
    maps = unpacked(row["reference_maps"], row["reference_scale"], (len(names), *row["map_shape"][1:]))
    shape = row["height"], row["width"]
    entry = run.manifest[row["row"]]
    return locate(
        dict(zip(names, maps, strict=True)),
        Geometry.fit_square(shape, run.record.input_size, run.record.map_settings.fit),
        boxes=entry.boxes_in(shape),
        masks={
            name: entry.mask_in(name, shape, run.image_folder.local())
            for name in entry.masks
            if name in names
        },
    )
