"""The class maps of a run in the frame of the thorax: their mean, and where their peaks pile up.

They are the maps that a run stores of each image's ranked pathologies, with the box around its thorax; no
image is looked at again, and a group of rows at a time is in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.stats import binom, hypergeom

from cxr_explain.audit.rows import PEAK_PLACES, THORAX_BOX
from cxr_explain.chest.orientation import image_sides
from cxr_explain.chest.thorax_frame import COARSE_CELLS, FINE_CELLS, ThoraxFrames, place_in_frame
from cxr_explain.errors import AuditError
from cxr_explain.geometry import Geometry
from cxr_explain.measures.statistics.bootstrap import GroupedMeans, grouped_means
from cxr_explain.support.arrays import Floats

if TYPE_CHECKING:
    from cxr_explain.audit.cases import Cases
    from cxr_explain.audit.store import AuditRun

PARTS_OF_CHEST = ("lung", "heart", "mediastinum", "diaphragm", "chest wall", "marker", "outside")
"""What a peak may lie on, as `chest.places.ChestPart` has them."""

PLACE_MEASURES = ("peak_in_lungs", "peak_outside", "peak_in_place")
"""Shares of the peaks: in the lungs, outside of the thorax, in the one place outside of it that has most."""

PILE = 0.1
"""Peaks pile up in a place where more than this share of them lies."""

_PARTS = PEAK_PLACES[0]
_COLUMNS = (
    "width", "height", "patient_orientation", "ranking", "map_shape", "class_maps", *THORAX_BOX, _PARTS
)  # fmt: skip
_CELLS = COARSE_CELLS**2
_BEYOND = np.pad(np.zeros((COARSE_CELLS - 2,) * 2, bool), 1, constant_values=True)
# Fluid that hides the lower part of a lung lies below the thorax as it is recognised.
_BEYOND[-1, 1:-1] = False
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class FramedMaps:
    """The class maps of a run that have one peak, of images whose thorax is known.

    Args:
        pathologies: names of the P trained outputs.
        at: (m,) position in the results of each map's image.
        pathology: (m,) number of the pathology.
        cells: (m,) coarse cell of the frame that its peak lies in, row by row.
        parts: (m,) number in `PARTS_OF_CHEST` of what its peak lies on; -1 where it is not known.
        mean_maps: (P, FINE_CELLS, FINE_CELLS) mean of the maps, of which an even one is 1.
        even: (P, COARSE_CELLS, COARSE_CELLS) share of the peaks in each place if they lay anywhere.
        without_thorax: images that were left out, as no thorax was recognised.
        without_peak: maps that were left out, without a positive value or with several equal peaks.
    """

    pathologies: tuple[str, ...]
    at: NDArray[np.intp]
    pathology: NDArray[np.intp]
    cells: NDArray[np.intp]
    parts: NDArray[np.intp]
    mean_maps: NDArray[np.float64] = field(repr=False)
    even: NDArray[np.float64] = field(repr=False)
    without_thorax: int = 0
    without_peak: int = 0

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True, eq=False)
class _Maps:
    """The maps of some images, one below the other.

    Args:
        maps: (m, I, J), not scaled.
        image: (m,) which of the images each is of.
        pathology: (m,) its number.
        parts: (m,) what its peak lies on, in `PARTS_OF_CHEST`.
    """

    maps: Floats
    image: NDArray[np.intp]
    pathology: NDArray[np.intp]
    parts: NDArray[np.intp]

    def with_one_peak(self) -> _Maps:
        """Those that have a positive value and a single largest one."""
        flat = self.maps.reshape(len(self.maps), -1)
        largest = flat.max(axis=1, initial=0, keepdims=True)
        kept = (largest[:, 0] > 0) & ((flat == largest).sum(axis=1) == 1)
        return _Maps(self.maps[kept], self.image[kept], self.pathology[kept], self.parts[kept])

    def cells(self, frames: ThoraxFrames) -> NDArray[np.intp]:
        """(m,) the coarse cell of each peak."""
        I, J = self.maps.shape[1:]  # noqa: E741
        rows, columns = frames.places((I, J))
        row, column = np.divmod(self.maps.reshape(len(self.maps), -1).argmax(axis=1), J)
        return np.asarray(rows[self.image, row] * COARSE_CELLS + columns[self.image, column])


def framed_maps_of(run: AuditRun, *, progress: Callable[[str], None] | None = None) -> FramedMaps:
    """Gather the stored class maps of a run in the frame of the thorax.

    Args:
        run: an audit, finished or not.
        progress: function that is called with how far it is, in words.

    Raises:
        AuditError: values that no audit writes.
    """
    names = run.record.pathologies
    sums = np.zeros((len(names), FINE_CELLS, FINE_CELLS))
    even = np.zeros((len(names), COARSE_CELLS, COARSE_CELLS))
    found = [np.empty((4, 0), np.intp)]
    first = without_thorax = without_peak = 0
    for table in run.in_groups(_COLUMNS):
        if progress:
            progress(f"averaging class maps in the frame of the thorax, from image {first + 1} on")
        known = _is_framed(table)
        without_thorax += len(table) - int(known.sum())
        for chosen in _of_one_shape(table, known):
            images = table.take(chosen)
            stored, frames = _maps_of(images, names), _frames_of(images, run)
            maps = stored.with_one_peak()
            without_peak += len(stored.maps) - len(maps.maps)
            np.add.at(sums, maps.pathology, frames.laid(maps.maps, maps.image))
            np.add.at(even, maps.pathology, frames.even(maps.maps.shape[1:])[maps.image])
            found.append(
                np.stack([first + chosen[maps.image], maps.pathology, maps.cells(frames), maps.parts])
            )
        first += len(table)
    at, pathology, cells, parts = np.concatenate(found, axis=1)
    count = np.maximum(np.bincount(pathology, minlength=len(names)), 1)[:, None, None]
    return FramedMaps(
        names, at, pathology, cells, parts, sums / count, even / count, without_thorax, without_peak
    )


def place_entries(cases: Cases, framed: FramedMaps) -> Iterator[tuple[dict[str, Any], GroupedMeans]]:
    """An entry of the statistics for each pathology with maps, and the function that gives its measures.

    The first is of all pathologies together, and has None for a name. "place" is the place outside of the
    thorax, and not below it, in which peaks most clearly pile up. Of each place "p" is one-sided, that of a
    share of `PILE` or less, or of an even map's or less: the binomial distribution's, a patient counting by
    the share of their maps; and, where there are other pathologies, of a share no larger than that of their
    maps, by Fisher's exact test. The larger of both counts, times the number of such places.

    Args:
        cases: the images of the audit.
        framed: the maps of the same images.
    """
    if not len(framed):
        return
    all_of_them = _Peaks.of(framed.cells, cases.patients[framed.at])
    for number, name in ((None, None), *enumerate(framed.pathologies)):
        chosen = np.ones(len(framed), bool) if number is None else framed.pathology == number
        if not chosen.any():
            continue
        patients = cases.patients[framed.at[chosen]]
        own = all_of_them if number is None else _Peaks.of(framed.cells[chosen], patients, all_of_them.groups)
        weight = np.bincount(framed.pathology[chosen], minlength=len(framed.pathologies)) / chosen.sum()
        even = np.tensordot(weight, framed.even, 1)
        place = _piled(own, None if number is None else all_of_them.less(own), even.ravel())
        cells, parts = framed.cells[chosen], framed.parts[chosen]
        counts = np.bincount(parts[parts >= 0], minlength=len(PARTS_OF_CHEST))
        entry = {
            "pathology": name,
            "maps": int(chosen.sum()),
            "patients": len(np.unique(patients)),
            "parts": dict(zip(PARTS_OF_CHEST, counts.tolist(), strict=True)),
            "peaks": np.bincount(cells, minlength=_CELLS).reshape(COARSE_CELLS, -1).tolist(),
            "even": even.round(4).tolist(),
            "mean_map": np.tensordot(weight, framed.mean_maps, 1).round(3).tolist(),
            "place": place,
            "without_thorax": framed.without_thorax,
            "without_peak": framed.without_peak,
        }
        known = np.where(parts >= 0, 1.0, np.nan)
        values = (
            known * (parts == PARTS_OF_CHEST.index("lung")),
            known * (parts == PARTS_OF_CHEST.index("outside")),
            cells == place["row"] * COARSE_CELLS + place["column"],
        )
        yield entry, grouped_means(np.stack(values, 1).astype(np.float64), patients, cases.groups)


@dataclass(frozen=True, eq=False)
class _Peaks:
    """Peaks by patient and place.

    Args:
        counts: (groups, cells) peaks.
    """

    counts: NDArray[np.float64]

    @classmethod
    def of(cls, cells: NDArray[np.intp], patients: NDArray[np.intp], groups: int | None = None) -> Self:
        """Count them."""
        number = int(patients.max()) + 1 if groups is None else groups
        counts = np.bincount(patients * _CELLS + cells, minlength=number * _CELLS)
        return cls(counts.reshape(number, _CELLS).astype(np.float64))

    @property
    def groups(self) -> int:
        return len(self.counts)

    def less(self, other: Self) -> Self:
        """Without those of another."""
        return type(self)(self.counts - other.counts)

    @property
    def patients(self) -> int:
        """Who have a peak."""
        return int((self.counts.sum(axis=1) > 0).sum())

    @property
    def shares(self) -> NDArray[np.float64]:
        """(cells,) sum over patients of the share of their peaks in each place."""
        of_patient = self.counts.sum(axis=1, keepdims=True)
        return np.asarray((self.counts / np.maximum(of_patient, 1)).sum(axis=0))


def _piled(own: _Peaks, others: _Peaks | None, even: NDArray[np.float64]) -> dict[str, Any]:
    """The place outside of the thorax with the least p; of several, that with most peaks."""
    n, shares = own.patients, own.shares
    hits = np.floor(shares + _ROUNDING)
    p = binom.sf(hits - 1, n, np.maximum(even, PILE))
    beside = None
    if others is not None and others.patients:
        there = np.ceil(others.shares - _ROUNDING)
        p = np.maximum(p, hypergeom.sf(hits - 1, n + others.patients, hits + there, n))
        beside = others.shares / others.patients
    at = min(np.flatnonzero(_BEYOND), key=lambda cell: (p[cell], -shares[cell]))
    row, column = divmod(int(at), COARSE_CELLS)
    return {
        "row": row,
        "column": column,
        "words": place_in_frame(row, column),
        "share": float(shares[at] / n),
        "others": None if beside is None else float(beside[at]),
        "even": float(even[at]),
        "p": min(1.0, float(p[at]) * int(_BEYOND.sum())),
    }


def _is_framed(table: pa.Table) -> NDArray[np.bool_]:
    """(n,) whether there is a box around the thorax, and a map."""
    left, top, right, bottom = (_floats(table[name]) for name in THORAX_BOX)
    with_maps = pc.list_value_length(table["ranking"]).to_numpy() > 0
    with np.errstate(invalid="ignore"):
        return np.asarray((right > left) & (bottom > top) & with_maps)


def _of_one_shape(table: pa.Table, known: NDArray[np.bool_]) -> Iterator[NDArray[np.intp]]:
    """Rows whose maps have the same numbers of rows and columns.

    Raises:
        AuditError: shapes that no map has.
    """
    try:
        shapes = np.array(table["map_shape"].to_pylist(), np.int64).reshape(-1, 3)[:, 1:]
    except (TypeError, ValueError) as error:
        raise AuditError("class maps without a shape", expected="three whole numbers") from error
    for shape in np.unique(shapes[known], axis=0):
        yield np.flatnonzero(known & (shapes == shape).all(axis=1))


def _maps_of(images: pa.Table, names: Sequence[str]) -> _Maps:
    """The stored class maps.

    Raises:
        AuditError: other values than an audit writes.
    """
    ranking, values = (images[name].combine_chunks() for name in ("ranking", "class_maps"))
    k = pc.list_value_length(ranking).to_numpy()
    _, I, J = images["map_shape"][0].as_py()  # noqa: E741
    pathology = _numbers(ranking.flatten(), names)
    parts = _numbers(images[_PARTS].combine_chunks().flatten(), PARTS_OF_CHEST)
    sizes = pc.list_value_length(values).to_numpy()
    if min(I, J) < 1 or (sizes != k * I * J).any() or (pathology < 0).any() or len(parts) != len(pathology):
        raise AuditError("class maps that do not fit their ranking", expected="one map for each pathology")
    maps = np.asarray(values.flatten().to_numpy(zero_copy_only=False), np.float32).reshape(-1, I, J)
    if not np.isfinite(maps).all():
        raise AuditError("class maps with NaN or infinite values", expected="finite maps")
    image = np.repeat(np.arange(len(images)), k)
    return _Maps(maps, image, pathology, parts)


def _numbers(texts: pa.Array, names: Sequence[str]) -> NDArray[np.intp]:
    """Which of the names each text is; -1 for another."""
    found = pc.index_in(texts, value_set=pa.array(names, pa.string()))
    return np.asarray(found.fill_null(-1).to_numpy().astype(np.intp))


def _frames_of(images: pa.Table, run: AuditRun) -> ThoraxFrames:
    shapes = zip(images["height"].to_pylist(), images["width"].to_pylist(), strict=True)
    fit, size = run.record.map_settings.fit, run.record.input_size
    squares = [Geometry.fit_square(shape, size, fit) for shape in shapes]
    orientations = images["patient_orientation"].to_pylist()
    return ThoraxFrames(
        np.stack([_floats(images[name]) for name in THORAX_BOX], axis=1),
        np.array([(square.left, square.top, square.side) for square in squares], np.float64),
        np.array([_is_mirrored(orientation) for orientation in orientations], bool),
    )


def _is_mirrored(orientation: Sequence[str] | None) -> bool:
    """Whether the patient's left is on the left of the image."""
    if not orientation or len(orientation) != 2 or None in orientation:
        return False
    sides = image_sides((orientation[0], orientation[1]))
    return sides is not None and "L" in sides[0]


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.asarray(pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy())
