"""Synthetic radiographs and explanations: drawn from smooth shapes, so that they can be published and hashed.

Nothing here comes from a real radiograph or a trained model.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_explain.explaining.explanation import Explanation
from cxr_explain.explaining.provenance import Provenance
from cxr_explain.explaining.ranking import rank
from cxr_explain.explaining.settings import MapOptions, MapSettings, RankingOptions, RankingSettings
from cxr_explain.geometry import Fit, Geometry
from cxr_explain.pathologies import PATHOLOGIES
from cxr_explain.radiograph import Radiograph

Field = NDArray[np.float64]

# Where each pathology's evidence lies (x, y of the model's square) and how far it reaches; invented.
_SITES: dict[str, tuple[float, float, float]] = {
    "Atelectasis": (0.70, 0.62, 0.10),
    "Consolidation": (0.28, 0.60, 0.11),
    "Infiltration": (0.34, 0.44, 0.14),
    "Pneumothorax": (0.75, 0.16, 0.09),
    "Edema": (0.50, 0.38, 0.16),
    "Emphysema": (0.24, 0.22, 0.14),
    "Fibrosis": (0.80, 0.46, 0.09),
    "Effusion": (0.17, 0.78, 0.12),
    "Pneumonia": (0.31, 0.68, 0.10),
    "Pleural_Thickening": (0.86, 0.32, 0.07),
    "Cardiomegaly": (0.58, 0.70, 0.14),
    "Nodule": (0.68, 0.30, 0.06),
    "Mass": (0.72, 0.40, 0.08),
    "Hernia": (0.50, 0.88, 0.08),
    "Lung Lesion": (0.30, 0.32, 0.08),
    "Fracture": (0.10, 0.48, 0.07),
    "Lung Opacity": (0.22, 0.66, 0.15),
    "Enlarged Cardiomediastinum": (0.48, 0.24, 0.10),
}
_ORDER = (
    "Effusion", "Cardiomegaly", "Mass", "Infiltration", "Atelectasis", "Pleural_Thickening",
    "Enlarged Cardiomediastinum", "Emphysema", "Consolidation", "Nodule", "Fracture", "Pneumothorax",
    "Hernia", "Edema", "Lung Lesion", "Fibrosis", "Pneumonia", "Lung Opacity",
)  # fmt: skip


def synthetic_radiograph(shape: tuple[int, int] = (512, 512), seed: int = 0, **fields: Any) -> Radiograph:
    """A drawing that reads as a frontal chest radiograph at any aspect.

    Args:
        shape: height and width.
        seed: of the noise.
        **fields: fields of the Radiograph to set, for example `patient_orientation=("L", "F")`.
    """
    radiograph = Radiograph.from_array(_picture(shape, seed), id="synthetic")
    return replace(radiograph, **fields) if fields else radiograph


@lru_cache(maxsize=16)
def _picture(shape: tuple[int, int], seed: int) -> NDArray[np.float32]:
    """The radiograph's pixels, drawn once."""
    height, width = shape
    # The chest keeps its proportions and fills the shorter side.
    side = min(height, width)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    u = (x + 0.5 - width / 2) / side
    v = (y + 0.5 - height / 2) / side + 0.02
    image = _body(u, v)
    image = _lungs(image, u, v)
    image = image + _bones(u, v) * np.clip((_body(u, v) - 0.1) / 0.25, 0, 1)
    image = image + _noise(shape, seed)
    pixels = np.clip(image, 0.01, 0.99) * 2048 - 1024
    return pixels.astype(np.float32)


