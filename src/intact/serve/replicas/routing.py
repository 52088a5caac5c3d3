"""Routing: send a request to a replica that has answered one with the same prefix, whose cache pages it can reuse."""

from __future__ import annotations

import hashlib
import json
import random
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

Route = Literal["prefix", "random"]

BLOCK = 256
"""Block size in bytes for comparing the prefixes of requests."""
LONGEST = 1024
"""Maximum number of blocks of a request to compare."""
REMEMBERED = 1 << 16
"""Maximum number of blocks remembered per replica, from the latest requests."""
SLACK = 4
"""Number of requests by which a replica may exceed the least loaded one and still receive those with its prefixes."""
_FIELDS = ("model", "tools", "system", "instructions", "messages", "prompt", "input")
"""Fields of requests that form the beginning of a prompt, the most widely shared first."""


def blocks(body: bytes) -> list[bytes]:
    """Return digests of a request's prefixes: of its first block, its first two, and so on; empty if it has no text.

    Parameters
    ----------
    body : bytes
        JSON of any API. Only the routing depends on it, so a body that is not JSON simply has no prefixes.
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
    """The replica chosen for a request, and the number of its prefix blocks that were sent there before."""

    replica: int
    known: int


class PrefixRouter:
    """Chooses replicas by the prefixes of the requests they have received.

    Parameters
    ----------
    route : {'prefix', 'random'}
        'random' ignores prefixes and loads; it serves as a baseline for measurements.
    """

    def __init__(self, route: Route = "prefix") -> None:
        self.route = route
        self._known: dict[int, OrderedDict[bytes, None]] = {}
        self._random = random.Random(0)

    def choose(self, beginnings: Sequence[bytes], loads: Mapping[int, int]) -> RoutedTo:
        """Choose the replica for a request, and record that it will have the request's prefix.

        The replica with the longest matching prefix is chosen, leaving out those whose number of requests exceeds that
        of the least loaded one by more than `SLACK` and by more than half the average. Ties go to the least loaded,
        then to the first.

        Parameters
        ----------
        beginnings : sequence of bytes
            As returned by `blocks`.
        loads : mapping of int to int
            Number of requests at each available replica; not empty.
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
        """Return the number of a request's prefix blocks that were sent to a replica before."""
        known: Mapping[bytes, None] = self._known.get(replica, {})
        return next((i for i, block in enumerate(beginnings) if block not in known), len(beginnings))

    def forget(self, replica: int) -> None:
        """Forget the prefixes sent to a replica that is gone, along with its cache pages."""
        self._known.pop(replica, None)
