"""What is known of a module that this package has loaded, kept on the module itself.

A module that is taken out of a classifier (`explainer.classifier.module`), copied, pickled, or put into
another one keeps its names, its operating points, and that it has seen phantoms alone. What is kept is text,
as a safetensors file would hold it, so that a pickle of the module needs nothing of this package. It says
nothing of the numbers in the module, which may have been trained further: no digest of the weights is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from torch import nn

from cxr_explain.models.base import Outputs
from cxr_explain.pathologies import PATHOLOGIES
from cxr_explain.weights.facts import MODULE_FACTS, CheckpointFacts

TRAINED_UNKNOWN = (
    "Which outputs were trained is unknown: the weights file does not say. All are taken as trained, with "
    "TorchXRayVision's names; one that never was gives numbers without meaning."
)
"""What a reader must know of weights whose file names no outputs."""

_OF_TEXT = ("architecture", "name")


@dataclass(frozen=True)
class Loaded:
    """Where a module came from.

    Args:
        architecture: name of the family in `cxr_explain.models.families.FAMILIES`.
        name: name of the weights.
        facts: what the registry or the file says of them.

    >>> Loaded("xrv-densenet", "mine.pt", CheckpointFacts(("Mass", ""))).outputs.pathologies
    ('Mass', '')
    """

    architecture: str
    name: str
    facts: CheckpointFacts

    @classmethod
    def of(cls, module: nn.Module) -> Self | None:
        """What was kept on a module; None for any that came from elsewhere."""
        text: Any = getattr(module, MODULE_FACTS, None)
        if not isinstance(text, dict) or not all(isinstance(text.get(key), str) for key in _OF_TEXT):
            return None
        return cls(text["architecture"], text["name"], CheckpointFacts.of_attributes({MODULE_FACTS: text}))

    def keep_on(self, module: nn.Module) -> None:
        """Keep it on a module of this package's own."""
        text = {"architecture": self.architecture, "name": self.name, **self.facts.to_metadata()}
        setattr(module, MODULE_FACTS, text)

    @property
    def outputs(self) -> Outputs:
        """Names and operating points; TorchXRayVision's names where nobody says which they are."""
        return Outputs(self.facts.pathologies or PATHOLOGIES, self.facts.operating_points or ())

    @property
    def description(self) -> dict[str, Any]:
        """The further arguments of the family's classifier."""
        facts = self.facts
        known = {} if facts.input_size is None else {"input_size": facts.input_size}
        return {
            "name": self.name,
            "training_sets": facts.training_sets or (),
            "phantom_only": facts.trained_on == "phantoms",
            "notes": () if facts.pathologies else (TRAINED_UNKNOWN,),
            **known,
        }
