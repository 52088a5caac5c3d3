"""Text that arrives in pieces: tokens to characters, and the search for stop strings."""

import codecs
from collections.abc import Callable, Iterable
from typing import Final

from intact._base.errors import ParameterError


class Detokenizer:
    """Turn tokens into text as they come, never emitting part of a character.

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
        self._within = False  # inside a character

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


class StopStrings:
    """Cut a stream of text at the first stop string.

    The match that ends first wins, and of those that end together the one that begins first: so the stream stops as
    soon as it contains a stop string, and where it is cut doesn't depend on how the text was split into pieces. Of the
    text before the match everything is let through, of the text after a match nothing, and while there is none only
    the longest tail that could still become one is held back.

    Parameters
    ----------
    stops : str or iterable of str
        The stop strings, none of them empty. None at all lets everything through.

    Attributes
    ----------
    matched : str or None
        The stop string that ended the text, if one did.

    Raises
    ------
    ParameterError
        If a stop string is empty or isn't text.
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
        """Take the next piece.

        Returns
        -------
        safe : str
            The text that cannot become part of a stop string.
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
        """Return the text held back: the text has ended, so it can't become a stop string."""
        held, self._held = self._held, ""
        return held

    def _tail(self, text: str) -> int:
        """Return where the longest suffix of `text` starts that a stop string starts with."""
        for start in range(max(0, len(text) - self._longest_tail), len(text)):
            tail = text[start:]
            if any(stop.startswith(tail) for stop in self.stops):
                return start
        return len(text)
