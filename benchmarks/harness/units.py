"""How figures are written."""

from __future__ import annotations

import math

__all__ = ["figure_text", "memory_text", "number", "ratio_text"]


def number(value: float, more: int = 0) -> str:
    """Three significant digits, and no more than the figures mean.

    :param more: further digits, for a figure that is too near to a bound to be rounded.
    """
    if value == 0:
        return "0"
    digits = 2 + more - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):,.{max(digits, 0)}f}"


def figure_text(value: float, unit: str) -> str:
    """With its unit, as ``77,100 requests/s``; a ratio has none."""
    return number(value) if unit == "ratio" else f"{number(value)} {unit}"


def memory_text(value: float) -> str:
    """Of bytes."""
    return f"{value / 1e6:,.0f} MB"


def ratio_text(value: float, more: int = 0) -> str:
    """As ``1.23x``; how many times, so above 10 without decimals.

    :param more: further digits, as for `number`.
    """
    if math.isnan(value):
        return ""
    if math.isinf(value):
        return "∞"
    digits = (0 if value >= 10 else 2) + more
    return f"{value:.{digits}f}x"
