"""One row of an audit for each image: what is stored of an explanation, and the explanation back from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from cxr_explain.audit.record import Record
from cxr_explain.cam.fusion import fuse
from cxr_explain.chest.places import ChestPlace
from cxr_explain.errors import AuditError, CxrExplainError
from cxr_explain.explaining.explainer import Explained
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.explaining.provenance import LogitDistance, Provenance
from cxr_explain.explaining.ranking import Ranking, rank
from cxr_explain.geometry import Geometry
from cxr_explain.options import ONE_LABEL

Row = dict[str, Any]

SHARES = ("outside_thorax", "outside_lungs", "border", "markers")
"""Of the fused saliency; see `cxr_explain.chest.shares`."""

UNIFORM_SHARES = {name: f"uniform_{name}" for name in SHARES}
"""For each share the column that has an even map's in the same image."""

THORAX_BOX = ("thorax_left", "thorax_top", "thorax_right", "thorax_bottom")
"""Ends of the thorax in the radiograph's pixels."""

PEAK_PLACES = ("peak_part", "peak_side", "peak_zone")
"""Where in the chest the class map of each ranked pathology has its peak; see `cxr_explain.chest.places`."""

FINER = ("finer_largest", "finer_mean")
"""How far the logits of finer maps lie from the model's own; see `LogitDistance`."""

OF_REGIONS = (*SHARES, *UNIFORM_SHARES.values(), *THORAX_BOX, *PEAK_PLACES)
"""Columns that say nothing where no regions were found, or asked for."""

_OF_THE_RADIOGRAPH = ("view", "laterality", "patient_orientation", "phantom")

RECORD_DIGEST = b"record"
"""Metadata of each table: the digest of the record that it belongs to."""

FAILURE_COLUMNS = ("row", "image_id", "code", "message", "sha256")


@dataclass(frozen=True)
class Failed:
    """Why an image gave no explanation.

    Args:
        code: the error's, for example "corrupt-image".
        message: what was found and expected, without the file's path.
        sha256: hexadecimal digest of the file's bytes, where they could be read.
    """

    code: str
    message: str
    sha256: str | None = None

    @classmethod
    def of(cls, error: CxrExplainError, sha256: str | None = None) -> Failed:
        """An error without the file's path.

        >>> Failed.of(CxrExplainError("3 colour channels", expected="a grey image", source="a.dcm")).message
        'found 3 colour channels; expected a grey image.'
        """
        bare = type(error)(error.found, expected=error.expected, remedy=error.remedy)
        return cls(error.code, str(bare), sha256)

    def as_row(self, row: int, image_id: str) -> Row:
        """As a part keeps it."""
        return {"row": row, "image_id": image_id, **vars(self)}


def part_schema(record: Record) -> pa.Schema:
    """Of a part: explained rows and failures, told apart by `code`."""
    return pa.schema(
        [*_common(), ("code", pa.string()), ("message", pa.string()), *_explained(record)],
        metadata=_metadata(record),
    )


def result_schema(record: Record) -> pa.Schema:
    """Of results.parquet."""
    return pa.schema([*_common(), *_explained(record)], metadata=_metadata(record))


def failure_schema(record: Record) -> pa.Schema:
    """Of failures.parquet."""
    kinds = {"row": pa.int32()}
    columns = [(name, kinds.get(name, pa.string())) for name in FAILURE_COLUMNS]
    return pa.schema(columns, metadata={RECORD_DIGEST: record.digest})


