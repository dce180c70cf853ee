"""A compiled body that follows its module's weights, without another export: for weights that change often.

To randomise weights block by block changes them a dozen times. To export a DenseNet-121 takes 20 s, to
compile its graph with other numbers in it less than 1 s.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from copy import deepcopy
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from cxr_explain.engines.compiled import CompiledClassifier, body_graph
from cxr_explain.engines.registry import ENGINES, RunBody
from cxr_explain.models.base import Classifier
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.models.steadiness import state_of
from cxr_explain.options import Dtype, Engine

_PREFIX = "module."  # of the names of the module's weights in the graph of its body

_known: WeakKeyDictionary[CompiledClassifier, PooledLinearClassifier] = WeakKeyDictionary()


def following(classifier: Classifier) -> Classifier:
    """A classifier of the same weights, whose engine takes them anew wherever they have changed.

    It has a copy of the module, so that what the classifier itself has compiled stays good.

    Args:
        classifier: any; one that torch runs follows its module's weights anyway, and is given back.

    Raises:
        ModelError: a model that cannot be exported.
    """
    if not isinstance(classifier, CompiledClassifier):
        return classifier
    if classifier not in _known:
        twin = deepcopy(classifier.original)
        _known[classifier] = _Following(twin, FollowingBody(twin, classifier.engine, classifier.dtype))
    return _known[classifier]


class _Following(PooledLinearClassifier):
    """A classifier whose body follows the weights of the original's module."""

    def __init__(self, original: PooledLinearClassifier, body: FollowingBody) -> None:
        super().__init__(
            original.module,
            body,
            original.head,
            original.outputs,
            target_layer=original.target_layer,
            **original.description
            | {"weights_sha256": None},  # its weights are others from the first change on
        )
        self._original = original

    @property
    def by_torch(self) -> Classifier:
        """See `Classifier.by_torch`."""
        return self._original


class FollowingBody:
    """A body that an engine runs with the weights that the module has then.

    Only weights may change, not what is computed of them.

    Args:
        original: the classifier in torch.
        engine: name of the engine.
        dtype: the engine's arithmetic.
    """

    def __init__(self, original: PooledLinearClassifier, engine: Engine, dtype: Dtype) -> None:
        import onnx

        self._module = original.module
        self._graph = onnx.load_from_string(body_graph(original, fold=False))
        self._engine: Engine = engine
        self._dtype: Dtype = dtype
        self._run: RunBody
        self._state: Hashable = None

    def __call__(self, inputs: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, C, I, J)."""
        if self._state != state_of(self._module):
            self._compile()
        return torch.from_numpy(self._run(np.ascontiguousarray(inputs.numpy())))

    def _compile(self) -> None:
        _put(self._graph, dict(self._module.named_parameters()) | dict(self._module.named_buffers()))
        compile_body, graph = ENGINES[self._engine].load(), self._graph.SerializeToString()
        self._run = compile_body(graph, dtype=self._dtype, threads=torch.get_num_threads())
        self._state = state_of(self._module)


def _put(graph: Any, weights: Mapping[str, Tensor]) -> None:
    """Put a module's weights in the place of those that were exported."""
    for initializer in graph.graph.initializer:
        weight = weights.get(initializer.name.removeprefix(_PREFIX))
        if weight is not None:
            initializer.raw_data = weight.detach().cpu().contiguous().numpy().tobytes()
