"""The tokens listed in a completion's log-probabilities, without those that ended it and were cut off."""

from __future__ import annotations

from collections import deque

from intact.engine.completion import Chunk, Completion
from intact.text import Tokenizer


class TokenListing:
    """Selects the tokens of a stream that belong to its text.

    A token is held back until some of its own text is certain, since it may be part of a stop string. A token that
    begins before the stop string belongs to the text; one whose characters are all cut off does not, nor does an
    uncertain one.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer, self._decoder = tokenizer, tokenizer.stream()
        self._decoded = self._certain = 0  # characters
        self._held = deque[tuple[int, Chunk]]()  # each with its offset in the text

    def push(self, chunk: Chunk) -> list[Chunk]:
        """Consume a token, and return those that are certain to be in the text."""
        self._held.append((self._decoded, chunk))
        if chunk.token < self._tokenizer.size:
            self._decoded += len(self._decoder.push(chunk.token))
        self._certain += len(chunk.text)
        found = list[Chunk]()
        while self._held and self._held[0][0] < self._certain:
            found.append(self._held.popleft()[1])
        return found

    def end(self, completion: Completion) -> list[Chunk]:
        """Return the remaining tokens of the text, once it has ended."""
        is_cut = completion.stop is not None or completion.finish == "uncertain"
        return [] if is_cut else [chunk for _, chunk in self._held]


def tokens_of(tokenizer: Tokenizer, completion: Completion) -> list[Chunk]:
    """Return the tokens in a completion's text with their log-probabilities."""
    listing, tops = TokenListing(tokenizer), completion.top or ((),) * len(completion.tokens)
    drawn = zip(completion.texts, completion.tokens, completion.logprobs or (), tops, strict=True)
    return [one for fields in drawn for one in listing.push(Chunk(*fields))] + listing.end(completion)
