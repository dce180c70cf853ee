"""What the rules ask of a model's body: the same maps by every engine, and a known number of passes."""

from __future__ import annotations

import pytest
import torch

from cxr_explain.cam.augmented import AugmentedGradCAM
from cxr_explain.cam.perturbation import ChannelMasks, ReciproCAM, ScoreCAM
from cxr_explain.cam.registry import LAYER_RULES, Method
from cxr_explain.cam.rules import Rule, class_maps
from cxr_explain.cam.sampled import IntegratedGradCAM, SmoothGradCAMPlusPlus
from cxr_explain.cam.smoothing import Smoothed
from cxr_explain.options import Engine
from tests.engine_networks import COMPILED, counted, small_classifier, small_compiled
from tests.networks import images

CLASSES = torch.tensor([[0, 4, 7], [3, 1, 2]])
OWN: tuple[Rule, ...] = (
    ScoreCAM(channels=5, normalise="none"),
    ReciproCAM(gaussian=True),
    Smoothed("grad-cam"),
    SmoothGradCAMPlusPlus(copies=2),
    IntegratedGradCAM(steps=3),
    AugmentedGradCAM(views=3),
)


@pytest.mark.parametrize("engine", COMPILED)
@pytest.mark.parametrize("method", [*LAYER_RULES, *OWN], ids=str)
def test_every_rule_has_the_maps_of_torch_on_every_engine(method: Method | Rule, engine: Engine) -> None:
    inputs = images(2)
    expected = class_maps(small_classifier(), inputs, CLASSES, method=method)
    found = class_maps(small_compiled(engine), inputs, CLASSES, method=method)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_score_cam_in_bfloat16_is_that_of_torch_but_for_its_noise() -> None:
    inputs = images(2)
    expected = class_maps(small_classifier(), inputs, CLASSES, method="score-cam").flatten(2)
    found = class_maps(small_compiled("openvino", "bfloat16"), inputs, CLASSES, method="score-cam").flatten(2)
    pair = torch.stack([found, expected]) - torch.stack([found, expected]).mean(dim=-1, keepdim=True)
    r = (pair[0] * pair[1]).sum(-1) / pair.norm(dim=-1).prod(dim=0)
    assert (r > 0.99).all()


@pytest.mark.parametrize(
    ("method", "images_run"),
    [
        *(
            (method, 2)
            for method in ("cam", "grad-cam", "grad-cam++", "layercam", "recipro-cam", "ablation-cam")
        ),
        (SmoothGradCAMPlusPlus(copies=8), 2),
        (Smoothed("grad-cam"), 2 * 6),
        (AugmentedGradCAM(views=12, steps=1), 2 * 12),
        (IntegratedGradCAM(steps=16), 2 * 17),
    ],
    ids=str,
)
def test_a_rule_runs_the_body_as_often_as_it_says(method: Method | Rule, images_run: int) -> None:
    """Behind a pooled linear head, for all classes together."""
    with counted(small_classifier()) as passes:
        class_maps(small_classifier(), images(2), CLASSES, method=method)
    assert sum(passes) == images_run


@pytest.mark.parametrize("batch_size", [4, 16])
def test_score_cam_runs_each_distinct_mask_once_and_fills_its_batches(batch_size: int) -> None:
    classifier, inputs = small_classifier(), images(2)
    activations = classifier.forward(inputs).activations
    masks = len(ChannelMasks.of(activations).patterns)
    with counted(classifier) as passes:
        class_maps(classifier, inputs, CLASSES, method=ScoreCAM(batch_size=batch_size))
    assert batch_size < masks <= 2 * activations.shape[1]
    first, baseline, *masked = passes
    assert (first, baseline, sum(masked)) == (2, 1, masks)
    assert masked[:-1] == [batch_size] * (masks // batch_size - (masks % batch_size == 0))
