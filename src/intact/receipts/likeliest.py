"""The likeliest tokens at each position of an output, as bytes: ten bytes per token, for id and log-probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

Likeliest: TypeAlias = Sequence[tuple[int, int]]
"""Tokens at one position with their log-probabilities (nats times 2^24, at most 0), the likeliest first."""
_TOKEN: Final = 4
_LOGPROB: Final = 6
PAIR: Final = _TOKEN + _LOGPROB


def pack(places: Sequence[Likeliest]) -> bytes:
    """Encode the tokens: both numbers little-endian, the log-probability without its sign."""
    return b"".join(
        [(token + (-logprob << 8 * _TOKEN)).to_bytes(PAIR, "little") for place in places for token, logprob in place]
    )


def unpack(data: bytes, places: int) -> list[tuple[tuple[int, int], ...]]:
    """Decode the result of `pack` for this number of positions; each has the same number of tokens."""
    pairs = [
        (
            int.from_bytes(data[start : start + _TOKEN], "little"),
            -int.from_bytes(data[start + _TOKEN : start + PAIR], "little"),
        )
        for start in range(0, len(data), PAIR)
    ]
    each = len(pairs) // places
    return [tuple(pairs[i * each : (i + 1) * each]) for i in range(places)]
