"""The registry of rules, and class maps by any of them or by a rule of one's own."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import pytest
import torch
from networks import NAMES, images, small_net, small_xrv, snapshot
from torch import Tensor

from cxr_explain import HookedClassifier, Outputs, XRVDenseNet
from cxr_explain.cam.evidence import Evidence
from cxr_explain.cam.fusion import fuse
from cxr_explain.cam.layers import combine_layers
from cxr_explain.cam.registry import LAYER_RULES, RULES, Method
from cxr_explain.cam.rules import Rule, class_maps, named_rule
from cxr_explain.cam.sampled import IntegratedGradCAM
from cxr_explain.errors import ModelError, OptionError
from cxr_explain.models.base import Classifier

CLASSES = torch.tensor([[4, 0, 2], [1, 1, 3]])
each_method = pytest.mark.parametrize("method", RULES)


def linear() -> XRVDenseNet:
    return XRVDenseNet(small_xrv(5), Outputs(NAMES), input_size=64)


def hooked() -> HookedClassifier:
    return HookedClassifier(small_net(), "5", Outputs(NAMES), input_size=64)


def absolute_grad_cam(evidence: Evidence) -> Tensor:
    """A rule of one's own."""
    return torch.einsum("bkc,bcij->bkij", evidence.weights.abs(), evidence.activations)


@dataclass(frozen=True)
class Power:
    """A rule of one's own with an option and a title."""

    exponent: float = 2.0
    title = "Power-CAM"

    def __call__(self, evidence: Evidence) -> Tensor:
        return absolute_grad_cam(evidence) ** self.exponent


# -- the registry --


def test_the_choices_are_the_registry_and_importing_it_costs_nothing() -> None:
    assert get_args(Method) == tuple(RULES)
    script = "import sys, cxr_explain.cam.registry; print({'torch', 'numpy'} & {*sys.modules})"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def test_titles_are_the_methods_names_as_the_papers_write_them() -> None:
    for method, named in RULES.items():
        assert named.title.lower().replace(" ", "-") == method


@each_method
def test_a_name_gives_its_rule(method: Method) -> None:
    named, entry = named_rule(method), RULES[method]
    assert (named.title, named.rule, named.gradient_free) == (entry.title, entry.load(), entry.gradient_free)
    assert callable(named.rule)


@each_method
def test_a_rule_with_a_title_has_that_of_the_registry(method: Method) -> None:
    """So that a rule with other options is labelled with the same name."""
    named = named_rule(method)
    assert named_rule(named.rule).title in (named.title, getattr(named.rule, "__name__", None))
    if named.settings:
        assert named_rule(named.rule).title == named.title
        assert named.settings.startswith(type(named.rule).__name__)


def test_a_rule_of_ones_own_has_its_title_or_its_name_in_python() -> None:
    assert named_rule(absolute_grad_cam).title == "absolute_grad_cam"
    assert named_rule(absolute_grad_cam).settings == ""
    assert named_rule(Power(3.0)).title == "Power-CAM"
    assert named_rule(Power(3.0)).settings == "Power(exponent=3.0)"
    assert named_rule(IntegratedGradCAM(steps=2)).settings == "IntegratedGradCAM(steps=2)"

    class Untitled:
        def __call__(self, evidence: Evidence) -> Tensor:
            return evidence.activations

    assert named_rule(Untitled()).title == "Untitled"


@pytest.mark.parametrize("method", ["gradcam", "Grad-CAM", "", None, 3])
def test_what_is_no_method_is_refused_with_those_there_are(method: Any) -> None:
    with pytest.raises(OptionError, match=r"method=.*expected one of cam, grad-cam, grad-cam\+\+"):
        named_rule(method)


# -- class maps --


