"""Where the class map of a pathology points, against its reference boxes and masks.

The maps are the raw class maps that the run stored for the pathologies that are outlined there, whether they
ranked among the K best or not. They are interpolated over the radiograph as `Geometry.maps_to_radiograph`
does, and compared there at `SAMPLES` samples along the longer side. What the model did not see is cut off
maps, boxes and masks first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from cxr_explain.audit.rows import Failed, unpacked
from cxr_explain.errors import CxrExplainError
from cxr_explain.geometry import Geometry
from cxr_explain.measures.boxes import Boxes, boxes_of, iobb, map_boxes
from cxr_explain.measures.localisation import centre_hit, peak_hit, random_hit
from cxr_explain.measures.overlap import energy_in_mask
from cxr_explain.pathologies import ReferenceBox

if TYPE_CHECKING:
    from cxr_explain.audit.store import AuditRun

Mask = NDArray[np.bool_]

THRESHOLDS = (0.1, 0.5)
"""T(IoBB) of the statistics."""

LOCALISATION_MEASURES = ("peak_hit", "random_hit", "centre_hit", "energy", "iobb_0.1", "iobb_0.5")

SAMPLES = 512
"""Along the longer side of the radiograph: at 1024 pixels, a sample is 2 x 2 of them."""

_COLUMNS = (
    "row", "width", "height", "map_shape", "reference_pathologies", "reference_scale", "reference_maps"
)  # fmt: skip
_TOLD_EVERY = 200  # images


@dataclass(frozen=True)
class Located:
    """How well one class map of one image points.

    Args:
        at: position of the image in the results.
        pathology: that is outlined there.
        values: of `LOCALISATION_MEASURES`; NaN where not estimable.
    """

    at: int
    pathology: str
    values: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Field:
    """What the model saw of a radiograph, at a bounded number of samples.

    Args:
        geometry: of the radiograph.
        shape: (height, width) of the samples over the whole radiograph.

    >>> field = Field.of(Geometry.fit_square((1000, 2000), 224), samples=20)
    >>> field.shape, field.seen
    ((10, 20), (5, 0, 15, 10))
    """

    geometry: Geometry
    shape: tuple[int, int]

    @classmethod
    def of(cls, geometry: Geometry, *, samples: int = SAMPLES) -> Field:
        """As many samples as there are pixels, but no more than `samples` along the longer side."""
        height, width = geometry.radiograph_shape
        scale = min(1.0, samples / max(height, width))
        return cls(geometry, (max(1, round(height * scale)), max(1, round(width * scale))))

    @property
    def seen(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom): the samples whose centres the model saw."""
        x, y = self._scale
        left, top, right, bottom = self.geometry.seen_box
        return (
            math.ceil(left * x - 0.5), math.ceil(top * y - 0.5),
            math.ceil(right * x - 0.5), math.ceil(bottom * y - 0.5),
        )  # fmt: skip

    def maps(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class maps (R, I, J) at the samples that were seen."""
        return self._cut(self.geometry.maps_to_radiograph(maps, self.shape))

    def boxes(self, references: Sequence[ReferenceBox], pathology: str) -> Boxes:
        """The reference boxes of a pathology, (n, 4) in the samples that were seen, as far as they were."""
        x, y = self._scale
        left, top, right, bottom = self.seen
        corners = boxes_of(references, pathology) * (x, y, x, y)
        corners = np.clip(corners, (left, top, left, top), (right, bottom, right, bottom))
        corners = corners - (left, top, left, top)
        return corners[(corners[:, 2:] > corners[:, :2]).all(axis=1)]

    def mask(self, mask: Mask) -> Mask:
        """A mask (H, W) of the radiograph at the samples that were seen, by the pixel under each centre."""
        rows, columns = (
            ((np.arange(count) + 0.5) * extent / count).astype(np.intp)
            for count, extent in zip(self.shape, mask.shape, strict=True)
        )
        return self._cut(mask[np.ix_(rows, columns)])

    def mask_of(self, boxes: Boxes) -> Mask:
        """The samples whose centre lies in a box."""
        left, top, right, bottom = self.seen
        y, x = np.arange(bottom - top)[:, None] + 0.5, np.arange(right - left)[None] + 0.5
        inside = np.zeros((bottom - top, right - left), bool)
        for x0, y0, x1, y1 in boxes:
            inside |= (x0 <= x) & (x < x1) & (y0 <= y) & (y < y1)
        return inside

    @property
    def _scale(self) -> tuple[float, float]:
        """Samples a pixel, across and down."""
        (height, width), (rows, columns) = self.geometry.radiograph_shape, self.shape
        return columns / width, rows / height

    def _cut(self, values: NDArray[Any]) -> NDArray[Any]:
        left, top, right, bottom = self.seen
        return values[..., top:bottom, left:right]


def pointing(saliency: NDArray[np.float32], inside: Mask, boxes: Boxes) -> tuple[float, ...]:
    """The `LOCALISATION_MEASURES` of one class map.

    Args:
        saliency: (h, w), the raw signed class map.
        inside: (h, w) bool, the finding.
        boxes: (n, 4) around it in the same samples; (0, 4) where it is outlined by a mask alone.

    Returns:
        Numbers from 0 to 1; NaN where not estimable: all for an empty mask, IoBB without a box.

    Source:
        `evaluation.localisation`, `evaluation.overlap` and `evaluation.boxes`, which name their papers. A map
        finds the boxes at T where some box around it exceeds T.
    """
    means = (
        peak_hit(saliency, inside),
        random_hit(inside),
        centre_hit(inside),
        energy_in_mask(saliency, inside),
    )
    found = [math.nan if value is None else value for value in means]
    if not len(boxes) or not inside.any():
        return (*found, *([math.nan] * len(THRESHOLDS)))
    best = iobb(map_boxes(saliency), boxes).max(initial=0.0)
    return (*found, *(float(best > threshold) for threshold in THRESHOLDS))


def locate(
    maps: Mapping[str, NDArray[np.float32]],
    geometry: Geometry,
    *,
    boxes: Sequence[ReferenceBox] = (),
    masks: Mapping[str, Mask] | None = None,
    samples: int = SAMPLES,
) -> dict[str, tuple[float, ...]]:
    """Measure all class maps of one image.

    Args:
        maps: by pathology, (I, J), raw and signed.
        geometry: of the image.
        boxes: of the reference, in radiograph pixels.
        masks: of the reference by pathology, (H, W) bool; with boxes as well, the finding is both together.
        samples: see `Field`.

    Returns:
        By pathology, the `LOCALISATION_MEASURES`.

    >>> box = ReferenceBox("Mass", 0, 0, 2, 2)
    >>> geometry = Geometry.fit_square((4, 4), 4)
    >>> locate({"Mass": np.eye(4, dtype=np.float32)}, geometry, boxes=[box])["Mass"]
    (0.5, 0.25, 0.25, 0.5, 1.0, 0.0)
    """
    field = Field.of(geometry, samples=samples)
    over = field.maps(np.stack(list(maps.values()))) if maps else ()
    found = {}
    for pathology, saliency in zip(maps, over, strict=True):
        around = field.boxes(boxes, pathology)
        inside = field.mask_of(around)
        if masks and pathology in masks:
            inside = inside | field.mask(masks[pathology])
        found[pathology] = pointing(saliency, inside, around)
    return found


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
        progress: is told how far it is.
    """
    table = run.columns(_COLUMNS)
    outlined = np.flatnonzero(pc.list_value_length(table["reference_pathologies"]).to_numpy())
    located: list[Located] = []
    left_out: list[str] = []
    for done, row in enumerate(table.take(outlined).to_pylist()):
        if progress and done % _TOLD_EVERY == 0:
            progress(f"localisation: {done} of {len(outlined)} images")
        try:
            found = _measured(run, row)
        except CxrExplainError as error:
            left_out.append(Failed.of(error).message)
        else:
            located.extend(Located(int(outlined[done]), name, values) for name, values in found.items())
    return Localisation(tuple(located), tuple(left_out))


def _measured(run: AuditRun, row: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    names = row["reference_pathologies"]
    maps = unpacked(row["reference_maps"], row["reference_scale"], (len(names), *row["map_shape"][1:]))
    shape = row["height"], row["width"]
    entry = run.manifest[row["row"]]
    return locate(
        dict(zip(names, maps, strict=True)),
        Geometry.fit_square(shape, run.record.input_size, run.record.map_settings.fit),
        boxes=entry.boxes_in(shape),
        masks={name: entry.mask_in(name, shape, Path(run.images)) for name in entry.masks if name in names},
    )
