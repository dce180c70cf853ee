"""Figures of odd inputs: what they say together is every text that a figure can say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from synthetic import synthetic_explanation, synthetic_radiograph

from cxr_explain.explaining.explanation import Explanation
from cxr_explain.explaining.provenance import Tuning
from cxr_explain.explaining.ranking import rank
from cxr_explain.explaining.stability import MapStability, Stability
from cxr_explain.figures import ExplanationFigure, draw_explanation
from cxr_explain.figures.style import Style
from cxr_explain.options import CalibrationKind
from cxr_explain.pathologies import PATHOLOGIES, ReferenceBox, ReferenceLabels
from cxr_explain.radiograph import Radiograph

Odd = tuple[Explanation, Radiograph, Any]
"""An explanation, its radiograph, and reference labels."""

SIDE = 160
LABELS = ReferenceLabels(
    {
        "Effusion": "positive",
        "Cardiomegaly": "negative",
        "Mass": "not mentioned",
        "Nodule": "uncertain",
        "Infiltration": "positive",
        "Support Devices": "positive",
    },
    (ReferenceBox("Effusion", 20, 100, 40, 30),),
    source="a table",
    view="PA",
)


def plain(k: int = 5, shape: tuple[int, int] = (SIDE, SIDE), labels: Any = LABELS, **options: Any) -> Odd:
    fields = {name: options.pop(name) for name in ("view", "phantom", "warnings") if name in options}
    radiograph = synthetic_radiograph(shape, patient_orientation=("L", "F"), **fields)
    options.setdefault("warnings", radiograph.warnings)
    return synthetic_explanation(radiograph, k=k, **options), radiograph, labels


def without_evidence(k: int = 5, **options: Any) -> Odd:
    explanation, *rest = plain(k, **options)
    return (
        replace(explanation, maps=explanation.maps * 0, class_maps=-np.abs(explanation.class_maps)),
        *rest,
    )


def without_gradient(named: int, k: int = 3, **options: Any) -> Odd:
    explanation, *rest = without_evidence(k, **options)
    names = explanation.ranking.pathologies[:named]
    return replace(explanation, provenance=replace(explanation.provenance, without_gradient=names)), *rest


def one_cell(grid: int = 7, k: int = 3, **options: Any) -> Odd:
    """One positive cell among negative ones, of the first pathology alone."""
    explanation, *rest = plain(k, **options)
    class_maps = np.full((k, grid, grid), -1, np.float32)
    class_maps[0, grid // 3, grid // 2] = 0.5
    return replace(explanation, maps=np.maximum(class_maps, 0), class_maps=class_maps), *rest


def padded(inside: float) -> Odd:
    """An upright radiograph with margins left and right; rank 1 is strongest in one of them.

    Args:
        inside: evidence in the radiograph, beside 1 in the margin.
    """
    explanation, radiograph, labels = plain(2, (160, 80), labels="Mass", fit="pad")
    maps = np.zeros((2, 8, 8), np.float32)
    maps[0, 3, 0], maps[1, 4, 4] = 1, inside
    return replace(explanation, maps=maps, class_maps=maps), radiograph, labels


def of_names(names: list[str], k: int, *, points: bool = True) -> Odd:
    """A model with outputs of any number and names."""
    explanation, radiograph, _ = plain(5)
    count = len(names)
    logits = list(np.linspace(2, -4, count))
    ranking = rank(logits, names, [0.3 if points else None] * count, top_k=k)
    maps = np.random.default_rng(0).uniform(0, 1, (k, 7, 7)).astype(np.float32)
    won = np.where(np.arange(k)[:, None, None] == maps.argmax(axis=0), maps, 0)
    return (
        replace(explanation, ranking=ranking, maps=won, class_maps=maps),
        radiograph,
        dict.fromkeys(names, 1),
    )


def altered(odd: Odd, **provenance: Any) -> Odd:
    explanation, *rest = odd
    return replace(explanation, provenance=replace(explanation.provenance, **provenance)), *rest


def calibrated() -> Odd:
    explanation, *rest = plain(2)
    return replace(explanation, ranking=replace(explanation.ranking, by="calibrated")), *rest


def tuning(calibrate: CalibrationKind) -> Tuning:
    """Operating points that were fitted on a part of an audit."""
    return Tuning(
        goal="youden",
        calibrate=calibrate,
        part="split=valid",
        policy="strict",
        images=30,
        patients=25,
        outputs=5,
        fitted=4,
        calibrated=0 if calibrate == "none" else 3,
        manifest_source="a table",
        manifest_sha256="0" * 64,
        run_sha256="1" * 64,
        package_version="0",
    )


def sure(k: int = 5) -> Odd:
    """With how far the maps stay, of all but the first, and how far they are another model's."""
    explanation, *rest = plain(k)
    numbers = {
        name: MapStability(0.1 * at, 0.5, 8) for at, name in enumerate(explanation.ranking.pathologies)
    }
    stays = Stability(("a shift", "noise"), dict([*numbers.items()][1:]))
    across = Stability((explanation.provenance.model,) * 2, numbers)
    return replace(explanation, stability=stays, stability_across_models=across), *rest


