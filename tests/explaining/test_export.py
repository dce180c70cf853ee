"""The exported graph: what it computes, what its file says, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import exported
import literal
import networks
import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

import cxr_explain
from cxr_explain import (
    BatchMaps,
    Evidence,
    Explainer,
    ExportedGraph,
    HookedClassifier,
    Outputs,
    export_graph,
)
from cxr_explain.cam.registry import RULES
from cxr_explain.errors import CxrExplainError, ModelError, OptionError, OutputError
from cxr_explain.explaining import export
from cxr_explain.explaining.explainer import PHANTOM_WEIGHTS_WARNING
from cxr_explain.explaining.export import NOT_IN_A_GRAPH, PHANTOM_ONLY_NOTE
from cxr_explain.explaining.graph import Order
from cxr_explain.explaining.ranking import rank
from cxr_explain.explaining.settings import RankingSettings

Given = list[NDArray[Any]]
ENGINES: dict[str, Callable[[ExportedGraph, Tensor], Given]] = {
    "onnxruntime": exported.by_onnx_runtime,
    "openvino": exported.by_openvino,
}
engines = pytest.mark.parametrize("engine", ENGINES)


def explained(explainer: Explainer, images: Tensor, **options: Any) -> BatchMaps:
    """What the explainer itself says; phantoms are no matter here."""
    explainer = Explainer(explainer.classifier, **vars(explainer.settings) | {"allow_phantom_weights": True})
    return explainer.explain_inputs(images, **options)


def check_same(given: Given, found: BatchMaps) -> None:
    """What a graph gave is what the explainer says."""
    logits, probabilities, ranked, class_maps, maps = given
    for image, ranking in enumerate(found.rankings):
        assert ranked[image].tolist() == [each.index for each in ranking.top]
        for each in ranking.predictions:
            assert logits[image, each.index] == pytest.approx(each.logit, abs=1e-4)
            assert probabilities[image, each.index] == pytest.approx(each.probability, abs=1e-5)
        fused = found.fused[image]
        np.testing.assert_allclose(class_maps[image], fused.class_maps[0], atol=1e-6)
        np.testing.assert_allclose(maps[image], fused.maps[0], atol=1e-5)


@engines
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_graph_explains_as_the_explainer_does_whatever_the_batch(engine: str, count: int) -> None:
    explainer, graph = exported.of_densenet()
    images = networks.images(count, exported.SIZE, seed=count)
    check_same(ENGINES[engine](graph, images), explained(explainer, images, top_k=exported.K))


@engines
def test_a_graph_equals_the_literal_reading_of_the_equations_in_float64(engine: str) -> None:
    explainer, graph = exported.of_densenet()
    images = networks.images(2, exported.SIZE, seed=9)
    module = exported.in_float64(explainer.classifier.module)
    with torch.no_grad():
        activations = F.relu(module.features(images.double())).numpy()
    weight, bias = module.classifier.weight.detach().numpy(), module.classifier.bias.detach().numpy()
    scores = activations.mean(axis=(2, 3)) @ weight.T + bias
    order = np.argsort(-scores, axis=1, kind="stable")[:, : exported.K]
    cells = activations.shape[2] * activations.shape[3]
    gradients = weight[order][..., None, None] / cells * np.ones(activations.shape[2:])
    alphas = literal.alphas(gradients)
    logits, probabilities, ranked, class_maps, maps = ENGINES[engine](graph, images)
    np.testing.assert_allclose(logits, scores, atol=1e-4)
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-scores)), atol=1e-5)
    assert ranked.tolist() == order.tolist()
    np.testing.assert_allclose(class_maps, literal.class_maps(activations, alphas), atol=1e-7)
    np.testing.assert_allclose(maps, literal.fused(activations, alphas, "joint", "relu"), atol=1e-5)


@engines
def test_ties_keep_the_order_of_the_head(engine: str) -> None:
    explainer, graph = exported.of_ties()
    images = networks.images(4, 32)
    _, _, ranked, class_maps, maps = given = ENGINES[engine](graph, images)
    assert ranked.tolist() == [[1, 3, 4]] * 4
    assert (class_maps[:, 0] == class_maps[:, 1]).all()
    assert class_maps.max() > 0
    assert maps[:, 1:].max() <= 0, "a tie goes to the better rank"
    found = explained(explainer, images, top_k=3, pathologies=("Fibrosis", "Edema", "Hernia", "Mass"))
    for image, fused in enumerate(found.fused):
        np.testing.assert_allclose(class_maps[image], fused.class_maps[0], atol=1e-6)
    # On some processors torch sums equal rows of a matrix in other orders, and then finds no tie.
    if all((each.class_maps[0, 0] == each.class_maps[0, 1]).all() for each in found.fused):
        check_same(given, found)


@engines
def test_one_true_output_ranked_by_operating_points_and_a_rule_of_ones_own(engine: str) -> None:
    explainer, graph = exported.of_calibrated_softmax()
    images = networks.images(6, 32, seed=4) / 4 + torch.linspace(-700, 700, 6)[:, None, None, None]
    given = ENGINES[engine](graph, images)
    check_same(given, explained(explainer, images, top_k=9, rank_by="calibrated"))
    assert given[2].shape == (6, 5)
    assert len({tuple(row) for row in given[2].tolist()}) > 1
    np.testing.assert_allclose(given[1].sum(axis=1), 1, atol=1e-6)
    assert graph.metadata["probability"] == "softmax"
    assert graph.metadata["ranking"]["candidates"] == [0, 2, 3, 4, 5]
    assert graph.metadata["method"] == "energy"
    assert graph.notes == ("1 pathologies left out: without an operating point", *graph.notes[1:])
    assert "K cut from 9 to 5" in graph.notes[1]


@pytest.mark.parametrize("kind", ["logits", "softmax-logits"])
@pytest.mark.parametrize("by", ["probability", "calibrated"])
def test_the_order_in_tensors_is_that_of_rank(kind: Any, by: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(200, 6, generator=generator).mul(4).round(decimals=1)
    outputs = Outputs(("A", "B", "", "D", "E", "F"), exported.POINTS, kind)
    order = Order(outputs, RankingSettings(4, by))
    best = order.best(order.scores(logits)).tolist()
    for row, found in zip(logits.double().tolist(), best, strict=True):
        ranking = rank(row, outputs.pathologies, outputs.operating_points, kind=kind, top_k=4, rank_by=by)
        assert found == [each.index for each in ranking.top]


def test_calibrated_scores_near_0_and_1_keep_their_order() -> None:
    order = Order(Outputs(("A", "B", "C"), (0.5, 0.25, 0.75)), RankingSettings(3, "calibrated"))
    scores = order.scores(torch.tensor([[40.0, 39.0, 41.0], [-95.0, -96.0, -94.0]]))
    assert order.best(scores).tolist() == [[2, 0, 1], [2, 0, 1]]


def test_all_operators_are_onnx_own_and_the_batch_is_open() -> None:
    model = onnx.load_from_string(exported.of_densenet()[1].content)
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} == {""}
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 18)]
    assert not model.functions
    shapes = {
        each.name: [d.dim_param or d.dim_value for d in each.type.tensor_type.shape.dim]
        for each in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "image": ["batch", 1, 64, 64],
        "logits": ["batch", 18],
        "probabilities": ["batch", 18],
        "ranked": ["batch", 5],
        "class_maps": ["batch", 5, 8, 8],
        "maps": ["batch", 5, 8, 8],
    }


def test_nothing_of_the_machine_is_in_the_file() -> None:
    content = exported.of_densenet()[1].content
    assert str(Path(cxr_explain.__file__).parent).encode() not in content
    assert not re.search(rb"\.py\b|site-packages|stack_trace|File \"", content)


def test_metadata_are_json_and_say_what_the_numbers_mean() -> None:
    explainer, graph = exported.of_densenet()
    stored = {
        each.key: json.loads(each.value) for each in onnx.load_from_string(graph.content).metadata_props
    }
    assert stored == json.loads(json.dumps(graph.metadata))
    assert set(stored) == set(_documented_keys())
    assert stored["schema"] == "cxr-explain/graph/1"
    assert stored["package_version"] == cxr_explain.__version__
    assert stored["pathologies"] == list(explainer.classifier.pathologies)
    assert stored["operating_points"] == [None] * 18
    assert (stored["top_k"], stored["ranking"]["by"], stored["probability"]) == (5, "probability", "sigmoid")
    assert (stored["method"], stored["rule"]["title"]) == ("FM-G-CAM", "Grad-CAM")
    assert stored["fusion"] == {"fused": True, "normalisation": "joint", "activation": "relu"}
    assert (stored["phantom_only"], stored["weights_sha256"], stored["notes"]) == (False, None, [])
    assert stored["preparation"]["size"] == 64
    assert stored["preparation"]["fit"] == "crop"
    assert stored["preparation"]["range"] == [-1024, 1024]
    assert set(stored["checked"]["largest_differences"]) == set(stored["outputs"])
    assert "onnx" in stored["checked"]["by"].lower()


def _documented_keys() -> list[str]:
    """The keys in the page's table of metadata."""
    page = Path(__file__).parents[2] / "docs" / "how_to" / "export.md"
    rows = page.read_text(encoding="utf-8").split("| key | holds |\n|---|---|\n")[1].split("\n\n")[0]
    return [name for row in rows.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])]


