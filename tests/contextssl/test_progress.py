"""Progress: a bar for a terminal, few lines elsewhere."""

from __future__ import annotations

import io
import logging
import re

import pytest
from rich.console import Console

from contextssl import progress
from contextssl.progress import Progress


def test_a_terminal_gets_a_bar_with_step_loss_rate_and_time_left() -> None:
    screen = io.StringIO()
    with Progress(40, 10, Console(file=screen, force_terminal=True, width=120)) as shown:
        shown.advance(20, 0.125)
    drawn = screen.getvalue()
    assert all(part in drawn for part in ("20/40", "loss 0.1250", " steps/s", "━"))
    assert re.search(r"\d:\d\d:\d\d|-:--:--", drawn), "no time left"


def test_elsewhere_lines_come_rarely_and_at_the_end(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(float(second) for second in range(0, 1000, 5))  # five seconds pass between looks at the clock
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    screen = io.StringIO()
    with caplog.at_level(logging.INFO, "contextssl"), Progress(10, 0, Console(file=screen)) as shown:
        for step in range(1, 11):
            shown.advance(step, 1.0)
    said = [record.getMessage() for record in caplog.records]
    assert [line.split()[1] for line in said] == ["1/10", "4/10", "7/10", "10/10"]
    assert said[1] == "step 4/10  loss 1.0000  0.2 steps/s  0:30 left"
    assert screen.getvalue() == ""
