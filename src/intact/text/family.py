"""The parts of a GGUF tokenizer that depend on its family."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from intact.checkpoints.formats.metadata import Metadata

if TYPE_CHECKING:
    import tokenizers


class Family(NamedTuple):
    """A tokenizer without its added tokens, with the family's defaults.

    Attributes
    ----------
    build : callable
        Builds the tokenizer.
    spell : callable
        Returns the bytes that a token's text represents.
    default_ids : tuple
        BOS and EOS tokens if the file specifies none.
    add_bos, add_eos : bool
        If true, the token is added to input text unless the file specifies otherwise.
    leading_space : bool
        If true, a space is prepended to input text.
    pair_types : tuple of int, optional
        Token types of the two texts of a pair; None for a family without pairs.
    """

    build: "Callable[[], tokenizers.Tokenizer]"
    spell: Callable[[str], bytes]
    default_ids: tuple[int | None, int | None]
    add_bos: bool
    leading_space: bool
    add_eos: bool = False
    pair_types: tuple[int, int] | None = None


def token_id(meta: Metadata, key: str, default: int | None, size: int) -> int | None:
    """Read a token id; if the key is missing, return the default if it is a valid id."""
    if meta.get(key) is None:
        return default if default is not None and default < size else None
    return meta.integer(key, least=0, most=size - 1)
