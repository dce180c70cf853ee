"""A small network on each engine, exported once a process, and how many images went through a body."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import get_args

from torch import Tensor

from cxr_explain.engines.compiled import CompiledClassifier
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.models.xrv import XRVDenseNet
from cxr_explain.options import Dtype, Engine
from tests.networks import small_xrv

COMPILED: tuple[Engine, ...] = tuple(name for name in get_args(Engine) if name not in ("torch", "auto"))


@cache
def small_classifier() -> XRVDenseNet:
    """One for all, so that its graph is kept; nobody changes it for good."""
    return XRVDenseNet(small_xrv().eval(), input_size=64)


@cache
def small_compiled(engine: Engine, dtype: Dtype = "float32") -> CompiledClassifier:
    return CompiledClassifier(small_classifier(), engine, dtype)


@contextmanager
def counted(classifier: PooledLinearClassifier) -> Iterator[list[int]]:
    """The number of images of each pass through the body."""
    body: Callable[[Tensor], Tensor] = classifier.body
    passes: list[int] = []

    def counting(inputs: Tensor) -> Tensor:
        passes.append(len(inputs))
        return body(inputs)

    classifier._body = counting  # the one place that all passes go through
    try:
        yield passes
    finally:
        classifier._body = body
