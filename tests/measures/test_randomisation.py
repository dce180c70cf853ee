"""Cascading randomisation: the module comes back, draws are honest, and the bundled model's maps are lost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxr_explain import Explainer, ensure_torchvision_imports
from cxr_explain.cam.registry import LAYER_RULES, Method
from cxr_explain.cam.rules import class_maps
from cxr_explain.errors import OptionError
from cxr_explain.measures.randomisation import (
    How,
    Randomised,
    blocks,
    cascade,
    cascades,
    randomise,
    single_layers,
    weights_kept,
)
from cxr_explain.measures.similarity import Similarity, similarity, unrelated
from cxr_explain.measures.subject import Explain
from cxr_explain.models.base import Classifier
from cxr_explain.study.cases import phantom_cases
from cxr_explain.study.seen_case import show
from tests.networks import images, small_net, small_xrv, snapshot, unsettle

ensure_torchvision_imports()
import torchvision  # noqa: E402
import torchxrayvision as xrv  # noqa: E402

HOWS: tuple[How, ...] = get_args(How)
ESSENTIAL: tuple[Method, ...] = ("grad-cam", "hirescam", "layercam", "eigen-cam")
CLASSES = torch.tensor([[0, 1], [2, 0]])


class WithOwnToken(nn.Module):
    """A container with a weight of its own beside its layers, as a vision transformer is."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.linspace(-1, 1, 12).view(1, 12, 1, 1))
        self.first = nn.Conv2d(1, 12, 3)
        self.second = nn.Sequential(nn.Conv2d(12, 4, 1), nn.ReLU(), nn.BatchNorm2d(4))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.second(self.first(inputs) * self.token)


class Scaled(nn.Linear):
    """A layer whose reset knows nothing of one of its parameters."""

    def __init__(self) -> None:
        super().__init__(3, 9)
        self.scale = nn.Parameter(torch.linspace(1, 2, 9))


class Replacing(nn.Linear):
    """A layer that resets by putting new parameters in the place of the old ones."""

    def reset_parameters(self) -> None:
        self.weight = nn.Parameter(torch.randn(self.out_features, self.in_features))


def weights(module: nn.Module) -> dict[str, Tensor]:
    """A copy of all that is learnt."""
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def without_counts(state: dict[str, Any]) -> dict[str, Any]:
    """Less each tensor's count of writes in place, which putting values back raises once more."""
    return {key: value[:5] + value[6:] if key.endswith(" tensor") else value for key, value in state.items()}


def logit_maps(module: nn.Module) -> Explain:
    """A "rule": the image times the logit of each class."""

    def explain(inputs: Tensor, classes: Tensor) -> Tensor:
        with torch.no_grad():
            logits = module(inputs).gather(1, classes)
        return torch.tanh(logits)[..., None, None] * F.adaptive_avg_pool2d(inputs, 8)

    return explain


def drawn(
    module: nn.Module, layers: list[str], how: How = "reinitialise", seed: int = 0
) -> dict[str, Tensor]:
    """The weights after these layers became random; the module itself stays."""
    with weights_kept(module):
        for layer in layers:
            randomise(module, layer, how=how, seed=seed)
        return weights(module)


@pytest.mark.parametrize("how", HOWS)
def test_the_module_comes_back_exactly(how: How) -> None:
    module = small_xrv(outputs=5).eval()
    unsettle(module)
    for layer in module.modules():
        layer.eval()
    before = without_counts(snapshot(module))
    cascade(module, logit_maps(module), images(2), CLASSES, how=how)
    assert without_counts(snapshot(module)) == before


@pytest.mark.parametrize("after", [0, 1, 3])
@pytest.mark.parametrize("how", HOWS)
def test_the_module_comes_back_after_an_exception_and_mixed_training_flags(how: How, after: int) -> None:
    """A rule that leaves the flags as they are moves running statistics; these come back, too."""
    module = small_net()
    unsettle(module)
    before = without_counts(snapshot(module))
    calls = []

    def failing(inputs: Tensor, classes: Tensor) -> Tensor:
        calls.append(weights(module))
        maps = logit_maps(module)(inputs, classes)
        if len(calls) > after:
            raise RuntimeError("in the rule")
        return maps

    with pytest.raises(RuntimeError, match="in the rule"):
        cascade(module, failing, images(2), CLASSES, how=how)
    assert len(calls) == after + 1
    assert after == 0 or not equal(calls[0], calls[-1])
    assert without_counts(snapshot(module)) == before


