"""Every damaged file gives a Radiograph or a CxrExplainError, in bounded time and memory, without a crash."""

from __future__ import annotations

import collections
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("worker.py")
SECONDS_PER_INPUT = 20.0
CLEAN = {"Radiograph", "NotAnImageError", "UnsupportedImageError", "CorruptImageError", "ImageTooLargeError"}
CLEAN |= {"OptionError", "RadiographError"}


class Tally:
    """What became of the inputs."""

    def __init__(self) -> None:
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.bad: list[str] = []
        self.slowest = 0.0
        self.peak_kib = 0


def drive(first: int, last: int, step: int, tally: Tally) -> None:
    """Run a worker over the inputs; start another one after the input that killed it."""
    while first < last:
        reached = _run_worker(first, last, step, tally)
        if reached is None:
            return
        first = reached + step


def _run_worker(first: int, last: int, step: int, tally: Tally) -> int | None:
    process = subprocess.Popen(
        [sys.executable, str(WORKER), str(first), str(last), str(step)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    lines: queue.Queue[str | None] = queue.Queue()
    thread = threading.Thread(target=_pump, args=(process.stdout, lines), daemon=True)
    thread.start()
    current = None
    try:
        while True:
            line = lines.get(timeout=SECONDS_PER_INPUT if current is not None else 120)
            if line is None:
                break
            kind, *rest = line.split()
            if kind == "start":
                current = int(rest[0])
            elif kind == "done":
                tally.outcomes[rest[1]] += 1
                tally.slowest = max(tally.slowest, float(rest[2]))
                if rest[1] not in CLEAN:
                    tally.bad.append(f"input {current}: {rest[1]}")
            elif kind == "peak":
                tally.peak_kib = max(tally.peak_kib, int(rest[0]))
                return None
    except queue.Empty:
        tally.bad.append(f"input {current}: still running after {SECONDS_PER_INPUT} s")
    finally:
        process.kill()
        code = process.wait()
        thread.join(5)
        process.stdout.close()
    if not tally.bad or not tally.bad[-1].startswith(f"input {current}:"):
        tally.bad.append(f"input {current}: worker ended with {code}")
    if current is None:
        raise RuntimeError(f"the worker did not start (exit status {code})")
    return current


def _pump(stream, lines) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def _check(count: int, workers: int) -> Tally:
    tally = Tally()
    begin = time.perf_counter()
    threads = [threading.Thread(target=drive, args=(w, count, workers, tally)) for w in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(
        f"{sum(tally.outcomes.values())} inputs in {time.perf_counter() - begin:.0f} s, "
        f"slowest {tally.slowest:.2f} s, peak {tally.peak_kib / 1024:.0f} MiB, {dict(tally.outcomes)}"
    )
    assert tally.bad == []
    assert sum(tally.outcomes.values()) == count
    return tally


def test_damaged_files_give_a_radiograph_or_a_clear_error():
    tally = _check(300, workers=1)
    assert tally.outcomes["Radiograph"] > 0
    assert tally.outcomes["CorruptImageError"] > 0


@pytest.mark.slow
def test_many_damaged_files_give_a_radiograph_or_a_clear_error():
    _check(24_000, workers=2)
