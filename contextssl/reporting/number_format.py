"""How numbers are printed, in every table, sentence and figure."""

from __future__ import annotations

import math

MISSING = "–"
MINUS = "−"


def number(value: float | None) -> str:
    """Three decimals without a leading zero, `.845`, `−.060`, `1.000`; four figures from 10 on; a dash when missing."""
    if value is None or not math.isfinite(value):
        return MISSING
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", MINUS)
    if abs(value) >= 10:
        return f"{value:.{1 if abs(value) >= 100 else 2}f}".replace("-", MINUS)
    text = f"{abs(value):.3f}"
    sign = MINUS if value < 0 and float(text) != 0 else ""
    return sign + (text[1:] if text.startswith("0") else text)


def margin(low: float | None, high: float | None) -> float | None:
    """Half the width of an interval, None where there is no interval."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return None
    return (high - low) / 2


def with_margin(mean: float | None, low: float | None, high: float | None) -> str:
    """`.845 ± .004`, the mean and half the width of its interval; the mean alone where there is no interval."""
    half = margin(low, high)
    return number(mean) if half is None or number(mean) == MISSING else f"{number(mean)} ± {number(half)}"


def with_bounds(mean: float | None, low: float | None, high: float | None) -> str:
    """`.845 [.841, .849]`, for sentences; the mean alone where there is no interval."""
    return number(mean) if margin(low, high) is None else f"{number(mean)} [{number(low)}, {number(high)}]"
