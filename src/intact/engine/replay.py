"""Tokens that are known before they are drawn: a run that checks many of them at once, as scoring a text would."""

from __future__ import annotations

import numpy as np

from intact.engine.draft import Tree
from intact.engine.draft.base import make_tree
from intact.engine.run import Drawn, Run
from intact.engine.scheduler import Scheduler, Work
from intact.engine.sequence import Sequence
from intact.numerics.sampling import Draw

CHECKED_ROWS = 128
"""Rows of logits that are held at once for such tokens: more would not be faster."""
ORIGIN = "known"


def known_chains(works: list[Work], scheduler: Scheduler, spare: int) -> dict[Sequence, Tree]:
    """What is known to follow the texts that a step completes, within its spare rows and the free pages."""
    spare = min(spare, CHECKED_ROWS)
    found: dict[Sequence, Tree] = {}
    for work in works:
        sequence, known = work.sequence, work.sequence.request.known
        if known is None or not work.completes or spare < 1:
            continue
        drawn = sequence.length - len(sequence.request.prompt)
        tokens = known[drawn : drawn + min(spare, sequence.left - 1)].tolist()
        count = len(tokens)
        chain = make_tree(tokens, range(-1, count - 1), [1.0] * count, [ORIGIN] * count)
        if chain is not None and scheduler.reserve_spare(sequence, work.rows + count):
            found[sequence] = chain
            spare -= count
    return found


class Replay(Run):
    """A walk down a chain that is known to be right unless somebody lied: all its places draw at once.

    What is drawn at a place is what a step of its own would have given there if the tokens before it came true; the
    path ends at the first that did not.
    """

    __slots__ = ()

    def draws(self) -> list[Draw]:
        """What the sample is to draw at every place of the chain."""
        assert self.tree is not None
        sequence, sampling = self.sequence, self.sequence.request.sampling
        (sample,) = sequence.samples
        rules = self.rules.fork() if self.rules is not None else None
        draws: list[Draw] = []
        for i, token in enumerate([*self.tree.tokens.tolist(), None]):
            edits, mask = rules.next() if rules is not None else (None, None)
            draws.append(Draw(self.first + i, sampling, sample.key, sequence.length + i, edits, mask))
            if rules is not None and token is not None:
                rules.add(token)
                if not rules.allow():  # nothing follows: the next step will say so
                    break
        return draws

    def take(self, drawn: list[Drawn]) -> bool:
        """Take the draws as far as they came true, and the first that did not."""
        assert self.tree is not None
        expected = np.array([token for token, _ in drawn[: len(self.tree.tokens)]]) == self.tree.tokens[: len(drawn)]
        followed = int(expected.argmin()) if not expected.all() else len(expected)
        followed = min(followed, len(drawn) - 1)
        self.drawn = [[one] for one in drawn[: followed + 1]]
        self.followed = self.tree.tokens[:followed].tolist()
        self.path = list(range(followed + 1))
        self.tops = [()] * (followed + 1)
        if self.rules is not None:
            self.rules = self.rules.fork()
            for token in self.followed:
                self.rules.add(token)
        return False
