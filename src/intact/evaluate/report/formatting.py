"""Numbers as reports print them."""

from __future__ import annotations

import math
from collections.abc import Callable

from intact._base.exact import significant
from intact.evaluate.scores import DIGITS


def settled(value: float) -> float:
    """Round to ten digits, so that the last bits of a library's sum do not decide how a tie is printed."""
    return significant(value, DIGITS)


def percent(value: float) -> str:
    """Format a share as a percentage."""
    return f"{settled(value):z.1%}"


def points(difference: float) -> str:
    """Format a difference of shares in percentage points."""
    return f"{settled(100 * settled(difference)):+z.1f}"


def bounds(low: float | None, high: float | None, form: Callable[[float], str] = percent) -> str:
    """Format the bounds of an interval; an empty text if there is none."""
    return "" if low is None or high is None else f"{form(low)} to {form(high)}"


def with_bounds(estimate: float, low: float, high: float, form: Callable[[float], str] = percent) -> str:
    """Format an estimate with its interval in parentheses."""
    return f"{form(estimate)} ({bounds(low, high, form)})"


def or_nan(bound: float | None) -> float:
    """Return a bound, or nan if there is none."""
    return math.nan if bound is None else bound
