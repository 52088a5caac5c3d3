"""Exact rational numbers in settings: integers, decimals such as "1e-4", and fractions such as "9/10"."""

from __future__ import annotations

import re
from collections.abc import Hashable
from fractions import Fraction
from functools import lru_cache
from typing import Final

import numpy as np

from intact._base.errors import ParameterError

_FORM: Final = re.compile(r"-?\d{1,18}(?:\.\d{1,18})?(?:[eE][+-]?\d{1,2})?(?:/[1-9]\d{0,17})?")


@lru_cache(maxsize=256)
def rational(name: str, value: Hashable) -> Fraction:
    """Return a parameter as a fraction; a float counts as its shortest decimal.

    Raises
    ------
    ParameterError
        If the value is not a number in one of these forms.
    """
    text = repr(value) if isinstance(value, float) else str(value)
    if isinstance(value, bool) or not isinstance(value, int | float | str) or not _FORM.fullmatch(text):
        raise ParameterError(f'{name} must be a number such as 0.1, "1e-4" or "9/10", got {value!r:.40}')
    top, _, bottom = text.partition("/")
    return Fraction(top) / (int(bottom) if bottom else 1)


def share(name: str, value: Hashable) -> Fraction:
    """Return a parameter as a fraction in [0, 1).

    Raises
    ------
    ParameterError
        If it is not one.
    """
    found = rational(name, value)
    if not 0 <= found < 1:
        raise ParameterError(f"{name} must lie in [0, 1), got {value}")
    return found


@lru_cache(maxsize=256)
def rounded(value: Fraction) -> np.float32:
    """Return the binary64 number nearest to a fraction, rounded to float32."""
    return np.float32(float(value))
