"""Vectorised exponentials and logarithms in integer arithmetic: the same bits everywhere, at NumPy's speed.

`intact._base.exact` is correct to the last bit of a double, but takes some 20 µs per number, which is too slow for
every token and its alternatives. Here numbers are in fixed point, functions use integer tables, products and shifts,
and sums are exact.
"""

from __future__ import annotations

from decimal import Context, Decimal
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intact._base.errors import ParameterError
from intact.numerics.functions import LN2
from intact.numerics.sampling import LOGPROB_SCALE

Int = NDArray[np.int64]

UNIT = LOGPROB_SCALE
"""Units per nat of log-probability: the engine's own scale."""
ONE = 1 << 31
"""Units of probability: 1 is 2^31."""
_LARGEST = 32  # e^-22 is less than half a unit of probability, so this is 0


def fixed(log_probabilities: ArrayLike) -> Int:
    """Convert log-probabilities to units of 2^-24.

    Raises
    ------
    ParameterError
        If a value is not finite, or its magnitude exceeds 2^30 nats.
    """
    values = np.asarray(log_probabilities, np.float64)
    if not np.all(np.abs(values) < 1 << 30):
        raise ParameterError("log-probabilities must be finite")
    return np.rint(values * UNIT).astype(np.int64)


@cache
def _tables() -> tuple[Int, ...]:
    """Return tables of e^-k for the integer part, and of e^-(k 2^-8), e^-(k 2^-16), e^-(k 2^-24) for its fraction."""
    context, tables = Context(prec=40), []
    for entries, step in ((_LARGEST + 1, 0), (256, 8), (256, 16), (256, 24)):
        powers = [context.exp(-Decimal(k) / (1 << step)) * ONE for k in range(entries)]
        tables.append(np.array([int(power.to_integral_value()) for power in powers], np.int64))
    return tuple(tables)


def exp(x: Int) -> Int:
    """Return e^x in units of 2^-31, for x <= 0 in units of 2^-24; positive x is treated as 0.

    The result is the product of one power for the integer part and one for each byte of the fraction, rounded half up
    after each multiplication; the error is less than three units.
    """
    t = np.clip(-np.asarray(x, np.int64), 0, _LARGEST << 24)
    whole, *bytes_ = _tables()
    power = bytes_[0][t >> 16 & 255]
    for table, shift in ((bytes_[1], 8), (bytes_[2], 0)):
        power = power * table[t >> shift & 255] + (ONE >> 1) >> 31
    product: Int = power * whole[t >> 24] + (ONE >> 1) >> 31
    return product


def ln(v: Int) -> Int:
    """Return the natural logarithm in units of 2^-24, for 1 <= v < 2^32 in units of 2^-31.

    Repeated squaring gives 28 bits of log2, as in `intact.numerics.functions.log2_fixed`: the error is less than one
    unit.
    """
    v = np.asarray(v, np.int64)
    whole = np.frexp(v.astype(np.float64))[1].astype(np.int64) - 1  # a double holds v exactly, and so its bit length
    mantissa = v.astype(np.uint64) << (31 - whole).astype(np.uint64)  # in [1, 2) in units of 2^-31
    result = whole
    for _ in range(28):
        mantissa = mantissa * mantissa >> np.uint64(31)
        bit = mantissa >> np.uint64(32)
        mantissa >>= bit
        result = 2 * result + bit.astype(np.int64)
    logarithm: Int = ((result - (31 << 28)) * LN2 + (1 << 33)) >> 34
    return logarithm