def synthetic_explanation(
    radiograph: Radiograph | None = None,
    k: int = 5,
    grid: int = 7,
    seed: int = 0,
    fit: Fit = "crop",
    *,
    model_size: int = 224,
    **provenance: Any,
) -> Explanation:
    """A plausible explanation with every field filled in; no model ran.

    Args:
        radiograph: what it explains; a synthetic one by default.
        k: how many pathologies are explained, 0 to 18.
        grid: I and J.
        seed: of the scores and of the maps' texture.
        fit: of the geometry.
        model_size: side of the model's input.
        **provenance: fields of the Provenance to set.
    """
    radiograph = radiograph or synthetic_radiograph()
    geometry = Geometry.fit_square(radiograph.shape, model_size, fit)
    logits, points = _scores(seed)
    ranking = rank(logits, PATHOLOGIES, points, top_k=max(k, 1))
    if k == 0:
        note = "18 pathologies left out: below or without an operating point"
        ranking = replace(ranking, top=(), notes=(note,))
    class_maps = _class_maps(ranking.pathologies, grid, seed)
    return Explanation(
        id=radiograph.id,
        ranking=ranking,
        class_maps=class_maps,
        maps=_fused(class_maps),
        geometry=geometry,
        provenance=_provenance(radiograph, geometry, k, **provenance),
        radiograph=radiograph,
    )


def _body(u: Field, v: Field) -> Field:
    """Soft tissue, brighter downwards, with shoulders and a neck against black air."""
    torso = _inside((np.abs(u) / 0.485) ** 4 + (np.abs(v - 0.40) / 0.90) ** 8, 1.0, 0.14)
    slope = -0.415 + 0.15 * np.clip((np.abs(u) - 0.13) / 0.37, -0.6, 1) ** 2
    shoulders = _inside((np.abs(u) / 0.56) ** 8 + (v < -0.02) * 0, 1.0, 0.2) / (
        1 + np.exp(np.clip((slope - v) / 0.014, -60, 60))
    )
    arms = shoulders / (1 + np.exp(np.clip((v + 0.02 - 0.9 * (np.abs(u) - 0.5)) / 0.03, -60, 60)))
    neck = _inside((np.abs(u) / (0.105 + 0.10 * np.clip((v + 0.46) / 0.10, 0, 2) ** 2)) ** 6, 1.0, 0.5)
    neck = neck / (1 + np.exp(np.clip((v + 0.2) / 0.02, -60, 60)))
    body = np.maximum.reduce([np.minimum(torso, shoulders), 0.85 * arms, neck])
    return 0.03 + body * (0.48 + 0.16 * np.clip(v + 0.1, -0.4, 0.6) - 0.22 * np.clip(np.abs(u) - 0.36, 0, 1))


def _lungs(image: Field, u: Field, v: Field) -> Field:
    """Two dark lungs with vessels, then the mediastinum, the heart and the domes of the diaphragm."""
    right = _lung(u, v, centre=-0.225, base=0.335, reach=0.190)
    left = _lung(u, v, centre=0.225, base=0.365, reach=0.185)
    lungs = np.maximum(right, left) * np.clip((image - 0.30) / 0.12, 0, 1)
    depth = 0.36 + 0.05 * np.cos((v + 0.1) * 4.0)
    image = image - lungs * depth
    for sign in (-1, 1):
        image = image + lungs * _vessels(sign * u, v)
    spine = np.exp(-((u / 0.055) ** 2)) * 0.07
    mediastinum = _inside((np.abs(u - 0.005) / (0.070 + 0.05 * np.clip(v, 0, 0.4))) ** 2.4, 1.0, 0.7)
    heart = _inside(_ellipse(u, v, 0.070, 0.190, 0.195, 0.125, -0.62), 1.0, 0.34)
    arch = _inside(_ellipse(u, v, 0.060, -0.145, 0.055, 0.058), 1.0, 0.5)
    soft = np.maximum.reduce([0.25 * mediastinum, 0.33 * heart, 0.25 * arch])
    window = _inside((np.abs(v - 0.02) / 0.46) ** 6, 1.0, 0.5)
    image = image + soft * np.maximum(lungs, 0.12) * window + spine
    trachea = np.exp(-(((u + 0.004) / 0.020) ** 2)) * _inside((np.abs(v + 0.36) / 0.19) ** 6, 1.0, 0.6)
    return image - 0.09 * trachea


