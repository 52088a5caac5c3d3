"""Replay of known tokens: many tokens are verified in one step, as in scoring."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intact.engine.draft.base import Tree, make_chain
from intact.engine.request import ReplayRequest
from intact.engine.scheduler import Scheduler
from intact.engine.sequence import Drawn, Sequence, SequenceRun, SequenceWork
from intact.numerics.sampling import Draw

CHECKED_ROWS = 128
"""Maximum number of logit rows held at once for known tokens; more would not be faster."""
ORIGIN = "known"


def known_chains(works: list[SequenceWork], scheduler: Scheduler, spare: int) -> dict[Sequence, Tree]:
    """Return the known continuations of sequences that a step completes, within its spare rows and free pages."""
    spare = min(spare, CHECKED_ROWS)
    found: dict[Sequence, Tree] = {}
    for work in works:
        request, streams = work.sequence.request, len(work.shares)
        if not isinstance(request, ReplayRequest) or not work.completes or spare < streams:
            continue
        tokens = _common(work.sequence, request.known, spare // streams)
        chain = make_chain(tokens, [1.0] * len(tokens), ORIGIN)
        positions = [share + len(tokens) for share in work.shares]
        if chain is not None and scheduler.reserve_spare(work.sequence, *positions):
            found[work.sequence] = chain
            spare -= len(tokens) * streams
    return found


def _common(sequence: Sequence, known: list[NDArray[np.int32]], most: int) -> list[int]:
    """Return the known next tokens of a sequence, as far as its samples agree."""
    drawn = sequence.length - len(sequence.request.prompt)
    end = drawn + min(most, sequence.left - 1)
    first, *others = (known[sample.number][drawn:end] for sample in sequence.samples)
    for other in others:
        same = first[: len(other)] == other[: len(first)]
        first = first[: len(same) if same.all() else int(same.argmin())]
    tokens: list[int] = first.tolist()
    return tokens


class ReplayRun(SequenceRun):
    """A walk down a chain of known tokens, with draws at all positions at once.

    Each draw is the one that a separate step would have made there, given the tokens before it; the path ends at the
    first token that differs in any sample.
    """

    __slots__ = ()

    def draws(self) -> list[Draw]:
        """Return the draws of the samples at every position of the chain."""
        assert self.tree is not None
        sequence, sampling = self.sequence, self.sequence.request.sampling
        rules = self.rules.ahead() if self.rules is not None else None
        draws: list[Draw] = []
        for i, token in enumerate([*self.tree.tokens.tolist(), None]):
            edits, mask = rules.next() if rules is not None else (None, None)
            row, position = self.first + i, sequence.length + i
            draws += [Draw(row, sampling, sample.key, position, edits=edits, mask=mask) for sample in sequence.samples]
            if rules is not None and token is not None:
                rules.add(token)
                if not rules.allow():  # no token may follow: the next step raises the error
                    break
        return draws

    def take(self, drawn: list[Drawn]) -> bool:
        """Accept the draws up to and including the first that differs from the known tokens."""
        assert self.tree is not None
        each = len(self.sequence.samples)
        self.drawn = []
        for i, token in enumerate([*self.tree.tokens.tolist(), None]):
            self.drawn.append(drawn[i * each : (i + 1) * each])
            if (i + 1) * each == len(drawn) or any(one != token for one, _ in self.drawn[-1]):
                break
        self.followed = self.tree.tokens[: len(self.drawn) - 1].tolist()
        self.path = list(range(len(self.drawn)))
        if self.rules is not None:
            self.rules = self.rules.ahead()
            for token in self.followed:
                self.rules.add(token)
        return False
