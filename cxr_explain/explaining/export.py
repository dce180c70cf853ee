"""The whole explanation as one ONNX file, which says what its numbers mean and runs without this package."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxr_explain.cam.fusion import fuse
from cxr_explain.cam.registry import ATTENTION_RULES, RULES
from cxr_explain.cam.rules import class_maps
from cxr_explain.engines.compiled import CompiledClassifier, noise
from cxr_explain.engines.onnx_graph import onnx_graph
from cxr_explain.engines.registry import ENGINES
from cxr_explain.errors import ModelError, OptionError
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.explaining.graph import OUTPUTS, ExplanationGraph
from cxr_explain.explaining.provenance import ExplainerFacts
from cxr_explain.explaining.settings import MapSettings, RankingOptions, RankingSettings
from cxr_explain.models.base import Classifier
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.models.pooled_view import as_pooled
from cxr_explain.options import ONE_LABEL
from cxr_explain.radiograph import VALUE_RANGE
from cxr_explain.support.extras import require
from cxr_explain.support.whole_file import write_output

SCHEMA = "cxr-explain/graph/1"
"""What the metadata of a file of this kind call themselves."""

NOT_IN_A_GRAPH: dict[str, str] = {
    "eigen-cam": "takes a singular value decomposition, for which ONNX has no operator",
    "score-cam": "runs the model again for each channel",
    "integrated-grad-cam": "runs the model again for each step of its path",
    "augmented-grad-cam": "runs the model again for each view, and follows a gradient",
    **dict.fromkeys(ATTENTION_RULES, "reads the attention of a transformer, which such a model has not"),
}
"""The rules that do not fit into a graph behind one forward pass, and why."""

PHANTOM_ONLY_NOTE = (
    "The model was trained on phantoms only: its scores and maps for a radiograph have no meaning. "
    "Refuse whatever is not known to be a phantom."
)
"""What a file of such weights says to those who run it."""

_MAY_DIFFER = {"logits": 1e-3, "probabilities": 1e-4, "ranked": 1e-3, "class_maps": 1e-3, "maps": 1e-4}
"""Largest difference from torch: of a logit y or a score that ranks, in parts of 1 + |y|; of a class map, in
parts of its largest value."""

_WHAT_THEY_ARE = {
    "logits": "(B, N) float32: score of each output before sigmoid or softmax",
    "probabilities": "(B, N) float32: sigmoid or softmax of the logits, not calibrated; see probability",
    "ranked": "(B, K) int64: indices of the explained outputs, best first",
    "class_maps": "(B, K, I, J) float32: evidence for each ranked output, signed",
    "maps": "(B, K, I, J) float32: the same after filter, norm and activation; see fusion",
}

_ERRORS_ALONE = 3  # of the levels of ONNX Runtime's log

_RunGraph = Callable[[NDArray[np.float32]], list[NDArray[Any]]]
"""From images, (B, 1, S, S), to what the graph gives, in the order of `OUTPUTS`."""


@dataclass(frozen=True, eq=False)
class ExportedGraph:
    """An ONNX file: one graph from the prepared image to scores, ranking and maps.

    Args:
        content: the file's bytes.
        metadata: what the file says of itself, by name; JSON values.
        checked: how it was compared with torch, in words.
        notes: what else a reader should know; they are in the metadata, too.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     ExportedGraph(b"what export_graph gives", {}, "by nobody").write(f"{folder}/a.onnx").name
    'a.onnx'
    """

    content: bytes = field(repr=False)
    metadata: Mapping[str, Any] = field(repr=False)
    checked: str
    notes: tuple[str, ...] = ()

    def write(self, path: str | PathLike[str]) -> Path:
        """Write the file, whole or not at all; its folder is made where it is missing.

        Raises:
            OutputError: a folder that cannot be written to.
        """
        return write_output(path, self.content, "an ONNX file")


def export_graph(explainer: Explainer, **options: Unpack[RankingOptions]) -> ExportedGraph:
    """Make one ONNX graph of an explainer: from the prepared image to scores, ranking and maps.

    The input "image" is (B, 1, S, S) float32 in [-1024, 1024], with any B; the outputs are "logits" and
    "probabilities", (B, N), "ranked", (B, K) int64, "class_maps" and "maps", (B, K, I, J). All operators are
    ONNX's own. The metadata, JSON values, say how an image is prepared and what the numbers mean. First the
    graph is run on noise, in batches of two sizes, by ONNX Runtime where that is installed, else by onnx's
    reference evaluator, and compared with torch.

    Args:
        explainer: a model of float32 on the CPU that ends in global average pooling and one linear layer, and
            a rule that needs one forward pass alone.
        **options: which pathologies are explained, such as `top_k=3`; see `RankingSettings`.

    Raises:
        ModelError: a model or a rule of which no graph can be made, or a graph that computes something else.
        OptionError: options that no graph can have.
        MissingExtraError: the packages of the extra export are not there.

    >>> from cxr_explain import ensure_torchvision_imports; ensure_torchvision_imports()
    >>> import torchxrayvision as xrv
    >>> model = xrv.models.DenseNet(growth_rate=4, block_config=(1, 1), num_init_features=8, num_classes=18)
    >>> graph = export_graph(Explainer(model), top_k=3)
    >>> graph.metadata["top_k"], graph.metadata["pathologies"][0], graph.metadata["preparation"]["size"]
    (3, 'Atelectasis', 224)
    """
    require("onnx", "export")
    settings = explainer.settings
    if explainer.fitted is not None:
        raise OptionError(
            "operating points that were fitted",
            expected="the weights' own, which the exported file has",
            remedy="Export the model without operating_points.",
        )
    _check_settings(settings)
    _check_rule(explainer.rule.title)
    classifier = _pooled(explainer.classifier)
    graph = ExplanationGraph(classifier, explainer.rule.rule, settings, RankingSettings.of(**options))
    facts = replace(
        explainer.facts, output_kind=classifier.outputs.kind or "logits", target_layer=classifier.target_layer
    )
    notes = (
        *([PHANTOM_ONLY_NOTE] if classifier.phantom_only else []),
        *classifier.notes,
        *graph.order.notes,
    )
    with classifier.undisturbed():
        bare = onnx_graph(
            graph,
            noise(classifier, 2),
            OUTPUTS,
            name=classifier.name,
            remedy=f"Explain it with torch; {explainer.rule.title} or the model does something else.",
        )
        run, by = runner(bare, classifier.name)
        off = _differences(classifier, graph, settings, run)
    _check_alike(off, by, classifier.name)
    metadata = _metadata(facts, classifier, graph) | {
        "checked": {"against": f"torch {facts.torch_version}", "by": by, "largest_differences": off},
        "notes": list(notes),
    }
    worst = ", ".join(f"{name} {off[name]:.1g}" for name in ("probabilities", "maps"))
    checked = f"equal to torch by {by} (largest differences: {worst})"
    return ExportedGraph(_with_metadata(bare, metadata, facts), metadata, checked, notes)


def _check_settings(settings: MapSettings) -> None:
    if settings.target_layers:
        raise OptionError(
            f"target_layers={settings.target_layers!r}",
            expected="the classifier's own target layer, behind which no gradient is needed",
        )
    if settings.dtype != "float32":
        raise OptionError(
            f"dtype={settings.dtype!r} for a graph, whose precision is chosen where it runs",
            expected="dtype='float32'",
            remedy="Ask the engine that runs it, such as OpenVINO, for bfloat16.",
        )
    if settings.xrv_compatible:
        raise OptionError(
            "xrv_compatible=True, by which scikit-image prepares the image",
            expected="xrv_compatible=False, whose preparing the file spells out",
        )


def _check_rule(title: str) -> None:
    why = {RULES[name].title: reason for name, reason in NOT_IN_A_GRAPH.items()}.get(title)
    if why is not None:
        able = ", ".join(name for name in RULES if name not in NOT_IN_A_GRAPH)
        raise OptionError(f"method {title}, which {why}", expected=f"one of {able}")


def _pooled(classifier: Classifier) -> PooledLinearClassifier:
    """The classifier in torch, whose scores are those of calling the model."""
    given = classifier.original if isinstance(classifier, CompiledClassifier) else classifier
    _check_plain(given)
    inputs = noise(given, 2)
    return as_pooled(given.as_called(inputs), inputs)


def _check_plain(classifier: Classifier) -> None:
    """Refuse what would be converted without anybody asking for it."""
    tensors = [*classifier.module.parameters(), *classifier.module.buffers()]
    types = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    odd = sorted(str(dtype).removeprefix("torch.") for dtype in types - {torch.float32})
    if odd or classifier.device.type != "cpu":
        raise ModelError(
            f"weights of {', '.join(odd)}" if odd else f"a model on {classifier.device.type}",
            expected="a model of float32 on the CPU",
            remedy="Convert it first: model.float().cpu().",
            source=classifier.name,
        )


def runner(content: bytes, source: str) -> tuple[_RunGraph, str]:
    """What runs a graph here, and its name and version: ONNX Runtime, else onnx's reference evaluator."""
    import onnx

    run: Callable[..., Any]
    if find_spec("onnxruntime") is None:
        from onnx.reference import ReferenceEvaluator

        run, by = ReferenceEvaluator(onnx.load_from_string(content)).run, f"onnx {onnx.__version__}"
    else:
        from onnxruntime import InferenceSession, SessionOptions

        options = SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), _ERRORS_ALONE
        session = InferenceSession(content, options, providers=["CPUExecutionProvider"])
        run, by = session.run, ENGINES["onnxruntime"].version

    def tried(images: NDArray[np.float32]) -> list[NDArray[Any]]:
        try:
            return list(run(list(OUTPUTS), {"image": images}))
        except Exception as error:  # each has exceptions of its own
            raise ModelError(
                f"a graph that {by} cannot run for {len(images)} images ({type(error).__name__})",
                expected="a graph for any number of images",
                remedy="Does the model or the rule compute with the number of images as it is now?",
                source=source,
            ) from error

    return tried, by