@pytest.mark.parametrize("method", LAYER_RULES)
@pytest.mark.parametrize("build", [linear, hooked])
def test_each_method_gives_signed_finite_maps_that_can_be_fused(
    method: Method, build: Callable[[], Classifier]
) -> None:
    if (method, build) == ("cam", hooked):
        pytest.skip("CAM needs a linear head; see test_gradient")
    maps = class_maps(build(), images(), CLASSES, method=method)
    assert maps.shape[:2] == (2, 3)
    assert maps.dtype == torch.float32
    assert not maps.requires_grad
    assert torch.isfinite(maps).all()
    assert maps.abs().amax(dim=(1, 2, 3)).min() > 0
    assert torch.isfinite(fuse(maps).maps).all()


def test_the_default_is_grad_cam() -> None:
    found = class_maps(hooked(), images(), CLASSES)
    assert torch.equal(found, class_maps(hooked(), images(), CLASSES, method="grad-cam"))


def test_the_same_classes_for_each_image_may_be_given_once() -> None:
    found = class_maps(hooked(), images(), torch.tensor([4, 0]))
    assert torch.equal(found, class_maps(hooked(), images(), torch.tensor([[4, 0], [4, 0]])))


def test_a_rule_of_ones_own_gives_its_maps() -> None:
    classifier, inputs = hooked(), images()
    forward = classifier.forward(inputs)
    expected = absolute_grad_cam(Evidence(classifier, inputs, CLASSES, forward))
    torch.testing.assert_close(class_maps(classifier, inputs, CLASSES, method=absolute_grad_cam), expected)
    found = class_maps(classifier, inputs, CLASSES, method=Power())
    torch.testing.assert_close(found, expected**2)


def test_a_rules_maps_leave_the_graph_and_half_precision() -> None:
    def half(evidence: Evidence) -> Tensor:
        return torch.ones(2, 3, 4, 4, dtype=torch.float16, requires_grad=True)

    maps = class_maps(hooked(), images(), CLASSES, method=half)
    assert maps.dtype == torch.float32
    assert not maps.requires_grad


def test_a_rule_sees_the_batch_the_classes_and_the_layer() -> None:
    seen: list[Evidence] = []

    def look(evidence: Evidence) -> Tensor:
        seen.append(evidence)
        return absolute_grad_cam(evidence)

    classifier, inputs = hooked(), images()
    class_maps(classifier, inputs, CLASSES, method=look)
    class_maps(classifier, inputs, CLASSES, method=look, layers=["2", "5"])
    assert [evidence.layer for evidence in seen] == [None, "2", "5"]
    assert all(evidence.classifier is classifier and evidence.inputs is inputs for evidence in seen)
    assert all(torch.equal(evidence.classes, CLASSES) for evidence in seen)
    expected = classifier.logits(inputs).gather(1, CLASSES)
    for evidence in seen:
        torch.testing.assert_close(evidence.scores, expected)


def test_progress_reaches_the_rule() -> None:
    shown: list[str] = []

    def track(items: Sequence[Any], doing: str) -> Iterable[Any]:
        shown.append(doing)
        return items

    class_maps(hooked(), images(), CLASSES, method=IntegratedGradCAM(steps=2), track=track)
    assert shown == ["Integrated Grad-CAM"]


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (torch.ones(2, 3, 4), r"maps of shape \(2, 3, 4\) from Wrong-CAM; expected a tensor \(2, 3, I, J\)"),
        (torch.ones(2, 2, 4, 4), r"\(2, 2, 4, 4\)"),
        (torch.ones(3, 2, 4, 4), r"\(3, 2, 4, 4\)"),
        (torch.ones(2, 3, 0, 4), r"\(2, 3, 0, 4\)"),
        ([[1.0]], "list from Wrong-CAM"),
        (None, "NoneType from Wrong-CAM"),
    ],
)
def test_a_rule_that_gives_no_such_maps_is_named(maps: object, message: str) -> None:
    @dataclass(frozen=True)
    class Wrong:
        title = "Wrong-CAM"

        def __call__(self, evidence: Evidence) -> Tensor:
            return maps  # type: ignore[return-value]

    with pytest.raises(ModelError, match=message):
        class_maps(hooked(), images(), CLASSES, method=Wrong())


