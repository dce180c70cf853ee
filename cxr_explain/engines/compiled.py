"""A classifier whose body an engine runs; head, ranking, class maps and fusion stay torch's, in float32."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cxr_explain.engines.cache import find, forget, kept
from cxr_explain.engines.fingerprint import fingerprint
from cxr_explain.engines.registry import ENGINES, RunBody, candidates
from cxr_explain.errors import ModelError
from cxr_explain.models.base import Classifier
from cxr_explain.models.finer import FinerClassifier
from cxr_explain.models.hooked import HookedClassifier
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.models.steadiness import ModuleWatch
from cxr_explain.options import Dtype, Engine, Resolution

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

    original: PooledLinearClassifier

    def __init__(self, original: PooledLinearClassifier, engine: Engine, dtype: Dtype = "float32") -> None:
        _check_runs_elsewhere(original)
        super().__init__(
            original.module,
            EngineBody(engine, dtype, original),
            original.head,
            original.outputs,
            target_layer=original.target_layer,
            **original.description,
        )
        self.original = original
        self.engine: Engine = engine
        self.dtype: Dtype = dtype

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """See `Classifier.undisturbed`; the engine has its own copy, and the module is not touched."""
        yield

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy compiles its own module: what is compiled belongs to one process."""
        return CompiledClassifier, (self.original, self.engine, self.dtype)

    @property
    def by_torch(self) -> Classifier:
        """See `Classifier.by_torch`; the original."""
        return self.original

    def suited(self, inputs: Tensor) -> Tensor:
        """The inputs as the engine takes them: float32 on the CPU, rows one after the other.

        Raises:
            ModelError: another size, or number of channels, than the body was compiled for.
        """
        expected = (1, self.input_size, self.input_size)
        if tuple(inputs.shape[1:]) != expected:
            raise ModelError(
                f"inputs of shape {tuple(inputs.shape)}",
                expected=f"(B, {', '.join(map(str, expected))}), for which the model was compiled",
                remedy="Choose engine='torch', which takes other sizes, too.",
                source=self.name,
            )
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


class EngineBody:
    """A body that is compiled anew where its module has changed, by further training for example.

    Args:
        engine: name of the engine.
        dtype: the engine's arithmetic.
        original: the classifier in torch; None where nobody has loaded it yet, see `follow`.
        graph: the body's graph, where it is at hand; else the original's is exported, or was and is kept.
    """

    def __init__(
        self,
        engine: Engine,
        dtype: Dtype,
        original: PooledLinearClassifier | None,
        graph: bytes | None = None,
    ) -> None:
        self._engine = engine
        self._dtype = dtype
        self._original: PooledLinearClassifier | None = None
        self._watch: ModuleWatch | None = None
        self._lock = threading.Lock()
        self._run: RunBody
        if graph is not None:
            self._run = self._compiled(graph)
        if original is not None:
            self.follow(original, compiled=graph is not None)

    def follow(self, original: PooledLinearClassifier, *, compiled: bool) -> None:
        """Compile this classifier's body from now on, where its module has changed.

        Args:
            original: the classifier in torch.
            compiled: whether what was compiled is its body, as it is now.
        """
        self._original = original
        self._watch = ModuleWatch(original.module)
        if not compiled:
            self._compile(original)

    def __call__(self, inputs: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, C, I, J)."""
        if self._watch is not None and not self._watch.unchanged():
            self._compile_anew()
        return torch.from_numpy(self._run(inputs.numpy()))

    def _compile_anew(self) -> None:
        with self._lock:
            original, watch = self._original, self._watch
            if original is None or watch is None or watch.unchanged():
                return  # another thread has done it
            new = ModuleWatch(original.module)
            _check_head(original)
            _check_runs_elsewhere(original)
            self._compile(original)
            self._watch = new

    def _compile(self, original: PooledLinearClassifier) -> None:
        ENGINES[self._engine].load()
        key = fingerprint(original)
        if key is not None and (graph := find(key)) is not None:
            with suppress(Exception):  # a file of somebody else's making may be whole, and no good
                self._run = self._checked(graph, original)
                return
            forget(key)
        graph = body_graph(original) if key is None else kept(key, partial(body_graph, original))
        self._run = self._checked(graph, original)

    def _checked(self, graph: bytes, original: PooledLinearClassifier) -> RunBody:
        run = self._compiled(graph)
        _check_alike(original, run, self._engine, self._dtype)
        return run

    def _compiled(self, graph: bytes) -> RunBody:
        compile_body = ENGINES[self._engine].load()
        return compile_body(graph, dtype=self._dtype, threads=torch.get_num_threads())


class _Body(nn.Module):
    """A body as a module, which owns the model that it belongs to."""

    def __init__(self, module: nn.Module, body: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.module = module
        self._body = body

    def forward(self, image: Tensor) -> Tensor:
        return self._body(image)


def body_graph(classifier: PooledLinearClassifier, *, fold: bool = True) -> bytes:
    """The ONNX graph of a body: from "image", (B, 1, S, S), to "activations", (B, C, I, J)."""
    from cxr_explain.engines.onnx_graph import onnx_graph

    with classifier.undisturbed():
        body = _Body(classifier.module, classifier.body)
        return onnx_graph(body, noise(classifier, 2), ["activations"], name=classifier.name, fold=fold)


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
        The classifier, the engine's name, and notes: why "auto" did not take a faster engine.

    Raises:
        OptionError: an engine that does not compute in this way.
        ModelError: a model that the engine cannot run, or computes otherwise than torch.
        MissingExtraError: an engine that is not installed.
    """
    notes: list[str] = []
    if engine == "auto" and classifier.device.type != "cpu":
        return classifier, "torch", ()
    able = candidates(engine, dtype)
    if isinstance(classifier, CompiledClassifier):
        if (classifier.engine, classifier.dtype) == (able[0], dtype):
            return classifier, classifier.engine, ()
        classifier = classifier.original
    for name in able:
        if name == "torch":
            break
        try:
            return CompiledClassifier(_pooled(classifier), name, dtype), name, tuple(notes)
        except ModelError as error:
            if engine != "auto":
                raise
            notes = [f"computed by torch, as {ENGINES[name].title} cannot run this model: {error.found}"]
    return classifier, "torch", tuple(notes)


def finer(classifier: Classifier, resolution: Resolution) -> FinerClassifier:
    """The classifier with finer maps, computed by what computes the classifier.

    Args:
        classifier: the classifier in torch, or on an engine.
        resolution: how fine; see `FinerClassifier`.

    Raises:
        ModelError: a model of which no finer maps can be had, or that the engine cannot run so.
        OptionError: a resolution that the model's own inputs cannot have, on an engine.
    """
    found = FinerClassifier(classifier, resolution)
    if not isinstance(classifier, CompiledClassifier):
        return found
    side = classifier.input_size
    dense = found.dense(found.taken_out(side, side)[0])
    return FinerClassifier(
        classifier, resolution, CompiledClassifier(dense, classifier.engine, classifier.dtype)
    )


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


def _check_head(original: PooledLinearClassifier) -> None:
    """Refuse a module of which the head was replaced: what is known of it may be of the old one."""
    if any(part is original.head for part in original.module.modules()):
        return
    raise ModelError(
        f"a {type(original.module).__name__} whose head was replaced since",
        expected="the head that it had",
        remedy="Make a classifier, or an Explainer, of the module as it is now.",
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
