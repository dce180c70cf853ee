"""TorchXRayVision's baseline models, each built by its own constructor from a file of random weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import xrv_files
from networks import images, snapshot, unsettle, xrv
from torch import Tensor, nn
from torch.nn import functional as F

from cxr_explain import Explainer, HookedClassifier, Outputs, Radiograph, XRVDenseNet, explain
from cxr_explain.errors import ModelError, OptionError
from cxr_explain.models.base import Classifier, ForwardPass
from cxr_explain.models.coercion import as_classifier
from cxr_explain.models.families import FAMILIES, REFUSED, family_of_module

BASELINES = xrv.baseline_models
STEP = 1e-2
EXPORTED = {
    "AgeModel", "DenseNet", "PSPNet", "RaceModel", "SexModel", "UNetResNet50", "VQGAN", "ViewModel"
}  # fmt: skip
FACTS = {
    "jfhealthcare": (512, ("Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Effusion"), "sigmoids"),
    "emory_hiti": (320, ("Asian", "Black", "White"), "log-softmax"),
    "mira": (224, ("Male", "Female"), "softmax-logits"),
    "xinario": (224, ("Frontal", "Lateral"), "softmax-logits"),
}
AS_CALLED: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoids": torch.sigmoid,
    "log-softmax": lambda logits: F.log_softmax(logits, dim=1),
    "softmax-logits": lambda logits: logits,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("TORCH_HOME", str(folder / "torch"))
        yield folder


@pytest.fixture(scope="module")
def models(home: Path) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {name: getattr(xrv_files, f"write_{name}")(home) for name in FACTS}


@dataclass(frozen=True)
class Pass:
    """One forward pass of a model's classifier, which several tests look at."""

    classifier: Classifier
    inputs: Tensor
    found: ForwardPass


@pytest.fixture(scope="module")
def passes(models: dict[str, nn.Module]) -> Callable[[str], Pass]:
    @cache
    def run(name: str) -> Pass:
        classifier = as_classifier(models[name])
        inputs = images(1, FACTS[name][0])
        return Pass(classifier, inputs, classifier.forward(inputs))

    return run


