"""The part of a GGUF file's tokenizer that depends on its family."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from intact.checkpoints.formats.metadata import Metadata

if TYPE_CHECKING:
    import tokenizers


class Family(NamedTuple):
    """A tokenizer without its added tokens, and the family's defaults.

    Attributes
    ----------
    build : callable
        Makes the tokenizer.
    spell : callable
        The bytes that a token's text stands for.
    default_ids : tuple
        The tokens that begin and end a text, where the file names none.
    add_bos, add_eos : bool
        If true, they are put around a text where the file doesn't say.
    leading_space : bool
        If true, a space is added in front of a text.
    pair_types : tuple of int, optional
        The types of the tokens of two texts; None for a family that reads no pairs.
    """

    build: "Callable[[], tokenizers.Tokenizer]"
    spell: Callable[[str], bytes]
    default_ids: tuple[int | None, int | None]
    add_bos: bool
    leading_space: bool
    add_eos: bool = False
    pair_types: tuple[int, int] | None = None


def token_id(meta: Metadata, key: str, default: int | None, size: int) -> int | None:
    """Read the id of a token; the default, where that is one, if the key is missing."""
    if meta.get(key) is None:
        return default if default is not None and default < size else None
    return meta.integer(key, least=0, most=size - 1)
