"""How far a command is, told without a terminal: a line now and then, and no more."""

from __future__ import annotations

import pytest

from cxr_explain.cli import console


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(console, "time", clock)
    return clock


def test_lines_come_at_a_bounded_rate(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("evaluating", 400) as advance:
        for _ in range(400):
            clock.now += 1
            advance(1, failed=0)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 400 // console.SECONDS_BETWEEN_LINES
    assert lines[0] == "evaluating: 30 of 400 done, about 6 min left"


def test_what_is_quick_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("evaluating", 3) as advance:
        for _ in range(3):
            clock.now += 9
            advance()
    assert capsys.readouterr().err == ""


def test_failures_are_counted_and_an_end_has_no_time_left(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with console.progress("auditing", 4) as advance:
        clock.now += 40
        advance(2, failed=1)
        clock.now += 40
        advance(2)
    assert capsys.readouterr().err.splitlines() == [
        "auditing: 2 of 4 done, 1 failed, about 40 s left",
        "auditing: 4 of 4 done, 1 failed",
    ]
