"""What is explained is what calling the model gives; else it is refused, with both numbers and a way out."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from networks import NAMES, images, randomise, small_monai, small_net, small_xrv, snapshot
from torch import Tensor, nn

from cxr_explain import (
    Explainer,
    HookedClassifier,
    MonaiDenseNet,
    Outputs,
    Radiograph,
    XRVDenseNet,
    explain,
    token_grid,
)
from cxr_explain.cam.rules import class_maps
from cxr_explain.errors import ModelError
from cxr_explain.explaining.explainer import OWN_FORWARD_NOTE
from cxr_explain.models.base import Classifier
from cxr_explain.models.coercion import as_classifier
from cxr_explain.models.families import family_of_module
from cxr_explain.models.pooled_linear import PooledLinearClassifier

# --- a property of many architectures, each as people wrap them ---

Made = tuple[nn.Module, str, int, dict[str, Any]]
"""A model of five outputs, the layer to explain, its channels, and what HookedClassifier must be told."""


def _densenet() -> Made:
    from torchvision.models import DenseNet

    return DenseNet(8, (2, 2), 16, num_classes=len(NAMES)), "features", 3, {}


def _resnet() -> nn.Module:
    """torchvision's class, with one block for each layer."""
    from torchvision.models.resnet import BasicBlock, ResNet

    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=len(NAMES))


def _efficientnet() -> Made:
    from torchvision.models.efficientnet import EfficientNet, MBConvConfig

    settings = [MBConvConfig(1, 3, 2, 32, 16, 1), MBConvConfig(6, 5, 2, 16, 24, 2)]
    net = EfficientNet(settings, 0.2, num_classes=len(NAMES), last_channel=96)
    return net, "features", 3, {}


def _mobilenet() -> Made:
    from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3

    settings = [
        InvertedResidualConfig(16, 3, 16, 16, True, "RE", 2, 1, 1),
        InvertedResidualConfig(16, 5, 48, 24, True, "HS", 2, 1, 1),
    ]
    net = MobileNetV3(settings, 64, num_classes=len(NAMES))
    return net, "features", 3, {}


def _swin() -> Made:
    from torchvision.models import SwinTransformer

    net = SwinTransformer([4, 4], 16, [1, 1], [2, 2], [4, 4], num_classes=len(NAMES))
    return net, "permute", 3, {}


def _convnext() -> Made:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    net = ConvNeXt([CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 1)], num_classes=len(NAMES))
    return net, "features", 3, {}


def _vit() -> Made:
    from torchvision.models import VisionTransformer

    net = VisionTransformer(64, 16, 2, 2, 32, 64, num_classes=len(NAMES))
    return net, "encoder.layers.encoder_layer_1.ln_1", 3, {"grid": token_grid(4, 4)}


def _monai(name: str, layer: str, **options: Any) -> Callable[[], Made]:
    def make() -> Made:
        from monai.networks import nets

        return getattr(nets, name)(**options), layer, 1, {}

    return make


def _xrv_resnet() -> Made:
    import torchxrayvision as xrv

    net = xrv.models.ResNet.__new__(xrv.models.ResNet)  # its own constructor wants a download
    nn.Module.__init__(net)
    net.weights, net.targets, net.apply_sigmoid = None, list(NAMES), False
    net.model = _resnet()
    net.model.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    return net, "model.layer4", 1, {}


MODELS: dict[str, Callable[[], Made]] = {
    "torchvision resnet": lambda: (_resnet(), "layer4", 3, {}),
    "torchvision densenet": _densenet,
    "torchvision efficientnet": _efficientnet,
    "torchvision mobilenet": _mobilenet,
    "torchvision convnext": _convnext,
    "torchvision swin": _swin,
    "torchvision vit": _vit,
    "monai densenet": lambda: (small_monai(len(NAMES)), "features", 1, {}),
    "monai resnet": _monai(
        "ResNet", "layer4", block="basic", layers=[1, 1, 1, 1], block_inplanes=[8, 16, 32, 64],
        spatial_dims=2, n_input_channels=1, num_classes=len(NAMES),
    ),
    "monai senet": _monai(
        "SEResNet50", "layer4", layers=[1, 1, 1, 1], spatial_dims=2, in_channels=1, num_classes=len(NAMES)
    ),
    "monai efficientnet": _monai(
        "EfficientNetBN", "_conv_head", model_name="efficientnet-b0", pretrained=False, spatial_dims=2,
        in_channels=1, num_classes=len(NAMES),
    ),
    "xrv densenet": lambda: (small_xrv(len(NAMES)), "features", 1, {}),
    "xrv resnet": _xrv_resnet,
}  # fmt: skip


