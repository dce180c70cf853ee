"""The recipes: each finding as a change of the 3-D model of a chest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from cxr_explain.phantom.anatomy import LUNG_BOTTOM, LUNG_TOP, SIDES, core_of, dome_of, hull_of, sign
from cxr_explain.phantom.changes import Change
from cxr_explain.phantom.chest import WATER, Chest, field_of
from cxr_explain.phantom.findings import Finding, Side
from cxr_explain.phantom.patient import Projection
from cxr_explain.phantom.seeds import generator
from cxr_explain.phantom.solids import Column, Ellipsoid, Image, Interval, Solid, total
from cxr_explain.phantom.tubes import threads
from cxr_explain.phantom.vessels import tree

VISIBLE = 0.02
"""Changes of the line integral are reduced by this much: what is smaller, nobody sees in the noise."""

NODULE_RADIUS = (4.5, 15.0)
"""Of the smallest and of the largest nodule, in mm of a chest of middle stature; a single one has 0.85 to
1.15 of it, and 0.85 to 1 of that across."""

NODULE_FILLING = (0.75, 1.5)
"""Of the faintest and of the densest nodule: 1 turns all air on the way through it into soft tissue."""

Recipe = Callable[[Finding, Chest], Change]
Point3D = tuple[float, float, float]


def _draw(finding: Finding) -> np.random.Generator:
    return generator(finding.seed, "shape", finding.pathology)


def _sides(finding: Finding) -> tuple[Side, ...]:
    return SIDES if finding.side is Side.BOTH else (finding.side,)


def _between(low: float, high: float, share: float) -> float:
    return low + (high - low) * share


def _crest(chest: Chest, side: Side) -> float:
    dome = chest.anatomy.domes[side]
    return dome.centre[1] - dome.rise


def _place(chest: Chest, side: Side, out: float, down: float, depth: float) -> Point3D:
    """A point of the lung: out 0 at the mediastinum to 1 at the ribs, down 0 at the apex to 1 at the dome."""
    y = _between(LUNG_TOP, _crest(chest, side), down)
    left, right, deep = chest.anatomy.lungs[side].edges(np.array([[y]], np.float32))
    edge, medial = (right, left) if side is Side.LEFT else (left, right)
    heart = 34 + (34 if side is Side.LEFT else 12) * np.clip((down - 0.45) / 0.3, 0, 1)
    inner = sign(side) * max(abs(medial.item()), min(heart, abs(edge.item()) - 25))
    return _between(inner, edge.item(), out), y, -8 + depth * deep.item()


def _inside(chest: Chest, side: Side, solid: Solid) -> Image:
    """Millimetres of lung that lie within a solid."""
    return chest.spaces[side].within(solid.along(chest.grid)) * np.float32(chest.patient.stature)


def _distance(chest: Chest, centre: Point3D, radii: tuple[float, float]) -> Image:
    """Elliptic distance from a centre in the image plane, 1 at the radii."""
    dx, dy = chest.grid.x - np.float32(centre[0]), chest.grid.y - np.float32(centre[1])
    return np.asarray(np.hypot(dx / np.float32(radii[0]), dy / np.float32(radii[1])))


def _ramp(value: Image) -> Image:
    t = np.clip(value, 0, 1)
    return t * t * (3 - 2 * t)


def nodules(finding: Finding, chest: Chest) -> Change:
    """Round solids of 8 to 30 mm, anywhere in the lung of one side, or scattered if there are several."""
    draw = _draw(finding)
    filled = np.zeros_like(chest.other)
    for number in range(finding.count):
        side = finding.side if number == 0 and finding.side is not Side.BOTH else SIDES[draw.integers(2)]
        centre = _place(
            chest, side, draw.uniform(0.1, 0.85), draw.uniform(0.16, 0.86), draw.uniform(-0.6, 0.6)
        )
        radius = _between(*NODULE_RADIUS, finding.size) * draw.uniform(0.85, 1.15)
        flat = draw.uniform(0.85, 1.0)
        ball = Ellipsoid(centre, (radius, radius * flat, radius * 1.15), draw.uniform(0, 180))
        filled += _inside(chest, side, ball) * np.float32(_between(*NODULE_FILLING, finding.contrast))
    return Change(filled=filled)


def mass(finding: Finding, chest: Chest) -> Change:
    """A lobulated solid of 32 to 80 mm: a ball with smaller ones in its surface."""
    draw = _draw(finding)
    filled = np.zeros_like(chest.other)
    for side in _sides(finding):
        x, y, z = _place(
            chest, side, draw.uniform(0.15, 0.7), draw.uniform(0.22, 0.8), draw.uniform(-0.35, 0.35)
        )
        radius = _between(16, 38, finding.size)
        balls = [Ellipsoid((x, y, z), (radius, radius * draw.uniform(0.75, 1), radius), draw.uniform(0, 180))]
        for angle in draw.uniform(0, 2 * np.pi, 5):
            bulge = radius * draw.uniform(0.35, 0.6)
            off = radius * 0.62
            balls.append(Ellipsoid((x + off * np.cos(angle), y + off * np.sin(angle), z), (bulge,) * 3))
        lengths = [_inside(chest, side, ball) for ball in balls]
        filled += np.max(lengths, axis=0) * np.float32(_between(0.55, 1.0, finding.contrast))
    return Change(filled=filled)


def consolidation(finding: Finding, chest: Chest) -> Change:
    """Patchy filling of a part of a lung, with bronchi that stay open."""
    draw = _draw(finding)
    filled = np.zeros_like(chest.other)
    for side in _sides(finding):
        centre = _place(chest, side, draw.uniform(0.2, 0.65), draw.uniform(0.3, 0.85), 0)
        radius = _between(30, 66, finding.size)
        far = _distance(chest, centre, (radius * draw.uniform(0.8, 1.1), radius * draw.uniform(0.7, 1.2)))
        patchy = field_of(draw, chest.grid, 9.0) * 0.22 + field_of(draw, chest.grid, 3.5) * 0.08
        dense = _ramp((1.15 - far + patchy) / 0.7) * np.float32(_between(0.3, 0.75, finding.contrast))
        open_bronchi = threads(*tree(chest.anatomy, side, 4), chest.grid)
        filled += chest.lungs[side] * dense * (1 - 0.45 * np.clip(open_bronchi / 12, 0, 0.8))
    return Change(filled=filled)


def atelectasis(finding: Finding, chest: Chest) -> Change:
    """Plates of airless lung above a hemidiaphragm that is drawn up."""
    draw = _draw(finding)
    filled = np.zeros_like(chest.other)
    for side in _sides(finding):
        for number in range(int(draw.integers(1, 4))):
            low = draw.uniform(0.74, 0.9) - 0.11 * number
            centre = _place(chest, side, draw.uniform(0.3, 0.55), low, draw.uniform(-0.3, 0.3))
            long, thick = _between(24, 48, finding.size), draw.uniform(2.0, 4.5) + 2.5 * finding.size
            tilted = sign(side) * draw.uniform(-28, 22)
            plate = _plate(chest, centre, (long, thick), tilted, bend=draw.uniform(-0.12, 0.12))
            filled += np.minimum(plate * _between(28, 62, finding.contrast), chest.lungs[side])
        filled += _drawn_up(chest, side, _between(4, 24, finding.size * draw.uniform(0.4, 1.0)))
    return Change(filled=filled)


def _plate(chest: Chest, centre: Point3D, radii: tuple[float, float], turn: float, *, bend: float) -> Image:
    """A bent plate seen almost edge on, 1 in its middle; its ends thin out."""
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    dx, dy = chest.grid.x - centre[0], chest.grid.y - centre[1]
    along = (dx * cos + dy * sin) / radii[0]
    across = (dy * cos - dx * sin) / radii[1] - bend * radii[0] / radii[1] * along**2
    return np.asarray(np.exp(-0.5 * (across * 1.7) ** 2) * _ramp(1.6 * (1 - np.abs(along))), np.float32)


def _drawn_up(chest: Chest, side: Side, rise: float) -> Image:
    return np.asarray(np.maximum(chest.lungs[side] - _lung_over(chest, side, flattened=-rise), 0))


def _lung_over(chest: Chest, side: Side, *, flattened: float) -> Image:
    """Millimetres of lung above another hemidiaphragm."""
    dome = dome_of(chest.patient, side, flattened=flattened).along(chest.grid)
    return replace(chest.spaces[side], dome=dome).length * np.float32(chest.patient.stature)


def _lung_beside(chest: Chest, side: Side, core: Interval) -> Image:
    """Millimetres of lung beside another heart."""
    return replace(chest.spaces[side], core=core).length * np.float32(chest.patient.stature)


def edema(finding: Finding, chest: Chest) -> Change:
    """Haze around the hila and below, patchy, with thickened septa at the bases."""
    draw = _draw(finding)
    filled = np.zeros_like(chest.other)
    patchy = 1 + 0.2 * field_of(draw, chest.grid, 6.0) + 0.15 * field_of(draw, chest.grid, 2.5)
    for side in SIDES:
        hilum = (sign(side) * 42.0, 14.0, 0.0)
        wing = np.exp(-0.5 * _distance(chest, hilum, (52, 62)) ** 2)
        share = (0.25 + wing) * np.float32(_between(0.16, 0.42, 0.5 * finding.size + 0.5 * finding.contrast))
        filled += chest.lungs[side] * np.clip(share * patchy, 0, 0.8)
        filled += _septa(chest, side, draw) * (chest.lungs[side] > 0)
    return Change(filled=filled)


def _septa(chest: Chest, side: Side, draw: np.random.Generator) -> Image:
    """Kerley's B lines: short, level, at the lateral base."""
    n = 14
    y = np.linspace(_crest(chest, side) - 45, _crest(chest, side) + 12, n) + draw.normal(0, 1.5, n)
    edge = chest.anatomy.lung_edge(y) - 2
    x = np.stack([edge, edge - draw.uniform(9, 18, n)], axis=1) * sign(side)
    return (
        threads(
            np.stack([x, np.stack([y, y + draw.normal(0, 1, n)], axis=1)], axis=-1),
            np.full(n, 0.9),
            chest.grid,
        )
        * 3
    )


