"""Prompt lookup (Saxena 2023): guess that the text continues as it did after an earlier match of its last tokens."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from operator import mul

from intact.engine.draft.base import (
    CEILING,
    GREEDY,
    Acceptance,
    Drafter,
    DrawContext,
    RelativeAcceptance,
    Tree,
    make_chain,
)

LONGEST = 24
"""Match length at or above which matches count as equal."""
EFFORT = 24
"""Maximum number of earlier positions to compare."""
PROMPTS = 8
"""Maximum number of prompts whose index is kept for later sequences."""
PRIORS = tuple(min(0.9, 0.25 + 0.1 * length) for length in range(LONGEST + 1))


def _pair(first: int, second: int) -> int:
    return first << 24 | second


class _Prompt:
    """A prompt with an index of its token pairs: `before[i]` is the previous position with the same pair, or -1.

    Uses chains of positions as in LZ77, not one n-gram table per n: one entry per token, and matches of any length.
    """

    def __init__(self, tokens: tuple[int, ...]) -> None:
        self.tokens = tokens
        self.last: dict[int, int] = {}
        self.before = [-1] * len(tokens)
        for i in range(1, len(tokens)):
            pair = _pair(tokens[i - 1], tokens[i])
            self.before[i] = self.last.get(pair, -1)
            self.last[pair] = i


class LookupDraft:
    """The sequence so far: a prompt, shared with its forks, and the tokens after it."""

    __slots__ = ("_acceptance", "_before", "_last", "_match", "_own", "_prompt", "_relative")

    def __init__(self, prompt: _Prompt, acceptance: Acceptance) -> None:
        self._prompt, self._acceptance, self._relative = prompt, acceptance, RelativeAcceptance()
        self._own: list[int] = []
        self._last: dict[int, int] = {}
        self._before: list[int] = []
        self._match: tuple[int, int] | None = None  # position of the guess, and number of matching tokens before it

    def __len__(self) -> int:
        return len(self._prompt.tokens) + len(self._own)

    def _at(self, place: int) -> int:
        first = len(self._prompt.tokens)
        return self._prompt.tokens[place] if place < first else self._own[place - first]

    def _append(self, token: int) -> None:
        place = len(self)
        before = -1
        if place:
            pair = _pair(self._at(place - 1), token)
            before = self._last.get(pair, -1)
            if before < 0:
                before = self._prompt.last.get(pair, -1)
            self._last[pair] = place
        self._own.append(token)
        self._before.append(before)

    def _agreement(self, place: int) -> int:
        """Return how many tokens up to `place` agree with the last ones of the sequence; two are known to agree."""
        end, length = len(self) - 1, 2
        while length < LONGEST and length <= place and self._at(place - length) == self._at(end - length):
            length += 1
        return length

    def search(self) -> tuple[int, int] | None:
        """Return the position after the longest match (the latest of equals) and its length; None if no match."""
        first = len(self._prompt.tokens)
        best: tuple[int, int] | None = None
        place, effort = len(self) - 1, EFFORT
        while place >= 0 and effort and (best is None or best[1] < LONGEST):
            place = self._prompt.before[place] if place < first else self._before[place - first]
            effort -= 1
            if place >= 0 and (length := self._agreement(place)) > (best[1] if best else 0):
                best = place + 1, length
        return best

    def _following(self, start: int, count: int) -> list[int]:
        """Return the tokens after `start`; past the end of the sequence, the guess continues with its own tokens."""
        period = len(self) - start
        found = [self._at(place) for place in range(start, start + min(count, period))]
        while len(found) < count:
            found += found[: count - len(found)]
        return found

    def extend(self, tokens: Sequence[int]) -> None:
        """Compare the guess with the tokens generated, and append them to the sequence."""
        if self._match:
            start, length = self._match
            for token, guess in zip(tokens, self._following(start, len(tokens)), strict=True):
                kind = min(length, LONGEST)
                self._relative.observe(self._acceptance.chances[kind], token == guess)
                self._acceptance.observe(kind, token == guess)
                if token != guess:
                    break
                length += 1
            self._match = None
        for token in tokens:
            self._append(token)

    def guess(self, limit: int, floor: float = 0.0) -> tuple[list[int], list[float]]:
        """Return the tokens after the longest match, and each one's chance given that those before it are accepted."""
        self._match = match = self.search() if len(self) else None
        chances: list[float] = []
        if match is None:
            return [], chances
        start, length = match
        reach = 1.0
        while len(chances) < limit:
            chance = min(CEILING, self._acceptance.chances[min(length, LONGEST)] * self._relative.factor)
            reach *= chance
            if reach < floor:
                break
            chances.append(chance)
            length += 1
        return self._following(start, len(chances)), chances

    def propose(self, limit: int, floor: float = 0.0) -> Tree | None:
        """Return a chain that ends where its chance falls below the floor."""
        tokens, chances = self.guess(limit, floor)
        return make_chain(tokens, list(accumulate(chances, mul)), Lookup.name)


class Lookup(Drafter):
    """Prompt lookup decoding (A. Saxena, 2023), using the longest match instead of fixed n-grams."""

    name = "lookup"

    def __init__(self, vocabulary: int, trees: bool = True) -> None:
        self.trees = trees
        self._acceptance = Acceptance(PRIORS)
        self._prompts: OrderedDict[tuple[int, ...], _Prompt] = OrderedDict()

    def knows(self, tokens: Sequence[int]) -> bool:
        """Return true if a sequence with these tokens was opened recently."""
        return tuple(tokens) in self._prompts

    def open(self, tokens: Sequence[int], draws: DrawContext = GREEDY) -> LookupDraft:
        """Return a draft of a sequence; equal sequences share one index."""
        key = tuple(tokens)
        prompt = self._prompts.pop(key, None) or _Prompt(key)
        self._prompts[key] = prompt
        if len(self._prompts) > PROMPTS:
            self._prompts.popitem(last=False)
        return LookupDraft(prompt, self._acceptance)
