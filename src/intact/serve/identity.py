"""Identifiers, times and seeds of a request: new ones, or the same ones if its work is repeated."""

from __future__ import annotations

import hashlib
import secrets
import time
import uuid
from contextvars import ContextVar
from itertools import count

TAG = 16
"""Number of leading hexadecimal digits that all identifiers of a request share."""


class RequestIdentity:
    """A random number for a request, and its arrival time: repeating it with the same identity gives the same bytes.

    Parameters
    ----------
    nonce : bytes
        Drawn at random for each request.
    time : float
        Seconds since 1970.
    """

    def __init__(self, nonce: bytes, time: float) -> None:
        self.nonce, self.time = nonce, time
        self._numbers = count()

    @classmethod
    def fresh(cls) -> RequestIdentity:
        """Return the identity of a new request."""
        return cls(secrets.token_bytes(16), time.time())

    @property
    def tag(self) -> str:
        """The leading digits of all its identifiers."""
        return self._digest("tag").hex()[:TAG]

    def identifier(self) -> str:
        """Return the next identifier, of 32 hexadecimal digits."""
        return self.tag + self._digest(f"identifier {next(self._numbers)}").hex()[: 32 - TAG]

    def seed(self, bits: int) -> int:
        """Return the request's seed."""
        return int.from_bytes(self._digest("seed")) >> (256 - bits)

    def _digest(self, use: str) -> bytes:
        return hashlib.sha256(self.nonce + use.encode()).digest()


REQUEST: ContextVar[RequestIdentity | None] = ContextVar("request", default=None)
"""Identity of the request that the current task is processing, if its work may be repeated elsewhere."""


def new_identifier() -> str:
    """Return an identifier of 32 hexadecimal digits, unique to the request."""
    known = REQUEST.get()
    return uuid.uuid4().hex if known is None else known.identifier()


def request_time() -> float:
    """Return the current request's arrival time in seconds since 1970; the current time if there is no request."""
    known = REQUEST.get()
    return time.time() if known is None else known.time


def new_seed(bits: int) -> int:
    """Return an unpredictable seed of the given number of bits."""
    known = REQUEST.get()
    return secrets.randbits(bits) if known is None else known.seed(bits)