def test_parameters_that_a_layer_replaces_come_back() -> None:
    module = nn.Sequential(Replacing(3, 2))
    before = without_counts(snapshot(module))
    with weights_kept(module):
        randomise(module, "0")
        assert id(module[0].weight) != before["0.weight identity"]
    assert without_counts(snapshot(module)) == before


def test_parameters_that_are_added_do_not_stay() -> None:
    module = nn.Linear(3, 2, bias=False)
    with weights_kept(module):
        module.bias = nn.Parameter(torch.ones(2))
        module.register_parameter("scale", nn.Parameter(torch.ones(2)))
    assert module.bias is None
    assert dict(module.named_parameters()).keys() == {"weight"}


@pytest.mark.parametrize("how", HOWS)
def test_the_global_generators_stay_as_they_were(how: How) -> None:
    module = small_net()
    before = torch.get_rng_state()
    drawn(module, [""], how)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("how", HOWS)
def test_the_seed_alone_decides(how: How) -> None:
    module = small_net()
    torch.manual_seed(1)
    first = drawn(module, [""], how, seed=3)
    torch.manual_seed(2)
    assert equal(drawn(module, [""], how, seed=3), first)
    other = drawn(module, [""], how, seed=4)
    same = [name for name, value in other.items() if torch.equal(value, first[name])]
    assert not any(
        name.endswith("weight") and value.ndim > 1 for name, value in other.items() if name in same
    )


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("make", [small_net, small_xrv, WithOwnToken, Scaled])
def test_grouping_and_repetition_change_nothing(make: Callable[[], nn.Module], how: How) -> None:
    module = make()
    at_once = drawn(module, [""], how)
    assert equal(drawn(module, single_layers(module), how), at_once)
    assert equal(drawn(module, blocks(module)[::-1], how), at_once)
    assert equal(drawn(module, [*blocks(module), ""], how), at_once)
    assert equal(drawn(module, ["", ""], how), at_once)


def test_layers_of_one_shape_get_weights_of_their_own() -> None:
    found = drawn(nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 9)), [""])
    assert not torch.equal(found["0.weight"], found["1.weight"])


def test_shuffling_keeps_the_values_of_each_tensor_and_moves_them() -> None:
    module = small_xrv()
    before, after = weights(module), drawn(module, [""], "shuffle")
    for name, value in before.items():
        assert torch.equal(value.flatten().sort().values, after[name].flatten().sort().values), name
    moved = [name for name, value in before.items() if not torch.equal(value, after[name])]
    varied = [name for name, value in before.items() if len(value.unique()) > 2]
    assert set(varied) <= set(moved)


def test_every_permutation_of_three_values_is_as_likely() -> None:
    module = nn.Module()
    module.register_parameter("w", nn.Parameter(torch.tensor([3.0, 1.0, 2.0])))
    found = [tuple(drawn(module, [""], "shuffle", seed)["w"].tolist()) for seed in range(600)]
    counts = np.unique(np.array(found), axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert ((counts - 100) ** 2 / 100).sum() < 20.5  # chi-square with 5 degrees of freedom, 1 in 1000


def test_reinitialising_draws_as_the_layer_itself_would() -> None:
    """torch's own bounds for a linear layer, and a batch norm that has seen nothing."""
    module = nn.Sequential(nn.Linear(400, 50), nn.BatchNorm1d(50))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(9)
        module[1].running_mean += 5
        module[1].running_var *= 7
    found = drawn(module, [""])
    assert 0.99 / 20 < found["0.weight"].abs().max() <= 1 / 20
    assert found["0.weight"].std() == pytest.approx(1 / 20 / 3**0.5, rel=0.02)
    assert found["0.bias"].abs().max() <= 1 / 20
    for name, value in {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}.items():
        assert (found[f"1.{name}"] == value).all()


@pytest.mark.parametrize("named", ["token", "scale", "weight norm", "spectral norm"])
def test_what_no_reset_reaches_is_shuffled(named: str) -> None:
    module, names = {
        "token": lambda: (WithOwnToken(), ["token"]),
        "scale": lambda: (Scaled(), ["scale"]),
        "weight norm": lambda: (
            nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)),
            ["parametrizations.weight.original1"],
        ),
        "spectral norm": lambda: (
            nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)),
            ["parametrizations.weight.original"],
        ),
    }[named]()
    before = without_counts(snapshot(module)), weights(module)
    after = drawn(module, [""])
    for name in names:
        assert not torch.equal(after[name], before[1][name])
        assert torch.equal(after[name].flatten().sort().values, before[1][name].flatten().sort().values)
    assert all(value.isfinite().all() for value in after.values())
    assert without_counts(snapshot(module)) == before[0]


