"""A classifier whose body an engine runs; head, ranking, class maps and fusion stay torch's, in float32."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from cxr_explain.engines.cache import find, forget, kept
from cxr_explain.engines.fingerprint import fingerprint
from cxr_explain.engines.onnx_graph import onnx_graph
from cxr_explain.engines.registry import ENGINES, RunBody, candidates
from cxr_explain.errors import ModelError
from cxr_explain.models.base import Classifier
from cxr_explain.models.hooked import HookedClassifier
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.models.steadiness import state_of
from cxr_explain.options import Dtype, Engine

_MAY_DIFFER: dict[str, float] = {"float32": 1e-3, "bfloat16": 0.2}
"""What the arithmetic may change of a logit y, in parts of 1 + |y|, on noise."""


class CompiledClassifier(PooledLinearClassifier):
    """A classifier whose body an engine runs.

    Args:
        original: the classifier in torch; its module is never changed.
        engine: name of the engine, one of `ENGINES`.
        dtype: the engine's arithmetic.

    Raises:
        ModelError: a model that the engine cannot run, or computes otherwise than torch.
        MissingExtraError: the engine is not installed.
    """

    def __init__(self, original: PooledLinearClassifier, engine: Engine, dtype: Dtype = "float32") -> None:
        _check_runs_elsewhere(original)
        body = EngineBody(original, engine, dtype)
        super().__init__(
            original.module,
            body,
            original.head,
            original.outputs,
            input_size=original.input_size,
            name=original.name,
            target_layer=original.target_layer,
            weights_sha256=original.weights_sha256,
            training_sets=original.training_sets,
            phantom_only=original.phantom_only,
            notes=original.notes,
        )
        self.original = original
        self.engine = engine
        self.dtype = dtype

    def suited(self, inputs: Tensor) -> Tensor:
        """The inputs as the engine takes them: float32 on the CPU, rows one after the other."""
        return inputs.to("cpu", torch.float32).contiguous()

    def check_inputs(self, inputs: Tensor) -> None:
        """See `Classifier.check_inputs`; what the original takes."""
        self.original.check_inputs(inputs)

    def call(self, inputs: Tensor) -> object:
        """Whatever the module gives; torch runs it."""
        return self.original.call(self.original.suited(inputs))

    def hooked(self) -> HookedClassifier | None:
        """See `PooledLinearClassifier.hooked`; torch runs it."""
        return self.original.hooked()

    def as_called(self, inputs: Tensor, logits: Tensor | None = None) -> Classifier:  # noqa: ARG002
        """This classifier, if the scores of the original are those of calling the module.

        See `Classifier.as_called`.
        """
        found = self.original.as_called(inputs)
        if found is not self.original:
            return found
        self.outputs = self.original.outputs
        return self


@dataclass(eq=False)
class EngineBody:
    """A body that is compiled anew where its module has changed, by further training for example.

    Args:
        original: the classifier in torch.
        engine: name of the engine.
        dtype: the engine's arithmetic.
    """

    original: PooledLinearClassifier
    engine: Engine
    dtype: Dtype
    _run: RunBody = field(init=False, repr=False)
    _state: Hashable = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._compile()

    def __call__(self, inputs: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, C, I, J)."""
        if self._state != state_of(self.original.module):
            self._compile()
        return torch.from_numpy(self._run(inputs.numpy()))

    def _compile(self) -> None:
        self._state = state_of(self.original.module)
        ENGINES[self.engine].load()
        key = fingerprint(self.original)
        if key is not None and (graph := find(key)) is not None:
            with suppress(Exception):  # a file of somebody else's making may be whole, and no good
                self._run = self._compiled(graph)
                return
            forget(key)
        graph = body_graph(self.original) if key is None else kept(key, partial(body_graph, self.original))
        self._run = self._compiled(graph)

    def _compiled(self, graph: bytes) -> RunBody:
        compile_body = ENGINES[self.engine].load()
        run = compile_body(graph, dtype=self.dtype, threads=torch.get_num_threads(), cache=None)
        _check_alike(self.original, run, self.engine, self.dtype)
        return run


