"""One case as a model sees it: what it predicts, what is there, and the grids on which maps are judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from zlib import crc32

import numpy as np
from torch import Tensor

from cxr_explain.explaining.explainer import Explainer
from cxr_explain.explaining.ranking import rank
from cxr_explain.geometry import Geometry
from cxr_explain.measures.localisation import own_pixels, within
from cxr_explain.pathologies import canonical_pathology
from cxr_explain.study.cases import Case, Mask
from cxr_explain.study.field import Field

TOLERANCE = 1 / 28
"""Of the pointing game, as a share of the side of the model's square: half a cell of a 14 x 14 map.

The same for all maps, so that a coarse one is not judged more kindly than a fine one."""

_FINE, _COARSE = 256, 128  # samples of the longer side: for one class map; for each of the many fusions


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked of every rule about one case.

    Args:
        case: what is there.
        number: of the case in the study, from 0; the first ones are asked for more.
        tensor: (1, S, S), what the model sees.
        geometry: where its square lies.
        ranked: indices of all named outputs, the most probable first.
        present: for each pathology that is there and predicted, its index.
        names: of the outputs, canonical.
    """

    case: Case
    number: int
    tensor: Tensor
    geometry: Geometry
    ranked: tuple[int, ...]
    present: Mapping[str, int]
    names: tuple[str, ...]

    @property
    def key(self) -> dict[str, Any]:
        """What every row begins with."""
        return {"case": self.case.id, "group": self.case.group}

    @property
    def seed(self) -> int:
        """Of whatever is drawn for this case: its own, and the same in every process."""
        return crc32(self.case.id.encode())

    def classes(self, k: int) -> list[int]:
        """The top k, then what is there beyond them."""
        top = list(self.ranked[:k])
        return top + [index for index in self.present.values() if index not in top]

    @cached_property
    def fine(self) -> Reference:
        """To judge one class map on."""
        return Reference.of(self, Field(self.geometry, _FINE))

    @cached_property
    def coarse(self) -> Reference:
        """To judge fused maps on."""
        return Reference.of(self, Field(self.geometry, _COARSE))


@dataclass(frozen=True, eq=False)
class Reference:
    """The masks of a case on one grid.

    Args:
        field: the grid.
        masks: by pathology, all that is there.
        near: by pathology that is predicted, its mask and what a peak cannot be told from.
        own: by pathology that is predicted, the part of its mask that is in no other.
    """

    field: Field
    masks: Mapping[str, Mask]
    near: Mapping[str, Mask]
    own: Mapping[str, Mask]

    @classmethod
    def of(cls, question: Question, field: Field) -> Reference:
        """Sample the masks once for all rules."""
        masks = {name: field.mask(mask) for name, mask in question.case.masks.items()}
        stack, names = np.stack(list(masks.values())), list(masks)
        return cls(
            field,
            masks,
            {name: within(masks[name], TOLERANCE * field.pitch) for name in question.present},
            {name: own_pixels(stack, names.index(name)) for name in question.present},
        )


def ask(explainer: Explainer, case: Case, number: int) -> Question:
    """Show a case to the model.

    Raises:
        PhantomWeightsError: a model that knows phantoms alone, and a case that is none.
        ModelError: scores that are not numbers.
    """
    prepared, classifier = explainer.prepare(case.radiograph), explainer.classifier
    logits = classifier.logits(prepared.tensor[None])[0].double().tolist()
    named = sum(map(bool, classifier.pathologies))
    ranking = rank(logits, classifier.pathologies, classifier.operating_points, top_k=named)
    names = tuple(canonical_pathology(name) if name else "" for name in classifier.pathologies)
    present = {name: names.index(name) for name in case.masks if name in names}
    ranked = tuple(prediction.index for prediction in ranking.top)
    return Question(case, number, prepared.tensor, prepared.geometry, ranked, present, names)
