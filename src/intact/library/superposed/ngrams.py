"""N-gram counts of texts that superposed drafts should resemble."""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Final

from intact.numerics.sampling import DECIMALS
from intact.text import Tokenizer

ORDERS: Final = {2: 10_000, 3: 40_000, 4: 150_000, 5: 180_000, 6: 120_000}
"""Weight, in millionths, of each n-gram length in the smoothed probability."""
_DIGEST: Final = b"intact-ngrams-1\n"


class NGrams:
    """Counts of the sequences of 2 to 6 tokens in texts.

    Parameters
    ----------
    texts : iterable of sequences of int
        Token ids of the texts; n-grams do not cross text boundaries.
    """

    def __init__(self, texts: Iterable[Sequence[int]]) -> None:
        self._found: Counter[tuple[int, ...]] = Counter()
        self._begun: Counter[tuple[int, ...]] = Counter()
        for text in texts:
            tokens = tuple(map(int, text))
            for end in range(1, len(tokens)):
                for length in ORDERS:
                    if end - length + 1 >= 0:
                        gram = tokens[end - length + 1 : end + 1]
                        self._found[gram] += 1
                        self._begun[gram[:-1]] += 1

    def share(self, text: Sequence[int], token: int) -> int:
        """Return the smoothed probability (Q30) that a token follows a sequence: at most half; 0 if no n-gram matches.

        It is the sum over lengths n of the weight of n times floor(2^30 * c / C), in millionths and rounded down, where
        C is the number of times the last n - 1 tokens occur before any token, and c the number of times before this
        one.
        """
        found = 0
        for length, share in ORDERS.items():
            before = tuple(text[len(text) - length + 1 :]) if len(text) >= length - 1 else ()
            if before and (whole := self._begun[before]):
                found += share * ((self._found[(*before, token)] << 30) // whole)
        return found // DECIMALS

    @classmethod
    def of_lines(cls, tokenizer: Tokenizer, text: str) -> NGrams:
        """Count the n-grams of a text's lines, treating each line as a separate text; blank lines are skipped."""
        return cls(tokenizer.encode(line) for line in text.splitlines() if line.strip())

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of all counts. The drafts depend on the counts, not on the texts or their order.

        The hash covers a line ``intact-ngrams-1``, then each n-gram, sorted by length and then by tokens: the number of
        tokens, each token (4 bytes each) and the count (8 bytes), little-endian.
        """
        made = hashlib.sha256(_DIGEST)
        for gram, count in sorted(self._found.items(), key=lambda entry: (len(entry[0]), entry[0])):
            made.update(struct.pack(f"<{len(gram) + 1}IQ", len(gram), *gram, count))
        return made.digest()
