"""Two texts as one: what a reranker reads, a query and a document with control tokens around them."""

from collections.abc import Sequence
from typing import NamedTuple


class PairTokens(NamedTuple):
    """The tokens of two texts.

    Attributes
    ----------
    ids : list of int
        Token ids.
    types : list of int
        The type of each: 0 or 1, as BERT tells a second text from the first. XLM-RoBERTa has 0 alone.
    """

    ids: list[int]
    types: list[int]


class PairTemplate(NamedTuple):
    """The tokens around two texts, as `[CLS] first [SEP] second [SEP]`.

    Attributes
    ----------
    before, between, after : tuple of int
        The tokens before the first text, between both, and after the second.
    types : tuple of int
        The types of the first text, with what stands before and right after it, and of the rest.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    types: tuple[int, int]

    def join(self, first: Sequence[int], second: Sequence[int]) -> PairTokens:
        """Return the tokens of two texts with those around them."""
        head, tail = [*self.before, *first, *self.between], [*second, *self.after]
        return PairTokens(head + tail, [self.types[0]] * len(head) + [self.types[1]] * len(tail))
