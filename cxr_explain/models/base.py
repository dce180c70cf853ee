"""What every model looks like to the rest of the package: a Classifier and its forward pass."""

from __future__ import annotations

import math
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from cxr_explain.errors import ModelError, OptionError
from cxr_explain.models.grids import GridFunction
from cxr_explain.models.wrappers import uncompiled
from cxr_explain.options import ONE_LABEL, OutputKind, check_option
from cxr_explain.support.names import NAME_RULE, first_flaw, visible
from cxr_explain.weights.facts import MODULE_FACTS, CheckpointFacts

BLACK = -1024.0
"""The darkest input, as without any dose; 0 is a mid grey."""

Gradient = Literal["closed form", "autograd"]

_locks: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_locks_lock = threading.Lock()


class ForwardPass(ABC):
    """Activations and logits of one batch, and what ties them together.

    Args:
        activations: output of the target layer, (B, C, I, J).
        logits: the N outputs before any sigmoid, (B, N).
    """

    gradient: Gradient

    notes: tuple[str, ...] = ()
    """What was done with the layer's output, for people to read."""

    def __init__(self, activations: Tensor, logits: Tensor) -> None:
        self.activations = activations
        self.logits = logits

    @property
    def head(self) -> LinearHead | None:
        """The linear layer behind global average pooling of the activations; None for any other head."""
        return None

    @abstractmethod
    def gradients(self, classes: Tensor) -> Tensor:
        """Give dy^k / da for (B, K) class indices: (B, K, C, I, J). The result must not be written to."""

    @abstractmethod
    def logits_of(self, variants: Tensor) -> Tensor:
        """Give the logits with other activations in place.

        Args:
            variants: (B, M, C, I, J), M variants of the activations of each image.

        Returns:
            (B, M, N).
        """

    def weights(self, classes: Tensor) -> Tensor:
        """Give alpha of equation 2 for (B, K) class indices: (B, K, C), at least float32."""
        gradients = self.gradients(classes)
        return gradients.mean(dim=(-2, -1), dtype=torch.promote_types(gradients.dtype, torch.float32))


@dataclass(frozen=True, eq=False)
class LinearHead:
    """y = W mean_ij(a) + b: every position adds w . a_ij / (I J) to the score, and nothing else does.

    Args:
        weight: W, (N, C).
        bias: b, (N,); None where the layer has none.
    """

    weight: Tensor
    bias: Tensor | None

    def of(self, classes: Tensor) -> Tensor:
        """w^k for (B, K) class indices: (B, K, C), at least float32."""
        weight = self.weight[classes.to(self.weight.device)]
        return weight.to(torch.promote_types(weight.dtype, torch.float32))


@dataclass(frozen=True)
class Outputs:
    """What the N outputs of a head mean.

    Args:
        pathologies: names of the N outputs; '' where an output was never trained.
        operating_points: the N probabilities from which on an output counts as positive; None where there is
            none (NaN becomes None).
        kind: what calling the model gives, see `OutputKind`; None where that is to be found out at the first
            forward pass.

    Raises:
        OptionError: another number of operating points than of names, a name twice or that is none (see
            `cxr_explain.support.names`), or another kind.

    >>> Outputs(("Mass", ""), (0.1, float("nan"))).operating_points
    (0.1, None)
    """

    pathologies: tuple[str, ...]
    operating_points: tuple[float | None, ...] = ()
    kind: OutputKind | None = None

    def __post_init__(self) -> None:
        if self.kind is not None:
            check_option("kind", self.kind, OutputKind)
        named = [name for name in self.pathologies if name]
        if (flaw := first_flaw(named)) is not None:
            raise OptionError(f"an output with the name {flaw}", expected=f"{NAME_RULE}, or ''")
        if twice := sorted({name for name in named if named.count(name) > 1}):
            raise OptionError(
                f"outputs with the same name: {', '.join(map(repr, twice))}",
                expected="another name for each output, or '' where it was never trained",
            )
        points = tuple(self.operating_points) or (None,) * len(self.pathologies)
        if len(points) != len(self.pathologies):
            raise OptionError(
                f"{len(points)} operating points for {len(self.pathologies)} pathologies",
                expected="one for each",
                remedy="Of a TorchXRayVision model with a head of your own, set op_threshs to None.",
            )
        points = tuple(None if point is None or math.isnan(point) else float(point) for point in points)
        object.__setattr__(self, "pathologies", tuple(self.pathologies))
        object.__setattr__(self, "operating_points", points)

    @classmethod
    def of(cls, outputs: Outputs | Sequence[str]) -> Outputs:
        """The outputs as they are, or of their names alone.

        Raises:
            OptionError: one name in place of several.

        >>> Outputs.of(["Mass", "Edema"]).pathologies
        ('Mass', 'Edema')
        """
        if isinstance(outputs, str):
            raise OptionError(f"outputs={outputs!r}", expected=f"a sequence of names, such as [{outputs!r}]")
        return outputs if isinstance(outputs, Outputs) else cls(tuple(outputs))


