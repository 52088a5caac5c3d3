"""Text pairs: a reranker's input, a query and a document with control tokens around them."""

from collections.abc import Sequence
from typing import NamedTuple


class PairTokens(NamedTuple):
    """The tokens of a text pair.

    Attributes
    ----------
    ids : list of int
        Token ids.
    types : list of int
        Type of each token: 0 or 1, which BERT uses to mark the second text. XLM-RoBERTa uses only 0.
    """

    ids: list[int]
    types: list[int]


class PairTemplate(NamedTuple):
    """The tokens around a text pair, as in `[CLS] first [SEP] second [SEP]`.

    Attributes
    ----------
    before, between, after : tuple of int
        Tokens before the first text, between the two, and after the second.
    types : tuple of int
        Token type of the first text and of the tokens before and right after it, and token type of the rest.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    types: tuple[int, int]

    def join(self, first: Sequence[int], second: Sequence[int]) -> PairTokens:
        """Return the tokens of a pair, including those around the texts."""
        head, tail = [*self.before, *first, *self.between], [*second, *self.after]
        return PairTokens(head + tail, [self.types[0]] * len(head) + [self.types[1]] * len(tail))
