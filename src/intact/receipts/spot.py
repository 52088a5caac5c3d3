"""Spot checks: some of many receipts, chosen by a number that nobody knew when they were made (docs/receipts.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from math import comb
from typing import Final

from intact._base.errors import ParameterError

TAG: Final = b"intact-spot-check-1\n"
SHARES: Final = (Fraction(1, 100), Fraction(1, 20), Fraction(1, 10), Fraction(1, 4), Fraction(1, 2))
"""Of false receipts among all, for which `misses` tells how likely none of them is chosen."""


def choose(nonce: str, digests: Sequence[bytes], count: int) -> list[int]:
    """The places of the receipts to verify, ascending: those with the least SHA-256 of nonce and digest.

    Receipts of one digest count as one, and are chosen all: copies of a true one stand in for nothing else.

    Parameters
    ----------
    nonce : str
        Whatever the makers of the receipts could not know, such as a later block of a ledger.
    digests : sequence of bytes
        `Receipt.digest`, or `RunReceipt.digest`, of each.
    count : int
        How many digests are chosen.

    Raises
    ------
    ParameterError
        If the count is not positive.
    """
    if count < 1:
        raise ParameterError(f"the receipts to verify must be at least 1, got {count}")
    text = TAG + nonce.encode() + b"\n"
    ranks = {digest: hashlib.sha256(text + digest).digest() for digest in digests}
    chosen = set(sorted(ranks, key=ranks.__getitem__)[:count])
    return [place for place, digest in enumerate(digests) if digest in chosen]


def missing(total: int, chosen: int, false: int) -> Fraction:
    """The probability that none of so many false receipts is among the chosen ones: hypergeometric."""
    return Fraction(comb(total - false, chosen), comb(total, chosen)) if chosen <= total else Fraction(0)


def misses(total: int, chosen: int) -> dict[int, float]:
    """`missing` for one false receipt, and for some shares of all."""
    counts = sorted({1, *(max(1, round(total * share)) for share in SHARES)})
    return {false: float(missing(total, chosen, false)) for false in counts if false <= total}