class Classifier(ABC):
    """A multi-label classifier with a layer whose activations can be explained.

    Args:
        module: the user's model; it is never changed for longer than a forward pass.
        outputs: names of the N outputs; or `Outputs`, with operating points and what they are.
        input_size: side S of the square input, in pixels.
        name: name of the model, for provenance.
        target_layer: name of the explained layer, for provenance.
        weights_sha256: hexadecimal digest of the weights file, where they came from one.
        training_sets: data sets the weights were trained on, where known.
        phantom_only: the model has seen computed phantoms and no radiograph, see `cxr_explain.phantom`; by
            default what is known of the modules in it, where this package loaded them.
        notes: what a reader of explanations should know of the model.

    >>> from cxr_explain.models.hooked import HookedClassifier
    >>> pooled = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), *pooled)
    >>> classifier = HookedClassifier(model, "1", Outputs(("Effusion", "Mass")), input_size=32)
    >>> forward = classifier.forward(torch.zeros(3, 1, 32, 32))
    >>> forward.activations.shape, forward.logits.shape
    (torch.Size([3, 4, 30, 30]), torch.Size([3, 2]))
    """

    names_outputs: ClassVar[bool] = False
    """Whether the modules of this class know the names of their outputs."""

    grid: GridFunction | None = None
    """From what a layer gives to (B, C, I, J), where the shape does not tell."""

    def __init__(
        self,
        module: nn.Module,
        outputs: Outputs | Sequence[str],
        *,
        input_size: int,
        name: str,
        target_layer: str,
        weights_sha256: str | None = None,
        training_sets: Sequence[str] = (),
        phantom_only: bool | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        outputs = Outputs.of(outputs)
        if not any(outputs.pathologies):
            raise ModelError(
                "a model without a named output", expected="at least one pathology name", source=name
            )
        if any(parameter.is_meta for parameter in module.parameters()):
            raise ModelError(
                "a model on the device meta, which has shapes and no weights",
                expected="a model with its weights",
                remedy="Make room with model.to_empty(device='cpu'), and load the weights.",
                source=name,
            )
        self.module = module
        self.outputs = outputs
        self.input_size = input_size
        self.name = visible(name)
        self.target_layer = target_layer
        self.weights_sha256 = weights_sha256
        self.training_sets = tuple(training_sets)
        self.phantom_only = _saw_phantoms_alone(module) if phantom_only is None else phantom_only
        self.notes = tuple(notes)

    @property
    def description(self) -> dict[str, Any]:
        """The arguments that say the same of the model wherever it is looked at, or run."""
        names = ("input_size", "name", "weights_sha256", "training_sets", "phantom_only", "notes")
        return {name: getattr(self, name) for name in names}

    @property
    def pathologies(self) -> tuple[str, ...]:
        """The head's output names, '' where an output was never trained."""
        return self.outputs.pathologies

    @property
    def operating_points(self) -> tuple[float | None, ...]:
        """The head's operating points, None where there is none."""
        return self.outputs.operating_points

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next((p.device for p in self.module.parameters()), torch.device("cpu"))

    @property
    def by_torch(self) -> Classifier:
        """The same model run by torch, whose layers can be looked at: itself, unless an engine runs it."""
        return self

    @property
    def _dtype(self) -> torch.dtype:
        return next((p.dtype for p in self.module.parameters() if p.is_floating_point()), torch.float32)

    def forward(self, inputs: Tensor) -> ForwardPass:
        """Run one forward pass in evaluation mode; the module is left as it came.

        Args:
            inputs: model inputs, (B, 1, S, S) in [-1024, 1024].

        Raises:
            ModelError: a model whose layer or output is not as declared.
        """
        with self.undisturbed():
            result = self._forward(self.suited(inputs))
        self.check_logits(result.logits, len(inputs))
        return result

    def logits(self, inputs: Tensor, *, batch_size: int = 32) -> Tensor:
        """Score any number of inputs, in inference mode.

        Args:
            inputs: M model inputs, (M, 1, S, S) in [-1024, 1024].
            batch_size: number of inputs in one forward pass; bounds the memory.

        Returns:
            (M, N).
        """
        with self.undisturbed(), torch.inference_mode():
            parts = [self.run(self.suited(part)) for part in torch.split(inputs, batch_size)]
            return torch.cat(parts)

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Have the module to oneself, in evaluation mode; leave it as it came.

        Raises:
            ModelError: inputs of another number of channels than the model takes.
        """
        with _one_at_a_time(self.module), evaluation_mode(self.module), uncompiled(self.module):
            try:
                yield
            except RuntimeError as error:
                if (wrong := _of_channels(error, self.name)) is None:
                    raise
                raise wrong from error

    def log_odds(self, inputs: Tensor, *, batch_size: int = 32) -> Tensor:
        """The scores whose sigmoids are the probabilities, (M, N), in inference mode; see `logits`.

        They are the logits, unless exactly one output is true: then they are those of each output against
        all others.
        """
        return self.odds_of(self.logits(inputs, batch_size=batch_size))

    def odds_of(self, logits: Tensor) -> Tensor:
        """The scores whose sigmoids are the probabilities, of logits that are there already, (M, N) each."""
        return log_odds(logits) if self.outputs.kind in ONE_LABEL else logits

    def as_called(self, inputs: Tensor, logits: Tensor | None = None) -> Classifier:  # noqa: ARG002
        """The classifier whose scores are those of calling the module; this one, where it calls the module.

        Args:
            inputs: model inputs, (B, C, S, S); the first one is looked at.
            logits: what this classifier gave for them, (B, N), where that is known already.

        Raises:
            ModelError: a module whose scores cannot be explained.
        """
        return self

    def suited(self, inputs: Tensor) -> Tensor:
        """The inputs on the parameters' device, in their dtype, channels last.

        To a GPU they go from pinned memory: such a copy is faster, and does not wait for the GPU.
        """
        device = self.device
        if device.type == "cuda" and inputs.device.type == "cpu":
            inputs = inputs.pin_memory().to(device, non_blocking=True)
        suited = inputs.to(device, self._dtype)
        return suited.contiguous(memory_format=torch.channels_last) if suited.ndim == 4 else suited

    def check_inputs(self, inputs: Tensor) -> None:  # noqa: B027 - a model may take any range
        """Refuse inputs that the model's family does not take; here, none.

        Args:
            inputs: model inputs, (B, C, S, S).

        Raises:
            OptionError: another range of values than the family was trained on.
        """

    def check_logits(self, logits: object, count: int) -> None:
        """Refuse an output that is not one logit for each pathology.

        Raises:
            ModelError: says what the model gave.
        """
        if not isinstance(logits, Tensor):
            raise ModelError(
                f"an output of {type(logits).__name__}",
                expected="a (B, N) tensor of logits",
                remedy="Wrap the model in a module whose forward gives that tensor alone.",
                source=self.name,
            )
        if logits.shape != (count, len(self.pathologies)):
            raise ModelError(
                f"an output of shape {tuple(logits.shape)}",
                expected=f"{(count, len(self.pathologies))}, one logit for each pathology",
                remedy="Name each output, with '' for one that was never trained; of a model that gives "
                "several tensors, wrap it in a module whose forward gives one.",
                source=self.name,
            )

    @abstractmethod
    def _forward(self, inputs: Tensor) -> ForwardPass:
        """The forward pass, in evaluation mode already."""

    @abstractmethod
    def run(self, inputs: Tensor) -> Tensor:
        """The logits alone of suited inputs, within `undisturbed`, in gradient mode as it is."""


def log_odds(logits: Tensor) -> Tensor:
    """The log-odds of each of N outputs against all others, of which exactly one is true: (B, N) -> (B, N).

    >>> log_odds(torch.tensor([[2.0, 0.0]])).tolist()
    [[2.0, -2.0]]
    """
    itself = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
    return logits - logits[:, None].masked_fill(itself, -math.inf).logsumexp(2)


def _of_channels(error: RuntimeError, source: str) -> ModelError | None:
    """What torch says of a wrong number of channels, with the way out; None of any other error."""
    numbers = re.search(r"to have (\d+) channels, but got (\d+) channels", str(error))
    if numbers is None:
        return None
    grey = "Give grey images, (B, 1, S, S)."
    prepare = (
        "Pass HookedClassifier(model, layer, outputs, prepare=...) with a function that makes them, such as "
        "imagenet_input of one channel."
    )
    return ModelError(
        f"inputs of {numbers[2]} channels, where a convolution takes {numbers[1]}",
        expected=f"channels: {numbers[1]}",
        remedy=grey if numbers[1] == "1" else prepare,
        source=source,
    )


def _saw_phantoms_alone(module: nn.Module) -> bool:
    """Whether the module, or any in it, was loaded by this package and has seen phantoms alone."""
    kept = (vars(each) for each in module.modules())
    return any(
        CheckpointFacts.of_attributes(each).trained_on == "phantoms" for each in kept if MODULE_FACTS in each
    )


def _one_at_a_time(module: nn.Module) -> threading.RLock:
    """A lock for the module: two threads would see each other's hooks and training flags."""
    with _locks_lock:
        return _locks.setdefault(module, threading.RLock())


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Switch every submodule to evaluation mode, and back to what each one was, also after an exception."""
    training = [submodule for submodule in module.modules() if submodule.training]
    try:
        for submodule in training:
            submodule.training = False
        yield
    finally:
        for submodule in training:
            submodule.training = True
