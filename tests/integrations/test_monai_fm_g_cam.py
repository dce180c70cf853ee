"""FMGCAM against a literal reading of the equations, against MONAI's Grad-CAM, and in its documented uses."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import literal
import numpy as np
import pytest
import torch
from monai.data import MetaTensor, set_track_meta
from monai.networks.nets import DenseNet, DenseNet121, SEResNet50
from monai.visualize import GradCAM
from monai.visualize.class_activation_maps import default_normalizer
from networks import NAMES, images, randomise, small_monai, small_net, snapshot, unsettle
from torch import Tensor, nn
from torch.nn import functional as F

from cxr_explain import Explainer, MonaiDenseNet, Outputs
from cxr_explain.errors import ModelError, OptionError
from cxr_explain.integrations.monai import FMGCAM

LAYER = "class_layers.relu"


def small_3d(outputs: int = 4, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    module = DenseNet(3, 1, outputs, init_features=8, growth_rate=4, block_config=(2, 2), bn_size=2)
    return randomise(module, seed)


def plain_class_maps(module: nn.Module, x: Tensor, classes: list[int]) -> Tensor:
    """Equations 2 and 3 of each sample by itself, with a backward pass through everything for each class."""
    kept: list[Tensor] = []
    handle = module.get_submodule(LAYER).register_forward_hook(lambda _m, _i, output: kept.append(output))
    module.eval()
    maps = []
    for sample in x:
        kept.clear()
        logits = module(sample[None])
        (activations,) = kept
        gradients = [
            torch.autograd.grad(logits[0, index], activations, retain_graph=True)[0] for index in classes
        ]
        alphas = torch.stack([gradient.flatten(2).mean(2)[0] for gradient in gradients])
        maps.append(torch.einsum("kc,c...->k...", alphas, activations[0].detach()) / activations.shape[1])
    handle.remove()
    return torch.stack(maps)


def spread(maps: Tensor) -> Tensor:
    """From the smallest to the largest value of each sample: 0 to 1."""
    flat = maps.flatten(1)
    low, high = flat.min(1).values, flat.max(1).values
    shape = (-1, *[1] * (maps.ndim - 1))
    return (maps - low.view(shape)) / (high - low).view(shape)


@pytest.mark.parametrize("normalisation", ["joint", "per-class", "released"])
@pytest.mark.parametrize("seed", range(2))
def test_equals_a_literal_reading_in_float64(seed: int, normalisation: Any) -> None:
    module = small_monai(seed=seed).double()
    x = images(3, seed=seed).double()
    cam = FMGCAM(module, LAYER, normalisation=normalisation)
    found = cam.compute_map(x, class_idx=[3, 0, 2])
    kept = literal.keep_strongest(plain_class_maps(module, x, [3, 0, 2]).numpy())
    expected = literal.activate(literal.normalise(kept, normalisation), "relu")
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-10)


def test_in_three_dimensions_each_position_goes_to_its_strongest_class() -> None:
    module = small_3d().double()
    x = torch.rand(2, 1, 32, 24, 40, dtype=torch.float64)
    found = FMGCAM(module, LAYER).compute_map(x, class_idx=[1, 0, 3])
    class_maps = plain_class_maps(module, x, [1, 0, 3])
    expected = torch.zeros_like(class_maps)
    for b in range(2):
        for position in np.ndindex(*class_maps.shape[2:]):
            column = [float(class_maps[(b, k, *position)]) for k in range(3)]
            expected[(b, column.index(max(column)), *position)] = max(column)
        expected[b] /= expected[b].square().sum().sqrt()
    torch.testing.assert_close(found, expected.clamp(min=0), atol=1e-10, rtol=0)
    assert found.shape[2:] == class_maps.shape[2:] != ()


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("rank", [0, 1])
def test_one_class_of_one_sample_is_monais_grad_cam_turned_over(dimensions: int, rank: int) -> None:
    """MONAI's default postprocessing maps the hottest to 0 and the coldest to 1."""
    module = small_monai() if dimensions == 2 else small_3d()
    x = torch.rand(1, 1, 64, 48) if dimensions == 2 else torch.rand(1, 1, 32, 24, 40)
    with_evidence = (plain_class_maps(module, x, [0, 1, 2, 3])[0] > 0).flatten(1).any(1)
    index = int(with_evidence.nonzero()[rank])
    monais = GradCAM(module.eval(), LAYER)(x, class_idx=index)
    ours = FMGCAM(module, LAYER)(x, class_idx=index)
    assert ours.shape == monais.shape == (1, 1, *x.shape[2:])
    assert float(monais.max()) == 1
    assert float(ours.max()) > 0
    torch.testing.assert_close(spread(ours), 1 - monais, atol=1e-5, rtol=0)
    turned = FMGCAM(module, LAYER, postprocessing=default_normalizer)(x, class_idx=index)
    torch.testing.assert_close(turned, monais, atol=1e-5, rtol=0)