def _differences(
    classifier: PooledLinearClassifier, graph: ExplanationGraph, settings: MapSettings, run: _RunGraph
) -> dict[str, float]:
    """The largest differences between a graph and torch, on noise, for one image and for three at once.

    Two class maps that are equal but for rounding may change places in ranking or filter: the scores of those
    that the graph ranks are compared with the largest scores, and its maps with its class maps, fused anew.
    """
    images = noise(classifier, 3)
    given = [np.concatenate(pair) for pair in zip(run(images.numpy()), run(images[:1].numpy()), strict=True)]
    logits, probabilities, ranked, maps, fused = map(torch.from_numpy, given)
    images = torch.cat((images, images[:1]))
    ours = classifier.logits(images)
    one_label = classifier.outputs.kind in ONE_LABEL
    scores = graph.order.scores(ours)
    best = scores.gather(1, graph.order.best(scores))
    wanted = class_maps(classifier, images, ranked, method=settings.method)
    anew = fuse(
        maps, normalisation=settings.normalisation, activation=settings.activation, fused=settings.fused
    )
    peak = wanted.abs().amax(dim=(1, 2, 3), keepdim=True)
    return {
        "logits": _largest((logits - ours) / (1 + ours.abs())),
        "probabilities": _largest(probabilities - (ours.softmax(1) if one_label else ours.sigmoid())),
        "ranked": _largest((scores.gather(1, ranked) - best) / (1 + best.abs())),
        "class_maps": _largest((maps - wanted) / peak.where(peak > 0, 1)),
        "maps": _largest(fused - anew.maps),
    }


