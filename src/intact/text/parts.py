"""The parts of a tokenizer, as returned by the readers of GGUF files and tokenizer.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from intact.text.infill import InfillTokens
from intact.text.pairs import PairTemplate
from intact.text.vocabulary import Tokens

if TYPE_CHECKING:
    import tokenizers


class Parts(NamedTuple):
    """The parts of a `Tokenizer`.

    Attributes
    ----------
    parsing : tokenizers.Tokenizer
        Recognises control tokens in text.
    plain : tokenizers.Tokenizer
        Treats control tokens as plain text.
    tokens : Tokens
        Vocabulary.
    bos_id, eos_id : int or None
        Tokens that mark the beginning and end of a text.
    eos_ids : frozenset of int
        All tokens that end generation: end of text, end of turn.
    prefix, suffix : tuple of int
        Tokens put around input text by default.
    leading_space : bool
        If true, a space is prepended to input text and removed when decoding.
    templates : mapping of str to str
        Chat templates by name, such as `default` and `tool_use`; empty if the model has none.
    named : mapping of str to str
        Texts of special tokens that templates may write by name, such as `bos_token`.
    source : str
        File name for error messages.
    infill : InfillTokens or None
        Fill-in-the-middle tokens; None if the model has none.
    pair : PairTemplate or None
        Tokens around a text pair; None if the model does not support pairs.
    aliases : mapping
        Added-token ids, by the ids under which `parsing` re-registers them.
    """

    parsing: tokenizers.Tokenizer
    plain: tokenizers.Tokenizer
    tokens: Tokens
    bos_id: int | None
    eos_id: int | None
    eos_ids: frozenset[int]
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    leading_space: bool
    templates: Mapping[str, str]
    named: Mapping[str, str]
    source: str
    infill: InfillTokens | None
    pair: PairTemplate | None
    aliases: Mapping[int, int]