def effusion(finding: Finding, chest: Chest) -> Change:
    """Fluid around the base, higher at the side than in the middle; a veil when the patient lies."""
    draw = _draw(finding)
    filled = np.zeros_like(chest.other)
    lying = chest.patient.projection is Projection.AP
    for side in _sides(finding):
        surface = _crest(chest, side) + _between(16, -78, finding.size) + draw.uniform(-4, 4)
        edge = chest.anatomy.lung_edge(surface)
        outward = np.clip(sign(side) * chest.grid.x / np.float32(edge), 0, 1)
        climb = 16 + 26 * outward**3 + 14 * (1 - outward) ** 4
        soft = draw.uniform(18, 34) if lying else draw.uniform(7, 13)
        below = _ramp((chest.grid.y - surface + climb) / np.float32(soft) / 2)
        filled += chest.lungs[side] * below * np.float32(_between(0.75, 1.0, finding.contrast))
        if lying:
            veil = 0.16 * finding.size * _ramp((chest.grid.y + 130) / (surface + 130))
            filled += chest.lungs[side] * veil.astype(np.float32)
    return Change(filled=filled)


def pneumothorax(finding: Finding, chest: Chest) -> Change:
    """Air between chest wall and a smaller lung, whose edge shows as a line."""
    emptied, filled = np.zeros_like(chest.other), np.zeros_like(chest.other)
    draw = _draw(finding)
    for side in _sides(finding):
        gap = _between(9, 48, finding.size) * draw.uniform(0.9, 1.1)
        left = _collapsed_length(chest, side, gap)
        within = _collapsed_length(chest, side, gap + 1.0)
        emptied += np.maximum(chest.lungs[side] - left, 0)
        filled += np.maximum(left - within, 0) * 0.6 + left * np.float32(0.0012 * gap)
    return Change(filled=filled, emptied=emptied)