def test_settings_and_what_is_known_of_the_model_are_in_the_metadata() -> None:
    _, graph = exported.of_ties()
    about = graph.metadata
    assert about["operating_points"] == list(exported.POINTS)
    assert about["ranking"]["candidates"] == [1, 2, 3, 4]
    assert about["fusion"] == {"fused": True, "normalisation": "per-class", "activation": "elu"}
    assert about["target_layer"] == "1"
    assert about["preparation"]["fit"] == "pad"
    assert "max(H, W)" in str(about["preparation"]["steps"])
    assert about["phantom_only"] is True
    assert about["notes"] == list(graph.notes) == [PHANTOM_ONLY_NOTE]
    assert PHANTOM_WEIGHTS_WARNING.split(". ")[0] in PHANTOM_ONLY_NOTE


def _of_this_batch(evidence: Evidence) -> Tensor:
    """A rule that looks at the other images, which a graph of another batch would do otherwise."""
    a = evidence.activations - evidence.activations.mean(dim=0, keepdim=True)
    return torch.einsum("bkc,bcij->bkij", evidence.weights, a)


def test_a_graph_that_computes_something_else_is_refused_and_the_model_left_as_it_came() -> None:
    module = exported.tied_net()
    networks.unsettle(module)
    before = networks.snapshot(module)
    explainer = Explainer(HookedClassifier(module, "1", exported.TIED, input_size=32), method=_of_this_batch)
    with pytest.raises(ModelError, match=r"a graph whose class_maps by .* differ from torch's by .*at most"):
        export_graph(explainer, top_k=2)
    assert networks.snapshot(module) == before


