"""Streaming text: tokens to characters, and the search for stop strings."""

import codecs
from collections.abc import Callable, Iterable
from typing import Final

from intact._base.errors import ParameterError


class Detokenizer:
    """Converts tokens to text as they arrive, never emitting part of a character.

    A token may hold part of a character's UTF-8 bytes, which are kept until the rest arrives. Nothing else is held
    back: a letter is returned before an accent that may follow it. The results of `push` and `flush`, concatenated,
    equal the decoding of all tokens at once. Bytes that can't be UTF-8 become U+FFFD, one for each maximal part of a
    well-formed sequence, as the Unicode Standard recommends (section 3.9) and Python's decoder does.

    Parameters
    ----------
    token_bytes : callable
        Returns the bytes of a token.
    strip_first_space : bool
        If true, drop a space at the very beginning, which the tokenizer adds to input text.
    """

    __slots__ = ("_decoder", "_strip", "_token_bytes", "_within")

    def __init__(self, token_bytes: Callable[[int], bytes], *, strip_first_space: bool = False) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._strip = strip_first_space
        self._within = False  # inside a character

    def push(self, token: int) -> str:
        """Add a token and return the characters that are now complete, if any."""
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
        """End the text: an incomplete character becomes U+FFFD."""
        self._within = False
        return self._decoder.decode(b"", final=True)


class StopStrings:
    """Cuts a stream of text at the first stop string.

    The match that ends first wins; among matches that end at the same position, the one that begins first. The stream
    thus stops as soon as it contains a stop string, and the cut does not depend on how the text was split into chunks.
    Text before the match is passed on, and text after it is dropped; while there is no match, only the longest suffix
    that could still become one is held back.

    Parameters
    ----------
    stops : str or iterable of str
        Stop strings, none of them empty. Without stop strings, all text is passed on.

    Attributes
    ----------
    matched : str or None
        Stop string that ended the text, if any.

    Raises
    ------
    ParameterError
        If a stop string is empty or not a string.
    """

    def __init__(self, stops: str | Iterable[str] = ()) -> None:
        if isinstance(stops, bytes | bytearray) or not isinstance(stops, Iterable):
            raise ParameterError(f"stop must be a string or a list of strings, got {type(stops).__name__}")
        given = [stops] if isinstance(stops, str) else list(stops)
        for index, stop in enumerate(given):
            if not isinstance(stop, str):
                raise ParameterError(f"stop[{index}] must be a string, got {type(stop).__name__}")
            if not stop:
                raise ParameterError(f"stop[{index}] is empty: it would stop before the first character; leave it out")
        self.stops: Final = tuple(dict.fromkeys(given))
        self._longest_tail = max((len(stop) for stop in self.stops), default=1) - 1
        self._held = ""
        self.matched: str | None = None

    def push(self, text: str) -> tuple[str, bool]:
        """Add the next chunk of text.

        Returns
        -------
        safe : str
            Text that cannot become part of a stop string.
        stopped : bool
            True if a stop string has been found, now or earlier.
        """
        if self.matched is not None:
            return "", True
        if not self.stops:
            return text, False
        text = self._held + text
        found = [(start + len(stop), start, stop) for stop in self.stops if (start := text.find(stop)) >= 0]
        if found:
            _, start, self.matched = min(found)
            self._held = ""
            return text[:start], True
        cut = self._tail(text)
        self._held = text[cut:]
        return text[:cut], False

    def flush(self) -> str:
        """Return the text held back; the text has ended, so it can't become a stop string."""
        held, self._held = self._held, ""
        return held

    def _tail(self, text: str) -> int:
        """Return the start of the longest suffix of `text` that is a prefix of a stop string."""
        for start in range(max(0, len(text) - self._longest_tail), len(text)):
            tail = text[start:]
            if any(stop.startswith(tail) for stop in self.stops):
                return start
        return len(text)
