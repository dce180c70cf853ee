"""What a model's outputs are is declared or found out; probabilities and logits are the model's own."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from networks import NAMES, images, randomise, small_net, small_xrv, snapshot
from torch import Tensor, nn
from torch.nn import functional as F
from torchxrayvision.models import op_norm as their_op_norm

from cxr_explain import PATHOLOGIES, Explainer, HookedClassifier, Outputs, Radiograph, explain
from cxr_explain.errors import ModelError
from cxr_explain.explaining.ranking import Ranking
from cxr_explain.models.output_kinds import as_called, op_norm
from cxr_explain.options import OutputKind

POINTS = (0.1, 0.4, 0.02, 0.7, 0.5)


class Ends(nn.Module):
    """A network, and what is done to its logits."""

    def __init__(self, end: Callable[[Tensor], Any], net: nn.Module | None = None) -> None:
        super().__init__()
        self.net, self.end = net or small_net(), end
        self.eval()

    def forward(self, x: Tensor) -> Any:
        return self.end(self.net(x))


def explained(
    module: nn.Module, kind: OutputKind | None = None, layer: str = "net.5", points: Any = ()
) -> tuple[Any, HookedClassifier]:
    classifier = HookedClassifier(module, layer, Outputs(NAMES, points, kind), input_size=64)
    return Explainer(classifier).explain_inputs(images(), top_k=5), classifier


def probabilities(ranking: Ranking) -> list[float]:
    return [prediction.probability for prediction in ranking.predictions]


class Hidden(torch.autograd.Function):
    """A function that nothing says what it is."""

    @staticmethod
    def forward(_context: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_context: object, gradient: Tensor) -> Tensor:
        return gradient


def hidden(end: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The same end, whose last function cannot be heard: of the output, nothing but its values is known."""

    def compute(x: Tensor) -> Tensor:
        with torch._C.DisableTorchFunction():
            return Hidden.apply(end(x))

    return compute


ENDS: list[tuple[Callable[[Tensor], Tensor], OutputKind]] = [
    (nn.Sigmoid(), "sigmoids"),
    (torch.sigmoid, "sigmoids"),
    (torch.special.expit, "sigmoids"),
    (lambda x: x[:, :, None, None].sigmoid().flatten(1), "sigmoids"),
    (lambda x: x.sigmoid().double(), "sigmoids"),
    (nn.Softmax(dim=1), "softmax"),
    (lambda x: F.softmax(x, dim=-1).view(x.shape), "softmax"),
    (nn.LogSoftmax(dim=1), "log-softmax"),
    (lambda x: x.log_softmax(1), "log-softmax"),
]


@pytest.mark.parametrize("declared", [False, True])
@pytest.mark.parametrize(("end", "kind"), ENDS)
def test_behind_a_sigmoid_or_softmax_the_logits_are_explained(
    end: Callable[[Tensor], Tensor], kind: OutputKind, declared: bool
) -> None:
    """The explanation is that of the same network without its end."""
    module = Ends(end)
    batch, classifier = explained(module, kind if declared else None)
    plain, _ = explained(Ends(lambda x: x), "logits" if kind == "sigmoids" else "softmax-logits")
    assert classifier.outputs.kind == kind
    again = Explainer(classifier).explain_inputs(images(), top_k=5)  # what gives the logits is known by now
    assert again.rankings == batch.rankings
    with torch.no_grad():
        own = module.eval()(images())
        own = own.exp() if kind == "log-softmax" else own
    for ranking, without, values in zip(batch.rankings, plain.rankings, own, strict=True):
        assert ranking == without
        assert probabilities(ranking) == pytest.approx(values.tolist(), abs=1e-6)
    for one, other in zip(batch.fused, plain.fused, strict=True):
        assert torch.equal(one.maps, other.maps)


