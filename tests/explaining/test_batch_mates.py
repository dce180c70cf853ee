"""An explanation never depends on its batch mates: explained one by one, or in one batch, it is the same.

In double precision, so that nothing but a real difference shows: convolutions round by the batch's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
import torch
from diagonal import diagonal
from networks import NAMES, small_net, small_xrv
from torch import Tensor

from cxr_explain import HookedClassifier, Outputs, Radiograph, XRVDenseNet
from cxr_explain.cam.augmented import AugmentedGradCAM
from cxr_explain.cam.evidence import Evidence
from cxr_explain.cam.region import SegXResCAM
from cxr_explain.cam.registry import LAYER_RULES
from cxr_explain.cam.sampled import IntegratedGradCAM, SmoothGradCAMPlusPlus
from cxr_explain.cam.smoothing import Smoothed
from cxr_explain.explaining.explainer import Explained, Explainer
from cxr_explain.explaining.settings import RankingSettings
from cxr_explain.models.base import Classifier
from cxr_explain.options import Activation, Normalisation

SHAPES = ((32, 32), (40, 64), (64, 50), (30, 30), (32, 32))
FURTHER = ((), (NAMES[4], NAMES[0]), (), (NAMES[2],), NAMES)
ASKED = RankingSettings(top_k=4, above_operating_point=True)

CLOSED: tuple[tuple[str, ...], ...] = (
    (),
    ("features.transition1.relu",),
    ("features.denseblock1", "features.transition1.relu", "features.denseblock2"),
)
HOOKED: tuple[tuple[str, ...], ...] = ((), ("2", "5"))
FEWER: dict[str, Any] = {
    "augmented-grad-cam": AugmentedGradCAM(views=3, steps=8),
    "integrated-grad-cam": IntegratedGradCAM(steps=4),
    "smooth-grad-cam++": SmoothGradCAMPlusPlus(copies=2),
}
"""Rules that are the same with fewer steps, but take less time."""
METHODS: tuple[Any, ...] = (
    *(FEWER.get(name, name) for name in LAYER_RULES),
    Smoothed("layercam"),
    SmoothGradCAMPlusPlus(copies=3, sigma=0.3, seed=5),
    SegXResCAM(window=3, pool="max"),
)


def radiographs() -> list[Radiograph]:
    draw = np.random.default_rng(3)
    return [
        Radiograph.from_array(draw.uniform(-1024, 1024, shape).astype(np.float32), id=f"r{number}")
        for number, shape in enumerate(SHAPES)
    ]


@cache
def classifier(kind: str) -> Classifier:
    """Its operating points give the first image no pathology, and the others different numbers of them."""
    outputs = Outputs(NAMES)
    model: Classifier
    if kind == "closed form":
        model = XRVDenseNet(small_xrv(5).double(), outputs, input_size=32)
    else:
        model = HookedClassifier(small_net().double(), "5", outputs, input_size=32)
    inputs = torch.stack([Explainer(model).prepare(one).tensor for one in radiographs()])
    scores = model.logits(inputs).double().sigmoid()
    points = torch.maximum(scores[1:].quantile(0.5, dim=0), scores[0] + 1e-9)
    model.outputs = Outputs(NAMES, tuple(points.tolist()))
    return model


def alone_and_together(explainer: Explainer) -> list[tuple[Explained, Explained]]:
    inputs = [
        replace(explainer.prepare(one), further=further)
        for one, further in zip(radiographs(), FURTHER, strict=True)
    ]
    together = explainer.explain_prepared(inputs, ASKED)
    alone = [explainer.explain_prepared([one], ASKED)[0] for one in inputs]
    return list(zip(alone, together, strict=True))


def assert_alike(alone: Explained, together: Explained) -> None:
    one, other = alone.explanation, together.explanation
    assert one.ranking.pathologies == other.ranking.pathologies
    assert one.provenance == other.provenance
    pairs = [(one.class_maps, other.class_maps), (one.maps, other.maps)]
    assert (alone.further is None) == (together.further is None)
    if alone.further is not None and together.further is not None:
        assert alone.further.pathologies == together.further.pathologies
        pairs.append((alone.further.class_maps, together.further.class_maps))
    for mine, theirs in pairs:
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5 * np.abs(mine).max(initial=0))


def check(explainer: Explainer) -> None:
    pairs = alone_and_together(explainer)
    numbers = {alone.explanation.ranking.k for alone, _ in pairs}
    assert 0 in numbers, "an image without a pathology to explain"
    assert len(numbers) > 2, "rankings of different length"
    assert any(np.abs(alone.explanation.class_maps).max(initial=0) > 0 for alone, _ in pairs)
    for alone, together in pairs:
        assert_alike(alone, together)


@pytest.mark.parametrize("layers", CLOSED, ids=" ".join)
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_every_rule_behind_a_linear_head(method: Any, layers: Sequence[str]) -> None:
    if method == "cam" and layers:
        pytest.skip("CAM needs the layer before the pooling")
    check(Explainer(classifier("closed form"), method=method, target_layers=layers))


@pytest.mark.parametrize("layers", HOOKED, ids=" ".join)
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_every_rule_behind_another_head(method: Any, layers: Sequence[str]) -> None:
    if method == "cam":
        pytest.skip("CAM needs a linear head")
    check(Explainer(classifier("hooked"), method=method, target_layers=layers))


@pytest.mark.parametrize(("layers", "fused"), diagonal(CLOSED[::-2], [True, False]))
def test_every_option_of_the_fusion(layers: Sequence[str], fused: bool) -> None:
    for normalisation, activation in product(get_args(Normalisation), get_args(Activation)):
        options = {"normalisation": normalisation, "activation": activation, "fused": fused}
        check(Explainer(classifier("closed form"), method="layercam", target_layers=layers, **options))


def test_an_output_that_was_never_trained_takes_no_part() -> None:
    """Short rankings are filled up for the batched gradient: not with the first output, which may be NaN."""
    module = small_xrv(5).double()
    with torch.no_grad():
        module.classifier.weight[0] = torch.nan
    model = XRVDenseNet(module, Outputs(("", *NAMES[1:])), input_size=32)
    inputs = torch.stack([Explainer(model).prepare(one).tensor for one in radiographs()])
    points = model.logits(inputs).sigmoid().quantile(0.6, dim=0).tolist()
    model.outputs = Outputs(("", *NAMES[1:]), (None, *points[1:]))
    asked: list[Tensor] = []

    def noted(evidence: Evidence) -> Tensor:
        asked.append(evidence.classes)
        return torch.einsum("bkc,bcij->bkij", evidence.weights, evidence.activations)

    explanations = Explainer(model, method=noted).explain_batch(
        radiographs(), top_k=4, above_operating_point=True
    )
    assert len({one.ranking.k for one in explanations}) > 1
    assert 0 not in asked[0]
    assert all(np.isfinite(one.maps).all() for one in explanations)
