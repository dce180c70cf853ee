"""Graphs of whole networks, as people have them, beside the explainers that they were made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import networks
import numpy as np
import onnxruntime
import pytest
import torch
import torchvision
import torchxrayvision as xrv
from torch import Tensor, nn

from cxr_explain import Classifier, Explainer, HookedClassifier, MonaiDenseNet, export_graph, imagenet_input
from cxr_explain.cam.registry import RULES
from cxr_explain.explaining.export import NOT_IN_A_GRAPH
from cxr_explain.models.pooled_linear import PooledLinearClassifier

NAMES = ["Effusion", "Mass", "Edema"]
pytestmark = pytest.mark.slow


@dataclass(frozen=True, eq=False)
class Body:
    """torchvision's DenseNet up to its pooling."""

    model: Any

    def __call__(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.model.features(imagenet_input(inputs))
        return torch.relu(features)


def hooked(name: str, layer: str) -> Classifier:
    model = torchvision.models.get_model(name, weights=None, num_classes=3)
    return HookedClassifier(model, layer, NAMES, input_size=96, prepare=imagenet_input)


def torchvision_densenet() -> Classifier:
    model = torchvision.models.densenet121(num_classes=3)
    return PooledLinearClassifier(
        model,
        Body(model),
        model.classifier,
        NAMES,
        prepare=imagenet_input,
        input_size=96,
        name="a DenseNet-121",
        target_layer="features (post-ReLU)",
    )


def xrv_densenet() -> Classifier:
    module = xrv.models.DenseNet(num_classes=18)
    with torch.no_grad():
        module.features.conv0.weight /= 500
    return Explainer(module).classifier


def xrv_resnet() -> Classifier:
    from cxr_explain import XRVResNet

    return XRVResNet(XRVResNet.empty(num_classes=18), list(xrv.datasets.default_pathologies), input_size=128)


def monai_densenet() -> Classifier:
    from monai.networks.nets import DenseNet121

    return MonaiDenseNet(DenseNet121(2, 1, 3), NAMES, input_size=96, prepare=nn.Tanh())


MODELS: dict[str, Callable[[], Classifier]] = {
    "xrv densenet": xrv_densenet,
    "xrv resnet": xrv_resnet,
    "monai densenet": monai_densenet,
    "densenet121": torchvision_densenet,
    "resnet18": lambda: hooked("resnet18", "layer4"),
    "resnet50": lambda: hooked("resnet50", "layer4"),
    "efficientnet": lambda: hooked("efficientnet_b0", "features"),
    "mobilenet": lambda: hooked("mobilenet_v2", "features"),
    "regnet": lambda: hooked("regnet_y_400mf", "trunk_output"),
    "shufflenet": lambda: hooked("shufflenet_v2_x0_5", "conv5"),
    "googlenet": lambda: hooked("googlenet", "inception5b"),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore::FutureWarning")  # googlenet's own initialisation
def test_whole_networks_are_exported(name: str) -> None:
    torch.manual_seed(0)
    explainer = Explainer(MODELS[name]())
    _check(explainer, networks.images(2, explainer.classifier.input_size))


@pytest.mark.parametrize("method", [name for name in RULES if name not in NOT_IN_A_GRAPH])
def test_every_rule_that_fits_is_exported(method: str) -> None:
    module = networks.small_monai()
    classifier = MonaiDenseNet(module, networks.NAMES, input_size=64, prepare=nn.Tanh())
    _check(Explainer(classifier, method=method), networks.images(4))


def _check(explainer: Explainer, images: Tensor) -> None:
    graph = export_graph(explainer, top_k=2)
    session = onnxruntime.InferenceSession(graph.content, providers=["CPUExecutionProvider"])
    logits, _, ranked, class_maps, maps = session.run(None, {"image": images.numpy()})
    found = explainer.explain_inputs(images, top_k=2)
    top = [ranking.top for ranking in found.rankings]
    assert ranked.tolist() == [[each.index for each in row] for row in top]
    np.testing.assert_allclose(
        np.take_along_axis(logits, ranked, 1), [[each.logit for each in row] for row in top], rtol=1e-3
    )
    ours = np.stack([fused.class_maps[0].numpy() for fused in found.fused])
    assert np.abs(class_maps - ours).max() <= 1e-3 * np.abs(ours).max()
    np.testing.assert_allclose(maps, [fused.maps[0].numpy() for fused in found.fused], atol=1e-3)
