"""One case as a model sees it: what it predicts, what is there, and the ruler for its maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any
from zlib import crc32

from torch import Tensor

from cxr_explain.explaining.explainer import Explainer
from cxr_explain.explaining.ranking import rank
from cxr_explain.geometry import Geometry
from cxr_explain.measures.ruler import Ruler
from cxr_explain.measures.subject import BATCH, OnceScored
from cxr_explain.pathologies import canonical_pathology
from cxr_explain.study.cases import Case


@dataclass(frozen=True, eq=False)
class SeenCase:
    """One case as the model sees it: what every rule is then judged by.

    Args:
        case: the radiograph with its findings.
        number: the case's place in the study, from 0; more is measured on the first ones.
        tensor: (1, S, S), what the model sees.
        geometry: where the model's square lies on the radiograph.
        ranked: indices of all named outputs, the most probable first.
        present: for each pathology that is there and predicted, its index.
        names: canonical name of the pathology of each output; "" for an output without a name.
        score: the model's scores of this image and of what measures make of it, each input asked once.
    """

    case: Case
    number: int
    tensor: Tensor
    geometry: Geometry
    ranked: tuple[int, ...]
    present: Mapping[str, int]
    names: tuple[str, ...]
    score: OnceScored

    @property
    def key(self) -> dict[str, Any]:
        """What every row begins with."""
        return {"case": self.case.id, "group": self.case.group}

    @property
    def seed(self) -> int:
        """Seed of every random draw for this case: its own, and the same in every process."""
        return crc32(self.case.id.encode())

    def classes(self, k: int) -> list[int]:
        """The top k, then what is there beyond them."""
        top = list(self.ranked[:k])
        return top + [index for index in self.present.values() if index not in top]

    @cached_property
    def ruler(self) -> Ruler:
        """What the case's maps are measured with."""
        boxed = {box.pathology for box in self.case.boxes}
        drawn = {name: mask for name, mask in self.case.masks.items() if name not in boxed}
        return Ruler.of(self.geometry, masks=drawn, boxes=self.case.boxes)


def show(explainer: Explainer, case: Case, number: int) -> SeenCase:
    """Show a case to the model, and keep what it saw and ranked.

    Args:
        explainer: the model, with its preprocessing.
        case: the radiograph with its findings.
        number: the case's place in the study, from 0.

    Raises:
        PhantomWeightsError: a model that knows phantoms alone, and a case that is none.
        ModelError: scores that are not numbers.
    """
    prepared, classifier = explainer.prepare(case.radiograph), explainer.classifier
    logits = classifier.logits(prepared.tensor[None])
    score = OnceScored(partial(classifier.log_odds, batch_size=BATCH))
    score.learn(prepared.tensor[None], classifier.odds_of(logits))
    named = sum(map(bool, classifier.pathologies))
    ranking = rank(
        logits[0].double().tolist(),
        classifier.pathologies,
        explainer.points,
        kind=classifier.outputs.kind,
        calibrations=explainer.calibrations,
        top_k=named,
    )
    names = tuple(canonical_pathology(name) if name else "" for name in classifier.pathologies)
    present = {name: names.index(name) for name in case.masks if name in names}
    ranked = tuple(prediction.index for prediction in ranking.top)
    return SeenCase(case, number, prepared.tensor, prepared.geometry, ranked, present, names, score)
