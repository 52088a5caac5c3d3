"""Spot checks choose those receipts that docs/spec/receipts.md says: by the least digests, which nobody can foresee."""

import hashlib

import pytest

from intact._base.errors import ParameterError
from intact.receipts.spot import choose

DIGESTS = [bytes([i]) * 32 for i in range(20)]


def rank(nonce: str, digest: bytes) -> bytes:
    """SHA-256 of the tag, the nonce and the digest, as the document has it."""
    return hashlib.sha256(b"intact-spot-check-1\n" + nonce.encode() + b"\n" + digest).digest()


@pytest.mark.parametrize("count", [1, 3, 19])
@pytest.mark.parametrize("nonce", ["", "block 7", "é"])
def test_the_least_are_chosen(nonce: str, count: int) -> None:
    ranked = sorted(range(len(DIGESTS)), key=lambda place: rank(nonce, DIGESTS[place]))
    assert choose(nonce, DIGESTS, count) == sorted(ranked[:count])


def test_copies_count_as_one_and_are_chosen_all() -> None:
    first, second = sorted(DIGESTS[:2], key=lambda digest: rank("x", digest))
    assert choose("x", [second, first, second, first], 1) == [1, 3]
    assert choose("x", [second, first, second, first], 2) == [0, 1, 2, 3]


def test_a_choice_is_pinned() -> None:
    assert choose("00000000000000000001dd05", DIGESTS, 4) == [2, 8, 13, 19]


def test_none_are_no_choice() -> None:
    with pytest.raises(ParameterError, match="at least 1, got 0"):
        choose("x", DIGESTS, 0)