class Wrapper(nn.Module):
    """What a training framework puts around a network."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def _with_its_own_forward(net: nn.Module) -> nn.Module:
    kind = type(net)

    def forward(self: Any, x: Tensor) -> Tensor:
        return kind.forward(self, x).flip(1) * 3 + 1

    net.__class__ = type("Mine", (kind,), {"forward": forward, "__module__": "elsewhere"})
    return net


WRAPPERS: dict[str, tuple[Callable[[nn.Module], nn.Module], str]] = {
    "nothing": (lambda net: net, ""),
    "DataParallel": (nn.DataParallel, "module."),
    "a wrapper": (Wrapper, "net."),
    "its own forward": (_with_its_own_forward, ""),
}


def _classifier(model: nn.Module, layer: str, options: dict[str, Any]) -> Classifier:
    if options:
        return HookedClassifier(model, layer, Outputs(NAMES), **options)
    return as_classifier(model, NAMES, target_layer=layer)


FAMILY = ("monai densenet", "xrv densenet", "xrv resnet")
"""Models whose family the package knows, which is where a wrapper may decide on the path."""

WRAPPED = [
    pytest.param(
        name, wrapper, marks=() if name in FAMILY or turn == at % len(WRAPPERS) else pytest.mark.slow
    )
    for at, name in enumerate(MODELS)
    for turn, wrapper in enumerate(WRAPPERS)
]
"""Each model in each wrapper; by default those of a family in all of them, the others in one, in turn."""


@pytest.mark.parametrize(("name", "wrapper"), WRAPPED)
def test_the_explained_logits_are_the_models_own_and_the_gradient_is_theirs(name: str, wrapper: str) -> None:
    torch.manual_seed(0)
    net, layer, channels, options = MODELS[name]()
    wrap, prefix = WRAPPERS[wrapper]
    model = wrap(randomise(net).double())
    inputs = torch.rand(2, channels, 64, 64, generator=torch.Generator().manual_seed(1)).double() * 4 - 2
    before = snapshot(model)
    explainer = Explainer(_classifier(model, prefix + layer, options))
    batch = explainer.explain_inputs(inputs, top_k=len(NAMES))
    assert snapshot(model) == before
    with torch.no_grad():
        own = model.eval()(inputs)
    for ranking, wanted in zip(batch.rankings, own, strict=True):
        found = torch.tensor([prediction.logit for prediction in ranking.predictions]).double()
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))
    _check_by_differences(explainer.classifier, inputs)


def _check_by_differences(classifier: Classifier, inputs: Tensor) -> None:
    """The scores' slope along a random change of the activations, and the class maps of the gradient."""
    forward = classifier.forward(inputs)
    a = forward.activations
    classes = torch.arange(len(NAMES)).expand(len(inputs), -1)
    change = torch.randn(a.shape, generator=torch.Generator().manual_seed(2)).double()
    step = 1e-6 * a.abs().mean() / change.abs().mean()
    more, less = forward.logits_of(torch.stack([a + step * change, a - step * change], 1)).unbind(1)
    slopes = (forward.gradients(classes) * change[:, None]).sum((-3, -2, -1))
    differences = (more - less) / (2 * step)
    assert differences.abs().max() > 0
    torch.testing.assert_close(slopes, differences, rtol=1e-4, atol=1e-4 * float(differences.abs().max()))
    maps = class_maps(classifier, inputs, classes)
    expected = torch.einsum("bkc,bcij->bkij", forward.gradients(classes).mean((-2, -1)), a) / a.shape[1]
    torch.testing.assert_close(maps.double(), expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))