def explained_row(
    row: int,
    image_id: str,
    explained: Explained,
    *,
    where: Mapping[str, Any] | None = None,
    input_sha256: str = "",
    read_ms: float = 0.0,
    explain_ms: float = 0.0,
) -> Row:
    """What is stored of one explained image.

    Args:
        row: number of the manifest's row, from 0.
        image_id: the image's name in the manifest.
        explained: the image's explanation, and the class maps of what has reference boxes or masks there.
        where: the columns of `OF_REGIONS`; None where no regions were asked for.
        input_sha256: hexadecimal digest of what the model saw.
        read_ms: milliseconds for reading and preparing.
        explain_ms: its share of the milliseconds in which its batch was explained.
    """
    explanation, radiograph, further = explained.explanation, explained.radiograph, explained.further
    maps, scale = packed(explanation.class_maps)
    reference_maps, reference_scale = packed(
        np.empty((0, 1, 1), np.float32) if further is None else further.class_maps
    )
    provenance = explanation.provenance
    predictions = explanation.ranking.predictions
    height, width = radiograph.shape
    return {
        "row": row,
        "image_id": image_id,
        **{name: getattr(radiograph, name) for name in ("sha256", "format", *_OF_THE_RADIOGRAPH)},
        "input_sha256": input_sha256,
        "width": width,
        "height": height,
        **{f"logit {p.pathology}": p.logit for p in predictions},
        **{f"probability {p.pathology}": p.probability for p in predictions},
        "operating_points": [p.operating_point for p in predictions],
        "ranking": explanation.ranking.pathologies,
        "map_shape": explanation.class_maps.shape,
        "map_scale": scale,
        "class_maps": maps,
        "reference_pathologies": () if further is None else further.pathologies,
        "reference_scale": reference_scale,
        "reference_maps": reference_maps,
        **(dict.fromkeys(OF_REGIONS) if where is None else {name: where[name] for name in OF_REGIONS}),
        **{name: getattr(provenance, name) for name in ("steps", "warnings", "notes", "gradient", "device")},
        **dict(zip(FINER, astuple(provenance.finer) if provenance.finer else (None, None), strict=True)),
        "read_ms": read_ms,
        "explain_ms": explain_ms,
    }


def packed(maps: NDArray[np.float32]) -> tuple[NDArray[np.float16], float]:
    """Maps as float16 of [-1, 1], flat, and what to multiply them by: eleven bits whatever their scale.

    >>> values, scale = packed(np.array([[[1e-6, -2e-6]]], np.float32))
    >>> values.tolist(), f"{scale:.1e}"
    ([0.5, -1.0], '2.0e-06')
    """
    scale = float(np.abs(maps).max(initial=0.0)) or 1.0
    return (maps.astype(np.float64) / scale).astype(np.float16).ravel(), float(np.float32(scale))


def unpacked(values: Any, scale: float, shape: Sequence[int]) -> NDArray[np.float32]:
    """The maps back, (K, I, J) float32.

    Raises:
        AuditError: values of another number, or that are not finite.
    """
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            maps = (np.asarray(values, np.float64) * scale).astype(np.float32).reshape(tuple(shape))
    except (TypeError, ValueError) as error:
        raise AuditError(f"{len(values)} values of class maps", expected=f"maps of shape {shape}") from error
    if not np.isfinite(maps).all():
        raise AuditError("class maps with NaN or infinite values", expected="finite maps")
    return maps


def explanation_of(row: Mapping[str, Any], record: Record) -> Explanation:
    """An explanation back from its row: fused again, without pixels.

    Its maps differ from the first ones by the rounding of float16, 0.05 % of the largest value at most.

    Args:
        row: one row of the results.
        record: the audit's identity.

    Raises:
        AuditError: values that no audit writes.
    """
    return _rebuilt(row, record, _ranking(row, record, row["ranking"]), "map_scale", "class_maps")


def reference_explanation_of(row: Mapping[str, Any], record: Record) -> Explanation | None:
    """An explanation of the pathologies with a reference box or mask; None where there is none.

    Raises:
        AuditError: values that no audit writes.
    """
    if not row["reference_pathologies"]:
        return None
    ranking = _ranking(row, record, row["reference_pathologies"])
    return _rebuilt(row, record, ranking, "reference_scale", "reference_maps")


def _rebuilt(
    row: Mapping[str, Any], record: Record, ranking: Ranking, scale: str, values: str
) -> Explanation:
    class_maps = unpacked(row[values], row[scale], (ranking.k, *row["map_shape"][1:]))
    settings = record.map_settings
    fused = fuse(
        torch.from_numpy(class_maps)[None],
        normalisation=settings.normalisation,
        activation=settings.activation,
        fused=settings.fused,
    )
    geometry = Geometry.fit_square((row["height"], row["width"]), record.input_size, settings.fit)
    return Explanation(
        row["image_id"],
        ranking,
        class_maps,
        fused.maps[0].numpy(),
        geometry,
        _provenance(row, record, ranking.k),
        places=places_in(row) if values == "class_maps" else {},
    )


