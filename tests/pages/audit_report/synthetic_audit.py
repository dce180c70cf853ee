"""Audits made of nothing: any ids, any labels, any number of rows, and drawn radiographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property, partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa

from cxr_explain.audit.record import Record
from cxr_explain.audit.rows import (
    PEAK_PLACES,
    SHARES,
    THORAX_BOX,
    UNIFORM_SHARES,
    explanation_of,
    failure_schema,
    packed,
    reference_explanation_of,
    result_schema,
)
from cxr_explain.errors import AuditError
from cxr_explain.explaining.settings import MapSettings, RankingSettings
from cxr_explain.loaders.settings import ReadSettings
from cxr_explain.options import LabelPolicy
from cxr_explain.pathologies import LabelState, ReferenceBox, ReferenceLabels
from cxr_explain.radiograph import Radiograph

OUTPUTS = ("Effusion", "Cardiomegaly", "Mass", "Pleural_Thickening", "Pneumothorax", "Edema")
POINTS = (0.4, 0.25, 0.05, None, 0.01, 0.5)
LABELLED = ("Effusion", "Cardiomegaly", "Mass", "Pneumothorax", "Support Devices")
LOCALISATION = ("peak_hit", "random_hit", "centre_hit", "energy", "iobb_0.1", "iobb_0.5")
_STATES = {
    1: LabelState.POSITIVE, 0: LabelState.NEGATIVE, -1: LabelState.UNCERTAIN, -2: LabelState.NOT_MENTIONED,
    -3: LabelState.NOT_LABELLED,
}  # fmt: skip


def record(rows: int, outputs: Sequence[str] = OUTPUTS, points: Sequence[float | None] = POINTS) -> Record:
    return Record(
        package_version="0.0", torch_version="2.0", model="densenet121-res224-synthetic",
        weights_sha256="5e" * 32, training_sets=("NIH", "CheXpert"), phantom_only=False,
        outputs=tuple(outputs), operating_points=tuple(points), input_size=224, target_layer="features",
        rule_title="Grad-CAM", map_settings=MapSettings(), ranking_settings=RankingSettings(top_k=3),
        read_settings=ReadSettings(), uncertain="ignore",
        manifest_sha256="ab" * 32, manifest_source="NIH ChestX-ray14, synthetic", rows=rows,
    )  # fmt: skip


@dataclass
class SyntheticAudit:
    """What `AuditRun` gives, in memory. Failed are the rows of `failed`."""

    rows: int = 24
    seed: int = 0
    outputs: Sequence[str] = OUTPUTS
    labelled: Sequence[str] = LABELLED
    ids: Sequence[str] | None = None
    failed: Sequence[int] = (5,)
    messages: Sequence[str] = ("found a JPEG that ends early; expected a whole one.",)
    shape: tuple[int, int] = (300, 400)
    with_boxes: bool = True
    gone: Sequence[int] = ()
    phantom: bool = False
    complete: bool = True
    source: str = "NIH ChestX-ray14, synthetic"
    facts: dict[str, list[str | None]] = field(default_factory=dict)
    training_sets: Sequence[str] = ("NIH", "CheXpert")
    extra: dict[str, list[str]] = field(default_factory=dict)
    masked: Sequence[int] = ()

    @cached_property
    def record(self) -> Record:
        points = (*POINTS, *[0.3] * len(self.outputs))[: len(self.outputs)]
        made = record(self.rows + (not self.complete), self.outputs, points)
        return replace(made, training_sets=tuple(self.training_sets), phantom_only=self.phantom)

    @cached_property
    def random(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    @cached_property
    def manifest(self) -> Any:
        n, draw = self.rows, np.random.default_rng(self.seed + 1)
        return SimpleNamespace(
            source=self.source,
            pathologies=tuple(self.labelled),
            states=draw.choice([1, 0, 0, -1, -2, -3], (n, len(self.labelled))).astype(np.int8),
            patients=[f"secret-patient-{row // 2}" for row in range(n)],
            views=self.facts.get("view") or [("PA", "AP", None)[row % 3] for row in range(n)],
            sexes=[("F", "M", None)[row % 3] for row in range(n)],
            ages=[None if row % 7 == 0 else 20.0 + row % 80 for row in range(n)],
            splits=self.facts.get("split") or ["valid"] * n,
            extra={name: tuple(values) for name, values in self.extra.items()},
            ids=tuple(self._id(row) for row in range(n)),
            paths=[f"secret-folder/secret-{row}.png" for row in range(n)],
        )

    @cached_property
    def explained(self) -> list[int]:
        return [row for row in range(self.rows) if row not in set(self.failed)]

    @cached_property
    def results(self) -> pa.Table:
        """All columns at once, so that 100,000 rows take a second."""
        n, P, K, I = len(self.explained), len(self.outputs), min(3, len(self.outputs)), 7  # noqa: E741
        logits = self.random.normal(-1.0, 1.6, (n, P)).astype(np.float32)
        order = np.argsort(-logits, axis=1, kind="stable")[:, :K]
        names = np.array(self.outputs, object)
        maps = self._class_maps(n, K, I)
        boxed = [("Effusion",) if self.with_boxes and row % 4 == 0 else () for row in self.explained]
        halves, scale = packed(maps)
        one = packed(maps[:1, :1])[0]
        columns: dict[str, Any] = {
            "row": self.explained,
            "image_id": [self._id(row) for row in self.explained],
            "sha256": [f"{row:064x}" for row in self.explained],
            "input_sha256": [f"{row + 1:064x}" for row in self.explained],
            "format": ["PNG"] * n,
            "view": ["PA"] * n,
            "laterality": [None] * n,
            "patient_orientation": [["L", "F"] if row % 2 else None for row in self.explained],
            "width": [self.shape[1]] * n,
            "height": [self.shape[0]] * n,
            "phantom": [self.phantom] * n,
            **{f"logit {name}": logits[:, at] for at, name in enumerate(self.outputs)},
            **{f"probability {name}": _sigmoid(logits[:, at]) for at, name in enumerate(self.outputs)},
            "operating_points": [list(self.record.operating_points)] * n,
            "ranking": [list(names[row]) for row in order],
            "map_shape": [[K, I, I]] * n,
            "map_scale": np.full(n, scale, np.float32),
            "finer_largest": [None] * n,
            "finer_mean": [None] * n,
            "class_maps": list(halves.reshape(n, K * I * I)),
            "reference_pathologies": [list(each) for each in boxed],
            "reference_scale": np.full(n, scale, np.float32),
            "reference_maps": [one if each else one[:0] for each in boxed],
            **{name: self.random.random(n).astype(np.float32) for name in SHARES},
            **{name: np.full(n, 0.3, np.float32) for name in UNIFORM_SHARES.values()},
            **{
                name: np.full(n, end, np.float32)
                for name, end in zip(THORAX_BOX, (40, 30, 360, 270), strict=True)
            },
            **{
                name: [[part] * K] * n
                for name, part in zip(PEAK_PLACES, ("lung", "right", "upper"), strict=True)
            },
            "steps": [["read as PNG", "scaled to [-1024, 1024]"]] * n,
            "warnings": [[]] * n,
            "notes": [["a note of this image"] if row % 3 == 0 else [] for row in self.explained],
            "gradient": ["closed form"] * n,
            "device": ["cpu"] * n,
            "read_ms": np.ones(n, np.float32),
            "explain_ms": np.ones(n, np.float32),
        }
        schema = result_schema(self.record)
        return pa.table({name: pa.array(columns[name], schema.field(name).type) for name in schema.names})

    @cached_property
    def failures(self) -> pa.Table:
        rows = [
            {"row": row, "image_id": self._id(row), "code": "corrupt-image",
             "message": self.messages[at % len(self.messages)], "sha256": None}
            for at, row in enumerate(self.failed)
        ]  # fmt: skip
        return pa.Table.from_pylist(rows, failure_schema(self.record))

    def case(self, at: int) -> Any:
        row = dict(self.results.slice(at, 1).to_pylist()[0])
        return SimpleNamespace(
            row=row,
            explanation=explanation_of(row, self.record),
            reference_explanation=reference_explanation_of(row, self.record),
            reference_labels=self._labels(at),
            reference_masks=self._masks(at),
            radiograph=partial(self._radiograph, at),
        )

    def _radiograph(self, at: int) -> Radiograph:
        row = self.explained[at]
        if row in self.gone:
            raise AuditError("no such file", source=self.manifest.paths[row])
        return _drawn(self.shape, row % 5)

    def _labels(self, at: int) -> ReferenceLabels:
        row = self.explained[at]
        states = {
            name: _STATES[int(code)]
            for name, code in zip(self.labelled, self.manifest.states[row], strict=True)
        }
        boxes = (ReferenceBox("Effusion", 60, 150, 120, 90), ReferenceBox("Support Devices", 200, 20, 80, 60))
        return ReferenceLabels(states, boxes if self.with_boxes and row % 4 == 0 else (), "a synthetic table")

    def _masks(self, at: int) -> dict[str, Any]:
        """An ellipse of Mass in the rows of `masked`."""
        if self.explained[at] not in self.masked:
            return {}
        y, x = np.mgrid[: self.shape[0], : self.shape[1]]
        return {"Mass": ((y - 120) / 40) ** 2 + ((x - 250) / 60) ** 2 <= 1}

    def _id(self, row: int) -> str:
        return self.ids[row] if self.ids is not None else f"patient{row:06d}_study1_view1_frontal"

    def _class_maps(self, n: int, k: int, side: int) -> Any:
        y, x = np.mgrid[:side, :side]
        middle = self.random.uniform(1, side - 2, (n, k, 2, 1, 1))
        maps = np.exp(-((y - middle[:, :, 0]) ** 2 + (x - middle[:, :, 1]) ** 2) / 2.5)
        return (maps - 0.05 + 0.03 * self.random.normal(size=maps.shape)).astype(np.float32)


@cache
def _drawn(shape: tuple[int, int], seed: int) -> Radiograph:
    """Drawn once for all audits of a process; its pixels are not to be written to."""
    from synthetic import synthetic_radiograph

    radiograph = synthetic_radiograph(shape, seed=seed)
    radiograph.pixels.flags.writeable = False
    return radiograph


_PATIENTS = {"images": 300, "patients": 150, "positive_patients": 30, "negative_patients": 140}


def statistics(audit: SyntheticAudit) -> dict[str, Any]:
    """Statistics of the contract's shape; the numbers mean nothing."""
    draw = np.random.default_rng(3)

    def estimate() -> dict[str, float | None]:
        value = float(draw.uniform(0.55, 0.95))
        return {"value": value, "low": value - 0.05, "high": min(value + 0.04, 1.0)}

    none = {"value": None, "low": None, "high": None}
    keys = ("auroc", "auprc", "sensitivity", "specificity", "ppv", "npv", "brier", "ece")
    steps = np.linspace(0, 1, 60)
    pathologies: list[dict[str, Any]] = [
        {
            "pathology": name, "positive": 120 + at, "negative": 900 - at, "small": False,
            "positive_patients": 80 + at, "negative_patients": 450 - at,
            "excluded": {"uncertain": 12, "not mentioned": 40, "not labelled": 0}, "changed": {},
            "patients": 500,
            "operating_point": POINTS[at % len(POINTS)],
            "estimates": {key: estimate() for key in keys},
            "curves": {
                "roc": [[float(x), float(x ** 0.3)] for x in steps],
                "pr": [[float(x), float(0.9 - 0.7 * x)] for x in steps],
                "calibration": [
                    {"low": b / 10, "high": (b + 1) / 10, "images": 30, "mean": b / 10 + 0.05,
                     "observed": b / 12 + 0.02, "observed_low": b / 13, "observed_high": b / 11 + 0.06}
                    for b in range(10)
                ],
            },
        }
        for at, name in enumerate(audit.labelled[:4])
    ]  # fmt: skip
    pathologies.append({
        "pathology": "Hernia", "positive": 0, "negative": 900, "excluded": {}, "changed": {}, "patients": 500,
        "positive_patients": 0, "negative_patients": 500, "small": True,
        "operating_point": None,
        "estimates": {**dict.fromkeys(keys, none), "specificity": estimate()},
        "curves": {"roc": [], "pr": [], "calibration": []},
    })  # fmt: skip
    subgroups = [
        {"column": column, "value": value, "pathology": name, "images": 300, "patients": 150, "positive": 40,
         "negative": 260, "positive_patients": 30, "negative_patients": 140, "small": value == "unknown",
         "estimates": {
             key: none if value == "unknown" else estimate()
             for key in ("auroc", "sensitivity", "specificity")
         }}
        for column, values in (("sex", ("F", "M", "unknown")), ("view", ("PA", "AP")))
        for value in values for name in audit.labelled[:3]
    ]  # fmt: skip
    return {
        "schema": "cxr-explain/statistics/1", "policy": asdict(LabelPolicy()), "level": 0.95,
        "images": audit.rows - len(audit.failed), "patients": audit.rows // 2, "failures": len(audit.failed),
        "small": 10,
        "notes": ["Possible training overlap: the weights were trained on NIH, and the manifest is of NIH."],
        "pathologies": pathologies,
        "subgroups": subgroups,
        "gaps": [
            {"column": each["column"], "value": each["value"], "group": {each["column"]: each["value"]},
             "against": None, "whole": True, "pathology": each["pathology"], **_PATIENTS,
             "others": _PATIENTS,
             "estimates": {key: {**estimate(), "p": 0.3, "here": 0.8, "there": 0.7}
                           for key in ("auroc", "sensitivity", "specificity")}}
            for each in subgroups if each["value"] != "unknown"
        ],
        "gap_ranges": [
            {"column": "sex", "pathology": "Mass", "groups": 2,
             "equal_opportunity": {"value": 0.1, "largest": "F", "smallest": "M", "by_chance": 0.05},
             "false_positives": None, "equalised_odds": None}
        ],
        "gaps_left_out": {"few": [], "groups": 0, "intersections": 3},
        "joined": None,
        "policies": [
            {"pathology": "Mass", "policies": [policy], "chosen": policy == "strict", "positive": 40,
             "negative": 700, "positive_patients": 30, "negative_patients": 400,
             "estimates": {key: estimate() for key in keys[:4]}}
            for policy in ("strict", "strict, uncertain zeros", "strict, uncertain ones")
        ],
        "where": [
            {"share": share, "images": audit.rows - 1, "patients": audit.rows // 2, "missing": 1,
             "flagged": 3, "flagged_from": 0.25, "p": 0.3, "estimate": estimate(), "uniform": estimate(),
             "above_uniform": {"value": 0.02, "low": -0.03, "high": 0.07},
             "quantiles": {"0.05": 0.0, "0.25": 0.1, "0.5": 0.2, "0.75": 0.4, "0.95": 0.7}}
            for share in SHARES
        ],
        "places": [
            {"pathology": name, "maps": 20, "patients": 10,
             "parts": {"lung": 12, "heart": 3, "mediastinum": 1, "diaphragm": 2, "chest wall": 0, "marker": 0,
                       "outside": 2},
             "peaks": [[2 * (row == 1) + (row == column) for column in range(6)] for row in range(6)],
             "even": [[0.0278] * 6] * 6,
             "mean_map": [[1 + 0.1 * (row + column) for column in range(24)] for row in range(24)],
             "place": {"row": 0, "column": 0, "words": "upper left corner",
                       "share": 0.1, "others": None if name is None else 0.05, "even": 0.0278, "p": 1.0},
             "without_thorax": 1, "without_peak": 0,
             "estimates": {key: estimate() for key in ("peak_in_lungs", "peak_outside", "peak_in_place")}}
            for name in (None, *audit.labelled[:3])
        ],
        "localisation": [
            {"pathology": "Effusion", "images": 6, "patients": 6,
             "estimates": {key: estimate() for key in LOCALISATION}}
        ],
        "compared": {
            "cases": [{"image": _first(audit), "pathology": "Mass", "positive": True, "probability": 0.02,
                       "chance": 0.01}],
        },
        "findings": {
            "alpha": 0.05, "kinds": 2, "compared": {"pathology": 9, "labels": 5},
            "found": [*(_finding("pathology", name, {"subject": name}) for name in audit.labelled[:4]),
                      _finding("labels", "Swapped?", {"patient": _first(audit)}, [_first(audit)])],
            "few": {"pathology": ["Hernia (0 patients with, 500 without)"]},
        },
    }  # fmt: skip


def _first(audit: SyntheticAudit) -> str:
    return str(audit.results["image_id"][0].as_py())


def _finding(kind: str, about: str, cases: dict[str, str], images: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "kind": kind, "text": f"{about}: AUROC 0.520, below 0.7.", "cases": cases, "images": [*images],
        "estimate": {"of": "AUROC", "value": 0.52, "low": 0.45, "high": 0.6}, "size": 0.18,
        "counts": {"positive patients": 40, "negative patients": 260}, "p": 0.0001, "p_adjusted": 0.002,
    }  # fmt: skip


def _sigmoid(logits: Any) -> Any:
    return 1 / (1 + np.exp(-logits.astype(np.float64)))