def _largest(differences: Tensor) -> float:
    return float(differences.abs().max())


def _check_alike(off: Mapping[str, float], by: str, source: str) -> None:
    """Refuse a graph that does not compute what torch computes."""
    wrong = [name for name, largest in _MAY_DIFFER.items() if not off[name] <= largest]
    if wrong:
        raise ModelError(
            f"a graph whose {wrong[0]} by {by} differ from torch's by {off[wrong[0]]:.2g}, on noise",
            expected=f"at most {_MAY_DIFFER[wrong[0]]:g}",
            remedy="Nothing is written. Does the model do something else for each batch?",
            source=source,
        )


def _metadata(
    facts: ExplainerFacts, classifier: PooledLinearClassifier, graph: ExplanationGraph
) -> dict[str, Any]:
    """What a user of the file must know, as JSON values by name."""
    settings, k = facts.map_settings, graph.order.k
    return {
        "schema": SCHEMA,
        "package_version": facts.package_version,
        "model": facts.model,
        "weights_sha256": facts.weights_sha256,
        "training_sets": list(facts.training_sets),
        "phantom_only": facts.phantom_only,
        "pathologies": list(classifier.pathologies),
        "operating_points": list(classifier.operating_points),
        "output_kind": facts.output_kind,
        "probability": "softmax" if facts.output_kind in ONE_LABEL else "sigmoid",
        "target_layer": facts.target_layer,
        "top_k": k,
        "ranking": {
            "by": graph.order.by,
            "candidates": list(graph.order.candidates),
            "ties": "the output that comes first in pathologies",
        },
        "method": facts.method_title(k),
        "rule": {"title": facts.rule_title, "settings": facts.rule_settings},
        "fusion": {
            "fused": settings.fused,
            "normalisation": settings.normalisation,
            "activation": settings.activation,
        },
        "resolution": settings.resolution,
        "outputs": _WHAT_THEY_ARE,
        "preparation": _preparation(settings, classifier.input_size),
    }


def _preparation(settings: MapSettings, size: int) -> dict[str, Any]:
    """How an image becomes the input, exactly enough to be written anew; see `explaining.preprocessing`."""
    crop = settings.fit == "crop"
    low, high = VALUE_RANGE
    return {
        "range": [low, high],
        "size": size,
        "fit": settings.fit,
        "steps": [
            "grey v as displayed, air dark: of colour (19595 R + 38470 G + 7471 B + 32768) >> 16",
            f"x = {low:g} + {high - low:g} * v / white, white = 255 for 8 bits, 65535 for 16 bits",
            f"square of H x W pixels: side = {'min' if crop else 'max'}(H, W), left = W // 2 - side // 2, "
            f"top = H // 2 - side // 2{'' if crop else f', {low:g} beyond the image'}",
            "where side is not size, rows and then columns, i from 0 to size - 1: scale = side / size, "
            "reach = max(scale, 1), centre = (i + 0.5) * scale, mean of the pixels j within the square with "
            f"the weights max(0, 1 - |j + 0.5 - centre| / reach); then cut to [{low:g}, {high:g}]",
        ],
        "maps": "cell (i, j) of I x J covers rows from top + side * i / I to top + side * (i + 1) / I, "
        "and columns from left alike",
    }


def _with_metadata(content: bytes, metadata: Mapping[str, Any], facts: ExplainerFacts) -> bytes:
    import onnx

    model = onnx.load_from_string(content)
    model.producer_name, model.producer_version = "cxr-explain", facts.package_version
    texts = {name: json.dumps(value, ensure_ascii=False) for name, value in metadata.items()}
    onnx.helper.set_model_props(model, texts)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)  # type: ignore[no-any-return]
