"""An explainer that is pickled or copied explains the same, with a model of its own."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import NAMES, small_monai, small_net, small_xrv
from torchvision.models import resnet18

from cxr_explain import (
    HookedClassifier,
    MonaiDenseNet,
    Outputs,
    Radiograph,
    XRVDenseNet,
    XRVResNet,
    imagenet_input,
)
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.explaining.explanation import Explanation


def densenet() -> Explainer:
    return Explainer(XRVDenseNet(small_xrv(5), Outputs(NAMES), input_size=64), method="layercam")


def resnet() -> Explainer:
    torch.manual_seed(0)
    module = resnet18(num_classes=5)
    module.conv1 = torch.nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    return Explainer(XRVResNet(module.eval(), Outputs(NAMES), input_size=64))


def monai() -> Explainer:
    return Explainer(MonaiDenseNet(small_monai(), Outputs(NAMES), input_size=64))


def hooked() -> Explainer:
    return Explainer(
        HookedClassifier(small_net(), "5", Outputs(NAMES), input_size=64), target_layers=("2", "5")
    )


def natural() -> Explainer:
    torch.manual_seed(0)
    module = resnet18(num_classes=5).eval()
    return Explainer(
        HookedClassifier(module, "layer4", Outputs(NAMES), input_size=64, prepare=imagenet_input)
    )


each = pytest.mark.parametrize("build", [densenet, resnet, monai, hooked, natural])


def radiograph() -> Radiograph:
    pixels = np.random.default_rng(1).uniform(-1024, 1024, (64, 80)).astype(np.float32)
    return Radiograph.from_array(pixels)


def assert_same(one: Explanation, other: Explanation) -> None:
    assert one.ranking == other.ranking
    assert one.provenance == other.provenance
    np.testing.assert_allclose(one.maps, other.maps, rtol=0, atol=1e-6)


@each
@pytest.mark.parametrize(
    "way", [lambda it: pickle.loads(pickle.dumps(it)), copy.deepcopy], ids=["pickle", "copy"]
)
def test_a_copy_explains_the_same(
    build: Callable[[], Explainer], way: Callable[[Explainer], Explainer]
) -> None:
    explainer = build()
    before = explainer.explain(radiograph(), top_k=3)
    again = way(explainer)
    assert_same(again.explain(radiograph(), top_k=3), before)
    with torch.no_grad():
        for parameter in again.classifier.module.parameters():
            parameter.zero_()
    assert not again.explain(radiograph(), top_k=3).maps.any(), "body and head are those of the copied module"
    assert_same(explainer.explain(radiograph(), top_k=3), before)


ELSEWHERE = """
import pickle, sys, warnings
from pathlib import Path
from cxr_explain import Explainer

given, made = map(Path, sys.argv[1:])
Explainer.from_pretrained("phantom")
assert "torchxrayvision.models" in sys.modules
assert not any(each[:3] == ("ignore", None, Warning) for each in warnings.filters)
warnings.warn("heard", stacklevel=1)
explainer, radiograph = pickle.loads(given.read_bytes())
made.write_bytes(pickle.dumps(explainer.explain(radiograph, top_k=3)))
"""


def test_another_process_explains_the_same_and_keeps_its_warnings(tmp_path: Path) -> None:
    """TorchXRayVision's import would silence them all."""
    given, made, explainer = tmp_path / "given", tmp_path / "made", hooked()
    given.write_bytes(pickle.dumps((explainer, radiograph())))
    command = [sys.executable, "-c", ELSEWHERE, str(given), str(made)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "UserWarning: heard" in ran.stderr
    assert_same(pickle.loads(made.read_bytes()), explainer.explain(radiograph(), top_k=3))


def test_an_explanation_may_be_copied() -> None:
    explanation = hooked().explain(radiograph(), top_k=3)
    figure = explanation.figure().to_bytes()
    for other in (pickle.loads(pickle.dumps(explanation)), copy.deepcopy(explanation)):
        assert_same(other, explanation)
        assert other.figure().to_bytes() == figure
