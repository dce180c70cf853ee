"""One row of an audit for each image: what is stored of an explanation, and the explanation back from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from cxr_explain.audit.record import Record
from cxr_explain.cam.fusion import fuse
from cxr_explain.errors import CxrExplainError
from cxr_explain.explaining.explanation import Explanation, Provenance
from cxr_explain.explaining.ranking import Ranking, rank
from cxr_explain.geometry import Geometry
from cxr_explain.radiograph import Radiograph

Row = dict[str, Any]

SHARES = ("outside_thorax", "outside_lungs", "border", "markers")
"""Of the fused saliency; see `cxr_explain.chest.shares`."""

FAILURE_COLUMNS = ("row", "image_id", "code", "message", "sha256")


@dataclass(frozen=True)
class Failed:
    """Why an image gave no explanation.

    Args:
        code: of the error, for example "corrupt-image".
        message: what was found and expected, without the file's path.
        sha256: of the file's bytes, where they could be read.
    """

    code: str
    message: str
    sha256: str | None = None

    @classmethod
    def of(cls, error: Exception) -> Failed:
        """An error of ours as it is; any other by its type alone, as its text may quote the file.

        >>> Failed.of(CxrExplainError("3 colour channels", expected="a grey image", source="a.dcm")).message
        'found 3 colour channels; expected a grey image.'
        """
        if isinstance(error, CxrExplainError):
            bare = type(error)(error.found, expected=error.expected, remedy=error.remedy)
            return cls(error.code, str(bare))
        return cls("error", f"an unexpected {type(error).__name__}")

    def as_row(self, row: int, image_id: str) -> Row:
        """As a part keeps it."""
        return {
            "row": row,
            "image_id": image_id,
            "code": self.code,
            "message": self.message,
            "sha256": self.sha256,
        }


def part_schema(record: Record) -> pa.Schema:
    """Of a part: explained rows and failures, told apart by `code`."""
    return pa.schema(
        [*_common(), ("code", pa.string()), ("message", pa.string()), *_explained(record)],
        metadata=_metadata(record),
    )


def result_schema(record: Record) -> pa.Schema:
    """Of results.parquet."""
    return pa.schema([*_common(), *_explained(record)], metadata=_metadata(record))


def failure_schema() -> pa.Schema:
    """Of failures.parquet."""
    kinds = {"row": pa.int32()}
    return pa.schema([(name, kinds.get(name, pa.string())) for name in FAILURE_COLUMNS])


def explained_row(
    row: int,
    image_id: str,
    explanation: Explanation,
    radiograph: Radiograph,
    *,
    reference: Explanation | None = None,
    shares: Mapping[str, float | None] | None = None,
    read_ms: float = 0.0,
    explain_ms: float = 0.0,
) -> Row:
    """What is stored of one explained image.

    Args:
        row: of the manifest, from 0.
        image_id: of the manifest.
        explanation: of the K top pathologies.
        radiograph: that was explained.
        reference: an explanation of the pathologies with reference boxes or masks; None without any.
        shares: of the saliency by region; None where not measured.
        read_ms: for reading and preparing.
        explain_ms: a share of the batch's.
    """
    maps, scale = packed(explanation.class_maps)
    reference_maps, reference_scale = packed(
        np.empty((0, 1, 1), np.float32) if reference is None else reference.class_maps
    )
    predictions = explanation.ranking.predictions
    height, width = radiograph.shape
    return {
        "row": row,
        "image_id": image_id,
        "sha256": radiograph.sha256,
        "format": radiograph.format,
        "view": radiograph.view,
        "laterality": radiograph.laterality,
        "patient_orientation": radiograph.patient_orientation,
        "width": width,
        "height": height,
        "phantom": radiograph.phantom,
        **{f"logit {p.pathology}": p.logit for p in predictions},
        **{f"probability {p.pathology}": p.probability for p in predictions},
        "operating_points": [p.operating_point for p in predictions],
        "ranking": explanation.ranking.pathologies,
        "map_shape": explanation.class_maps.shape,
        "map_scale": scale,
        "class_maps": maps,
        "reference_pathologies": () if reference is None else reference.ranking.pathologies,
        "reference_scale": reference_scale,
        "reference_maps": reference_maps,
        **(dict.fromkeys(SHARES) if shares is None else {name: shares[name] for name in SHARES}),
        "steps": explanation.provenance.steps,
        "warnings": explanation.provenance.warnings,
        "notes": explanation.provenance.notes,
        "gradient": explanation.provenance.gradient,
        "device": explanation.provenance.device,
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
    """The maps back, (K, I, J) float32."""
    return (np.asarray(values, np.float64) * scale).astype(np.float32).reshape(tuple(shape))


def explanation_of(row: Mapping[str, Any], record: Record) -> Explanation:
    """An explanation back from its row: fused again, without pixels.

    Its maps differ from the first ones by the rounding of float16, 0.05 % of the largest value at most.

    Args:
        row: of the results.
        record: of the audit.
    """
    return _rebuilt(row, record, _ranking(row, record, row["ranking"]), "map_scale", "class_maps")


def reference_explanation_of(row: Mapping[str, Any], record: Record) -> Explanation | None:
    """Likewise, of the pathologies with a reference box or mask; None where there is none."""
    if not row["reference_pathologies"]:
        return None
    ranking = _ranking(row, record, row["reference_pathologies"])
    return _rebuilt(row, record, ranking, "reference_scale", "reference_maps")


def _rebuilt(
    row: Mapping[str, Any], record: Record, ranking: Ranking, scale: str, values: str
) -> Explanation:
    class_maps = unpacked(row[values], row[scale], (ranking.k, *row["map_shape"][1:]))
    fused = fuse(
        torch.from_numpy(class_maps)[None],
        normalisation=record.normalisation,  # type: ignore[arg-type]
        activation=record.activation,  # type: ignore[arg-type]
        fused=record.fused,
    )
    geometry = Geometry.fit_square(
        (row["height"], row["width"]),
        record.input_size,
        record.fit,  # type: ignore[arg-type]
    )
    return Explanation(
        row["image_id"],
        ranking,
        class_maps,
        fused.maps[0].numpy(),
        geometry,
        _provenance(row, record, ranking.k),
    )


def _ranking(row: Mapping[str, Any], record: Record, top: Sequence[str]) -> Ranking:
    logits = [float(row[f"logit {name}"]) if name else 0.0 for name in record.outputs]
    ranked = rank(logits, record.outputs, record.operating_points, by=record.ask.rank_by)
    by_name = {prediction.pathology: prediction for prediction in ranked.predictions}
    return replace(ranked, top=tuple(by_name[name] for name in top), notes=tuple(row["notes"]))


def _provenance(row: Mapping[str, Any], record: Record, k: int) -> Provenance:
    title = record.method_title
    if k != 1 and record.fused:
        title = "FM-G-CAM" if record.method == "grad-cam" else f"FM-G-CAM of {title}"
    orientation = row["patient_orientation"]
    return Provenance(
        package_version=record.package_version,
        torch_version=record.torch_version,
        model=record.model,
        weights_sha256=record.weights_sha256,
        training_sets=record.training_sets,
        target_layer=record.target_layer,
        method=title,
        gradient=row["gradient"],
        normalisation=record.normalisation,
        activation=record.activation,
        top_k=record.ask.top_k,
        device=row["device"],
        dtype=record.dtype,
        radiograph_sha256=row["sha256"],
        steps=tuple(row["steps"]),
        warnings=tuple(row["warnings"]),
        view=row["view"],
        laterality=row["laterality"],
        patient_orientation=None if orientation is None else (orientation[0], orientation[1]),
        notes=tuple(row["notes"]),
        phantom=row["phantom"],
        phantom_only=record.phantom_only,
        rule_settings=record.method_settings,
        fused=record.fused,
    )


def _common() -> list[tuple[str, pa.DataType]]:
    return [("row", pa.int32()), ("image_id", pa.string()), ("sha256", pa.string())]


def _explained(record: Record) -> list[tuple[str, pa.DataType]]:
    text, texts, halves = pa.string(), pa.list_(pa.string()), pa.list_(pa.float16())
    return [
        ("format", text), ("view", text), ("laterality", text), ("patient_orientation", texts),
        ("width", pa.int32()), ("height", pa.int32()), ("phantom", pa.bool_()),
        *((f"logit {name}", pa.float32()) for name in record.pathologies),
        *((f"probability {name}", pa.float64()) for name in record.pathologies),
        ("operating_points", pa.list_(pa.float64())), ("ranking", texts),
        ("map_shape", pa.list_(pa.int32())), ("map_scale", pa.float32()), ("class_maps", halves),
        ("reference_pathologies", texts), ("reference_scale", pa.float32()), ("reference_maps", halves),
        *((name, pa.float32()) for name in SHARES),
        ("steps", texts), ("warnings", texts), ("notes", texts),
        ("gradient", text), ("device", text),
        ("read_ms", pa.float32()), ("explain_ms", pa.float32()),
    ]  # fmt: skip


def _metadata(record: Record) -> dict[str, str]:
    """What a reader of the Parquet file alone needs, beside the columns."""
    points = [f"{name}={point}" for name, point in record.points.items() if point is not None]
    return {
        "cxr-explain": record.package_version,
        "model": record.model,
        "weights_sha256": record.weights_sha256 or "",
        "operating_points": "|".join(points),
        "maps": "value * scale is the raw signed class map, (K, I, J) in row-major order",
    }
