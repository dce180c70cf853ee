"""What the numbers were measured on, and what importing costs."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

_INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
"""What decides how fast a pass can be; those of the processor are told."""

_IMPORT = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def machine() -> dict[str, str | float]:
    """Processor, cores, threads and versions; no host name and no path."""
    name, instructions = _processor()
    known = [each for each in _INSTRUCTIONS if each in instructions]
    return {
        "processor": f"{name} ({' '.join(known) or 'no AVX'})",
        "cores": os.cpu_count() or 0,
        "torch threads": torch.get_num_threads(),
        "load average, 1 min": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{package: found for package in ("onnxruntime", "openvino") if (found := _version(package))},
    }


def described() -> str:
    """The machine in one line."""
    return "Machine: " + ", ".join(f"{name} {value}" for name, value in machine().items()) + "."


def computes_bfloat16() -> bool:
    """Whether the processor has instructions for it; without them it is simulated, and slow."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(_processor()[1])


def _processor() -> tuple[str, frozenset[str]]:
    """The processor's name and its instruction sets, where Linux tells them."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    facts = dict(tuple(map(str.strip, line.split(":", 1))) for line in lines if ":" in line)
    return facts.get("model name", platform.machine()), frozenset(facts.get("flags", "").split())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def import_seconds(repetitions: int) -> dict[str, float]:
    """Median times of `import torch` and `import cxr_explain`, each in a fresh interpreter, interleaved."""
    times: dict[str, list[float]] = {"torch": [], "cxr_explain": []}
    for _ in range(repetitions + 1):
        for module, taken in times.items():
            taken.append(_import_once(module))
    return {module: statistics.median(taken[1:]) for module, taken in times.items()}  # the first fills caches


def _import_once(module: str) -> float:
    command = [sys.executable, "-c", _IMPORT.format(module)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