def test_only_the_layer_named_becomes_random() -> None:
    module = small_xrv()
    before, after = weights(module), drawn(module, ["features.denseblock1"])
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed
    assert all(name.startswith("features.denseblock1.") for name in changed)
    learnt = {name for name in before if name.startswith("features.denseblock1.") and "num" not in name}
    assert changed == learnt


def test_each_step_adds_a_layer_to_those_before_it() -> None:
    """The same as randomising by hand, layer after layer, and looking at the maps."""
    module = small_xrv(outputs=5).eval()
    explain, inputs = logit_maps(module), images(2)
    before = explain(inputs, CLASSES).double()
    steps = cascade(module, explain, inputs, CLASSES, seed=5)
    names = blocks(module)
    assert [step.layer for step in steps] == names
    for count, step in enumerate(steps, start=1):
        with weights_kept(module):
            for name in names[:count]:
                randomise(module, name, seed=5)
            expected = similarity(before, explain(inputs, CLASSES).double())
        for field in ("ssim", "spearman", "spearman_absolute", "pearson"):
            np.testing.assert_array_equal(getattr(step, field), getattr(expected, field))
            assert getattr(step, field).shape == (2, 2)


def test_layers_may_be_chosen() -> None:
    module = small_net().eval()
    steps = cascade(module, logit_maps(module), images(2), CLASSES, layers=["11", "9"])
    assert [step.layer for step in steps] == ["11", "9"]
    assert cascade(module, logit_maps(module), images(2), CLASSES, layers=[]) == []