@pytest.fixture(params=FACTS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def called(module: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return module(inputs)


def test_size_names_and_kind_are_the_models_own(models: dict[str, nn.Module], name: str) -> None:
    size, names, kind = FACTS[name]
    classifier = as_classifier(models[name])
    assert (classifier.input_size, classifier.pathologies, classifier.outputs.kind) == (size, names, kind)
    assert classifier.name == f"TorchXRayVision {models[name]!r}"


def test_the_logits_are_those_behind_what_calling_it_gives(
    models: dict[str, nn.Module], passes: Callable[[str], Pass], name: str
) -> None:
    one = passes(name)
    logits, kind = one.found.logits, FACTS[name][2]
    assert logits.std() > 0.1
    torch.testing.assert_close(
        AS_CALLED[kind](logits), called(models[name], one.inputs), atol=2e-4, rtol=1e-5
    )
    torch.testing.assert_close(one.classifier.logits(one.inputs), logits, atol=2e-4, rtol=1e-5)


def test_the_weights_of_the_maps_agree_with_finite_differences(
    models: dict[str, nn.Module], passes: Callable[[str], Pass], name: str
) -> None:
    """Each channel of the explained layer moved by a little: what becomes of the model's own logits.

    One pass: the layer gives its output four times, with each of two channels moved down and up.
    """
    one = passes(name)
    alpha = one.found.weights(torch.tensor([[0, 1]]))[0]
    layer = models[name].get_submodule(one.classifier.target_layer)
    channels = alpha[0].abs().topk(2).indices.tolist()
    cells = one.found.activations[0, 0].numel()
    moves = list(product(channels, (-STEP, STEP)))

    def move(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        output = output.repeat(len(moves), 1, 1, 1)
        for row, (channel, step) in enumerate(moves):
            output[row, channel] += step
        return output

    handle = layer.register_forward_hook(move)
    try:
        moved = one.classifier.logits(one.inputs)[:, :2].double().view(len(channels), 2, 2)
    finally:
        handle.remove()
    for channel, (down, up) in zip(channels, moved, strict=True):
        slope = (up - down) / (2 * STEP) / cells
        torch.testing.assert_close(slope.float(), alpha[:, channel], rtol=0.03, atol=1e-5)


def test_the_module_leaves_as_it_came(models: dict[str, nn.Module], name: str) -> None:
    module = deepcopy(models[name])
    unsettle(module)
    before = snapshot(module)
    as_classifier(module).forward(images(1, FACTS[name][0]))
    assert snapshot(module) == before


def test_a_radiograph_is_explained_by_size_and_name(models: dict[str, nn.Module], name: str) -> None:
    pixels = np.random.default_rng(0).uniform(-1024, 1024, (400, 500)).astype(np.float32)
    explanation = Explainer(models[name]).explain(Radiograph.from_array(pixels), top_k=2)
    assert set(explanation.ranking.pathologies) <= set(FACTS[name][1])
    assert explanation.maps.shape == (2, FACTS[name][0] // 32, FACTS[name][0] // 32)


def test_inputs_on_another_scale_are_refused(models: dict[str, nn.Module], name: str) -> None:
    with pytest.raises(OptionError, match="expected values in \\[-1024, 1024\\]"):
        explain(models[name], torch.rand(1, 1, 64, 64))


def test_jfhealthcare_without_its_sigmoid_gives_logits(models: dict[str, nn.Module]) -> None:
    module = models["jfhealthcare"]
    module.apply_sigmoid = False
    try:
        classifier = as_classifier(module)
        assert classifier.outputs.kind == "logits"
        inputs = images(1, 512)
        own = called(module, inputs)
        torch.testing.assert_close(classifier.forward(inputs).logits, own, atol=2e-4, rtol=1e-5)
    finally:
        module.apply_sigmoid = True


def test_the_head_of_the_view_model_follows_its_weights(models: dict[str, nn.Module]) -> None:
    module = deepcopy(models["xinario"])
    classifier = as_classifier(module)
    module.double()
    inputs = images(1, 224)
    logits = classifier.forward(inputs).logits
    assert logits.dtype == torch.float64
    torch.testing.assert_close(logits, called(module, inputs.double()))


# -- those that are refused ----


@pytest.fixture
def chexpert(home: Path, capfd: pytest.CaptureFixture[str]) -> nn.Module:
    return xrv_files.write_chexpert(home)


def test_the_ensemble_is_refused_and_its_networks_are_explained(chexpert: nn.Module) -> None:
    with pytest.raises(
        ModelError, match=r"found torchxrayvision\.baseline_models\.chexpert\.DenseNet.*ensemble"
    ):
        as_classifier(chexpert)
    (network,) = chexpert.model.tasks2models[("Consolidation",)]()
    names = list(network.module.task_sequence)
    classifier = HookedClassifier(
        network.module, "model.features", Outputs(names, kind="logits"), input_size=320,
        prepare=lambda x: x.repeat(1, 3, 1, 1) / 512,
    )  # fmt: skip
    inputs = images(1, 320)
    own = called(chexpert, inputs)[0, list(chexpert.targets).index("Consolidation")]
    torch.testing.assert_close(
        classifier.forward(inputs).logits[0, names.index("Consolidation")].sigmoid(), own
    )


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_the_regression_of_age_is_refused(home: Path) -> None:
    with pytest.raises(ModelError, match="a regression: an age in years, no score of a pathology"):
        Explainer(xrv_files.write_riken(home))


def test_autoencoders_and_segmentations_are_refused(home: Path) -> None:
    refused = {
        xrv.autoencoders.ResNetAE(): "an autoencoder: an image, no scores",
        BASELINES.chestx_anatomy.UNetResNet50(weights=False): "masks of 159 .* --regions chestx-anatomy",
    }
    for module, said in refused.items():
        with pytest.raises(ModelError, match=said):
            as_classifier(module, ["A"], target_layer="layer4")


def test_every_model_that_torchxrayvision_has_is_known_by_its_module() -> None:
    """Classes repeat: four are called DenseNet."""
    known = {family.module for family in FAMILIES.values()} | set(REFUSED)
    for package in vars(BASELINES).values():
        if getattr(package, "__name__", "").startswith("torchxrayvision."):
            own = [
                each
                for each in vars(package).values()
                if isinstance(each, type)
                and each.__module__ == package.__name__
                and each.__name__ in EXPORTED
            ]
            assert own, package
            for each in own:
                assert known & {f"{cls.__module__}.{cls.__qualname__}" for cls in each.__mro__}, each


def test_a_class_that_only_has_the_name_is_not_taken_for_it(models: dict[str, nn.Module]) -> None:
    assert isinstance(as_classifier(xrv.models.DenseNet()), XRVDenseNet)
    assert family_of_module(models["jfhealthcare"]) is FAMILIES["xrv-jfhealthcare"]
    backbone = models["jfhealthcare"].get_submodule("model.module.backbone")
    assert type(backbone).__name__ == "DenseNet"
    assert family_of_module(backbone) is None


def test_a_subclass_belongs_to_its_family(models: dict[str, nn.Module]) -> None:
    module = deepcopy(models["mira"])
    module.__class__ = type("Mine", (type(module),), {"__module__": "elsewhere"})
    assert isinstance(as_classifier(module), Classifier)
