"""Number formats of reports."""

from __future__ import annotations

import math
from collections.abc import Callable

from intact.evaluate.scores import rounded
from intact.stats.intervals import Interval

whole = "{:,.0f}".format
"""Format a number without decimals."""
signed = "{:+z.2f}".format
"""Format a number with its sign and two decimals."""


settled = rounded
"""Round to ten digits, so that the last bits of a library's sum do not decide how a tie is rounded."""


def percent(value: float) -> str:
    """Format a share as a percentage."""
    return f"{settled(value):z.1%}"


def points(difference: float) -> str:
    """Format a difference between shares in percentage points."""
    return f"{settled(100 * settled(difference)):+z.1f}"


def three(value: float) -> str:
    """Format a number with three decimals."""
    return f"{settled(value):.3f}"


def bounds(low: float | None, high: float | None, form: Callable[[float], str] = percent) -> str:
    """Format the bounds of an interval; an empty string if there is none."""
    return "" if low is None or high is None else f"{form(low)} to {form(high)}"


def with_bounds(one: Interval | None, form: Callable[[float], str] = percent) -> str:
    """Format an estimate with its interval in parentheses; an empty string if there is none."""
    return "" if one is None else f"{form(one.estimate)} ({bounds(one.low, one.high, form)})"


def or_nan(bound: float | None) -> float:
    """Return a bound, or nan if there is none."""
    return math.nan if bound is None else bound
