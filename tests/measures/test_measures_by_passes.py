"""What the measures ask of a model: the same numbers by every engine, each input once, full batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cxr_explain.cam.rules import class_maps
from cxr_explain.engines.following import following
from cxr_explain.measures.adcc import adcc
from cxr_explain.measures.faithfulness import deletion, insertion
from cxr_explain.measures.randomisation import cascade, cascades
from cxr_explain.measures.road import road
from cxr_explain.measures.robustness import (
    flip_equivariance,
    repeatability,
    shift_equivariance,
    under_exposure,
    under_noise,
)
from cxr_explain.measures.subject import OnceScored
from cxr_explain.models.base import Classifier
from cxr_explain.options import Engine
from tests.engine_networks import COMPILED, counted, small_classifier, small_compiled
from tests.networks import images

CLASSES = torch.tensor([[0, 4], [3, 1]])
STEPS, PERCENTAGES = 5, (20, 50)
AS_TORCH = 1e-4

MEASURES: dict[str, Callable[[Classifier, Tensor, Tensor, Tensor, Any], object]] = {
    "deletion": lambda c, x, k, maps, _: deletion(c.log_odds, x, k, maps, steps=STEPS),
    "insertion": lambda c, x, k, maps, _: insertion(c.log_odds, x, k, maps, steps=STEPS),
    "ROAD": lambda c, x, k, maps, _: road(c.log_odds, x, k, maps, percentages=PERCENTAGES),
    "ADCC": lambda c, x, k, maps, explain: adcc(c.log_odds, explain, x, k, maps),
    "noise": lambda c, x, k, _, explain: under_noise(c.logits, explain, x, k),
    "contrast": lambda c, x, k, _, explain: under_exposure(c.logits, explain, x, k),
    "mirrored": lambda c, x, k, _, explain: flip_equivariance(explain, x, k),
    "shifted": lambda c, x, k, _, explain: shift_equivariance(explain, x, k),
    "repeated": lambda c, x, k, _, explain: repeatability(explain, x, k),
}


def numbers(found: object) -> Iterator[np.ndarray]:
    """All numbers of a result, whatever it is."""
    if isinstance(found, np.ndarray):
        yield found
    elif hasattr(found, "__dataclass_fields__"):
        for each in fields(found):
            yield from numbers(getattr(found, each.name))


def maps_of(classifier: Classifier) -> Callable[[Tensor, Tensor], Tensor]:
    return partial(class_maps, classifier, method="grad-cam")


@pytest.mark.parametrize("engine", COMPILED)
@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_is_that_of_torch_on_every_engine(name: str, engine: Engine) -> None:
    """The maps are the same, so that cells of nearly equal saliency go in the same order."""
    inputs = images(2)
    maps = maps_of(small_classifier())(inputs, CLASSES)
    found, expected = (
        list(numbers(MEASURES[name](classifier, inputs, CLASSES, maps, maps_of(classifier))))
        for classifier in (small_compiled(engine), small_classifier())
    )
    assert expected
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=AS_TORCH)


@pytest.mark.long
def test_randomised_weights_go_through_the_engine_without_another_export() -> None:
    """By OpenVINO, too: `tests/study/test_study_on_engines.py`."""
    original, compiled = small_classifier(), following(small_compiled("onnxruntime"))
    assert following(small_compiled("onnxruntime")) is compiled
    assert following(original) is original
    inputs, kept = images(2), [each.clone() for each in original.module.state_dict().values()]
    layers = ["classifier", "features.norm5", "features.denseblock2", "features.conv0"]
    found = cascade(compiled.module, maps_of(compiled), inputs, CLASSES, layers=layers)
    expected = cascade(original.module, maps_of(original), inputs, CLASSES, layers=layers)
    for one, other in zip(found, expected, strict=True):
        assert one.layer == other.layer
        np.testing.assert_allclose(one.pearson, other.pearson, rtol=0, atol=AS_TORCH)
    assert len({float(step.pearson.mean()) for step in found}) == len(layers)  # each changed the maps
    assert all(map(torch.equal, kept, original.module.state_dict().values()))
    torch.testing.assert_close(compiled.logits(inputs), original.logits(inputs), rtol=0, atol=AS_TORCH)


def test_rules_that_share_the_random_weights_have_the_steps_that_each_has_alone() -> None:
    classifier, inputs = small_classifier(), images(2)
    rules = [partial(class_maps, classifier, method=method) for method in ("grad-cam", "eigen-cam")]
    together = cascades(classifier.module, rules, inputs, CLASSES, layers=["classifier", "features"])
    for steps, explain in zip(together, rules, strict=True):
        alone = cascade(classifier.module, explain, inputs, CLASSES, layers=["classifier", "features"])
        for one, other in zip(steps, alone, strict=True):
            np.testing.assert_array_equal(one.spearman, other.spearman)


def test_a_pass_of_each_measure_is_made_once_and_batches_are_full() -> None:
    """B x K maps: T + 1 stages of each curve, 2 P images of ROAD, and ADCC's image, masks, their maps."""
    inputs, classifier = images(2), small_classifier()
    maps = maps_of(classifier)(inputs, CLASSES)
    expected = {
        "deletion": [24],
        "insertion": [24],
        "ROAD": [16],
        "ADCC": [2, 2, 2, 2, 2],
    }
    for name, batches in expected.items():
        with counted(classifier) as passes:
            MEASURES[name](classifier, inputs, CLASSES, maps, maps_of(classifier))
        assert passes == batches, name
    with counted(classifier) as passes:
        deletion(classifier.log_odds, inputs, CLASSES, maps, steps=STEPS, batch_size=10)
    assert passes == [10, 10, 4]


def test_inputs_are_scored_once_whoever_asks() -> None:
    """The ends of the curves, and all images of maps that are alike, are the same inputs."""
    classifier, inputs = small_classifier(), images(1)
    classes = torch.tensor([[0, 4, 5]])
    maps = maps_of(classifier)(inputs, classes)
    maps[:, 1:] = 0  # two that say nothing: one random order
    score = OnceScored(classifier.log_odds)
    with counted(classifier) as passes:
        gone = deletion(score, inputs, classes, maps, steps=STEPS)
        come = insertion(score, inputs, classes, maps, steps=STEPS)
    assert sum(passes) == 2 + 2 * 2 * (STEPS - 1)
    plain = deletion(classifier.log_odds, inputs, classes, maps, steps=STEPS)
    np.testing.assert_allclose(gone.scores, plain.scores, rtol=0, atol=1e-6)
    # The last bit of a sigmoid may hang on its place in a vector, on some processors.
    np.testing.assert_allclose(come.scores[..., 0], gone.scores[..., -1], rtol=1e-15, atol=0)
    with counted(classifier) as passes:
        score(inputs)
        score.learn(inputs + 1, torch.ones(1, 18))
        assert (score(torch.cat([inputs + 1, inputs]))[0] == 1).all()
    assert passes == []
