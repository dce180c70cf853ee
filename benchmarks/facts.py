"""What the numbers were measured on, and what importing costs."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys

import torch

_IMPORT = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def machine() -> dict[str, str | float]:
    """Cores, threads and versions; no host name and no path."""
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count() or 0,
        "torch threads": torch.get_num_threads(),
        "load average, 1 min": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


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
