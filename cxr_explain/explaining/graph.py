"""The whole explanation as one module without data-dependent control flow, which torch can export.

Rule and fusion are the functions that explain elsewhere, too; the ranking is written in tensors here.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxr_explain.cam.evidence import Evidence
from cxr_explain.cam.fusion import fuse
from cxr_explain.cam.rules import Rule
from cxr_explain.errors import OptionError
from cxr_explain.explaining.ranking import Ranking, rank
from cxr_explain.explaining.settings import MapSettings, RankingSettings
from cxr_explain.models.base import Outputs, log_odds
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.options import ONE_LABEL

OUTPUTS = ("logits", "probabilities", "ranked", "class_maps", "maps")
"""Names of what the graph gives, in order."""


class ExplanationGraph(nn.Module):
    """From prepared images to logits, probabilities, ranked outputs, class maps and fused maps.

    Args:
        classifier: a model that ends in global average pooling and a linear layer.
        rule: what makes the class maps.
        settings: how they are fused.
        asked: which outputs are ranked; K is cut to those that there are.

    Raises:
        OptionError: a ranking whose K depends on the image, or without an output to rank.
    """

    def __init__(
        self, classifier: PooledLinearClassifier, rule: Rule, settings: MapSettings, asked: RankingSettings
    ) -> None:
        super().__init__()
        self.module = classifier.module
        self.order = Order(classifier.outputs, asked)
        self._classifier, self._rule, self._settings = classifier, rule, settings

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(B, 1, S, S) in [-1024, 1024] -> (B, N), (B, N), (B, K) int64, (B, K, I, J), (B, K, I, J)."""
        classifier, settings = self._classifier, self._settings
        forward = classifier.pass_of(image)
        logits = forward.logits
        one_label = classifier.outputs.kind in ONE_LABEL
        probabilities = logits.softmax(dim=1) if one_label else logits.sigmoid()
        ranked = self.order.best(self.order.scores(logits))
        class_maps = self._rule(Evidence(classifier, image, ranked, forward))
        fused = fuse(
            class_maps,
            normalisation=settings.normalisation,
            activation=settings.activation,
            fused=settings.fused,
        )
        return logits, probabilities, ranked, class_maps, fused.maps


class Order:
    """How outputs are ranked, in tensors.

    Args:
        outputs: what the model's outputs mean.
        asked: which of them are ranked.

    Raises:
        OptionError: a ranking whose K depends on the image, or without an output to rank.

    >>> order = Order(Outputs(("Mass", "", "Edema")), RankingSettings(5))
    >>> order.k, order.scores(torch.tensor([[1.0, 2.0, 3.0]])).tolist(), order.notes
    (2, [[1.0, -inf, 3.0]], ('K cut from 5 to 2: no more pathologies to rank',))
    """

    def __init__(self, outputs: Outputs, asked: RankingSettings) -> None:
        if asked.above_operating_point:
            raise OptionError(
                "above_operating_point, with which K is another number for each image",
                expected="the same K for each image, which is what a graph gives",
                remedy="Leave it out: whoever runs the graph can compare its probabilities with the "
                "operating points, which the file has.",
            )
        found, every = _without_scores(outputs, asked), _without_scores(outputs, replace(asked, top_k=2**31))
        if not found.k:
            raise OptionError(
                f"no pathology to rank by rank_by={asked.rank_by!r}",
                expected="a model with operating points",
                remedy="Rank by the probability.",
            )
        self.k, self.notes, self.by = found.k, found.notes, found.by
        self.candidates = tuple(sorted(each.index for each in every.top))
        """Indices of the outputs that may rank."""
        self._one_label = outputs.kind in ONE_LABEL
        self._points = torch.tensor([0.5 if point is None else point for point in outputs.operating_points])

    def best(self, scores: Tensor) -> Tensor:
        """(B, N) -> (B, K) int64: the indices of the largest scores, best first; ties keep the head's order.

        By ONNX's definition of TopK ties keep their order, but not every engine does so (OpenVINO 2026.4).
        Comparisons and sums are the same everywhere.

        >>> order = Order(Outputs(("Mass", "Edema", "Hernia")), RankingSettings(2))
        >>> order.best(torch.tensor([[0.0, 1.0, 1.0]]))
        tensor([[1, 2]])
        """
        index = torch.arange(scores.shape[1])
        earlier = index < index[:, None]
        mine, others = scores[:, :, None], scores[:, None]
        place = ((others > mine) | ((others == mine) & earlier)).sum(dim=2)
        return ((place[:, None] == torch.arange(self.k)[:, None]) * index).sum(dim=2)

    def scores(self, logits: Tensor) -> Tensor:
        """(B, N) -> (B, N): numbers that order the outputs as `rank` does, -inf for those that do not rank.

        Where `rank` compares calibrated probabilities c, these are log(2 c) below 0.5, and -log(2 (1 - c))
        above: the same order, without the rounding of probabilities near 0 and 1.
        """
        scores = logits if self.by == "probability" else self._calibrated(logits)
        ranks = torch.zeros(logits.shape[1], dtype=torch.bool)
        ranks[list(self.candidates)] = True
        return scores.masked_fill(~ranks, -torch.inf)

    def _calibrated(self, logits: Tensor) -> Tensor:
        odds = log_odds(logits) if self._one_label else logits
        below = -F.softplus(-odds) - self._points.log()
        above = F.softplus(odds) + (-self._points).log1p()
        return torch.where(below < 0, below, above)


def _without_scores(outputs: Outputs, asked: RankingSettings) -> Ranking:
    """What is ranked whatever the scores are."""
    nothing = [0.0] * len(outputs.pathologies)
    return rank(nothing, outputs.pathologies, outputs.operating_points, kind=outputs.kind, **vars(asked))
