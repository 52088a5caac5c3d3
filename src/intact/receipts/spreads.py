"""The spread of the distribution at each position of an output, in twelve bytes each: entropy and certainty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from intact.engine.sampling.spread import Spread

_NUMBER: Final = 6
SPREAD: Final = 2 * _NUMBER


def pack(spreads: Sequence[Spread]) -> bytes:
    """Encode the spreads: both numbers little-endian."""
    return b"".join([number.to_bytes(_NUMBER, "little") for spread in spreads for number in spread])


def unpack(data: bytes) -> tuple[Spread, ...]:
    """Decode the result of `pack`."""
    numbers = [int.from_bytes(data[start : start + _NUMBER], "little") for start in range(0, len(data), _NUMBER)]
    return tuple(map(Spread, numbers[::2], numbers[1::2]))