@pytest.mark.parametrize("kind", ["sigmoids", "softmax", "log-softmax", "calibrated"])
def test_an_end_that_cannot_be_heard_is_turned_round(kind: OutputKind) -> None:
    """Of a softmax, the logits are known but for what is common to all: they come without their mean."""
    module = Ends(hidden(lambda x: as_called(x / 20, kind, POINTS)))
    batch, classifier = explained(module, kind, points=POINTS)
    with torch.no_grad():
        logits = module.net(images()) / 20
    wanted = logits if kind in ("sigmoids", "calibrated") else logits - logits.mean(1, keepdim=True)
    found = classifier.forward(images())
    torch.testing.assert_close(found.logits, wanted, rtol=1e-4, atol=1e-4)
    classes = torch.arange(5).expand(2, -1)
    plain = HookedClassifier(small_net(), "5", Outputs(NAMES), input_size=64).forward(images())
    gradients = plain.gradients(classes) / 20
    if kind not in ("sigmoids", "calibrated"):
        gradients = gradients - gradients.mean(1, keepdim=True)
    torch.testing.assert_close(found.gradients(classes), gradients, rtol=2e-3, atol=1e-7)
    ends = logits.sigmoid() if kind in ("sigmoids", "calibrated") else logits.softmax(1)
    assert probabilities(batch.rankings[0]) == pytest.approx(ends[0].tolist(), abs=1e-5)


@pytest.mark.parametrize("end", [nn.Sigmoid(), nn.Softmax(dim=1), nn.LogSoftmax(dim=1)])
def test_where_the_model_is_sure_there_is_evidence_all_the_same(end: nn.Module) -> None:
    """Its probabilities are rounded to 0 and 1, where the slope of the sigmoid and of the softmax is 0."""
    module = Ends(lambda x: end((x - x.mean(1, keepdim=True)) * 10000))
    batch, classifier = explained(module)
    assert max(probabilities(batch.rankings[0])) == 1.0
    plain, _ = explained(Ends(lambda x: (x - x.mean(1, keepdim=True)) * 10000))
    torch.testing.assert_close(batch.fused[0].class_maps, plain.fused[0].class_maps)
    assert batch.fused[0].maps.abs().max() > 0
    del classifier


@pytest.mark.parametrize("kind", ["sigmoids", "softmax"])
def test_a_probability_without_its_logit_is_refused(kind: OutputKind) -> None:
    with pytest.raises(ModelError, match=r"rounded to 0 or 1.*without the sigmoid or softmax at its end"):
        explained(Ends(hidden(lambda x: as_called(x * 1000, kind, ()))), kind)


def calibrated_xrv() -> nn.Module:
    module: Any = small_xrv()
    with torch.no_grad():
        module.classifier.weight /= 300
    module.op_threshs = torch.linspace(0.05, 0.6, 18)
    module.op_threshs[3] = float("nan")
    return module.eval()