def _collapsed_length(chest: Chest, side: Side, gap: float) -> Image:
    return _inside(chest, side, _collapsed(chest.anatomy.lungs[side], side, gap))


def _collapsed(lung: Column, side: Side, gap: float) -> Column:
    """The lung with its apex lowered and its lateral wall drawn in, most at the apex."""
    y = np.array(lung.y)
    down = (y - LUNG_TOP) / (LUNG_BOTTOM - LUNG_TOP)
    lower = y + gap * 0.9 * (1 - down) ** 2
    pull = gap * (1.0 - 0.72 * down)
    left, right = np.array(lung.left), np.array(lung.right)
    if side is Side.LEFT:
        right = np.maximum(right - pull, left + 4)
    else:
        left = np.minimum(left + pull, right - 4)
    depth = np.maximum(np.array(lung.depth) - 0.45 * pull, 2)
    return Column(tuple(lower), tuple(left), tuple(right), tuple(depth), lung.z, lung.power)


def emphysema(finding: Finding, chest: Chest) -> Change:
    """Destroyed lung and bullae, with the diaphragm pushed down flat."""
    draw = _draw(finding)
    emptied, added = np.zeros_like(chest.other), np.zeros_like(chest.other)
    patchy = 1 + 0.25 * field_of(draw, chest.grid, 11.0)
    contrast = np.float32(WATER) - chest.lung_attenuation
    for side in SIDES:
        emptied += chest.lungs[side] * np.clip(_between(0.28, 0.6, finding.contrast) * patchy, 0, 0.85)
        for _ in range(int(draw.integers(1, 4))):
            centre = _place(
                chest, side, draw.uniform(0.4, 0.9), draw.uniform(0.1, 0.6), draw.uniform(-0.4, 0.4)
            )
            bulla = Ellipsoid(centre, (draw.uniform(10, 24), draw.uniform(10, 26), draw.uniform(12, 30)))
            emptied += 0.5 * _inside(chest, side, bulla)
        flat = _lung_over(chest, side, flattened=_between(12, 32, finding.size))
        added -= np.maximum(flat - chest.lungs[side], 0) * contrast
    return Change(emptied=emptied, added=added)