def test_without_onnx_runtime_the_reference_evaluator_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _, graph = exported.of_ties()
    images = networks.images(3, 32)
    monkeypatch.setattr(export, "find_spec", lambda _: None)  # as where it is not installed
    run, by = export.runner(graph.content, "a model")
    assert by == f"onnx {onnx.__version__}"
    for ours, theirs in zip(run(images.numpy()), exported.by_onnx_runtime(graph, images), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    with pytest.raises(ModelError, match=r"a graph that onnx .* cannot run for 3 images"):
        run(images[:, :, :1, :1].numpy())


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    _, graph = exported.of_densenet()
    path = graph.write(tmp_path / "new" / "explainer.onnx")
    assert path.read_bytes() == graph.content
    assert [each.name for each in path.parent.iterdir()] == ["explainer.onnx"]
    with pytest.raises(OutputError, match="an ONNX file that cannot be written"):
        graph.write(path / "below.onnx")


# What is refused needs no export.


class OwnForward(networks.xrv.models.DenseNet):  # type: ignore[misc]
    """Gives other scores than body and head."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.classifier(F.relu(self.features(x)).mean(dim=(2, 3)))) * 3


def own_forward() -> Explainer:
    module = OwnForward(growth_rate=4, block_config=(1, 1), num_init_features=8, num_classes=5)
    module.pathologies = list(networks.NAMES)
    with torch.no_grad():
        module.features.conv0.weight /= 500
    module.input_resolution = 64
    return Explainer(networks.randomise(module))


def hooked(module: nn.Module, layer: str = "1", **options: Any) -> Explainer:
    return Explainer(HookedClassifier(module, layer, exported.TIED, input_size=32), **options)


def small(**options: Any) -> Explainer:
    return Explainer(networks.small_xrv(), **options)


REFUSED: dict[str, tuple[Callable[[], Explainer], dict[str, Any], type[CxrExplainError], str]] = {
    "a model's own forward": (
        own_forward,
        {},
        ModelError,
        "a head behind features that is not global average",
    ),
    "another head": (
        lambda: Explainer(HookedClassifier(networks.small_net(), "5", networks.NAMES, input_size=64)),
        {},
        ModelError,
        "a head behind 5 that is not global average pooling and one linear layer",
    ),
    "a layer before": (
        lambda: hooked(exported.tied_net(), "0"),
        {},
        ModelError,
        "a head behind 0 that is not",
    ),
    "other layers": (lambda: small(target_layers="features.norm5"), {}, OptionError, "target_layers=.*norm5"),
    "bfloat16": (lambda: small(dtype="bfloat16"), {}, OptionError, "dtype='bfloat16'.*the engine"),
    "xrv compatible": (lambda: small(xrv_compatible=True), {}, OptionError, "xrv_compatible=True"),
    "float64": (
        lambda: Explainer(networks.small_xrv().double()),
        {},
        ModelError,
        "weights of float64.*float()",
    ),
    "half": (lambda: Explainer(networks.small_xrv().half()), {}, ModelError, "weights of float16"),
    "K by image": (small, {"above_operating_point": True}, OptionError, "another number for each image"),
    "no operating points": (small, {"rank_by": "calibrated"}, OptionError, "no pathology to rank"),
    "unknown names": (small, {"pathologies": ["Gout"]}, OptionError, "pathologies .'Gout'."),
    "no K": (small, {"top_k": 0}, OptionError, "top_k=0"),
} | {
    name: (lambda name=name: small(method=name), {}, OptionError, f"method {RULES[name].title}, which {why}")
    for name, why in NOT_IN_A_GRAPH.items()
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_graph_can_be_is_refused_in_one_line(case: str) -> None:
    make, options, kind, message = REFUSED[case]
    with pytest.raises(kind, match=message) as found:
        export_graph(make(), **options)
    assert len(str(found.value).splitlines()) == 1


def test_a_models_own_forward_is_refused_after_its_first_image_too() -> None:
    explainer = own_forward()
    explainer.explain_inputs(networks.images(1, 64))
    with pytest.raises(ModelError, match="a head behind features that is not"):
        export_graph(explainer)
