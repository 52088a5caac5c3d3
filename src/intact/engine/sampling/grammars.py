"""llguidance matchers, and the worker program that tries out a constraint (see `intact._base.process`).

The worker runs this file without the package, so it imports only the standard library at module level.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

LIMITS: Final[dict[str, Any]] = {
    "max_items_in_row": 500,  # the time per step grows at least quadratically with it; an optional property takes 4
    "initial_lexer_fuel": 1_000_000,
    "step_lexer_fuel": 200_000,
    "step_max_items": 7_000,
    "max_lexer_states": 50_000,  # 1 to 2 kB each
    "max_grammar_size": 500_000,
}
"""llguidance's own limits on a constraint and on each of its steps. They do not catch every blow-up."""
SPACE: Final = r" |\r?\n[ \t]{0,40}"
"""Whitespace between the parts of JSON: none, one space, or a line break with indentation, to avoid endless whitespace.
"""
SECONDS: Final = 0.8
"""Processor time limit per trial: the compiler may crash or never finish."""
BYTES: Final = 128 << 20
"""Address space limit per trial, in bytes; the process itself takes about 45 MB of it."""
STACK: Final = 1 << 20
"""Stack size per trial, smaller than that of any thread that later compiles the same constraint."""


def matcher(tokenizer: LLTokenizer, kind: str, text: str, limits: dict[str, Any]) -> LLMatcher:
    """Return a matcher at the start of an output; the matcher may be in an error state.

    Raises
    ------
    ValueError
        If the constraint's text is malformed for its kind.
    """
    from llguidance import LLMatcher, LLParserLimits

    if kind == "json_schema":
        source = LLMatcher.grammar_from_json_schema(text, overrides={"whitespace_pattern": SPACE})
    else:
        source = LLMatcher.grammar_from_regex(text) if kind == "regex" else LLMatcher.grammar_from_lark(text)
    return LLMatcher(tokenizer, source, log_level=0, limits=LLParserLimits(**limits, verbose_errors=False))


class _Bytes:
    """A vocabulary of all bytes and an end token, with the attributes that llguidance's wrapper needs."""

    eos_token_id, bos_token_id = 256, None
    tokens = [bytes([byte]) for byte in range(256)] + [b"<end>"]
    special_token_ids: Final = (256,)

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


def byte_tokenizer() -> LLTokenizer:
    """Return a tokenizer of single bytes, which is enough to detect constraints that blow up."""
    from llguidance import LLTokenizer, TokenizerWrapper

    return LLTokenizer(TokenizerWrapper(_Bytes()), n_vocab=257, eos_token=[256])


kept: list[LLMatcher] = []
"""Matchers of trials, kept because freeing them takes time."""


def try_out(kind: str, text: str, limits: dict[str, Any]) -> None:
    """Compile a constraint and take a few steps; a merely invalid constraint passes, since detecting that is cheap."""
    try:
        made = matcher(byte_tokenizer(), kind, text, limits)
    except ValueError:
        return
    kept.append(made)
    for _ in range(2):
        word = int.from_bytes(made.compute_bitmask(), "little")
        if made.is_error() or not word or not made.consume_token(word.bit_length() - 1):
            return


def start() -> dict[str, Callable[..., Any]]:
    """Import the compiler, so that its import time is not charged to a constraint; return the worker's functions."""
    import llguidance  # noqa: F401

    return {"try_out": try_out}
