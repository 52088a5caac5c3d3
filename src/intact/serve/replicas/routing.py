"""Routing: a request goes to the replica that has answered one with the same beginning, whose pages it then finds."""

from __future__ import annotations

import hashlib
import json
import random
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

Route = Literal["prefix", "random"]

BLOCK = 256
"""Bytes of a request's text by which beginnings are compared."""
LONGEST = 1024
"""Blocks of a request that are looked at."""
REMEMBERED = 1 << 16
"""Blocks that are remembered of each replica: of the last requests that went there."""
SLACK = 4
"""Requests that a replica may have more than the least loaded one, and still get those with its beginnings."""
_FIELDS = ("model", "tools", "system", "instructions", "messages", "prompt", "input")
"""The fields of requests that make the beginning of a prompt, in an order that puts first what several share."""


def blocks(body: bytes) -> list[bytes]:
    """Return digests of a request's beginnings: of its first block, its first two, and so on; none if it has no text.

    Parameters
    ----------
    body : bytes
        JSON, of whichever API. Only where requests go depends on it, so that what is no JSON has no beginnings.
    """
    try:
        value = json.loads(body)
    except ValueError:
        return []
    if not isinstance(value, dict):
        return []
    text = "\n".join(_text(value[name]) for name in _FIELDS if value.get(name)).encode("utf-8", "replace")
    found, digest = list[bytes](), hashlib.blake2b(digest_size=8)
    for start in range(0, min(len(text), BLOCK * LONGEST) - BLOCK + 1, BLOCK):
        digest.update(text[start : start + BLOCK])
        found.append(digest.digest())
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class RoutedTo(NamedTuple):
    """The replica that gets a request, and how many blocks of the request's beginning went there before."""

    replica: int
    known: int


class PrefixRouter:
    """Chooses replicas by the beginnings of the requests that went to them.

    Parameters
    ----------
    route : {'prefix', 'random'}
        'random' ignores beginnings and loads; it is there to be measured against.
    """

    def __init__(self, route: Route = "prefix") -> None:
        self.route = route
        self._known: dict[int, OrderedDict[bytes, None]] = {}
        self._random = random.Random(0)

    def choose(self, beginnings: Sequence[bytes], loads: Mapping[int, int]) -> RoutedTo:
        """Choose the replica for a request, and note that its beginning will be there.

        It is the one that knows the longest beginning; those that have over `SLACK` requests, and over half the
        average, more than the least loaded are left out. Of equals it is the least loaded, of these the first.

        Parameters
        ----------
        beginnings : sequence of bytes
            As `blocks` returns them.
        loads : mapping of int to int
            The number of requests at each replica that can be chosen; not empty.
        """
        if self.route == "random":
            chosen = self._random.choice(sorted(loads))
            return RoutedTo(chosen, self.match(chosen, beginnings))
        least, average = min(loads.values()), sum(loads.values()) / len(loads)
        fit = [
            RoutedTo(one, self.match(one, beginnings))
            for one, load in loads.items()
            if load - least <= max(SLACK, average / 2)
        ]
        found = min(fit, key=lambda one: (-one.known, loads[one.replica], one.replica))
        known = self._known.setdefault(found.replica, OrderedDict())
        for block in beginnings:
            known[block] = None
            known.move_to_end(block)
        while len(known) > REMEMBERED:
            known.popitem(last=False)
        return found

    def match(self, replica: int, beginnings: Sequence[bytes]) -> int:
        """Return how many blocks of a request's beginning went to a replica before."""
        known: Mapping[bytes, None] = self._known.get(replica, {})
        return next((i for i, block in enumerate(beginnings) if block not in known), len(beginnings))

    def forget(self, replica: int) -> None:
        """Forget what went to a replica: it is gone, and its pages with it."""
        self._known.pop(replica, None)