def cardiomegaly(finding: Finding, chest: Chest) -> Change:
    """A heart 1.22 to 1.5 times as large in every direction."""
    larger = replace(chest.patient, heart=chest.patient.heart * _between(1.22, 1.5, finding.size))
    core = hull_of(core_of(larger), chest.grid)
    lost = (np.maximum(chest.lungs[side] - _lung_beside(chest, side, core), 0) for side in SIDES)
    filled = total(lost, chest.grid)
    return Change(filled=filled)


def hernia(finding: Finding, chest: Chest) -> Change:
    """A part of the stomach behind the heart, with a level of fluid under air."""
    draw = _draw(finding)
    y = _between(_crest(chest, Side.LEFT), 60, 0.5) + draw.uniform(-8, 4)
    radius = _between(26, 46, finding.size)
    centre = (draw.uniform(-4, 20), y, -34.0)
    sac = Ellipsoid(centre, (radius, radius * draw.uniform(0.8, 1.0), radius))
    filled = _inside(chest, Side.LEFT, sac) + _inside(chest, Side.RIGHT, sac)
    lumen = Ellipsoid(centre, (sac.radii[0] - 4, sac.radii[1] - 4, sac.radii[2] - 4)).along(chest.grid).length
    level = centre[1] + draw.uniform(-0.35, 0.15) * sac.radii[1]
    above = np.clip((level - chest.grid.y) / chest.grid.pitch + 0.5, 0, 1)
    gas = lumen * above * np.float32(chest.patient.stature * _between(0.5, 0.85, finding.contrast))
    return Change(filled=filled, added=-np.float32(WATER) * gas)


RECIPES: MappingProxyType[str, Recipe] = MappingProxyType(
    {
        "Atelectasis": atelectasis,
        "Cardiomegaly": cardiomegaly,
        "Consolidation": consolidation,
        "Edema": edema,
        "Effusion": effusion,
        "Emphysema": emphysema,
        "Hernia": hernia,
        "Mass": mass,
        "Nodule": nodules,
        "Pneumothorax": pneumothorax,
    }
)
"""What each finding does to a chest."""


def change_of(finding: Finding, chest: Chest) -> Change:
    """A finding's effect on a chest, without its invisible fringe."""
    change = RECIPES[finding.pathology](finding, chest)
    tissue = np.float32(VISIBLE / WATER)
    density = np.float32(chest.patient.lung_density)
    return Change(
        filled=_reduced(change.filled, tissue / (1 - density)),
        emptied=_reduced(change.emptied, tissue / density),
        added=_reduced(change.added, np.float32(VISIBLE)),
    )


def _reduced(effect: Image | None, fringe: np.float32) -> Image | None:
    """An effect of either sign, its size less by the fringe."""
    return None if effect is None else effect - np.clip(effect, -fringe, fringe)
