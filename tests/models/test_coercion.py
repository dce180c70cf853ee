"""Models as people have them become classifiers; what says too little of itself is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from networks import NAMES, small_monai, small_net, small_xrv
from torch import nn

from cxr_explain import PATHOLOGIES, HookedClassifier, MonaiDenseNet, Outputs, XRVDenseNet, XRVResNet
from cxr_explain.errors import ModelError, OptionError
from cxr_explain.models.coercion import as_classifier


def test_a_classifier_stays_as_it_is() -> None:
    classifier = XRVDenseNet(small_xrv())
    assert as_classifier(classifier) is classifier
    with pytest.raises(OptionError, match="which is a Classifier"):
        as_classifier(classifier, NAMES)


def test_torchxrayvisions_models_bring_their_own_names() -> None:
    module = small_xrv()
    classifier = as_classifier(module)
    assert isinstance(classifier, XRVDenseNet)
    assert classifier.module is module
    assert classifier.pathologies == tuple(PATHOLOGIES)
    renamed = [f"output {number}" for number in range(18)]
    assert as_classifier(module, renamed).pathologies == tuple(renamed)


def test_a_subclass_belongs_to_its_family() -> None:
    module = small_xrv()
    module.__class__ = type("Mine", (type(module),), {"__module__": "elsewhere"})
    assert isinstance(as_classifier(module), XRVDenseNet)


def test_torchxrayvisions_resnet() -> None:
    import torchxrayvision as xrv
    from torchvision.models import resnet50

    module = xrv.models.ResNet.__new__(xrv.models.ResNet)  # its own constructor wants a download
    nn.Module.__init__(module)
    module.weights, module.targets = "resnet50-res512-all", list(PATHOLOGIES)
    module.model = resnet50(weights=None, num_classes=18)
    assert isinstance(as_classifier(module), XRVResNet)


def test_monais_densenet_needs_names() -> None:
    assert isinstance(as_classifier(small_monai(), NAMES), MonaiDenseNet)
    with pytest.raises(ModelError, match="whose outputs have no names"):
        as_classifier(small_monai())


def test_any_module_needs_names_and_a_layer() -> None:
    classifier = as_classifier(small_net(), Outputs(NAMES), target_layer="5")
    assert isinstance(classifier, HookedClassifier)
    assert classifier.target_layer == "5"
    with pytest.raises(ModelError, match="of which no target layer is known"):
        as_classifier(small_net(), NAMES)
    with pytest.raises(ModelError, match="whose outputs have no names"):
        as_classifier(small_net(), target_layer="5")


@pytest.mark.parametrize("build", [small_xrv, lambda: small_monai(outputs=len(NAMES))])
def test_a_layer_does_not_take_a_known_model_from_its_adapter(build: Callable[[], nn.Module]) -> None:
    """What TorchXRayVision's own forward gives are calibrated values, and no logits."""
    module = build()
    names = NAMES if "monai" in type(module).__module__ else None
    adapter = as_classifier(module, names)
    assert type(as_classifier(module, names, target_layer="features")) is type(adapter)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ModelError, match="a model of type str"):
        as_classifier("densenet121-res224-all")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"expected a sequence of names, such as \['Mass'\]"):
        as_classifier(small_net(), "Mass", target_layer="5")
