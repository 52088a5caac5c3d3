"""The parts of a tokenizer, which the readers of GGUF files and of tokenizer.json return."""

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
        Finds control tokens in a text.
    plain : tokenizers.Tokenizer
        Takes control tokens in a text literally.
    tokens : Tokens
        The vocabulary.
    bos_id, eos_id : int or None
        The tokens that begin and end a text.
    eos_ids : frozenset of int
        All tokens that end a generation: a text's end, a turn's end.
    prefix, suffix : tuple of int
        Tokens put around a text by default.
    leading_space : bool
        If true, a space is added in front of a text, and removed in decoding.
    templates : mapping of str to str
        Chat templates by their names, such as `default` and `tool_use`; empty for a model without.
    named : mapping of str to str
        The texts that templates may write by name, such as `bos_token`.
    source : str
        The file, for messages.
    infill : InfillTokens or None
        The tokens for filling in the middle of a text; None for a model without.
    pair : PairTemplate or None
        The tokens around two texts; None for a model that reads no pairs.
    aliases : mapping
        The ids of tokens to which `parsing` gives others, by those others.
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