def places_in(row: Mapping[str, Any]) -> dict[str, str]:
    """Where in the chest the class maps of an image have their peaks, in words, by pathology.

    Args:
        row: one row of the results, with the columns "ranking" and `PEAK_PLACES`.

    >>> row = {"ranking": ["Mass"], "peak_part": ["lung"], "peak_side": ["right"], "peak_zone": ["upper"]}
    >>> places_in(row)
    {'Mass': 'right lung, upper zone'}
    """
    columns = [row[name] or () for name in PEAK_PLACES]
    named = zip(row["ranking"], *columns, strict=False)
    return {name: str(ChestPlace(part, side, zone)) for name, part, side, zone in named if part}


def _ranking(row: Mapping[str, Any], record: Record, top: Sequence[str]) -> Ranking:
    logits = [float(row[f"logit {name}"]) if name else 0.0 for name in record.outputs]
    ranked = rank(
        logits,
        record.outputs,
        record.operating_points,
        kind=record.output_kind,
        calibrations=record.calibrations,
        rank_by=record.ranking_settings.rank_by,
    )
    if record.output_kind in ONE_LABEL:  # outputs without a name took part in the softmax, and have no column
        stored = (replace(p, probability=row[f"probability {p.pathology}"]) for p in ranked.predictions)
        ranked = replace(ranked, predictions=tuple(stored))
    by_name = {prediction.pathology: prediction for prediction in ranked.predictions}
    if not set(top) <= set(by_name) or len(set(top)) < len(top):
        raise AuditError(f"a ranking of {len(top)} pathologies", expected="outputs of the model, each once")
    return replace(ranked, top=tuple(by_name[name] for name in top), notes=tuple(row["notes"]))


def _provenance(row: Mapping[str, Any], record: Record, k: int) -> Provenance:
    lists = ("steps", "warnings", "notes", "patient_orientation")
    kept = {name: None if row[name] is None else tuple(row[name]) for name in lists}
    apart = [row[name] for name in FINER]
    return record.provenance(
        k,
        ranking_settings=record.ranking_settings,
        radiograph_sha256=row["sha256"],
        finer=None if None in apart else LogitDistance(*apart),
        **{name: row[name] for name in ("gradient", "device", *_OF_THE_RADIOGRAPH)} | kept,
    )


def _common() -> list[tuple[str, pa.DataType]]:
    return [("row", pa.int32()), ("image_id", pa.string()), ("sha256", pa.string())]


def _explained(record: Record) -> list[tuple[str, pa.DataType]]:
    text, texts, halves = pa.string(), pa.list_(pa.string()), pa.list_(pa.float16())
    return [
        ("format", text), ("view", text), ("laterality", text), ("patient_orientation", texts),
        ("input_sha256", text), ("width", pa.int32()), ("height", pa.int32()), ("phantom", pa.bool_()),
        *((f"logit {name}", pa.float32()) for name in record.pathologies),
        *((f"probability {name}", pa.float64()) for name in record.pathologies),
        ("operating_points", pa.list_(pa.float64())), ("ranking", texts),
        ("map_shape", pa.list_(pa.int32())), ("map_scale", pa.float32()), ("class_maps", halves),
        ("reference_pathologies", texts), ("reference_scale", pa.float32()), ("reference_maps", halves),
        *((name, pa.float32()) for name in (*SHARES, *UNIFORM_SHARES.values(), *THORAX_BOX)),
        *((name, texts) for name in PEAK_PLACES),
        ("steps", texts), ("warnings", texts), ("notes", texts),
        ("gradient", text), ("device", text), *((name, pa.float64()) for name in FINER),
        ("read_ms", pa.float32()), ("explain_ms", pa.float32()),
    ]  # fmt: skip


def _metadata(record: Record) -> dict[str | bytes, str]:
    """What a reader of the Parquet file alone needs, beside the columns."""
    points = [f"{name}={point}" for name, point in record.points.items() if point is not None]
    return {
        RECORD_DIGEST: record.digest,
        "cxr-explain": record.package_version,
        "model": record.model,
        "weights_sha256": record.weights_sha256 or "",
        "operating_points": "|".join(points),
        "maps": "value * scale is the raw signed class map, (K, I, J) in row-major order",
    }
