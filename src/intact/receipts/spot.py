"""Spot checks: verify some of many receipts, selected by a nonce unknown to their makers (docs/spec/receipts.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from math import comb
from typing import Final

from intact._base.errors import ParameterError

TAG: Final = b"intact-spot-check-1\n"
SHARES: Final = (Fraction(1, 100), Fraction(1, 20), Fraction(1, 10), Fraction(1, 4), Fraction(1, 2))
"""Shares of false receipts for which `misses` returns the probability that none of them is selected."""


def choose(nonce: str, digests: Sequence[bytes], count: int) -> list[int]:
    """Return the indices of the receipts to verify, ascending: those with the smallest SHA-256 of nonce and digest.

    Receipts with the same digest count as one and are selected together, so copies of a true receipt cannot crowd out
    other receipts.

    Parameters
    ----------
    nonce : str
        Any string that the makers of the receipts could not know, such as a later block of a ledger.
    digests : sequence of bytes
        `Receipt.digest` or `RunReceipt.digest` of each receipt.
    count : int
        Number of digests to select.

    Raises
    ------
    ParameterError
        If the count is not positive.
    """
    if count < 1:
        raise ParameterError(f"the number of receipts to verify must be at least 1, got {count}")
    text = TAG + nonce.encode() + b"\n"
    ranks = {digest: hashlib.sha256(text + digest).digest() for digest in digests}
    chosen = set(sorted(ranks, key=ranks.__getitem__)[:count])
    return [place for place, digest in enumerate(digests) if digest in chosen]


def missing(total: int, chosen: int, false: int) -> Fraction:
    """Return the probability that no false receipt is among the selected ones (hypergeometric)."""
    return Fraction(comb(total - false, chosen), comb(total, chosen)) if chosen <= total else Fraction(0)


def misses(total: int, chosen: int) -> dict[int, float]:
    """Return `missing` for one false receipt, and for several shares of false receipts."""
    counts = sorted({1, *(max(1, round(total * share)) for share in SHARES)})
    return {false: float(missing(total, chosen, false)) for false in counts if false <= total}
