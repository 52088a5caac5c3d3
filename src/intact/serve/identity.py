"""Identifiers, times and seeds that a request gets: new ones, or the same again if its work is done a second time."""

from __future__ import annotations

import hashlib
import secrets
import time
import uuid
from contextvars import ContextVar
from itertools import count

TAG = 16
"""Hexadecimal digits at the start of a request's identifiers that name the request itself."""


class RequestIdentity:
    """A number drawn for a request, and the time of its arrival: answers with these are the same to the byte.

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
        """Return the identity of a request that has just come."""
        return cls(secrets.token_bytes(16), time.time())

    @property
    def tag(self) -> str:
        """The first digits of all its identifiers."""
        return self._digest("tag").hex()[:TAG]

    def identifier(self) -> str:
        """Return the next identifier, of 32 hexadecimal digits."""
        return self.tag + self._digest(f"identifier {next(self._numbers)}").hex()[: 32 - TAG]

    def seed(self, bits: int) -> int:
        """Return a seed."""
        return int.from_bytes(self._digest("seed")) >> (256 - bits)

    def _digest(self, use: str) -> bytes:
        return hashlib.sha256(self.nonce + use.encode()).digest()


REQUEST: ContextVar[RequestIdentity | None] = ContextVar("request", default=None)
"""The identity of the request that this task works on, if its work may be done again elsewhere."""


def new_identifier() -> str:
    """Return an identifier of 32 hexadecimal digits that no other request has."""
    known = REQUEST.get()
    return uuid.uuid4().hex if known is None else known.identifier()


def request_time() -> float:
    """Return the time, in seconds since 1970: where the request's is known, that of its arrival."""
    known = REQUEST.get()
    return time.time() if known is None else known.time


def new_seed(bits: int) -> int:
    """Return a seed of so many bits that nobody can foretell."""
    known = REQUEST.get()
    return secrets.randbits(bits) if known is None else known.seed(bits)
