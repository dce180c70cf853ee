"""Reads one bomb in a process of its own, and says as one line of JSON what became of it.

The peak is that of the whole process, interpreter and libraries included. A limit of the address space stops
what would fill the machine; it is far above what any reader may take, so that it decides nothing else.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from pkgutil import resolve_name

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]

HEADROOM = 4 * 2**30
SECONDS = 60


def peak_mib() -> float:
    """The most memory that this process ever held, by the kernel; `ru_maxrss` would begin at the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def set_limits() -> None:
    """Stop what would go on and on; the clock on the wall runs on while others have the processor."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + HEADROOM, used + HEADROOM))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def outcome_of(reader: str, path: Path) -> tuple[str, str]:
    """What became of it: "read", the name of an error of this package, or what escaped; and its text."""
    from cxr_explain.errors import CxrExplainError

    read = resolve_name(reader)
    set_limits()
    try:
        read(path)
    except CxrExplainError as error:
        return type(error).__name__, str(error).replace(str(path), path.name)
    except BaseException as error:  # the very thing to find
        return f"ESCAPED {type(error).__name__}", str(error)[:200]
    return "read", ""


def main(reader: str, path: Path) -> None:
    resolve_name(reader)
    wall, processor = time.perf_counter(), time.process_time()
    outcome, text = outcome_of(reader, path)
    report = {
        "outcome": outcome,
        "text": text,
        "wall": time.perf_counter() - wall,
        "processor": time.process_time() - processor,
        "peak_mib": peak_mib(),
    }
    print(json.dumps(report), flush=True)
    os._exit(0)  # to give back what was read takes time that is nobody's


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
