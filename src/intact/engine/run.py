"""One sequence in a step: its rows, and what it draws after its last token and along the drafts that come true."""

from __future__ import annotations

from intact.engine.draft.base import Tree
from intact.engine.scheduler import Work
from intact.numerics.sampling import Draw

Drawn = tuple[int, int]
"""A token and its log-probability."""
Top = tuple[tuple[int, int], ...]


class Run:
    """A walk down a tree of drafts: a node is entered if it is the token that was drawn at the node before.

    Each draw is made under the edits and the mask of its place, so that it gives what a step of its own would have.

    Parameters
    ----------
    tree : Tree, optional
        Drafts, which run behind the text's last token.
    first : int
        Of its rows of logits: the last token's, then those of the nodes.

    Attributes
    ----------
    path : list of int
        The rows that were entered, 0 being the last token's.
    drawn : list of list
        What the samples drew there.
    followed : list of int
        Tokens of the drafts that came true, which led there.
    tops : list
        The likeliest tokens there.
    heads : list of bytes
        What entered the head there; empty where nobody asked.
    rules : Rules or None
        As of the path's end.
    """

    __slots__ = (
        "completes",
        "decodes",
        "drawn",
        "first",
        "followed",
        "heads",
        "path",
        "rows",
        "rules",
        "sequence",
        "tops",
        "tree",
    )

    def __init__(self, work: Work, tree: Tree | None, first: int) -> None:
        self.sequence, self.rows, self.completes, self.decodes = work
        self.tree, self.first = tree, first
        self.path = [0]
        self.drawn: list[list[Drawn]] = []
        self.followed: list[int] = []
        self.tops: list[Top] = [()]
        self.heads: list[bytes] = []
        self.rules = self.sequence.rules

    def draws(self) -> list[Draw]:
        """What the samples are to draw at the path's end."""
        sequence, sampling = self.sequence, self.sequence.request.sampling
        row, position = self.first + self.path[-1], sequence.length + len(self.drawn)
        edits, mask = self.rules.next() if self.rules is not None else (None, None)
        return [Draw(row, sampling, sample.key, position, edits, mask) for sample in sequence.samples]

    def take(self, drawn: list[Drawn]) -> bool:
        """Take these draws; whether they lead on to a draft, at which to draw again."""
        self.drawn.append(drawn)
        if self.tree is None:
            return False
        token = drawn[0][0]
        node = self.tree.child(self.path[-1] - 1, token)
        if node is None:
            return False
        if self.rules is not None:
            rules = self.rules.ahead()
            rules.add(token)
            if not rules.allow():  # nothing follows: the next step will say so
                return False
            self.rules = rules
        self.path.append(node + 1)
        self.followed.append(token)
        self.tops.append(())
        return True
