"""llguidance's matchers, and the program of the worker process that tries a constraint (see `intact._base.process`).

The worker runs this file without the package, so it imports the standard library alone at its top.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

LIMITS: Final[dict[str, Any]] = {
    "max_items_in_row": 500,  # the time of a step grows with their square or faster; an optional property takes 4
    "initial_lexer_fuel": 1_000_000,
    "step_lexer_fuel": 200_000,
    "step_max_items": 7_000,
    "max_lexer_states": 50_000,  # 1 to 2 kB each
    "max_grammar_size": 500_000,
}
"""llguidance's own limits on a constraint and on one step of it. They do not catch every explosion."""
SPACE: Final = r" |\r?\n[ \t]{0,40}"
"""Space between the parts of JSON: none, one, or a line break and indentation, so that no text is all space."""
SECONDS: Final = 0.8
"""Limit on the processor time of a trial, whose compiler may crash or take forever."""
BYTES: Final = 128 << 20
"""Address space of a trial, some 45 MB of which the process takes for itself."""
STACK: Final = 1 << 20
"""Stack of a trial, smaller than that of any thread that compiles the same afterwards."""


def matcher(tokenizer: LLTokenizer, kind: str, text: str, limits: dict[str, Any]) -> LLMatcher:
    """Return a matcher at the beginning of a text; it may be in error.

    Raises
    ------
    ValueError
        If the text of a constraint is not even of its kind.
    """
    from llguidance import LLMatcher, LLParserLimits

    if kind == "json_schema":
        source = LLMatcher.grammar_from_json_schema(text, overrides={"whitespace_pattern": SPACE})
    else:
        source = LLMatcher.grammar_from_regex(text) if kind == "regex" else LLMatcher.grammar_from_lark(text)
    return LLMatcher(tokenizer, source, log_level=0, limits=LLParserLimits(**limits, verbose_errors=False))


class _Bytes:
    """A vocabulary of all bytes and an end, with the attributes that llguidance's wrapper needs."""

    eos_token_id, bos_token_id = 256, None
    tokens = [bytes([byte]) for byte in range(256)] + [b"<end>"]
    special_token_ids: Final = (256,)

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


def byte_tokenizer() -> LLTokenizer:
    """Return the tokenizer of all bytes: it is the constraint that explodes, not the vocabulary."""
    from llguidance import LLTokenizer, TokenizerWrapper

    return LLTokenizer(TokenizerWrapper(_Bytes()), n_vocab=257, eos_token=[256])


kept: list[LLMatcher] = []
"""Matchers of trials, which take time to free."""


def try_out(kind: str, text: str, limits: dict[str, Any]) -> None:
    """Compile a constraint, and take some steps; one that is merely invalid passes, as finding that again is cheap."""
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
    """Import the compiler, whose own time is not a constraint's, and return what a worker does."""
    import llguidance  # noqa: F401

    return {"try_out": try_out}