class _Body(nn.Module):
    """A body as a module, which owns the model that it belongs to."""

    def __init__(self, module: nn.Module, body: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.module = module
        self._body = body

    def forward(self, image: Tensor) -> Tensor:
        return self._body(image)


def body_graph(classifier: PooledLinearClassifier) -> bytes:
    """The ONNX graph of a body: from "image", (B, 1, S, S), to "activations", (B, C, I, J)."""
    with classifier.undisturbed():
        body = _Body(classifier.module, classifier.body)
        return onnx_graph(body, noise(classifier, 2), ["activations"], name=classifier.name)


def noise(classifier: Classifier, count: int) -> Tensor:
    """Inputs in which nothing is to be seen, to try a model with: (B, 1, S, S) in [-1024, 1024]."""
    side = classifier.input_size
    generator = torch.Generator().manual_seed(0)
    return classifier.suited(torch.rand(count, 1, side, side, generator=generator) * 2048 - 1024)


def on_engine(
    classifier: Classifier, engine: Engine, dtype: Dtype
) -> tuple[Classifier, Engine, tuple[str, ...]]:
    """The classifier on an engine.

    Args:
        classifier: the classifier in torch.
        engine: name of the engine; "auto" takes the fastest that is installed and can run it.
        dtype: the engine's arithmetic.

    Returns:
        The classifier, the name of its engine, and notes: why "auto" did not take a faster engine.

    Raises:
        OptionError: an engine that does not compute in this way.
        ModelError: a model that the engine cannot run, or computes otherwise than torch.
        MissingExtraError: an engine that is not installed.
    """
    classifier = classifier.original if isinstance(classifier, CompiledClassifier) else classifier
    notes: list[str] = []
    if engine == "auto" and classifier.device.type != "cpu":
        return classifier, "torch", ()
    for name in candidates(engine, dtype):
        if name == "torch":
            break
        try:
            return CompiledClassifier(_pooled(classifier), name, dtype), name, tuple(notes)
        except ModelError as error:
            if engine != "auto":
                raise
            notes = [f"computed by torch, as {ENGINES[name].title} cannot run this model: {error.found}"]
    return classifier, "torch", tuple(notes)


def _pooled(classifier: Classifier) -> PooledLinearClassifier:
    if isinstance(classifier, PooledLinearClassifier):
        return classifier
    raise ModelError(
        "a head that is not known to be global average pooling and one linear layer",
        expected="such a head, behind which maps need no gradient",
        remedy="Choose engine='torch', which explains any model.",
        source=classifier.name,
    )


def _check_runs_elsewhere(original: PooledLinearClassifier) -> None:
    """Refuse what an engine would compute in another place, or in another format, than the user asked for."""
    device, dtype = original.device.type, original.head.weight.dtype
    if device == "cpu" and dtype == torch.float32:
        return
    found = f"a model on {device}" if device != "cpu" else f"weights of {str(dtype).removeprefix('torch.')}"
    raise ModelError(
        found,
        expected="a model of float32 on the CPU, where engines compute",
        remedy="Choose engine='torch', or move the model: device='cpu', model.float().",
        source=original.name,
    )


def _check_alike(original: PooledLinearClassifier, run: RunBody, engine: Engine, dtype: Dtype) -> None:
    """Refuse an engine that does not compute what torch computes."""
    inputs = noise(original, 2)
    activations = torch.from_numpy(run(np.ascontiguousarray(inputs.numpy())))
    ours, engines = original.logits(inputs), original.logits_behind(activations)
    off = float(((ours - engines).abs() / (1 + ours.abs())).max())
    if not off <= _MAY_DIFFER[dtype]:
        raise ModelError(
            f"logits by {ENGINES[engine].title} that differ by up to {off:.2g} of torch's, on noise",
            expected=f"at most {_MAY_DIFFER[dtype]:g} of 1 + |logit| in {dtype}",
            remedy="Choose engine='torch'.",
            source=original.name,
        )
