"""The tokens of a text that are listed with their log-probabilities: not those that ended it and were cut off."""

from __future__ import annotations

from collections import deque

from intact.engine.completion import Chunk, Completion
from intact.text import Tokenizer


class TokenListing:
    """Tells which tokens of a stream are in its text.

    A token is held back until text of its own is certain: it may be part of a stop string. A token that begins before
    the stop string is in the text; one of which all characters are cut off is not, nor is an uncertain one.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer, self._decoder = tokenizer, tokenizer.stream()
        self._decoded = self._certain = 0  # characters
        self._held = deque[tuple[int, Chunk]]()  # with the place in the text at which each begins

    def push(self, chunk: Chunk) -> list[Chunk]:
        """Take a token and return those that are in the text for certain."""
        self._held.append((self._decoded, chunk))
        if chunk.token < self._tokenizer.size:
            self._decoded += len(self._decoder.push(chunk.token))
        self._certain += len(chunk.text)
        found = list[Chunk]()
        while self._held and self._held[0][0] < self._certain:
            found.append(self._held.popleft()[1])
        return found

    def end(self, completion: Completion) -> list[Chunk]:
        """Return the other tokens of the text, once it has ended."""
        is_cut = completion.stop is not None or completion.finish == "uncertain"
        return [] if is_cut else [chunk for _, chunk in self._held]


def tokens_of(tokenizer: Tokenizer, completion: Completion) -> list[Chunk]:
    """Return the tokens of a completion with log-probabilities that are in its text."""
    listing, tops = TokenListing(tokenizer), completion.top or ((),) * len(completion.tokens)
    drawn = zip(completion.texts, completion.tokens, completion.logprobs or (), tops, strict=True)
    return [one for fields in drawn for one in listing.push(Chunk(*fields))] + listing.end(completion)