def test_draws_of_weights_are_cascades_of_their_own_seeds() -> None:
    """And only the layers that are to be compared are; those between are random all the same."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 2, 3))

    def outputs(inputs: Tensor, classes: Tensor) -> Tensor:
        return net(inputs).detach()

    inputs = torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    (found,) = cascades(net, [outputs], inputs, CLASSES, seed=4, draws=2, compared=["3", "0"])
    assert [(step.seed, step.layer) for step in found] == [(4, "3"), (4, "0"), (5, "3"), (5, "0")]
    for step in found:
        alone = cascade(net, outputs, inputs, CLASSES, seed=step.seed)
        (same,) = (each for each in alone if each.layer == step.layer)
        np.testing.assert_array_equal(step.pearson, same.pearson)
    assert not np.array_equal(found[0].pearson, found[2].pearson)
    with pytest.raises(OptionError, match="draws=0"):
        cascades(net, [outputs], inputs, CLASSES, draws=0)


def test_unknown_layers_and_ways_are_refused_and_nothing_has_changed() -> None:
    module = small_net()
    before = without_counts(snapshot(module))
    maps = logit_maps(module)
    with pytest.raises(OptionError, match="no layer 'layer9'"):
        cascade(module, lambda x, k: x.expand(-1, 2, -1, -1), images(2), CLASSES, layers=["11", "layer9"])
    with pytest.raises(OptionError, match=r"no layer '0\.weight'"):
        randomise(module, "0.weight")
    with pytest.raises(OptionError, match="one of reinitialise, shuffle"):
        randomise(module, "0", how="zeros")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="finite maps"):
        cascade(module, lambda x, k: maps(x, k) * torch.nan, images(2), CLASSES)
    assert without_counts(snapshot(module)) == before


def test_blocks_of_torchxrayvision_s_densenet_are_its_eleven_parts() -> None:
    dense = [f"features.{kind}{n}" for n in (4, 3, 2, 1) for kind in ("transition", "denseblock")][1:]
    expected = ["classifier", "features.norm5", *dense, "features.norm0", "features.conv0"]
    assert blocks(xrv.models.DenseNet()) == expected
    assert len(expected) == 11


def test_blocks_of_a_resnet_are_its_seven_parts() -> None:
    names = ["fc", "layer4", "layer3", "layer2", "layer1", "bn1", "conv1"]
    assert blocks(torchvision.models.resnet18()) == names


def test_blocks_of_the_bundled_model(phantom: Phantoms) -> None:
    names = ["norm5", "denseblock2", "transition1", "denseblock1", "norm0", "conv0"]
    assert blocks(phantom.classifier.module) == ["classifier", *(f"features.{name}" for name in names)]


def test_blocks_of_little_or_nothing() -> None:
    assert blocks(nn.Linear(2, 2)) == [""]
    assert blocks(nn.ReLU()) == blocks(nn.Sequential()) == single_layers(nn.ReLU()) == []
    assert blocks(nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(2, 2))))) == ["0.0.0"]
    assert blocks(nn.Sequential(*(nn.Linear(2, 2) for _ in range(9)))) == [str(n) for n in range(8, -1, -1)]
    pairs = nn.Sequential(*(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)) for _ in range(6)))
    assert blocks(pairs) == ["5", "4", "3", "2", "1", "0"]  # enough
    assert blocks(pairs[:5]) == [f"{n}.{m}" for n in (4, 3, 2, 1, 0) for m in (1, 0)]  # not enough
    assert blocks(WithOwnToken()) == ["second.2", "second.0", "first", ""]


@pytest.mark.parametrize("make", [small_net, small_xrv, WithOwnToken, torchvision.models.resnet18])
def test_blocks_and_single_layers_hold_every_weight(make: Callable[[], nn.Module]) -> None:
    module = make()
    for names in (blocks(module), single_layers(module)):
        assert len(set(names)) == len(names)
        inside = {id(p) for name in names for p in module.get_submodule(name).parameters()}
        assert inside == {id(p) for p in module.parameters()}


def test_a_rule_that_ignores_the_model_keeps_its_maps() -> None:
    module = small_net()
    steps = cascade(module, lambda x, k: x[:, :, ::8, ::8].expand(-1, 2, -1, -1), images(2), CLASSES)
    for step in steps:
        assert isinstance(step, Randomised)
        np.testing.assert_allclose([step.spearman, step.pearson, step.ssim], 1, atol=1e-12)


# What the bundled model's maps depend on


class Phantoms:
    """The bundled model, phantoms, and the class that it thinks most likely in each of them."""

    def __init__(self, count: int) -> None:
        explainer = Explainer.from_pretrained("phantom", device="cpu")
        self.classifier: Classifier = explainer.classifier
        cases = phantom_cases(count, seed=10_000_002)
        shown = [show(explainer, case, number) for number, case in enumerate(cases)]
        self.inputs = torch.stack([seen.tensor for seen in shown])
        self.top = torch.tensor([[seen.ranked[0]] for seen in shown])

    def rule(self, method: Method) -> Explain:
        return partial(class_maps, self.classifier, method=method)

    def cascade(self, explain: Explain, **options: Any) -> list[Randomised]:
        return cascade(self.classifier.module, explain, self.inputs, self.top, **options)

    def unrelated(self, explain: Explain) -> Similarity:
        return unrelated(explain(self.inputs, self.top).numpy())


@pytest.fixture(scope="module")
def phantom() -> Phantoms:
    return Phantoms(4)


@pytest.fixture(scope="module")
def few() -> Phantoms:
    """For rules that run the model hundreds of times."""
    return Phantoms(3)


def edges(inputs: Tensor, classes: Tensor) -> Tensor:
    """No rule at all: Sobel's magnitude of the image, pooled to a map; no weight plays a part."""
    down = torch.tensor([[1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -1.0]])
    gradient = F.conv2d(inputs, torch.stack([down, down.T])[:, None], padding=1)
    pooled = F.adaptive_avg_pool2d(gradient.norm(dim=1, keepdim=True), 14)
    return pooled.expand(-1, classes.shape[1], -1, -1)


def assert_destroyed(last: list[Randomised], chance: Similarity) -> None:
    """On average over images and draws: ranks correlate no more than those of unrelated maps do.

    Magnitudes are compared, as maps of different classes may well correlate below 0, and so does their mean
    over few images. Measured over 12 seeds, 4 and 8 phantoms, and five rules, the signed mean of one draw has
    a standard deviation of 0.05 to 0.24 around -0.17 to 0.05: draws of one seed share a pattern over images.
    """
    assert abs(np.mean([step.spearman.mean() for step in last])) < 0.3
    left = np.mean([np.abs(step.spearman).mean() for step in last])
    assert left < np.abs(chance.spearman).mean() + 0.1
    assert left < 0.4


def full(method: Method) -> bool:
    """Whether the whole cascade is run by default; of the others its end is, which is the same weights."""
    return method == "grad-cam"


