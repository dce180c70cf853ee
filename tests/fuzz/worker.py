"""Reads damaged files in a process of its own, so that a native crash is seen and memory is bounded.

Protocol: one line per input before it is read ("start N"), one after ("done N OUTCOME"). The parent watches.
"""

from __future__ import annotations

import os
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "fuzz"), str(ROOT.parent)]

from mutate import mutate  # noqa: E402
from radiograph_files import seeds  # noqa: E402

from cxr_explain.errors import CxrExplainError  # noqa: E402
from cxr_explain.loaders import read_radiograph  # noqa: E402

HEADROOM = 2 * 2**30


def corpus() -> list[tuple[str, bytes]]:
    found = sorted(seeds().items())
    real = os.environ.get("CXR_EXPLAIN_REAL_DATA")
    if real:
        paths = sorted((Path(real) / "dicom").glob("*.dcm"))
        found += [(p.name, p.read_bytes()) for p in paths if p.stat().st_size < 600_000]
    return found


def make_input(files: list[tuple[str, bytes]], number: int) -> tuple[str, bytes]:
    rng = random.Random(number)
    name, data = files[number % len(files)]
    return name, mutate(data, [d for _, d in files], rng)


def main(first: int, last: int, step: int) -> None:
    files = corpus()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + HEADROOM, used + HEADROOM))
    path = Path(tempfile.mkdtemp()) / "input.bin"
    options = ({}, {"xrv_compatible": True}, {"voi": "none"}, {"frame": 0})
    for number in range(first, last, step):
        _, data = make_input(files, number)
        path.write_bytes(data)
        print("start", number, flush=True)
        begin = time.perf_counter()
        try:
            read_radiograph(path, max_pixels=4_000_000, **options[number % len(options)])
            outcome = "Radiograph"
        except CxrExplainError as error:
            outcome = type(error).__name__
        except BaseException as error:  # the very thing to find
            outcome = f"ESCAPED:{type(error).__name__}"
        print("done", number, outcome, f"{time.perf_counter() - begin:.3f}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print("peak", peak, flush=True)
    path.unlink()
    path.parent.rmdir()


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:4]))
