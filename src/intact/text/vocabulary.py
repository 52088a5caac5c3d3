"""The vocabulary of a model: the type of each token and the bytes that it represents."""

from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from functools import cache
from typing import Final, NamedTuple

WORD_START: Final = "\u2581"
"""Character that represents a space in SentencePiece pieces."""


class TokenType(IntEnum):
    """Token types, numbered as in `tokenizer.ggml.token_type`."""

    UNDEFINED = 0
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


SPECIAL: Final = frozenset({TokenType.CONTROL, TokenType.UNKNOWN})
"""Tokens without text: omitted from text with `skip_special`, and recognised in prompts only with `special`."""

TURN_ENDS: Final = frozenset(
    {
        "<|im_end|>",
        "<|endoftext|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|end_of_text|>",
        "<|end|>",
        "<|return|>",
        "<|call|>",
        "<end_of_turn>",
        "<end_of_utterance>",
        "<｜end▁of▁sentence｜>",
    }
)
"""Names of tokens that end a turn or an output in known models, for files that name only one of several."""


class Tokens(NamedTuple):
    """A vocabulary, independent of the file format.

    Attributes
    ----------
    texts : sequence of str
        Each token as spelled in the file; the index is the id.
    type_of : callable
        Returns the type of an id.
    spell : callable
        Returns the bytes that a NORMAL token's text represents.
    """

    texts: Sequence[str]
    type_of: Callable[[int], TokenType]
    spell: Callable[[str], bytes]

    def bytes_of(self, token: int) -> bytes:
        """Return the bytes that a token contributes to decoded text; unused tokens contribute none."""
        text = self.texts[token]
        match self.type_of(token):
            case TokenType.NORMAL:
                return self.spell(text)
            case TokenType.BYTE:
                return bytes((int(text[3:5], 16),))
            case TokenType.CONTROL | TokenType.UNKNOWN | TokenType.USER_DEFINED:
                return text.encode("utf-8", "replace")
            case _:
                return b""


def is_byte_token(text: str) -> bool:
    """Return true if a token is spelled like SentencePiece's single bytes: <0x00> to <0xFF>."""
    return len(text) == 6 and text[:3] == "<0x" and text[5] == ">" and set(text[3:5]) <= set("0123456789ABCDEF")


@cache
def byte_alphabet() -> dict[str, int]:
    """Map the characters of byte-level BPE to bytes: printable Latin-1 to itself, the rest counted up from U+0100."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


def spell_byte_level(text: str) -> bytes:
    """Return the bytes of a byte-level token; a token with a character outside the alphabet is taken literally."""
    alphabet = byte_alphabet()
    try:
        return bytes([alphabet[character] for character in text])
    except KeyError:
        return text.encode("utf-8", "replace")


def spell_sentencepiece(text: str) -> bytes:
    """Return the bytes of a SentencePiece token."""
    return text.replace(WORD_START, " ").encode("utf-8", "replace")


def turn_ends(named: Iterable[tuple[int, str]]) -> frozenset[int]:
    """Return the ids among `named` whose text is one of `TURN_ENDS`.

    In gpt-oss's format, <|end|> ends a message within a turn, and others follow; <|return|> or <|call|> ends the turn.
    """
    texts = dict(named)
    messages = {"<|end|>"} if {"<|return|>", "<|call|>"} <= set(texts.values()) else set()
    return frozenset(token for token, text in texts.items() if text in TURN_ENDS - messages)


def is_panic(error: BaseException) -> bool:
    """Return true if an error is a panic of a Rust library, which is not an Exception."""
    return type(error).__name__ == "PanicException"