@pytest.mark.parametrize(
    "method", [pytest.param(each, marks=() if full(each) else pytest.mark.slow) for each in ESSENTIAL]
)
def test_a_full_cascade_destroys_the_maps(phantom: Phantoms, method: Method) -> None:
    explain = phantom.rule(method)
    steps = phantom.cascade(explain)
    again = [phantom.cascade(explain, layers=[""], seed=seed)[0] for seed in (1, 2)]
    assert len(steps) == 7
    assert_destroyed([steps[-1], *again], phantom.unrelated(explain))


def assert_random_weights_destroy(phantoms: Phantoms, method: Method, how: How) -> None:
    """All layers at once: the weights at the end of the cascade, see `test_grouping_...`."""
    explain = phantoms.rule(method)
    last = [phantoms.cascade(explain, layers=[""], how=how, seed=seed)[0] for seed in (0, 1)]
    assert_destroyed(last, phantoms.unrelated(explain))


@pytest.mark.parametrize("method", [each for each in ESSENTIAL if not full(each)])
def test_random_weights_destroy_the_maps(phantom: Phantoms, method: Method) -> None:
    assert_random_weights_destroy(phantom, method, "reinitialise")


@pytest.mark.slow
@pytest.mark.parametrize("method", LAYER_RULES)
def test_random_weights_destroy_the_maps_of_every_rule(few: Phantoms, method: Method) -> None:
    assert_random_weights_destroy(few, method, "reinitialise")


@pytest.mark.slow
@pytest.mark.parametrize("method", ESSENTIAL)
def test_shuffled_weights_destroy_the_maps(phantom: Phantoms, method: Method) -> None:
    assert_random_weights_destroy(phantom, method, "shuffle")


@pytest.mark.parametrize("how", HOWS)
def test_an_edge_detector_does_not_notice(phantom: Phantoms, how: How) -> None:
    """The map looks plausible, and says nothing of the model: the cascade finds it out."""
    steps = phantom.cascade(edges, how=how)
    assert len(steps) == 7
    for step in steps:
        np.testing.assert_allclose([step.spearman, step.ssim], 1, atol=1e-12)
    assert phantom.unrelated(edges).spearman.mean() < 0.7  # and yet it differs from image to image


def test_eigen_cam_gives_one_map_to_every_class(phantom: Phantoms) -> None:
    every = torch.arange(len(phantom.classifier.pathologies))
    maps = phantom.rule("eigen-cam")(phantom.inputs, every)
    assert maps.shape[1] == len(every) > 2
    assert torch.equal(maps, maps[:, :1].expand_as(maps))
    others = phantom.rule("grad-cam")(phantom.inputs, every)
    assert not torch.equal(others, others[:, :1].expand_as(others))


@pytest.mark.parametrize("how", HOWS)
def test_eigen_cam_does_not_notice_another_classifier_layer(phantom: Phantoms, how: How) -> None:
    """What decides between the classes is random, and its map is the same; Grad-CAM's is another."""
    [eigen] = phantom.cascade(phantom.rule("eigen-cam"), layers=["classifier"], how=how)
    np.testing.assert_allclose([eigen.spearman, eigen.pearson, eigen.ssim], 1, atol=1e-12)
    [grad] = phantom.cascade(phantom.rule("grad-cam"), layers=["classifier"], how=how)
    assert grad.spearman.mean() < 0.3
    assert (grad.spearman < 0.9).all()


def test_eigen_cam_is_the_same_to_the_bit_with_another_classifier_layer(phantom: Phantoms) -> None:
    module, explain = phantom.classifier.module, phantom.rule("eigen-cam")
    before = explain(phantom.inputs, phantom.top)
    with weights_kept(module):
        randomise(module, "classifier")
        assert torch.equal(explain(phantom.inputs, phantom.top), before)
        randomise(module, "features.conv0")
        assert not torch.equal(explain(phantom.inputs, phantom.top), before)


@pytest.mark.parametrize("method", ["layercam", pytest.param("recipro-cam", marks=pytest.mark.slow)])
def test_the_bundled_model_comes_back_from_a_rule(phantom: Phantoms, method: Method) -> None:
    module = phantom.classifier.module
    before = without_counts(snapshot(module))
    phantom.cascade(phantom.rule(method), layers=["classifier", "features"])
    assert without_counts(snapshot(module)) == before
