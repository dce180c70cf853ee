"""The whole explanation as one module without data-dependent control flow, which torch can export.

Rule and fusion are the functions that explain elsewhere, too; the ranking is written in tensors here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cxr_explain.cam.evidence import Evidence
from cxr_explain.cam.fusion import fuse
from cxr_explain.errors import ModelError
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.models.pooled_linear import PooledLinearClassifier, PooledLinearPass
from cxr_explain.options import ONE_LABEL

INPUT = "image"
OUTPUTS = ("logits", "probabilities", "ranked", "class_maps", "maps")
"""Names of what the graph gives, in order."""


class ExplanationGraph(nn.Module):
    """From prepared images to logits, probabilities, ranked outputs, class maps and fused maps.

    Args:
        explainer: an explainer of a model that ends in global average pooling and a linear layer.
        top_k: K, how many outputs are explained; cut to those that have names.

    Raises:
        ModelError: a model with another head.
    """

    def __init__(self, explainer: Explainer, top_k: int = 5) -> None:
        super().__init__()
        classifier = explainer.classifier
        classifier = getattr(classifier, "original", classifier)
        if not isinstance(classifier, PooledLinearClassifier):
            raise ModelError(
                "a head that is not known to be global average pooling and one linear layer",
                expected="such a head, behind which maps need no gradient",
                source=classifier.name,
            )
        self.module = classifier.module
        self._classifier = classifier
        self._settings = explainer.settings
        self._rule = explainer.rule.rule
        named = [bool(name) for name in classifier.pathologies]
        self._named = torch.tensor(named)
        self.top_k = min(top_k, sum(named))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(B, 1, S, S) in [-1024, 1024] -> (B, N), (B, N), (B, K) int64, (B, K, I, J), (B, K, I, J)."""
        classifier, settings = self._classifier, self._settings
        forward = PooledLinearPass(classifier.body(image), classifier.head)
        logits = forward.logits
        one_label = classifier.outputs.kind in ONE_LABEL
        probabilities = logits.softmax(dim=1) if one_label else logits.sigmoid()
        ranked = logits.masked_fill(~self._named, -torch.inf).topk(self.top_k, dim=1).indices
        class_maps = self._rule(Evidence(classifier, image, ranked, forward))
        fused = fuse(
            class_maps,
            normalisation=settings.normalisation,
            activation=settings.activation,
            fused=settings.fused,
        )
        return logits, probabilities, ranked, class_maps, fused.maps