@pytest.mark.parametrize("layers", [(), ("2",), ("5", "2")])
@pytest.mark.parametrize("classes", [CLASSES[:, :0], CLASSES[0, :0]])
def test_no_class_gives_no_map_and_asks_no_rule(layers: tuple[str, ...], classes: Tensor) -> None:
    def never(_evidence: Evidence) -> Tensor:
        raise AssertionError("nothing to explain")

    maps = class_maps(hooked(), images(), classes, method=never, layers=layers)
    assert maps.shape == (2, 0, *((15, 15) if "2" in layers else (13, 13)))
    assert maps.dtype == torch.float32
    assert fuse(maps).maps.shape == maps.shape


# -- several layers --


@pytest.mark.parametrize("method", ["grad-cam", "layercam", absolute_grad_cam])
def test_several_layers_are_combined(method: Method | Rule) -> None:
    alone = [class_maps(hooked(), images(), CLASSES, method=method, layers=[name]) for name in ("2", "5")]
    found = class_maps(hooked(), images(), CLASSES, method=method, layers=["2", "5"])
    torch.testing.assert_close(found, combine_layers(alone))


def test_cam_is_refused_at_another_layer_than_the_one_before_the_pooling() -> None:
    """Also where the classifier's own target layer has a linear head behind it."""
    with pytest.raises(ModelError, match=r"behind features\.norm0 that is not known to be linear"):
        class_maps(linear(), images(), CLASSES, method="cam", layers=["features.norm0"])


def test_a_layer_that_is_not_there_is_named_with_its_neighbours() -> None:
    with pytest.raises(ModelError, match=r"no layer named 'features\.transition.*Close names"):
        class_maps(linear(), images(), CLASSES, layers=["features.transitions1"])


# -- what is refused before the model runs --


@pytest.mark.parametrize(
    "inputs",
    [torch.zeros(1, 64, 64), torch.zeros(2, 1, 64, 64, dtype=torch.uint8), torch.zeros(0, 1, 64, 64)],
    ids=["one axis short", "integers", "no image"],
)
def test_inputs_of_another_kind_are_refused(inputs: Tensor) -> None:
    with pytest.raises(OptionError, match=r"inputs of shape .*expected float \(B, 1, S, S\), B >= 1"):
        class_maps(hooked(), inputs, CLASSES[: len(inputs)])


@pytest.mark.parametrize(
    "classes",
    [
        torch.tensor([[5], [0]]),
        torch.tensor([[-1], [0]]),
        torch.tensor([[0]]),
        torch.tensor([[0], [0], [0]]),
        torch.tensor(3),
        torch.zeros(2, 1, 1, dtype=torch.int64),
        torch.zeros(2, 1),
        torch.zeros(2, 1, dtype=torch.int32),
        torch.zeros(2, 5, dtype=torch.bool),
    ],
)
def test_classes_that_are_no_outputs_are_refused(classes: Tensor) -> None:
    with pytest.raises(
        OptionError, match=r"classes of shape .*expected int64 \(K,\) or \(2, K\), each below 5"
    ):
        class_maps(hooked(), images(), classes)


def test_an_exception_in_a_rule_passes_through_and_leaves_the_model_as_it_came() -> None:
    def fail(evidence: Evidence) -> Tensor:
        raise KeyError("in the rule")

    classifier = hooked()
    before = snapshot(classifier.module)
    with pytest.raises(KeyError, match="in the rule"):
        class_maps(classifier, images(), CLASSES, method=fail)
    assert snapshot(classifier.module) == before


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
@pytest.mark.parametrize("build", [linear, hooked])
def test_the_callers_gradient_mode_does_not_matter(
    mode: Callable[[], Any], build: Callable[[], Classifier]
) -> None:
    methods: tuple[Method, ...] = ("grad-cam++", "smooth-grad-cam++", "integrated-grad-cam")
    classifier = build()
    expected = [class_maps(classifier, images(), CLASSES, method=method) for method in methods]
    with mode():
        found = [class_maps(classifier, images(), CLASSES, method=method) for method in methods]
    for one, other in zip(found, expected, strict=True):
        assert not math.isnan(float(one.sum()))
        torch.testing.assert_close(one.clone(), other.clone())
