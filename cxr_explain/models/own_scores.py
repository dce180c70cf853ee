"""Whether the scores that are explained are the model's own.

The adapters of known families run a model's body and weigh its head, and do not call the model. A subclass
with its own forward, or a hook of the user, may compute something else: what calling the model gives is
compared, once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from cxr_explain.errors import ModelError
from cxr_explain.models.base import Classifier
from cxr_explain.models.endings import Listener
from cxr_explain.models.output_kinds import agree, as_called, calibrating_points, heard_logits, matrix_of
from cxr_explain.models.steadiness import check_alone, not_the_same_twice, numbers, state_of
from cxr_explain.options import OutputKind

_ANY: tuple[OutputKind, ...] = ("logits", "calibrated", "sigmoids", "softmax", "log-softmax")

_found: WeakKeyDictionary[nn.Module, dict[bool, tuple[Hashable, OutputKind]]] = WeakKeyDictionary()
"""What was found of a module in a certain state, with one image and with several: a loop that explains each
batch does not look each time."""


class ByParts(Classifier):
    """A classifier that runs a module's parts, and does not call the module."""

    def as_called(self, inputs: Tensor, logits: Tensor | None = None) -> Classifier:
        """This classifier, if its scores are those of calling the module; else one that hooks the module.

        See `Classifier.as_called`.
        """
        if getattr(self.module.forward, "__func__", None) is nn.Module.forward:
            return self  # parts without a forward give no scores of their own
        found, several = _found.setdefault(self.module, {}), len(inputs) > 1
        state, known = (self.path, self.outputs, state_of(self.module)), found.get(several)
        with torch.autocast(self.device.type, enabled=False):
            kind = known[1] if known and known[0] == state else _kind_of(self, inputs, logits)
            if kind is None:
                return _hooked(self, inputs[:1])
        found[several] = (state, kind)
        self.outputs = replace(self.outputs, kind=kind)
        return self

    @property
    @abstractmethod
    def path(self) -> Hashable:
        """What tells this way through the module from another one."""

    @abstractmethod
    def call(self, inputs: Tensor) -> object:
        """Whatever the module gives for suited inputs."""

    @abstractmethod
    def hooked(self) -> Classifier | None:
        """The same module by its own forward; None where no layer is known to look at."""


def _kind_of(classifier: ByParts, inputs: Tensor, logits: Tensor | None) -> OutputKind | None:
    """What calling the module gives of the explained logits; None where that is something else.

    Where the first image of a batch differs by itself, rounding may be why: the logits are computed anew.
    """
    own, heard = _called(classifier, inputs[:1])
    if logits is None:
        inputs = inputs[:2]
        logits = classifier.forward(inputs).logits
    together = logits[:1]
    if kind := _which(classifier, together, own, heard):
        return kind
    alone = classifier.forward(inputs[:1]).logits
    check_alone(classifier, inputs, together, alone)
    return _which(classifier, alone, own, heard)


def _which(classifier: ByParts, logits: Tensor, own: Tensor, heard: Listener) -> OutputKind | None:
    declared = classifier.outputs.kind
    points = calibrating_points(classifier.outputs, classifier.module)
    kinds: Sequence[OutputKind] = _ANY if declared is None else (declared,)
    return next((kind for kind in kinds if _is_of(kind, logits, own, points, heard)), None)


def _is_of(
    kind: OutputKind, logits: Tensor, own: Tensor, points: Sequence[float | None], heard: Listener
) -> bool:
    """Whether this is what calling the module gives; where that was rounded to 0 or 1, nobody knows."""
    given = heard_logits(heard, own, kind, points)
    if given is not None:
        return agree(logits, given)
    rounded = kind not in ("logits", "softmax-logits", "log-softmax") and bool(
        ((own <= 0) | (own >= 1)).any()
    )
    return not rounded and agree(as_called(logits, kind, points), own)


def _called(classifier: ByParts, inputs: Tensor) -> tuple[Tensor, Listener]:
    """What calling the module gives, (B, N), and what was heard of the last sigmoid or softmax."""
    with classifier.undisturbed(), torch.inference_mode(), Listener() as heard:
        try:
            output = classifier.call(classifier.suited(inputs))
        except Exception as error:  # whatever the user's own code raises
            raise ModelError(
                f"a model that fails when it is called ({type(error).__name__}: {error})",
                expected="the scores that its body and head give, or others",
                remedy="Mend it first: of a TorchXRayVision model with another head, or in half precision, "
                "set op_threshs to None.",
                source=classifier.name,
            ) from error
    return matrix_of(output, len(inputs), classifier.name), heard


def _hooked(classifier: ByParts, inputs: Tensor) -> Classifier:
    (once, _), (again, _) = _called(classifier, inputs), _called(classifier, inputs)
    if not agree(once, again):
        raise not_the_same_twice(classifier, once, again)
    explained, kind = classifier.forward(inputs).logits, type(classifier.module).__name__
    try:
        general = classifier.hooked()
        if general is not None:
            general.forward(inputs)
            return general
        reason = "no layer of it is known"
    except ModelError as error:
        if agree(explained, once):
            raise  # the scores are the same: what is declared of them is not so
        reason = str(error)
    raise ModelError(
        f"{numbers(once)} from calling this {kind}, where its body and head give {numbers(explained)}, and "
        f"a forward that cannot be explained ({reason.rstrip('.')})",
        expected="the same scores, or a forward that can be hooked",
        remedy="Pass HookedClassifier(model, layer, outputs) with a layer that its forward runs once.",
        source=classifier.name,
    )