def _bones(u: Field, v: Field) -> Field:
    """Posterior ribs, their fainter anterior arcs, clavicles and vertebrae."""
    chest = _inside((np.abs(u) / 0.435) ** 4 + (np.abs(v - 0.02) / 0.50) ** 6, 1.0, 0.15)
    bones = np.zeros_like(u)
    across = np.abs(u) / 0.42
    for rib in range(10):
        start = -0.385 + 0.083 * rib
        posterior = start - 0.055 + 0.205 * across**2.0 - 0.035 * np.sin(np.pi * np.clip(across, 0, 1))
        bones += 0.060 * np.exp(-(((v - posterior) / 0.0135) ** 2)) * _inside(across**6, 1.0, 0.4)
        anterior = start + 0.30 - 0.22 * across**1.6
        bones += 0.026 * np.exp(-(((v - anterior) / 0.016) ** 2)) * (across > 0.3) * np.clip(across, 0, 1)
    above = 1 / (1 + np.exp(np.clip((v - 0.30 - 0.25 * across**3) / 0.03, -60, 60)))
    bones *= np.clip((np.abs(u) - 0.045) / 0.04, 0, 1) * chest * above
    clavicle = -0.335 - 0.070 * np.tanh((np.abs(u) - 0.18) / 0.10)
    reach = np.clip((np.abs(u) - 0.035) / 0.03, 0, 1) * np.clip((0.40 - np.abs(u)) / 0.05, 0, 1)
    bones += 0.12 * np.exp(-(((v - clavicle) / 0.019) ** 4)) * reach
    vertebrae = 0.5 + 0.5 * np.cos(2 * np.pi * v / 0.072)
    bones += 0.030 * vertebrae * np.exp(-((u / 0.045) ** 4)) * (v > -0.5)
    return bones


def _lung(u: Field, v: Field, *, centre: float, base: float, reach: float) -> Field:
    """One lung: a rounded apex, a flank that widens downwards, and a domed base with a sharp angle."""
    outward = (u - centre) * np.sign(centre)
    rise = np.clip((0.12 - v) / 0.515, 0, 1)
    half = reach * np.sqrt(np.clip(1 - rise**2.6, 0.0004, 1)) * (1 + 0.04 * np.clip(v, 0, 1))
    flank = _inside((np.abs(outward + 0.085 * rise**1.5) / half) ** 5, 1.0, 0.30)
    apex = 1 / (1 + np.exp(-np.clip((v + 0.385) / 0.010, -60, 60)))
    dome = (
        base
        - 0.075 * np.exp(-(((outward + 0.03) / 0.15) ** 2))
        + 0.07 * np.clip(outward / reach, -0.3, 1) ** 3
    )
    above = 1 / (1 + np.exp(np.clip((v - dome) / 0.008, -60, 60)))
    return flank * apex * above


def _vessels(u: Field, v: Field) -> Field:
    """The hilum and branches that fan out from it on the side of positive u."""
    dx, dy = u - 0.095, v + 0.02
    distance = np.hypot(dx, dy)
    angle = np.arctan2(dy, np.maximum(dx, 1e-9))
    fade = np.exp(-distance / 0.12) / (1 + np.exp(np.clip(-(dx + 0.005) / 0.006, -60, 60)))
    branches = np.zeros_like(u)
    for index, direction in enumerate((-1.25, -0.8, -0.4, 0.0, 0.38, 0.75, 1.15)):
        bend = direction + 0.5 * distance * math.sin(index * 2.1)
        branches += np.exp(-(((angle - bend) * distance / (0.006 + 0.010 * np.exp(-distance / 0.1))) ** 2))
    return 0.11 * fade * np.clip(branches, 0, 1.2) + 0.10 * np.exp(-((distance / 0.050) ** 2))