# --- families whose own forward computes something else ---


def gated() -> nn.Module:
    """A fine-tuned subclass: max pooling, and a scale."""
    net = small_xrv()

    def forward(self: Any, x: Tensor) -> Tensor:
        return self.classifier(torch.relu(self.features(x)).amax((2, 3))) * 3 + 1

    net.__class__ = type("Gated", (type(net),), {"forward": forward, "__module__": "elsewhere"})
    return net


def patched() -> nn.Module:
    net: Any = small_xrv()
    net.forward = lambda x: net.classifier(torch.relu(net.features(x)).amax((2, 3)))
    return net


def hooked_by_its_user() -> nn.Module:
    net = small_xrv()
    net.register_forward_hook(lambda _module, _inputs, output: output.flip(1))
    return net


def with_a_hook_on_its_head() -> nn.Module:
    net: Any = small_xrv()
    net.classifier.register_forward_hook(lambda _module, _inputs, output: output * 2 - 1)
    return net


def test_a_head_that_was_replaced_after_the_classifier_was_made_is_seen() -> None:
    net: Any = small_xrv()
    explainer = Explainer(net)
    net.classifier = randomise(nn.Sequential(nn.Linear(32, 18)), 5)
    ranking = explainer.explain_inputs(images()).rankings[0]
    with torch.no_grad():
        assert ranking.top[0].logit == pytest.approx(float(net.eval()(images())[0].max()), rel=1e-5)


@pytest.mark.parametrize("build", [gated, patched, hooked_by_its_user, with_a_hook_on_its_head])
def test_the_general_path_is_taken_where_the_forward_is_another(build: Callable[[], nn.Module]) -> None:
    model = build()
    explainer = Explainer(model)
    ranking = explainer.explain_inputs(images(), top_k=18).rankings[1]
    with torch.no_grad():
        own = model.eval()(images())[1]
    assert [p.logit for p in ranking.predictions] == pytest.approx(own.tolist(), rel=1e-5)
    assert isinstance(explainer.classifier, HookedClassifier)
    assert explainer.facts.target_layer == "features"
    assert ranking.pathologies[0] == explainer.classifier.pathologies[int(own.argmax())]


def test_an_explanation_says_that_the_forward_was_the_models_own() -> None:
    explainer = Explainer(gated())
    radiograph = Radiograph.from_array(images(1, 80)[0, 0].numpy())
    explanation = explainer.explain(radiograph, top_k=2)
    assert explanation.provenance.notes == (OWN_FORWARD_NOTE,)
    assert explanation.provenance.target_layer == "features"
    assert explanation.provenance.gradient == "autograd"
    assert Explainer(small_xrv()).explain(radiograph, top_k=2).provenance.notes == ()


@pytest.mark.parametrize("end", [torch.sigmoid, lambda x: x.softmax(1), lambda x: x.log_softmax(1)])
@pytest.mark.parametrize("scale", [1, 3])
def test_probabilities_that_are_rounded_hide_no_other_forward(
    end: Callable[[Tensor], Tensor], scale: int
) -> None:
    """Both forwards give nothing but 0 and 1 here; their logits differ by a factor."""
    net: Any = small_xrv()
    with torch.no_grad():
        net.classifier.weight *= 1000
    kind = type(net)

    def forward(self: Any, x: Tensor) -> Tensor:
        return end(kind.forward(self, x) * scale)

    net.__class__ = type("Sure", (kind,), {"forward": forward, "__module__": "elsewhere"})
    explainer = Explainer(net)
    ranking = explainer.explain_inputs(images(), top_k=18).rankings[0]
    with torch.no_grad():
        logits = kind.forward(net.eval(), images())[0] * scale
    assert [p.logit for p in ranking.predictions] == pytest.approx(logits.tolist(), rel=1e-4)
    assert isinstance(explainer.classifier, XRVDenseNet if scale == 1 else HookedClassifier)


