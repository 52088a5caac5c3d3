"""The progress of loading a model: its stage, the bytes read, and the time left."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, Literal

Stage = Literal["opening", "weights", "digests"]

WEIGHTS_SHARE: Final = 0.7
"""Approximate share of the time for reading all bytes that converting the weights takes; hashing them takes the rest.
Measured with three models of 135M to 500M parameters: 0.70 to 0.77.
"""
FIRST_ESTIMATE: Final = 0.05
"""Fraction of a stage's bytes from which its speed is known well enough to estimate the time left."""


class LoadingProgress:
    """The progress of loading one model, written by the thread that loads and read by others.

    Parameters
    ----------
    clock : callable
        Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._state: tuple[Stage, float, int, int] = ("opening", self._began, 0, 0)

    def weights(self, done: int, total: int) -> None:
        """Record how many bytes of weights have been converted."""
        self._advance("weights", done, total)

    def digests(self, done: int, total: int) -> None:
        """Record how many bytes of weights have been hashed."""
        self._advance("digests", done, total)

    def _advance(self, stage: Stage, done: int, total: int) -> None:
        known, began, *_ = self._state
        self._state = (stage, began if known == stage else self._clock(), done, total)

    def as_dict(self) -> dict[str, Any]:
        """Return the progress as a JSON object.

        Its members are `stage`, `bytes` and `total_bytes` of this stage, `seconds` since the beginning, and
        `seconds_left`, which is null while it cannot be estimated.
        """
        (stage, began, done, total), now = self._state, self._clock()
        left = _seconds_left(stage, done / total if total else 0.0, now - began)
        return {
            "stage": stage,
            "bytes": done,
            "total_bytes": total,
            "seconds": round(now - self._began, 1),
            "seconds_left": None if left is None else round(left, 1),
        }


def _seconds_left(stage: Stage, fraction: float, elapsed: float) -> float | None:
    """Estimate the seconds left from the fraction of a stage that is done, and the seconds that it took."""
    if stage == "opening" or fraction < FIRST_ESTIMATE:
        return None
    own = elapsed / fraction
    later = own * (1 - WEIGHTS_SHARE) / WEIGHTS_SHARE if stage == "weights" else 0.0
    return max(0.0, own - elapsed) + later
