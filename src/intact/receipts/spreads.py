"""The spread of the distribution at each place of a text, as bytes: twelve for each, entropy and certainty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from intact.engine.sampling.spread import Spread

_NUMBER: Final = 6
SPREAD: Final = 2 * _NUMBER


def pack(spreads: Sequence[Spread]) -> bytes:
    """Write them: both numbers little-endian."""
    return b"".join([number.to_bytes(_NUMBER, "little") for spread in spreads for number in spread])


def unpack(data: bytes) -> tuple[Spread, ...]:
    """Read what `pack` wrote."""
    numbers = [int.from_bytes(data[start : start + _NUMBER], "little") for start in range(0, len(data), _NUMBER)]
    return tuple(map(Spread, numbers[::2], numbers[1::2]))