def test_samples_do_not_mix_as_they_do_in_monai() -> None:
    """MONAI takes, for each sample, the sum of its scores for the winners of all samples. One sample at a
    time it is right, and so is FMGCAM for the batch."""
    module = small_monai(seed=1)
    x = torch.linspace(-1, 1, 4)[:, None, None, None] * images(4, seed=3)
    with torch.no_grad():
        module.class_layers.out.bias -= module.eval()(x).mean(dim=0)  # so that no class wins everywhere
    winners = module(x).argmax(dim=1)
    assert len(winners.unique()) > 1
    alone = torch.cat([FMGCAM(module, LAYER, top_k=1)(x[b : b + 1]) for b in range(4)])
    torch.testing.assert_close(FMGCAM(module, LAYER, top_k=1)(x), alone, atol=1e-6, rtol=1e-5)
    monais_alone = torch.cat([GradCAM(module, LAYER)(x[b : b + 1]) for b in range(4)])
    some = alone.flatten(1).amax(1) > 0  # a map without evidence has no range to be spread over
    assert int(some.sum()) > 1
    torch.testing.assert_close(spread(alone[some]), 1 - monais_alone[some], atol=1e-5, rtol=0)
    assert not torch.allclose(GradCAM(module, LAYER)(x)[some], monais_alone[some], atol=1e-2)


def test_the_top_classes_of_each_sample_best_first() -> None:
    module = small_monai(seed=1).double()
    x = images(4, seed=3).double() / 1024
    maps, classes = FMGCAM(module, LAYER, top_k=3).fused_maps(x)
    logits = module.eval()(x).detach()
    for b in range(4):
        best = sorted(range(5), key=lambda index: -float(logits[b, index]))[:3]
        assert classes[b].tolist() == best
        alone = FMGCAM(module, LAYER).compute_map(x[b : b + 1], class_idx=best)
        torch.testing.assert_close(maps[b], alone[0])
    torch.testing.assert_close(FMGCAM(module, LAYER).compute_map(x, class_idx=classes), maps)
    assert FMGCAM(module, LAYER, top_k=99)(x).shape == (4, 5, 64, 64)


def test_equals_the_explainer_on_the_same_network() -> None:
    module = small_monai()
    x = images(2)
    batch = Explainer(MonaiDenseNet(module, Outputs(NAMES), input_size=64)).explain_inputs(x, top_k=3)
    maps = FMGCAM(module, LAYER, top_k=3).compute_map(x)
    torch.testing.assert_close(maps, torch.cat([fused.maps for fused in batch.fused]), atol=1e-6, rtol=1e-5)


def test_monais_documented_examples_run_with_this_class_in_their_place() -> None:
    model_2d = DenseNet121(spatial_dims=2, in_channels=1, out_channels=3)
    result = FMGCAM(nn_module=model_2d, target_layers=LAYER)(x=torch.rand((1, 1, 48, 64)))
    assert result.shape == (1, 3, 48, 64)
    model_2d = SEResNet50(spatial_dims=2, in_channels=3, num_classes=4)
    result = FMGCAM(nn_module=model_2d, target_layers="layer4")(x=torch.rand((2, 3, 48, 64)), class_idx=2)
    assert result.shape == (2, 1, 48, 64)
    assert torch.isfinite(result).all()


@pytest.mark.parametrize("seed", range(2))
def test_the_network_leaves_as_it_came_also_after_an_exception(seed: int) -> None:
    module = small_net()
    unsettle(module, seed)
    cam = FMGCAM(module, "5", top_k=2)
    before = snapshot(module)
    cam(images())
    assert snapshot(module) == before
    with pytest.raises(ModelError, match="inputs of 7 channels"):
        cam(torch.zeros(1, 7, 64, 64))
    assert snapshot(module) == before


def test_a_caller_without_gradients_gets_the_same() -> None:
    module = small_monai()
    x = images(2)
    with torch.inference_mode():
        without = FMGCAM(module, LAYER)(x)
    torch.testing.assert_close(without, FMGCAM(module, LAYER)(x))
    assert not without.requires_grad


def test_one_of_several_layers_and_another_size() -> None:
    module = small_monai()
    cam = FMGCAM(module, ["features.transition1", LAYER], top_k=2)
    assert cam.feature_map_size((1, 1, 64, 64)) == (1, 2, 8, 8)
    assert cam.feature_map_size((1, 1, 64, 64), layer_idx=0) == (1, 2, 8, 8)
    x = images(1)
    torch.testing.assert_close(cam(x), FMGCAM(module, LAYER, top_k=2)(x))
    assert not torch.allclose(cam(x), cam(x, layer_idx=0))
    bilinear = F.interpolate(cam.compute_map(x), size=(20, 30), mode="bilinear", align_corners=False)
    torch.testing.assert_close(cam(x, img_size=(20, 30)), bilinear)
    torch.testing.assert_close(cam(x, None, -1, True), cam(x))


