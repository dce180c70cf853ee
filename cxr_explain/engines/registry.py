"""The engines, one entry each; the module of an engine is imported at its first use.

FM-G-CAM behind global average pooling and a linear layer needs no gradient of the body: whatever runs the
body gives all that an explanation needs. Head, ranking, class maps and fusion stay torch's, in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from cxr_explain.errors import OptionError
from cxr_explain.options import Dtype, Engine, check_option
from cxr_explain.support.extras import require


class RunBody(Protocol):
    """A compiled body. It may be called from several threads."""

    def __call__(self, inputs: NDArray[np.float32], /) -> NDArray[np.float32]:
        """(B, 1, S, S) -> (B, C, I, J); the result belongs to the caller."""
        ...


class CompileBody(Protocol):
    """What an engine does: it makes a body that can be called of an ONNX graph."""

    def __call__(self, graph: bytes, *, dtype: Dtype, threads: int) -> RunBody:
        """Compile a graph with the input "image" and the output "activations".

        Args:
            graph: the ONNX file's content.
            dtype: arithmetic of the engine.
            threads: cores that it may use.
        """
        ...


@dataclass(frozen=True)
class EngineEntry:
    """One engine.

    Args:
        title: its name for people.
        package: the Python module that it comes as, and the extra that brings it, which has the same name;
            '' for torch.
        compiler: the module in `cxr_explain.engines` and the `CompileBody` in it; '' for torch.
        dtypes: the arithmetic that it offers.

    >>> ENGINES["openvino"].title, ENGINES["torch"].installed
    ('OpenVINO', True)
    """

    title: str
    package: str
    compiler: str
    dtypes: tuple[Dtype, ...]

    @property
    def installed(self) -> bool:
        """Whether it can be used here; nothing is imported."""
        return not self.package or find_spec(self.package) is not None

    @property
    def version(self) -> str:
        """Name and version for provenance; '' for torch, whose version stands there anyway.

        Raises:
            MissingExtraError: it is not installed.
        """
        if not self.package:
            return ""
        require(self.package, self.package)
        return f"{self.title} {_version(self.package)}"

    def load(self) -> CompileBody:
        """The function that compiles.

        Raises:
            MissingExtraError: the engine is not installed.
        """
        require(self.package, self.package)
        return cast(CompileBody, resolve_name(f"cxr_explain.engines.{self.compiler}"))


@cache
def _version(package: str) -> str:
    """The version that is installed; reading it takes milliseconds, and every explanation has it."""
    return version(package)


ENGINES: dict[Engine, EngineEntry] = {
    "torch": EngineEntry("torch", "", "", ("float32", "bfloat16")),
    "onnxruntime": EngineEntry("ONNX Runtime", "onnxruntime", "onnx_runtime:compile_body", ("float32",)),
    "openvino": EngineEntry("OpenVINO", "openvino", "open_vino:compile_body", ("float32", "bfloat16")),
}
"""Each engine by the name that `--engine` takes."""

FASTEST_FIRST: tuple[Engine, ...] = ("onnxruntime", "openvino", "torch")
"""The order in which "auto" tries the engines: `benchmarks/README.md` has their times."""


def candidates(engine: Engine, dtype: Dtype) -> Sequence[Engine]:
    """The names of the engines to try, in order; one of them, unless "auto" is asked for.

    Raises:
        OptionError: an unknown engine, or one that does not compute in this way.
        MissingExtraError: an engine that is not installed.

    >>> candidates("torch", "bfloat16")
    ('torch',)
    >>> candidates("auto", "float32")[-1]
    'torch'
    """
    check_option("engine", engine, Engine)
    if engine == "auto":
        entries = [(name, ENGINES[name]) for name in FASTEST_FIRST]
        return tuple(name for name, entry in entries if entry.installed and dtype in entry.dtypes)
    entry = ENGINES[engine]
    if dtype not in entry.dtypes:
        able = [name for name, each in ENGINES.items() if dtype in each.dtypes]
        raise OptionError(
            f"engine={engine!r} with dtype={dtype!r}",
            expected=f"dtype={entry.dtypes[0]!r}, or the engine {' or '.join(able)}",
        )
    if entry.package:
        require(entry.package, entry.package)
    return (engine,)
