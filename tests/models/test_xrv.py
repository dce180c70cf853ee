"""TorchXRayVision's models: logits behind their calibrated outputs, names, and hooks of the user."""

from __future__ import annotations

import math

import pytest
import torch
from networks import NAMES, images, randomise, small_net, small_xrv, snapshot, unsettle, xrv
from torch import Tensor, nn
from torchxrayvision.models import op_norm

from cxr_explain import PATHOLOGIES, Explainer, Outputs, XRVDenseNet, XRVResNet
from cxr_explain.errors import ModelError
from cxr_explain.weights import ENTRIES, WeightsEntry

DENSENETS = [entry for entry in ENTRIES if entry.architecture == "xrv-densenet"]


def as_published(entry: WeightsEntry) -> nn.Module:
    """A model with the names and operating points of published weights, as XRV sets them."""
    module = small_xrv()
    module.targets = module.pathologies = list(entry.pathologies)
    points = [math.nan if point is None else point for point in entry.operating_points]
    module.register_buffer("op_threshs", torch.tensor(points))
    return module.eval()


def test_all_published_weights_are_tested() -> None:
    assert len(DENSENETS) == 7
    assert len(ENTRIES) == 8


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_names_operating_points_and_ranking_of_published_weights(entry: WeightsEntry) -> None:
    module = as_published(entry)
    classifier = XRVDenseNet(module, input_size=64)
    assert classifier.pathologies == entry.pathologies
    assert [point is None for point in classifier.operating_points] == [
        point is None for point in entry.operating_points
    ]
    with torch.no_grad():
        module.classifier.bias[[i for i, name in enumerate(entry.pathologies) if not name]] = 1e6
    batch = Explainer(classifier).explain_inputs(images(), top_k=18)
    trained = {name for name in entry.pathologies if name}
    for ranking in batch.rankings:
        assert set(ranking.pathologies) == trained
        assert all((p.calibrated is None) == (p.operating_point is None) for p in ranking.predictions)
    with_point = {n for n, point in zip(entry.pathologies, entry.operating_points, strict=True) if point}
    for ranking in Explainer(classifier).explain_inputs(images(), top_k=18, rank_by="calibrated").rankings:
        assert set(ranking.pathologies) == with_point & trained


@pytest.mark.parametrize("entry", DENSENETS, ids=lambda entry: entry.name)
def test_logits_are_those_behind_the_models_own_output(entry: WeightsEntry) -> None:
    module = as_published(entry)
    with torch.no_grad():
        theirs = module(images(4))
    logits = XRVDenseNet(module, input_size=64).forward(images(4)).logits
    torch.testing.assert_close(op_norm(logits.sigmoid(), module.op_threshs), theirs, atol=2e-5, rtol=0)
    predictions = (
        Explainer(XRVDenseNet(module, input_size=64)).explain_inputs(images(4)).rankings[0].predictions
    )
    for prediction in predictions:
        if prediction.calibrated is not None:
            assert prediction.calibrated == pytest.approx(float(theirs[0, prediction.index]), abs=2e-5)


def test_logits_of_a_plain_model_are_its_own_output() -> None:
    module = small_xrv().eval()
    with torch.no_grad():
        torch.testing.assert_close(XRVDenseNet(module).forward(images()).logits, module(images()))
    module.apply_sigmoid = True
    with torch.no_grad():
        torch.testing.assert_close(XRVDenseNet(module).forward(images()).logits.sigmoid(), module(images()))


def test_operating_points_that_are_nan_are_none() -> None:
    module = small_xrv()
    module.op_threshs = torch.tensor([0.5] * 17 + [math.nan])
    assert XRVDenseNet(module).operating_points == (0.5,) * 17 + (None,)


@pytest.mark.parametrize("layer", ["features", "features.norm5", "features.denseblock2"])
def test_users_hooks_see_an_output_that_nobody_overwrites(layer: str) -> None:
    module = small_xrv().eval()
    seen: list[Tensor] = []
    copies: list[Tensor] = []

    def look(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        seen.append(output)
        copies.append(output.clone())

    module.get_submodule(layer).register_forward_hook(look)
    XRVDenseNet(module, input_size=64).forward(images())
    assert torch.equal(seen[0], copies[0])
    if layer != "features.denseblock2":
        assert seen[0].min() < 0
        with torch.no_grad():
            module(images())
        assert seen[1].min() == 0  # TorchXRayVision's own forward pass does overwrite it


def test_a_full_backward_hook_on_norm5_does_no_harm() -> None:
    module = small_xrv().eval()
    module.features.norm5.register_full_backward_hook(lambda *_: None)
    assert XRVDenseNet(module).forward(images()).logits.shape == (2, 18)


def resnet50(outputs: int = 5) -> nn.Module:
    """As XRV builds it: torchvision's, with one input channel."""
    from torchvision.models import resnet50

    torch.manual_seed(0)
    module = resnet50(weights=None, num_classes=outputs)
    module.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    return randomise(module)


class Wrapped(nn.Module):
    """XRV's ResNet: torchvision's inside `model`."""

    def __init__(self, outputs: int = 18) -> None:
        super().__init__()
        from torchvision.models import resnet18

        torch.manual_seed(0)
        self.model = resnet18(weights=None, num_classes=outputs)
        self.model.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
        self.targets = self.pathologies = list(PATHOLOGIES[:outputs])
        self.op_threshs = torch.tensor([0.1] * (outputs - 1) + [math.nan])
        randomise(self)

    def forward(self, x: Tensor) -> Tensor:
        return op_norm(self.model(x).sigmoid(), self.op_threshs)


def test_resnet50_gives_its_own_logits() -> None:
    module = resnet50().eval()
    result = XRVResNet(module, Outputs(NAMES)).forward(images())
    with torch.no_grad():
        torch.testing.assert_close(result.logits, module(images()))
    assert result.activations.shape == (2, 2048, 2, 2)
    assert result.activations.min() == 0
    weights = result.weights(torch.tensor([[4], [0]]))
    torch.testing.assert_close(weights[:, 0], module.fc.weight.detach()[[4, 0]] / 4)


def test_a_wrapped_resnet() -> None:
    module = Wrapped()
    unsettle(module)
    before = snapshot(module)
    classifier = XRVResNet(module)
    logits = classifier.forward(images()).logits
    assert snapshot(module) == before
    with torch.no_grad():
        theirs = module.eval()(images())
    torch.testing.assert_close(op_norm(logits.sigmoid(), module.op_threshs), theirs, atol=1e-5, rtol=0)
    assert classifier.pathologies == PATHOLOGIES
    assert classifier.operating_points[-1] is None
    assert classifier.input_size == 512


def test_other_modules_are_refused() -> None:
    with pytest.raises(ModelError, match=r"Sequential without features, classifier.*DenseNet"):
        XRVDenseNet(small_net(), Outputs(NAMES))
    with pytest.raises(ModelError, match=r"Sequential without conv1.*ResNet"):
        XRVResNet(small_net(), Outputs(NAMES))
    with pytest.raises(ModelError, match="18 outputs for 2 pathologies"):
        XRVDenseNet(small_xrv(), Outputs(("A", "B")))


def test_the_default_model_of_xrv_is_taken_as_it_is() -> None:
    classifier = XRVDenseNet(xrv.models.DenseNet())
    assert classifier.pathologies == PATHOLOGIES
    assert classifier.operating_points == (None,) * 18
    assert classifier.input_size == 224
    assert classifier.name == "TorchXRayVision DenseNet"