def test_arguments_of_the_network_are_passed_on() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = small_monai()

        def forward(self, x: Tensor, *, sign: int = 1) -> Tensor:
            return sign * self.inner(x)

    cam = FMGCAM(Scaled(), f"inner.{LAYER}", fused=False, activation="elu")
    assert not torch.allclose(cam(images(1), class_idx=0), cam(images(1), class_idx=0, sign=-1))


def test_metadata_of_a_meta_tensor_stay_with_its_maps() -> None:
    x = MetaTensor(images(1), meta={"id": "a"})
    maps = FMGCAM(small_monai(), LAYER)(x)
    assert isinstance(maps, MetaTensor)
    assert maps.meta["id"] == "a"
    assert not isinstance(FMGCAM(small_monai(), LAYER)(x, img_size=(8, 8)), MetaTensor)
    set_track_meta(False)
    try:
        torch.testing.assert_close(FMGCAM(small_monai(), LAYER)(x.as_tensor()), maps.as_tensor())
    finally:
        set_track_meta(True)


@pytest.mark.parametrize("method", ["grad-cam++", "xgrad-cam", "hirescam", "layercam", "eigen-cam"])
def test_other_rules_in_two_and_three_dimensions(method: Any) -> None:
    """A volume of one slice is the image: the rules know positions, and no neighbours."""
    flat = FMGCAM(small_net(), "5", method=method).compute_map(images(1), class_idx=[0, 1])
    assert flat.shape[:2] == (1, 2)
    volume = FMGCAM(small_3d(), LAYER, method=method)(torch.rand(1, 1, 32, 24, 40), class_idx=[0, 1])
    assert volume.shape == (1, 2, 32, 24, 40)
    assert torch.isfinite(volume).all()


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"class_idx": 5}, OptionError, r"class_idx=5; expected one or more of 0 to 4"),
        ({"class_idx": -1}, OptionError, "class_idx=-1"),
        ({"class_idx": []}, OptionError, "one or more"),
        ({"class_idx": torch.zeros(3, 1, dtype=torch.int64)}, OptionError, "for each of 2 samples"),
        ({"class_idx": [0.5]}, OptionError, "0.5"),
        ({"layer_idx": 1}, OptionError, "layer_idx=1; expected one of the 1 target layers"),
    ],
)
def test_what_the_network_does_not_have_is_refused(asked: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        FMGCAM(small_monai(), LAYER)(images(2), **asked)


def test_constructor_refuses_what_cannot_be_explained() -> None:
    with pytest.raises(ModelError, match="no layer named 'nowhere'"):
        FMGCAM(small_monai(), "nowhere")
    with pytest.raises(OptionError, match="no layer; expected one or more"):
        FMGCAM(small_monai(), [])
    with pytest.raises(OptionError, match="method='score-cam'"):
        FMGCAM(small_monai(), LAYER, method="score-cam")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"expected a torch\.nn\.Module"):
        FMGCAM(GradCAM(small_monai(), LAYER).nn_module, LAYER)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="in 3 dimensions; expected joint or per-class"):
        FMGCAM(small_3d(), LAYER, normalisation="released")(torch.rand(1, 1, 32, 24, 40))
    with pytest.raises(ModelError, match=r"expected a \(B, N\) tensor of scores"):
        FMGCAM(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), "1")(images(1))


class TwoInputs(nn.Module):
    """A network of several images in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.net = DenseNet(2, 2, 3, init_features=8, growth_rate=4, block_config=(2, 2), bn_size=2)

    def forward(self, images: dict[str, Tensor]) -> Tensor:
        return self.net(torch.cat([images["a"], images["b"]], 1))


def test_a_dictionary_of_images_is_refused_in_one_line() -> None:
    cam = FMGCAM(TwoInputs(), f"net.{LAYER}", top_k=1)
    with pytest.raises(OptionError, match=r"an input of type dict; expected a tensor.*takes one tensor"):
        cam({"a": images(), "b": images()})  # type: ignore[arg-type]


@pytest.mark.parametrize("end", [nn.Sigmoid(), nn.Softmax(1), nn.LogSoftmax(1)])
def test_behind_a_sigmoid_or_softmax_the_maps_are_those_of_the_logits(end: nn.Module) -> None:
    net = small_monai()
    ended = nn.Sequential(OrderedDict(net=net, end=end))
    found = FMGCAM(ended, f"net.{LAYER}", top_k=2)(images())
    torch.testing.assert_close(found, FMGCAM(net, LAYER, top_k=2)(images()))


def test_outputs_that_may_be_no_logits_want_a_declaration() -> None:
    class Clamped(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).clamp(0.1, 0.9)

    net = Clamped(small_monai())
    with pytest.raises(ModelError, match=r"all within \[0, 1\]"):
        FMGCAM(net, f"0.{LAYER}")(images())
    assert FMGCAM(net, f"0.{LAYER}", kind="logits", top_k=2)(images()).shape == (2, 2, 64, 64)