class Wrapper(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


@pytest.mark.parametrize(
    ("wrap", "layer"), [(Wrapper, "net.features"), (nn.DataParallel, "module.features"),
                        (lambda net: Wrapper(nn.DataParallel(net)), "net.module.features")]
)  # fmt: skip
@pytest.mark.parametrize("sigmoid_alone", [False, True])
def test_a_calibrated_model_within_a_wrapper_says_what_the_model_itself_says(
    wrap: Callable[[nn.Module], nn.Module], layer: str, sigmoid_alone: bool
) -> None:
    module: Any = calibrated_xrv()
    if sigmoid_alone:
        module.op_threshs, module.apply_sigmoid = None, True
    itself = Explainer(module).explain_inputs(images(), top_k=18).rankings
    classifier = HookedClassifier(wrap(module), layer, Outputs(PATHOLOGIES), input_size=64)
    within = Explainer(classifier).explain_inputs(images(), top_k=18).rankings
    assert classifier.outputs.kind == ("sigmoids" if sigmoid_alone else "calibrated")
    for one, other in zip(itself, within, strict=True):
        assert one.pathologies == other.pathologies
        assert probabilities(one) == pytest.approx(probabilities(other), abs=1e-6)
        assert [p.operating_point for p in one.predictions] == [p.operating_point for p in other.predictions]


def test_the_calibration_is_torchxrayvisions() -> None:
    points = (0.1, None, 0.6)
    values = torch.rand(50, 3)
    theirs = their_op_norm(values, torch.tensor([0.1, float("nan"), 0.6]))
    torch.testing.assert_close(op_norm(values, points), theirs)


def test_points_of_ones_own_do_not_change_what_the_model_calibrates_with() -> None:
    module = Wrapper(calibrated_xrv())
    outputs = Outputs(PATHOLOGIES, [0.5] * 18)  # type: ignore[arg-type]
    ranking = explain(module, images(), outputs=outputs, target_layer="net.features", top_k=18).rankings[0]
    with torch.no_grad():
        logits = module.net.classifier(module.net.features2(images()))[0]  # type: ignore[operator, union-attr]
    assert [p.logit for p in ranking.predictions] == pytest.approx(logits.tolist(), rel=1e-5)
    assert {p.operating_point for p in ranking.predictions} == {0.5}


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (hidden(torch.sigmoid), r"all within \[0, 1\]"),
        (lambda x: x.sigmoid() * 0.5 + x.softmax(1) * 0.5, r"all within \[0, 1\]"),
        (lambda x: torch.stack([x.sigmoid(), (x * 2).sigmoid()]).mean(0), r"all within \[0, 1\]"),
        (lambda x: x.clamp(0.2, 0.8), r"all within \[0, 1\]"),
        (hidden(lambda x: x.log_softmax(1)), "whose probabilities sum to 1"),
        (lambda x: x.softmax(1).log(), "outputs behind log"),
        (lambda x: (x.sigmoid() + 1e-8).log(), "outputs behind log"),
        (torch.exp, "outputs behind exp"),
        (torch.tanh, "outputs behind tanh"),
        (F.logsigmoid, "outputs behind logsigmoid"),
        (lambda x: x.softmax(1)[:, :5].sqrt() * 1.0, r"all within \[0, 1\]"),
    ],
)
def test_what_may_be_no_logits_is_refused_unless_declared(
    end: Callable[[Tensor], Tensor], message: str
) -> None:
    module = Ends(end)
    before = snapshot(module)
    with pytest.raises(ModelError, match=message) as caught:
        explained(module)
    assert "outputs=Outputs(['Atelectasis', 'Consolidation', ...], kind=\"sigmoids\")" in str(caught.value)
    assert snapshot(module) == before
    explained(module, "logits")  # the user's word


def test_a_model_that_holds_operating_points_is_not_taken_for_logits() -> None:
    """Whatever it is that comes out: here, its features through another head."""

    class Transfer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.head = calibrated_xrv(), nn.Linear(32, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.net.features2(x))  # type: ignore[operator]

    with pytest.raises(ModelError, match="holds operating points, or applies a sigmoid"):
        explain(Transfer(), images(), outputs=NAMES, target_layer="net.features")
    outputs = Outputs(NAMES, kind="logits")
    assert len(explain(Transfer(), images(), outputs=outputs, target_layer="net.features")) == 2


@pytest.mark.parametrize(
    "end",
    [
        lambda x: x,
        lambda x: x * 1e-9,  # close to 0, where each may lie in [0, 1]
        lambda x: (x.abs() * 1e-9 + 0.1) * nn.Parameter(torch.ones(())),
    ],
)
def test_logits_by_chance_within_0_and_1_are_logits_where_the_graph_says_so(end: Any) -> None:
    if "abs" in end.__code__.co_names:
        with pytest.raises(ModelError, match=r"all within \[0, 1\]"):
            explained(Ends(end))
    else:
        assert explained(Ends(end))[1].outputs.kind == "logits"


