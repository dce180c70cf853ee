"""The explainer of a transform or a handler: given, or loaded in each process when it is first needed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

from cxr_explain.explaining.explainer import Explainer, Pretrained


class LazyExplainer:
    """An explainer, or the weights of one: what goes to a worker process is the weights' name alone.

    Args:
        explainer: an Explainer, a name of weights, or a checkpoint file.
        options: keyword arguments of `Explainer.from_pretrained`, with weights.
    """

    def __init__(self, explainer: Explainer | str | PathLike[str], options: Mapping[str, Any]) -> None:
        self._source = (
            explainer if isinstance(explainer, Explainer) else Pretrained(fspath(explainer), options)
        )
        self._loaded: Explainer | None = None
        self._lock = threading.Lock()

    def get(self) -> Explainer:
        """The explainer; threads that come at the same time get the same."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._source.load() if isinstance(self._source, Pretrained) else self._source
            return self._loaded

    def __getstate__(self) -> dict[str, Any]:
        return {"_source": self._source, "_loaded": None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