def test_the_known_path_stays_where_the_forward_is_the_librarys() -> None:
    classifier = XRVDenseNet(small_xrv())
    explainer = Explainer(classifier)
    assert explainer.explain_inputs(images()).gradient == "closed form"
    assert explainer.classifier is classifier
    assert classifier.outputs.kind == "logits"


def test_what_is_recorded_before_the_first_image_is_the_path_that_is_taken() -> None:
    assert Explainer(gated()).facts.target_layer == "features"
    assert Explainer(small_xrv()).facts.target_layer == "features (post-ReLU)"


def test_a_forward_that_cannot_be_hooked_is_refused_with_both_numbers() -> None:
    net = small_monai()

    def forward(self: Any, x: Tensor) -> Tensor:
        return type(net).__mro__[1].forward(self, x) * 0 + self.features(x).amax((2, 3))[:, :5]

    net.__class__ = type("Att", (type(net),), {"forward": forward})
    with torch.no_grad():
        own = net.eval()(images())[0]
        parts = MonaiDenseNet(net, Outputs(NAMES)).forward(images()).logits[0]
    with pytest.raises(ModelError) as caught:
        explain(net, images(), outputs=NAMES)
    assert f"found {own[0]:.4g}, {own[1]:.4g}" in str(caught.value)
    assert f"from calling this Att, where its body and head give {parts[0]:.4g}," in str(caught.value)
    assert "ran 2 times" in str(caught.value)
    assert "Pass HookedClassifier(model, layer, outputs)" in str(caught.value)


def test_a_model_that_gives_other_values_each_time_is_refused() -> None:
    net = small_xrv()
    net.register_forward_hook(lambda _module, _inputs, output: output + torch.randn_like(output))
    with pytest.raises(ModelError, match=r"outputs that differ from call to call \(.*, then .*\)"):
        explain(net, images())


def test_a_model_that_fails_when_it_is_called_is_refused() -> None:
    net: Any = small_xrv(2)
    net.op_threshs = torch.full((18,), 0.2)  # left over from the weights before fine-tuning
    with pytest.raises(ModelError, match=r"fails when it is called.*set op_threshs to None"):
        Explainer(XRVDenseNet(net, Outputs(("A", "B")))).explain_inputs(images())


def test_parts_without_a_forward_are_explained_as_they_are() -> None:
    module: Any = nn.Module()
    module.body, module.head = nn.Conv2d(1, 4, 3), nn.Linear(4, 5)
    classifier = PooledLinearClassifier(
        module, module.body, module.head, NAMES, input_size=64, name="parts", target_layer="body"
    )
    assert Explainer(classifier).explain_inputs(images()).gradient == "closed form"
    module.forward = lambda x: module.head(module.body(x).amax((2, 3)))
    with pytest.raises(ModelError, match=r"from calling this Module, .*no layer of it is known"):
        Explainer(classifier).explain_inputs(images())


def test_a_calibrated_model_in_half_precision_is_refused_as_it_cannot_be_called() -> None:
    net: Any = small_xrv()
    net.op_threshs = torch.full((18,), 0.2)
    net.half()
    with pytest.raises(
        ModelError, match=r"fails when it is called.*or in half precision, set op_threshs to None"
    ):
        explain(net, images())
    net.op_threshs = None
    assert explain(net, images()).gradient == "closed form"


# --- what the check costs ---


def _count(net: Any) -> list[int]:
    calls: list[int] = []
    net.features.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_the_check_costs_one_pass_of_one_image_for_each_explainer() -> None:
    net: Any = small_xrv()
    sizes: list[int] = []
    net.features.register_forward_hook(lambda _module, given, _output: sizes.append(len(given[0])))
    explainer = Explainer(net)
    for _ in range(3):
        explainer.explain_inputs(images(4))
    assert sizes == [4, 1, 4, 4]
    sizes.clear()
    hooked = Explainer(HookedClassifier(net, "features.denseblock2", Outputs(tuple(net.pathologies))))
    for _ in range(3):
        hooked.explain_inputs(images(4))
    assert sizes == [4, 1, 4, 4]


