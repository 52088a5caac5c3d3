"""Values that are opened when first used, such as a loaded model or a server's client."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    """A value that holds memory or connections."""

    def close(self) -> None:
        """Free them."""


T = TypeVar("T", bound=Closable)


class OpenedLater(Generic[T]):
    """A value that the first caller opens, from any thread.

    Parameters
    ----------
    opening : callable
        Opens the value.
    """

    def __init__(self, opening: Callable[[], T]) -> None:
        self._opening, self._lock = opening, threading.Lock()
        self._value: T | None = None

    def get(self) -> T:
        """Return the value; the first call opens it, and raises what `opening` raises."""
        with self._lock:
            if self._value is None:
                self._value = self._opening()
            return self._value

    def close(self) -> None:
        """Close the value; the next call of `get` opens it again."""
        with self._lock:
            value, self._value = self._value, None
        if value is not None:
            value.close()
