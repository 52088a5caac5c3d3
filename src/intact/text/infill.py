"""Fill-in-the-middle: the tokens that prompt a model for the text between a prefix and a suffix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from intact._base.errors import FormatError


class InfillTokens(NamedTuple):
    """The tokens before the prefix, before the suffix, and before the middle, which the model then generates.

    Bavarian et al. 2022, arXiv 2207.14255: the order prefix, suffix, middle.
    """

    prefix: int
    suffix: int
    middle: int


SPELLINGS: Final = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen2.5 Coder, CodeGemma
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, Granite Code
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek Coder
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),  # Code Llama
    ("<PRE>", "<SUF>", "<MID>"),
)
"""Names of these tokens in known models."""
_KEYS: Final = (
    ("fim_pre_token_id", "fim_suf_token_id", "fim_mid_token_id"),
    ("prefix_token_id", "suffix_token_id", "middle_token_id"),  # in files of 2024 and before
)
"""GGUF keys of these tokens, after ``tokenizer.ggml.``."""


def find_by_name(ids: Mapping[str, int]) -> InfillTokens | None:
    """Find a vocabulary's fill-in-the-middle tokens by name; return None if there are none."""
    for names in SPELLINGS:
        if all(name in ids for name in names):
            return InfillTokens(*(ids[name] for name in names))
    return None


def read_gguf(metadata: Mapping[str, Any], source: str) -> InfillTokens | None:
    """Return the fill-in-the-middle tokens specified in a GGUF file, or else those with known names.

    Parameters
    ----------
    metadata : mapping
        Keys as in the file.
    source : str
        File name for error messages.

    Raises
    ------
    FormatError
        If an id in the file is not a token.
    """
    from intact.checkpoints.formats.metadata import Metadata  # imports NumPy, which importing this package must not

    meta = Metadata(metadata, source, prefix="tokenizer.ggml.", error=FormatError)
    texts: Sequence[str] = meta.get("tokens", ())
    for keys in _KEYS:
        if all(meta.get(key) is not None for key in keys):
            return InfillTokens(*(meta.integer(key, least=0, most=len(texts) - 1) for key in keys))
    known = {name for names in SPELLINGS for name in names}
    return find_by_name({text: token for token, text in enumerate(texts) if text in known})
