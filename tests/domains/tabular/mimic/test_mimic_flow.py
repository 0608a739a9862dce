"""What of a real copy is printed: no small count, and none that could be had from those beside it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from domains.tabular.mimic.cohort import CohortOptions, build_cohort
from domains.tabular.mimic.flow import Exclusion, Flow, shown_rates

Rows = list[dict[str, str]]
Fold = Callable[..., Path]


def test_small_counts_of_a_real_copy_cannot_be_had() -> None:
    steps = (
        Exclusion("of a newborn", 120, 120),
        Exclusion("younger than 18", 4, 4),
        Exclusion("without a time of discharge", 0, 0),
    )
    flow = Flow(1000, 1203, steps, {"odd": 3, "often": 57})
    shown = "\n".join(flow.lines())
    assert "<10" in shown and " 4\n" not in shown and "odd: <10" in shown and "often: 57" in shown
    # 1,000 - 120 - 0 - 876 would be 4.
    assert "~880" in shown and "876" not in shown and "~1,200" in shown
    assert re.search(r"without a time of discharge +0 +0", shown)
    assert "876" in "\n".join(Flow(1000, 1203, steps, generated=True).lines())
    large = "\n".join(Flow(1000, 1203, steps[:1]).lines())
    assert "880" in large and "~" not in large and "<" not in large


@pytest.mark.parametrize(
    ("positives", "total", "real"), [(0, 40, "0.0%"), (9, 40, "-"), (10, 40, "25.0%"), (31, 40, "-"), (0, 0, "-")]
)
def test_shares_that_rest_on_few_are_not_shown(positives: int, total: int, real: str) -> None:
    assert shown_rates([(positives, total)], generated=False) == [real]
    assert total == 0 or shown_rates([(positives, total)], generated=True) == [f"{positives / total:.1%}"]


def test_a_share_that_is_not_shown_cannot_be_had_from_those_beside_it() -> None:
    """Of 94 patients 27 are ventilated, of the men 18: the nine women are not to be counted."""
    groups = [(9, 51), (18, 43)]
    assert shown_rates(groups, generated=False) == ["-", "-"]
    assert shown_rates(groups, generated=True) == ["17.6%", "41.9%"]
    assert shown_rates([(10, 51), (18, 43)], generated=False, coarse=True) == ["20%", "42%"]


def test_shares_beside_rounded_counts_are_whole_per_cents(altered: Fold) -> None:
    def keep_few(rows: list[dict[str, str]]) -> None:
        del rows[120:]

    lines = build_cohort(altered("ADMISSIONS", keep_few)).lines()
    sizes = lines[next(number for number, line in enumerate(lines) if line.startswith("all ")) :]
    assert any("~" in line for line in sizes) and any("%" in line for line in sizes)
    assert not re.search(r"\d\.\d%", "\n".join(sizes))


def test_nothing_of_a_real_copy_is_logged_and_its_lines_hold_no_small_count(
    altered: Fold, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    cohort = build_cohort(altered("PATIENTS", lambda rows: None), CohortOptions(measurements=True))
    assert not caplog.records and capsys.readouterr() == ("", "")
    assert not cohort.flow.generated and build_cohort(altered("PATIENTS", lambda rows: None, real=False)).flow.generated
    text = "\n".join(cohort.lines())
    numbers = [
        int(number.replace(",", ""))
        for number in re.findall(r"(?<![<\d.,~])\b\d[\d,]*\b(?![.%\d])", re.sub(r"younger than 18|staying 30 days", "", text))
    ]
    assert not [number for number in numbers if 0 < number < 10], text
    assert not set(map(str, cohort.subjects)) & set(re.findall(r"\d+", text))
