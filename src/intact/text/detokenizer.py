"""Tokens to text, one at a time."""

import codecs
from collections.abc import Callable


class Detokenizer:
    """Turns tokens into text as they come, never emitting part of a character.

    A token may hold part of a character's UTF-8 bytes; these are kept until the rest arrives. Nothing else is: a letter
    goes out before the accent that may follow it. What `push` and `flush` return, joined, equals the decoding of all
    the tokens at once. Bytes that can't be UTF-8 become U+FFFD, one for each maximal part of a well-formed sequence, as
    the Unicode Standard recommends (section 3.9) and Python's decoder does.

    Parameters
    ----------
    token_bytes : callable
        Gives the bytes of a token.
    strip_first_space : bool
        Leave out a space at the very beginning: the one that the tokenizer adds in front of a text.
    """

    __slots__ = ("_decoder", "_strip", "_token_bytes", "_within")

    def __init__(self, token_bytes: Callable[[int], bytes], *, strip_first_space: bool = False) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._strip = strip_first_space
        self._within = False  # a character

    def push(self, token: int) -> str:
        """Take a token and return the characters that are complete now, perhaps none."""
        data = self._token_bytes(token)
        if self._strip and data:
            self._strip = False
            data = data.removeprefix(b" ")
        if data.isascii() and not self._within:
            return data.decode("ascii")
        text = self._decoder.decode(data)
        self._within = bool(self._decoder.getstate()[0])
        return text

    def flush(self) -> str:
        """End the text: a character that was begun and will not be completed becomes U+FFFD."""
        self._within = False
        return self._decoder.decode(b"", final=True)
