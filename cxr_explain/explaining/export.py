"""The whole explanation as one ONNX file, which says what its numbers mean and runs without this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

from cxr_explain.engines.compiled import noise
from cxr_explain.engines.onnx_graph import onnx_graph
from cxr_explain.errors import ModelError
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.explaining.graph import OUTPUTS, ExplanationGraph
from cxr_explain.explaining.settings import RankingOptions, RankingSettings
from cxr_explain.models.base import Classifier
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.support.whole_file import write_output


@dataclass(frozen=True, eq=False)
class ExportedGraph:
    """An ONNX file: one graph from the prepared image to scores, ranking and maps.

    Args:
        content: the file's bytes.
        metadata: what the file says of itself, by name; JSON values.
        checked: how it was compared with torch, in words.
        notes: what else a reader should know.
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
    """Make one ONNX graph of an explainer: from the prepared image to scores, ranking and maps."""
    asked = RankingSettings.of(**options)
    classifier = _pooled(explainer.classifier)
    with classifier.undisturbed():
        graph = ExplanationGraph(classifier, explainer.rule.rule, explainer.settings, asked)
        content = onnx_graph(graph, noise(classifier, 2), OUTPUTS, name=classifier.name)
    return ExportedGraph(content, {}, "written", graph.order.notes)


def _pooled(classifier: Classifier) -> PooledLinearClassifier:
    found = getattr(classifier, "original", classifier)
    if not isinstance(found, PooledLinearClassifier):
        raise ModelError(
            "a head that is not known to be global average pooling and one linear layer",
            expected="such a head, behind which maps need no gradient",
            source=classifier.name,
        )
    return found