def test_one_output_alone_is_often_within_0_and_1() -> None:
    module = nn.Sequential(*small_net(1))
    with torch.no_grad():
        module[-1].weight *= 0
        module[-1].bias.fill_(0.3)
    batch = explain(module, images(), outputs=["Mass"], target_layer="5")
    assert batch.rankings[0].top[0].logit == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("end", "declared", "message"),
    [
        (torch.sigmoid, "logits", "kind='logits' for a model that gives sigmoids"),
        (nn.Softmax(1), "softmax-logits", "kind='softmax-logits' for a model that gives softmax"),
        (lambda x: x, "sigmoids", "that are no sigmoids; expected what kind='sigmoids' says"),
        (torch.sigmoid, "softmax", "that are no softmax"),
        (lambda x: x, "log-softmax", "that are no log-softmax"),
    ],
)
def test_a_declaration_that_is_not_so_is_refused(end: Any, declared: OutputKind, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        explained(Ends(end), declared)


@pytest.mark.parametrize("declared", ["sigmoids", "softmax", "log-softmax", "calibrated"])
def test_a_declaration_of_a_known_family_that_is_not_so_is_refused(declared: Any) -> None:
    outputs = Outputs(PATHOLOGIES, kind=declared)
    with pytest.raises(
        ModelError, match=f"^TorchXRayVision DenseNet: found outputs .*kind='{declared}' says"
    ):
        explain(small_xrv(), images(), outputs=outputs)


def test_a_known_family_may_have_one_label() -> None:
    module = calibrated_xrv()
    module.op_threshs = None  # type: ignore[assignment]
    outputs = Outputs(PATHOLOGIES, kind="softmax-logits")
    batch = explain(module, images(), outputs=outputs, top_k=18)
    with torch.no_grad():
        shares = module(images())[0].softmax(0)
    assert batch.gradient == "closed form"
    assert probabilities(batch.rankings[0]) == pytest.approx(shares.tolist(), abs=1e-6)


@pytest.mark.parametrize("end", [nn.Identity(), nn.Sigmoid(), lambda x: x[:, 0].sigmoid()])
def test_a_forward_within_no_grad_is_explained(end: Any) -> None:
    class WithoutGradient(Ends):
        @torch.no_grad()
        def forward(self, x: Tensor) -> Any:
            return super().forward(x)

    names = NAMES if isinstance(end, nn.Module) else NAMES[:1]
    found = explain(WithoutGradient(end), images(), outputs=names, target_layer="net.5", top_k=3)
    expected = explain(Ends(end), images(), outputs=names, target_layer="net.5", top_k=3)
    assert found.rankings == expected.rankings
    assert torch.equal(found.fused[0].maps, expected.fused[0].maps)


def test_one_of_two_shares_of_a_softmax_is_a_probability() -> None:
    module = Ends(lambda x: (x / 20).softmax(1)[:, 1])
    with pytest.raises(ModelError, match="outputs behind softmax"):
        explain(module, images(), outputs=["Mass"], target_layer="net.5")
    outputs = Outputs(["Mass"], kind="sigmoids")  # type: ignore[arg-type]
    ranking = explain(module, images(), outputs=outputs, target_layer="net.5").rankings[1]
    with torch.no_grad():
        assert ranking.top[0].probability == pytest.approx(float(module.eval()(images())[1]), abs=1e-6)


# --- outputs as people have them ---


class Output(OrderedDict):  # type: ignore[type-arg]
    """As Hugging Face's models give: a dictionary with attributes."""

    @property
    def logits(self) -> Tensor:
        return self["logits"]


@pytest.mark.parametrize(
    "form",
    [
        lambda x: (x, x * 2),
        lambda x: [x],
        lambda x: {"loss": None, "logits": x},
        lambda x: Output(logits=x, hidden=None),
        lambda x: SimpleNamespace(logits=x),
        lambda x: SimpleNamespace(logits=(x, None)),
    ],
)
def test_outputs_in_tuples_dictionaries_and_objects(form: Callable[[Tensor], Any]) -> None:
    found, _ = explained(Ends(form))
    plain, _ = explained(Ends(lambda x: x))
    assert found.rankings == plain.rankings
    assert torch.equal(found.fused[1].maps, plain.fused[1].maps)


def test_one_pathology_without_a_dimension_of_its_own() -> None:
    module = nn.Sequential(*small_net(1), nn.Flatten(0))
    assert module.eval()(images()).shape == (2,)
    batch = explain(module, images(), outputs=["Mass"], target_layer="5")
    with torch.no_grad():
        assert [r.top[0].logit for r in batch.rankings] == pytest.approx(module(images()).tolist())


@pytest.mark.parametrize("outputs", [1, 5])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_scores_as_a_fully_convolutional_head_gives_them(outputs: int, count: int) -> None:
    """(B, N, 1, 1), and with every dimension of length 1 taken away: (B,), (N,) or one number."""
    net, names = small_net(outputs), list("abcde")[:outputs]
    plain = explain(net, images(count), outputs=names, target_layer="5")
    for end in (nn.Unflatten(1, (outputs, 1, 1)), Squeezed()):
        found = explain(nn.Sequential(net, end), images(count), outputs=names, target_layer="0.5")
        assert found.rankings == plain.rankings
        assert torch.equal(found.fused[0].maps, plain.fused[0].maps)


class Squeezed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.squeeze()


@pytest.mark.parametrize("scaled", [lambda p: 100 * p, lambda p: 2 * p - 1, lambda p: (p / 0.1).neg()])
@pytest.mark.parametrize("end", [nn.Sigmoid(), nn.Softmax(dim=1)])
def test_a_multiple_of_probabilities_is_not_taken_for_logits(
    scaled: Callable[[Tensor], Tensor], end: nn.Module
) -> None:
    with pytest.raises(
        ModelError, match=r"a multiple of (sigmoid|softmax); expected logits, or a declaration"
    ):
        explained(Ends(lambda x: scaled(end(x))))
    explained(Ends(lambda x: scaled(end(x))), "logits")


def test_a_gate_on_scores_leaves_them_logits() -> None:
    found, classifier = explained(Ends(lambda x: 3 * x * x.sigmoid()))
    assert classifier.outputs.kind == "logits"
    del found


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda x: {"pred": x}, "an output of type dict with pred; expected"),
        (lambda x: None, "an output of type NoneType"),
        (lambda x: (None, x), "an output of type tuple"),
        (lambda x: x[:, :, None].expand(-1, -1, 2), r"an output of shape \(2, 5, 2\)"),
        (lambda x: (x > 0).long(), r"an output of shape \(2, 5\) of torch.int64"),
        (lambda x: x.mean(0), r"an output of shape \(5,\)"),
        (lambda x: x[:, 0], r"an output of shape \(2, 1\); expected \(2, 5\)"),
    ],
)
def test_any_other_output_is_refused(form: Callable[[Tensor], Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        explained(Ends(form))


@pytest.mark.parametrize("compile_whole", [True, False])
def test_a_compiled_model_is_explained_as_it_was_before(compile_whole: bool) -> None:
    net = small_net().eval()
    expected = explain(net, images(), outputs=NAMES, target_layer="5")
    compiled: Any = torch.compile(net, backend="eager") if compile_whole else Wrapper(
        torch.compile(net, backend="eager")  # type: ignore[arg-type]
    )  # fmt: skip
    compiled.eval()(images())  # compiled code that was made without a hook
    layer = "_orig_mod.5" if compile_whole else "net._orig_mod.5"
    found = explain(compiled, images(), outputs=NAMES, target_layer=layer)
    assert found.rankings == expected.rankings
    assert torch.equal(found.fused[0].maps, expected.fused[0].maps)


def test_a_model_compiled_in_place() -> None:
    net = small_net().eval()
    expected = explain(net, images(), outputs=NAMES, target_layer="5")
    net.compile(backend="eager")
    net(images())
    assert explain(net, images(), outputs=NAMES, target_layer="5").rankings == expected.rankings


@pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning")
@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, images())])
def test_a_layer_within_torchscript_is_refused_in_one_line(make: Callable[[nn.Module], nn.Module]) -> None:
    scripted = make(small_net().eval())
    with pytest.raises(ModelError, match=r"the layer 5 within TorchScript.*the module that was scripted"):
        explain(scripted, images(), outputs=NAMES, target_layer="5")


