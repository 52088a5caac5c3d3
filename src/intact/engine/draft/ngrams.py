"""A store of n-grams: the most likely tokens after each, and the distances of their logits below the best one's."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact.engine.draft.base import Observed

LONGEST: Final = 3
"""Length of the longest n-gram."""
WIDTH: Final = 10
"""Number of tokens kept per n-gram."""
SLOTS: Final = 1 << 17
"""Number of n-grams kept; a new one replaces the oldest."""
MEMORY: Final = 16
"""Number of observations that count: a new one has a weight of at least 1 / (MEMORY + 1) in the average."""
ABSENT: Final = 1.0
"""Distance (nats) below the last candidate that is assumed for tokens outside the list."""
_BITS: Final = 20
"""Bits per token in a key."""


def key_of(tokens: tuple[int, ...]) -> int:
    """Return the key of an n-gram; `NgramStore` computes the same keys in bulk."""
    key = len(tokens)
    for token in tokens:
        key = key << _BITS | token
    return key


class NgramStore:
    """The most likely tokens after n-grams of 1 to 3 tokens, with their gaps in nats, averaged over observations.

    Parameters
    ----------
    width : int
        Number of tokens kept per n-gram.
    slots : int
        Number of n-grams kept.
    """

    def __init__(self, width: int = WIDTH, slots: int = SLOTS) -> None:
        self._width = width
        self._slots: dict[int, int] = {}  # slot of each key
        self._keys = [0] * slots  # key of each slot
        self._next = 0
        self._tokens = np.zeros((slots, width), np.int32)
        self._gaps = np.zeros((slots, width), np.float32)
        self._counts = np.zeros(slots, np.int32)

    def __len__(self) -> int:
        return len(self._slots)

    def find(self, context: tuple[int, ...]) -> tuple[list[int], list[float], int] | None:
        """Return the tokens and gaps after the longest known suffix of a context, and its length, or None."""
        for length in range(min(LONGEST, len(context)), 0, -1):
            slot = self._slots.get(key_of(context[-length:]))
            if slot is not None:
                return self._tokens[slot].tolist(), self._gaps[slot].tolist(), length
        return None

    def learn(self, observed: Observed) -> None:
        """Average each row's candidates into the n-grams that end with its token; among equal ones the last counts.

        Parameters
        ----------
        observed : Observed
            At least as many candidates as are kept, and 2 tokens before each.
        """
        texts = np.concatenate([observed.before, observed.tokens[:, None]], axis=1).astype(np.int64)
        rows: list[NDArray[np.int64]] = []
        slots: list[int] = []
        for length in range(1, LONGEST + 1):
            if texts.shape[1] < length:
                break
            known = np.flatnonzero(texts[:, -length] >= 0)
            keys = np.full(len(known), length, np.int64)
            for place in range(length, 0, -1):
                keys = keys << _BITS | texts[known, -place]
            rows.append(known)
            slots += [self._slot(key) for key in keys.tolist()]
        chosen, places = np.concatenate(rows), np.array(slots)
        gaps = (observed.gaps[:, : self._width] / 65536).astype(np.float32)
        self._merge(places, observed.candidates[chosen, : self._width], gaps[chosen])

    def _slot(self, key: int) -> int:
        slot = self._slots.get(key)
        if slot is None:
            slot = self._next
            self._next = (slot + 1) % len(self._keys)
            self._slots.pop(self._keys[slot], None)
            self._slots[key], self._keys[slot] = slot, key
            self._counts[slot] = 0
        return slot

    def _merge(self, slots: NDArray[np.int64], tokens: NDArray[np.int32], gaps: NDArray[np.float32]) -> None:
        """Average new candidates (m, width) into slots."""
        counts = self._counts[slots]
        old, old_gaps = self._tokens[slots], self._gaps[slots]
        share = (1 / (np.minimum(counts, MEMORY) + 1))[:, None].astype(np.float32)
        same = old[:, :, None] == tokens[:, None, :]
        found = same.any(axis=2)
        # Gap assumed for a token that is missing on one side.
        below, old_below = gaps[:, -1:] + ABSENT, old_gaps[:, -1:] + ABSENT
        matched = np.where(found, np.take_along_axis(gaps, same.argmax(axis=2), axis=1), below)
        kept = (1 - share) * old_gaps + share * matched
        added = np.where(same.any(axis=1), np.inf, (1 - share) * old_below + share * gaps)
        all_gaps, all_tokens = np.concatenate([kept, added], axis=1), np.concatenate([old, tokens], axis=1)
        # A new and likely token must be admitted although its earlier gap is unknown.
        admitted = np.concatenate([kept, np.minimum(added, np.where(np.isinf(added), np.inf, gaps + ABSENT))], axis=1)
        chosen = np.argsort(admitted, axis=1, kind="stable")[:, : self._width]
        all_gaps, all_tokens = (np.take_along_axis(a, chosen, axis=1) for a in (all_gaps, all_tokens))
        order = np.argsort(all_gaps, axis=1, kind="stable")
        best = np.take_along_axis(all_gaps, order, axis=1)
        first = counts == 0
        self._tokens[slots] = np.where(first[:, None], tokens, np.take_along_axis(all_tokens, order, axis=1))
        self._gaps[slots] = np.where(first[:, None], gaps, best - best[:, :1])
        self._counts[slots] = counts + 1