LONG_NAMES = [f"Very-long-name-{'of-a-finding-' * 5}{at}" for at in range(3)]

ODD: Mapping[str, Callable[[], Odd]] = {
    "nothing to explain": lambda: plain(0),
    "one pathology, enlarged": lambda: plain(1, (64, 64)),
    "five, all label states": lambda: plain(5, view="PA"),
    "ten": lambda: plain(10, labels=None),
    "eighteen, not all seen": lambda: plain(18, (SIDE, 200)),
    "thirty": lambda: of_names([f"Finding {at}" for at in range(60)], 30),
    "long names": lambda: of_names(LONG_NAMES, 3, points=False),
    "names of the table's width": lambda: of_names(["Enlarged Cardiomediastinum", *PATHOLOGIES[:16]], 17),
    "a strip across": lambda: plain(3, (8, 600), model_size=32),
    "a strip down": lambda: plain(3, (600, 60), model_size=32),
    "another view in the table": lambda: plain(2, view="AP"),
    "no evidence": lambda: without_evidence(),
    "no evidence, one": lambda: without_evidence(1),
    "no evidence, not fused": lambda: without_evidence(3, fused=False),
    "no gradient": lambda: without_gradient(3),
    "no gradient, one": lambda: without_gradient(1),
    "no gradient, not fused": lambda: without_gradient(1, fused=False),
    "one cell": one_cell,
    "one cell of one": lambda: one_cell(1),
    "margin, and inside": lambda: padded(0.5),
    "margin alone": lambda: padded(0.0),
    "stability": sure,
    "stability of one": lambda: sure(1),
    "softmax": lambda: plain(2, output_kind="softmax-logits"),
    "calibrated": calibrated,
    "fitted operating points": lambda: altered(plain(2), tuning=tuning("none")),
    "fitted and calibrated": lambda: altered(plain(2), tuning=tuning("temperature")),
    "fewer than asked": lambda: plain(2, top_k=5),
    "a model as an object": lambda: altered(
        plain(2), gradient="none", weights_sha256=None, training_sets=(), phantom_only=False
    ),
    "a phantom": lambda: plain(2, phantom=True, warnings=()),
    "a phantom, by a model for phantoms": lambda: altered(
        plain(2, phantom=True, warnings=()), phantom_only=True, training_sets=("phantoms",)
    ),
    "a model for phantoms": lambda: altered(plain(2), phantom_only=True, training_sets=("mine",)),
    "many warnings": lambda: plain(1, warnings=tuple(f"warning {at}" for at in range(20))),
}


def drawn(name: str, style: Style | None = None, **options: Any) -> ExplanationFigure:
    """The figure of an odd input."""
    explanation, radiograph, labels = ODD[name]()
    return draw_explanation(
        explanation, radiograph, reference_labels=labels, dpi=60, style=style or Style(), **options
    )
