"""BM25 retrieval from a local collection of passages, in the same order on every machine.

Libraries compute scores in floating point, where the last bits depend on the machine, so repeated runs could retrieve
different passages. Here a score is an exact sum that is rounded once, and ties go to the earlier passage.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Final, NamedTuple

from intact._base.exact import ln, total

WORD: Final = re.compile(r"\w+")


class Hit(NamedTuple):
    """A retrieved passage: its index in the collection, and its score, which is above 0."""

    place: int
    score: float


def words(text: str) -> list[str]:
    """Return the case-folded words of a text; digits and letters of any script count."""
    return WORD.findall(text.casefold())


def passages(text: str) -> list[str]:
    """Split a text into passages at empty lines, stripping white space."""
    return [part.strip() for part in re.split(r"\n[ \t]*\n", text) if part.strip()]


class Index:
    """An index of passages, with the number of occurrences of each word in each passage.

    The score of a passage d is the sum of ``idf(q) f (k1 + 1) / (f + k1 (1 - b + b |d| / mean |d|))`` over the distinct
    words q of the query; f is the number of times that q occurs in d, and ``idf(q) = ln(1 + (N - n + 1/2) / (n +
    1/2))`` if n of N passages contain q. Robertson & Zaragoza 2009, The Probabilistic Relevance Framework: BM25 and
    Beyond, with Lucene's idf, which is never negative.

    Parameters
    ----------
    texts : sequence of str
        Passages to be searched.
    k1, b : float
        Saturation of repeated words (k1), and weight of the passage length, in [0, 1] (b).
    split : callable
        Splits a passage or query into words.
    """

    def __init__(
        self, texts: Sequence[str], k1: float = 1.2, b: float = 0.75, split: Callable[[str], list[str]] = words
    ) -> None:
        self.texts, self._k1, self._b, self._split = list(texts), k1, b, split

    @cached_property
    def _counts(self) -> list[Counter[str]]:
        return [Counter(self._split(text)) for text in self.texts]

    @cached_property
    def _having(self) -> Counter[str]:
        return Counter([word for counts in self._counts for word in counts])

    def search(self, query: str, most: int) -> list[Hit]:
        """Return up to `most` passages that share a word with the query, best first; ties keep their order."""
        distinct = list(dict.fromkeys(self._split(query)))
        known = {word: self._idf(word) for word in distinct if word in self._having}
        lengths = [counts.total() for counts in self._counts]
        average = sum(lengths) / max(1, len(lengths))
        hits = []
        for place, counts in enumerate(self._counts):
            norm = self._k1 * (1 - self._b + self._b * lengths[place] / average) if average else 0.0
            terms = [
                idf * counts[word] * (self._k1 + 1) / (counts[word] + norm)
                for word, idf in known.items()
                if counts[word]
            ]
            if terms:
                hits.append(Hit(place, total(terms)))
        return sorted(hits, key=lambda hit: (-hit.score, hit.place))[:most]

    def _idf(self, word: str) -> float:
        having = self._having[word]
        return ln(1 + (len(self.texts) - having + 0.5) / (having + 0.5))