def test_a_part_in_torchscript_before_or_behind_the_layer_does_no_harm() -> None:
    net = small_net().eval()
    expected = explain(net, images(), outputs=NAMES, target_layer="5")
    parts = nn.Sequential(torch.jit.script(net[:3]), net[3:6], torch.jit.script(net[6:]))
    for _ in range(3):  # TorchScript runs another program from the second call on
        found = explain(parts, images(), outputs=NAMES, target_layer="1")
        torch.testing.assert_close(found.fused[0].maps, expected.fused[0].maps)
    with pytest.raises(ModelError, match="within TorchScript"):
        explain(parts, images(), outputs=NAMES, target_layer="0")


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
@pytest.mark.filterwarnings("ignore:quantized..linear_dynamic. an autograd kernel was not:UserWarning")
def test_a_quantised_head_is_refused_in_one_line() -> None:
    quantised = torch.ao.quantization.quantize_dynamic(small_xrv(), {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(ModelError, match="a head of type quantised Linear"):
        explain(quantised, images())
    net = torch.ao.quantization.quantize_dynamic(small_net(), {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(ModelError, match=r"scores that do not depend on.*quantised layers"):
        explain(net, images(), outputs=NAMES, target_layer="5")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    for kind, end in (("logits", nn.Identity()), ("sigmoids", nn.Sigmoid()), ("softmax", nn.Softmax(1))):
        module = Ends(end).to(dtype)
        batch, classifier = explained(module)
        assert classifier.outputs.kind == kind
        with torch.no_grad():
            logits = module.net(images().to(dtype))[0].tolist()
        assert [p.logit for p in batch.rankings[0].predictions] == logits
        assert batch.fused[0].maps.dtype == torch.float32


def test_scores_without_a_graph_are_taken_for_what_they_are_found_to_be() -> None:
    """`Classifier.logits` runs without one, and may be what is called first."""
    module = Ends(torch.sigmoid)
    classifier = HookedClassifier(module, "net.5", Outputs(NAMES), input_size=64)
    with torch.no_grad():
        torch.testing.assert_close(classifier.logits(images()), module.eval().net(images()))
    tiny = HookedClassifier(Ends(lambda x: x * 1e-9), "net.5", Outputs(NAMES), input_size=64)
    assert tiny.logits(images()).abs().max() < 1
    assert tiny.outputs.kind == "logits"


def test_the_sigmoids_of_log_odds_are_the_probabilities() -> None:
    for end in (nn.Softmax(1), nn.Sigmoid()):
        module = Ends(end)
        classifier = HookedClassifier(module, "net.5", Outputs(NAMES), input_size=64)
        odds = classifier.log_odds(images())
        with torch.no_grad():
            torch.testing.assert_close(odds.sigmoid(), module.eval()(images()), atol=1e-6, rtol=0)


def test_a_one_label_classifier_ranks_by_its_softmax_and_says_so(tmp_path: Path) -> None:
    module = Ends(nn.Softmax(1), randomise(small_net()))
    classifier = HookedClassifier(module, "net.5", Outputs((*NAMES[:4], "")), input_size=64)
    pixels = images(1)[0, 0].numpy()
    explanation = Explainer(classifier).explain(Radiograph.from_array(pixels.astype(np.float32)), top_k=2)
    assert explanation.provenance.output_kind == "softmax"
    with torch.no_grad():
        own = module.eval()(Explainer(classifier).prepare(Radiograph.from_array(pixels)).tensor[None])[0]
    assert probabilities(explanation.ranking) == pytest.approx(own[:4].tolist(), abs=1e-6)
    texts = " ".join(text for text in _texts(explanation.figure()))
    assert "softmax" in texts
    assert "sigmoid" not in texts
    saved = explanation.save(tmp_path / "explanation").read_text()
    assert json.loads(saved)["ranking"]["probability"] == "softmax"
    assert "sigmoid" not in saved


def _texts(figure: Any) -> list[str]:
    import matplotlib.text

    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
