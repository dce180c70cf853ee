"""No file makes a reader take more than 1 GB or 20 s: it is read, or refused by an error of this package."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from bombs import Bomb, all_bombs, sample

from cxr_explain import errors

WORKER = Path(__file__).with_name("bomb_worker.py")
MOST_MIB, MOST_SECONDS = 1000, 20
# For what waits; what works is stopped by a limit of the processor's time.
PATIENCE = 30 * MOST_SECONDS
OWN_ERRORS = {name for name, value in vars(errors).items() if isinstance(value, type)}

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")


@dataclass(frozen=True)
class Report:
    """What became of a bomb, as `bomb_worker.py` says it."""

    outcome: str
    text: str
    wall: float
    processor: float
    peak_mib: float

    @property
    def problem(self) -> str | None:
        """What is not as it should be."""
        if self.outcome != "read" and self.outcome not in OWN_ERRORS:
            return f"{self.outcome}: {self.text}"
        if "\n" in self.text:
            return f"an error of several lines: {self.text}"
        if self.peak_mib > MOST_MIB:
            return f"{self.peak_mib:.0f} MiB ({self.outcome} {self.text})"
        if self.processor > MOST_SECONDS:
            return f"{self.processor:.1f} s ({self.outcome} {self.text})"
        return None


def explode(bomb: Bomb) -> Report:
    """Write a bomb, and read it in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = bomb.make(Path(folder))
        command = [sys.executable, str(WORKER), bomb.reader, str(path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            return Report(f"still running after {PATIENCE} s", "", PATIENCE, PATIENCE, 0)
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        return Report(f"the process ended with {done.returncode}", done.stderr[-300:], 0, 0, 0)
    return Report(**json.loads(lines[-1]))


def test_no_two_bombs_have_one_name():
    assert [name for name, count in Counter(bomb.name for bomb in all_bombs()).items() if count > 1] == []


@pytest.mark.parametrize("bomb", sample(), ids=lambda bomb: bomb.name)
def test_a_bomb_is_read_or_refused_within_the_limits(bomb):
    assert explode(bomb).problem is None


@pytest.mark.slow
def test_all_bombs_are_read_or_refused_within_the_limits():
    reports = {bomb.name: explode(bomb) for bomb in all_bombs()}
    for name, report in reports.items():
        said = f"{report.outcome} {report.text}"
        print(f"{report.peak_mib:6.0f} MiB {report.processor:6.2f} s  {name}: {said}")
    largest, peak = max(((name, each.peak_mib) for name, each in reports.items()), key=lambda pair: pair[1])
    slowest, time = max(((name, each.processor) for name, each in reports.items()), key=lambda pair: pair[1])
    outcomes = dict(Counter(report.outcome for report in reports.values()))
    print(
        f"{len(reports)} bombs: largest peak {peak:.0f} MiB ({largest}), "
        f"longest {time:.1f} s of the processor ({slowest}); {outcomes}"
    )
    assert {name: report.problem for name, report in reports.items() if report.problem} == {}
    assert len(reports) >= 200