def test_a_loop_over_batches_looks_again_only_after_the_model_has_changed() -> None:
    net: Any = small_xrv()
    calls = _count(net)
    for _ in range(3):
        explain(net, images())
    assert len(calls) == 3 + 1
    with torch.no_grad():
        net.classifier.weight *= 2  # a step of training
    explain(net, images())
    assert len(calls) == 4 + 2
    net.register_forward_hook(lambda _module, _inputs, output: output * 2)
    ranking = explain(net, images()).rankings[0]
    with torch.no_grad():
        own = net.eval()(images())[0]
    assert ranking.top[0].logit == pytest.approx(float(own.max()), rel=1e-5)


def test_a_gate_that_opens_during_training_is_seen() -> None:
    net: Any = small_xrv()
    net.gate = nn.Parameter(torch.zeros(()))
    kind = type(net)

    def forward(self: Any, x: Tensor) -> Tensor:
        return kind.forward(self, x) + self.gate * self.features(x).amax((1, 2, 3), keepdim=True).flatten(1)

    net.__class__ = type("GatedLater", (kind,), {"forward": forward, "__module__": "elsewhere"})
    explain(net, images())
    with torch.no_grad():
        net.gate += 1
    with pytest.raises(ModelError, match="ran 2 times"):
        explain(net, images())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("ambient", [False, True])
def test_short_arithmetic_around_the_pass_is_no_difference(dtype: Any, ambient: bool) -> None:
    explainer = Explainer(small_xrv(), dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=ambient):
        explainer.explain_inputs(images())
    assert isinstance(explainer.classifier, XRVDenseNet)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_models_of_other_precision_keep_their_path(dtype: torch.dtype) -> None:
    model = small_xrv().to(dtype)
    explainer = Explainer(model)
    explainer.explain_inputs(images())
    assert isinstance(explainer.classifier, XRVDenseNet)
    assert next(model.parameters()).dtype == dtype


@pytest.mark.parametrize("take", [pickle.loads, copy.deepcopy])
def test_an_explainer_travels_with_its_model(take: Any) -> None:
    for explainer in (
        Explainer(small_xrv()),
        Explainer(MonaiDenseNet(small_monai(), Outputs(NAMES))),
        Explainer(HookedClassifier(small_net(), "5", Outputs(NAMES))),
    ):
        first = explainer.explain_inputs(images())
        other = take(pickle.dumps(explainer)) if take is pickle.loads else take(explainer)
        again = other.explain_inputs(images())
        torch.testing.assert_close(again.fused[0].maps, first.fused[0].maps, rtol=0, atol=0)
        assert other.classifier.module is not explainer.classifier.module
        with torch.no_grad():  # the copy's own weights are what it explains with
            for parameter in explainer.classifier.module.parameters():
                parameter.zero_()
        torch.testing.assert_close(other.explain_inputs(images()).fused[0].maps, first.fused[0].maps)


def test_families_are_seen_within_what_computes_the_same() -> None:
    net = small_xrv()
    for wrapped in (nn.DataParallel(net), torch.compile(net, backend="eager")):
        classifier = as_classifier(wrapped)
        assert isinstance(classifier, XRVDenseNet)
        assert classifier.module is net
    assert family_of_module(Wrapper(net)) is None


def test_a_hook_on_a_wrapper_is_not_lost() -> None:
    wrapped = nn.DataParallel(small_xrv())
    wrapped.register_forward_hook(lambda _module, _inputs, output: output.flip(1))
    names = [f"output {number}" for number in range(18)]
    ranking = explain(wrapped, images(), outputs=names, target_layer="module.features", top_k=18).rankings[0]
    with torch.no_grad():
        own = wrapped.eval()(images())[0]
    assert [p.logit for p in ranking.predictions] == pytest.approx(own.tolist(), rel=1e-5)
