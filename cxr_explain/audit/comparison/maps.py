"""How alike the stored maps of two audits are: the fused maps, and the class maps that both have.

Maps of one grid are compared cell by cell; those of other grids, or of another part of the radiograph, on
samples of what both models saw, as `cxr_explain.measures.differences` does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from math import dist, nan
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from cxr_explain.audit.comparison.matching import MatchedRuns
from cxr_explain.audit.comparison.paired import means
from cxr_explain.audit.record import Record
from cxr_explain.audit.rows import Row, unpacked
from cxr_explain.cam.fusion import fuse
from cxr_explain.geometry import Geometry
from cxr_explain.measures.differences import CommonSamples
from cxr_explain.measures.similarity import pearson

FUSED = ""
"""Stands for the fused map where others have the name of a pathology."""

_COLUMNS = (
    "height", "width", "ranking", "map_shape", "map_scale", "class_maps", "reference_pathologies",
    "reference_scale", "reference_maps",
)  # fmt: skip
_AT_ONCE = 256  # images
_TOLD_EVERY = 1000


class Alike(NamedTuple):
    """How alike two maps of one image are.

    Args:
        correlation: Pearson's, -1 to 1; NaN where a map is flat.
        distance: between the strongest cells, as a share of the side of the square that A saw; NaN where a
            map has no evidence.
    """

    correlation: float
    distance: float


MapsAlike = list[dict[str, Alike]]
"""For each common image, how alike its maps are, by pathology; `FUSED` for the fused ones."""


def compared_maps(found: MatchedRuns, progress: Callable[[str], None] | None = None) -> MapsAlike:
    """Compare all maps that both audits stored of an image.

    Args:
        found: the two audits.
        progress: called with how far it is, in words.
    """
    records = [run.record for run in found.runs]
    tables = [run.columns(_COLUMNS).take(at) for run, at in zip(found.runs, found.at, strict=True)]
    alike = []
    for number, rows in enumerate(zip(*map(_rows, tables), strict=True)):
        if progress and number and number % _TOLD_EVERY == 0:
            progress(f"comparing maps: {number:,} of {len(tables[0]):,} images done")
        alike.append(_of_image(rows, records))
    return alike


def _rows(table: pa.Table) -> Iterator[Row]:
    for batch in table.to_batches(max_chunksize=_AT_ONCE):
        yield from batch.to_pylist()


def _of_image(rows: tuple[Row, ...], records: list[Record]) -> dict[str, Alike]:
    a, b = (_maps(row, record) for row, record in zip(rows, records, strict=True))
    where = [
        Geometry.fit_square((row["height"], row["width"]), record.input_size, record.map_settings.fit)
        for row, record in zip(rows, records, strict=True)
    ]
    names = [name for name in a if name in b]
    if not names or where[0].radiograph_shape != where[1].radiograph_shape:
        return {}
    one, other = (np.stack([each[name] for name in names]) for each in (a, b))
    correlations = _correlations(one, other, where)
    return {
        name: Alike(float(correlation), _distance(one[at], other[at], where))
        for at, (name, correlation) in enumerate(zip(names, correlations, strict=True))
    }


def _maps(row: Row, record: Record) -> dict[str, NDArray[np.float32]]:
    """The evidence of the fused map, and every class map that is stored, by pathology."""
    k, *cells = row["map_shape"]
    class_maps = unpacked(row["class_maps"], row["map_scale"], (k, *cells))
    further = row["reference_pathologies"]
    drawn = unpacked(row["reference_maps"], row["reference_scale"], (len(further), *cells))
    settings = record.map_settings
    maps = dict(zip(further, drawn, strict=True)) | dict(zip(row["ranking"], class_maps, strict=True))
    if k:
        fused = fuse(
            torch.from_numpy(class_maps)[None],
            normalisation=settings.normalisation,
            activation=settings.activation,
            fused=settings.fused,
        )
        maps[FUSED] = np.maximum(fused.maps[0].numpy(), 0).sum(axis=0)
    return maps


def _correlations(
    one: NDArray[np.float32], other: NDArray[np.float32], where: list[Geometry]
) -> NDArray[np.float64]:
    """(m,), of maps (m, I, J)."""
    a, b = where
    if one.shape == other.shape and (a.left, a.top, a.side) == (b.left, b.top, b.side):
        return pearson(one, other)
    samples = CommonSamples(a, b)
    return pearson(samples.of(one, a), samples.of(other, b))


def _distance(one: NDArray[np.float32], other: NDArray[np.float32], where: list[Geometry]) -> float:
    first, second = where[0].peak_of(one), where[1].peak_of(other)
    return nan if first is None or second is None else dist(first, second) / where[0].side


def agreement_of(found: MatchedRuns, alike: MapsAlike, *, level: float) -> dict[str, Any]:
    """Mean correlation and mean distance of the peaks: of the fused maps, and of each pathology's class maps.

    Args:
        found: the two audits.
        alike: how alike the maps of each common image are.
        level: confidence level of the intervals.
    """
    by_name: Mapping[str, list[tuple[int, Alike]]] = defaultdict(list)
    for image, maps in enumerate(alike):
        for name, each in maps.items():
            by_name[name].append((image, each))
    entries = {name: _entry(found, named, level) for name, named in by_name.items()}
    nothing = _entry(found, [], level)
    return {
        "fused": entries.pop(FUSED, nothing),
        "pathologies": [{"pathology": name, **entries[name]} for name in sorted(entries)],
    }


def _entry(found: MatchedRuns, named: list[tuple[int, Alike]], level: float) -> dict[str, Any]:
    values = np.array([each for _, each in named], np.float64).reshape(-1, 2)
    patients = found.patients[[image for image, _ in named]] if named else np.empty(0, np.intp)
    cells = means(values, patients, found.groups, level=level)
    return {"images": len(named), **dict(zip(Alike._fields, cells, strict=True))}