def _noise(shape: tuple[int, int], seed: int) -> Field:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.010, shape)


def _inside(level: Field, edge: float, softness: float) -> Field:
    """1 where level < edge, 0 beyond, with a soft border."""
    return 1 / (1 + np.exp(np.clip((level - edge) / (softness * 0.25), -60, 60)))


def _ellipse(u: Field, v: Field, x: float, y: float, a: float, b: float, turn: float = 0.0) -> Field:
    c, s = math.cos(turn), math.sin(turn)
    du, dv = u - x, v - y
    return ((c * du - s * dv) / a) ** 2 + ((s * du + c * dv) / b) ** 2


def _scores(seed: int) -> tuple[list[float], list[float | None]]:
    """Falling logits in a fixed order, and operating points on both sides of them; one is missing."""
    rng = np.random.default_rng(seed + 1)
    falling = dict(zip(_ORDER, 1.7 - 0.33 * np.arange(18) + rng.uniform(-0.05, 0.05, 18), strict=True))
    points: dict[str, float | None] = {name: 0.62 - 0.027 * i for i, name in enumerate(_ORDER)}
    points["Infiltration"] = None
    points["Mass"] = 0.82
    return [float(falling[name]) for name in PATHOLOGIES], [points[name] for name in PATHOLOGIES]


def _class_maps(pathologies: tuple[str, ...], grid: int, seed: int) -> NDArray[np.float32]:
    centres = (np.arange(grid) + 0.5) / grid
    x, y = np.meshgrid(centres, centres)
    rng = np.random.default_rng(seed + 2)
    maps = np.zeros((len(pathologies), grid, grid), np.float32)
    for index, name in enumerate(pathologies):
        cx, cy, reach = _SITES[name]
        blob = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * (reach * 0.95) ** 2))
        texture = rng.normal(0, 0.05, (grid, grid))
        maps[index] = (1.0 - 0.035 * index) * blob - 0.12 + texture
    return maps


def _fused(class_maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Equations 4 and 6 with the joint norm and ReLU, in numpy."""
    if len(class_maps) == 0:
        return class_maps
    winner = class_maps.argmax(axis=0)
    filtered = np.where(np.arange(len(class_maps))[:, None, None] == winner, class_maps, 0)
    return np.maximum(filtered / (np.linalg.norm(filtered) or 1), 0).astype(np.float32)


def _provenance(radiograph: Radiograph, geometry: Geometry, k: int, **fields: Any) -> Provenance:
    left, top, right, bottom = geometry.seen_box
    steps = (
        *radiograph.steps,
        f"model input: {geometry.fit} to columns {left}-{right}, rows {top}-{bottom}",
        f"resized to {geometry.model_size} x {geometry.model_size} (bilinear, antialiased)",
    )
    map_options = {name: fields.pop(name) for name in [*fields] if name in MapOptions.__annotations__}
    ranking_options = {"top_k": max(k, 1)} | {
        name: fields.pop(name) for name in [*fields] if name in RankingOptions.__annotations__
    }
    values: dict[str, Any] = {
        "package_version": "0.1.0",
        "torch_version": "2.0.0",
        "model": "densenet121-res224-synthetic",
        "weights_sha256": "5e" * 32,
        "training_sets": ("none: invented scores",),
        "target_layer": "features.norm5",
        "method": "Grad-CAM" if k == 1 else "FM-G-CAM",
        "gradient": "closed form",
        "rule_title": "Grad-CAM",
        "map_settings": MapSettings(**map_options),
        "ranking_settings": RankingSettings(**ranking_options),
        "device": "cpu",
        "radiograph_sha256": radiograph.sha256,
        "steps": steps,
        "warnings": radiograph.warnings,
        "view": radiograph.view,
        "laterality": radiograph.laterality,
        "patient_orientation": radiograph.patient_orientation,
    }
    return Provenance(**{**values, **fields})
