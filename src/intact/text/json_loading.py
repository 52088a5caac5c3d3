"""A tokenizer.json as two tokenizers: one finds control tokens in a text, the other takes them literally."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from intact._base.errors import FormatError
from intact._base.strict_json import parse
from intact.text.unigram import added_tokens, check_charsmaps, hide_controls
from intact.text.vocabulary import is_panic
from intact.text.wordpiece import check_wordpiece

if TYPE_CHECKING:
    import tokenizers
    from tokenizers import AddedToken

_PARSED: Final = (b"Unigram", b"unk_id", b"Precompiled")
"""A file with one of these words is parsed here before the library reads it."""


class Loaded(NamedTuple):
    """The tokenizers of a file.

    Attributes
    ----------
    parsing : tokenizers.Tokenizer
        Finds control tokens in a text.
    plain : tokenizers.Tokenizer
        Takes control tokens in a text literally.
    added : mapping
        The added tokens by their ids.
    known : mapping
        The ids of all tokens by their texts.
    aliases : mapping
        The ids of tokens to which these tokenizers give others.
    """

    parsing: "tokenizers.Tokenizer"
    plain: "tokenizers.Tokenizer"
    added: "Mapping[int, AddedToken]"
    known: Mapping[str, int]
    aliases: Mapping[int, int]


def load(content: bytes, file: Path, rows: int | None) -> Loaded:
    """Make the tokenizers of a tokenizer.json.

    Parameters
    ----------
    content : bytes
        The content of the file.
    file : Path
        The file, for messages.
    rows : int, optional
        Rows of the model's embedding; control tokens beyond them are left out.

    Raises
    ------
    FormatError
        If it cannot be read, or its model makes tokens random or control tokens of plain text.
    """
    if any(word in content for word in _PARSED):
        document = parse(content, str(file), error=FormatError)
        if isinstance(document, dict):
            check_charsmaps(document, file)
            if _is_unigram(document.get("model")):
                return _load_unigram(document, file, rows)
    parsing = _within(_load(content, file), rows)
    plain = _with_added(parsing, parsing.get_added_tokens_decoder()) or _within(_load(content, file), rows)
    plain.encode_special_tokens = True
    added = parsing.get_added_tokens_decoder()
    if type(parsing.model).__name__ == "WordPiece":
        check_wordpiece(plain, {token: one.content for token, one in added.items() if one.special}, file)
    return Loaded(parsing, plain, added, parsing.get_vocab(with_added_tokens=True), aliases={})


def _is_unigram(model: Any) -> bool:
    return isinstance(model, dict) and model.get("type", "Unigram" if "unk_id" in model else None) == "Unigram"


def _load_unigram(document: Mapping[str, Any], file: Path, rows: int | None) -> Loaded:
    """Make the tokenizers of a Unigram, in which control tokens have other names, and therefore other ids."""
    content, known = hide_controls(document, file)
    bare = _load(content, file)
    added, size = {}, len(known)
    for one in added_tokens(document, file):
        token = known.get(one.content, size)
        size += token == size
        if rows is None or token < rows or not one.special:
            added[token] = one
            known[one.content] = token
    parsing, plain = _join(bare, added), _join(bare, added)
    plain.encode_special_tokens = True
    return Loaded(parsing, plain, added, known, aliases=aliases_of(parsing, known))


def aliases_of(made: "tokenizers.Tokenizer", known: Mapping[str, int]) -> dict[int, int]:
    """Return the ids of added tokens to which a tokenizer gives others, by those others."""
    own = {token: known[one.content] for token, one in made.get_added_tokens_decoder().items()}
    return {token: real for token, real in own.items() if token != real}


def _load(content: bytes, file: Path) -> "tokenizers.Tokenizer":
    from tokenizers import Tokenizer

    try:
        loaded = Tokenizer.from_buffer(content)
    except BaseException as error:
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        raise FormatError(f"{file}: is no tokenizer.json that can be read: {str(error)[:300]}") from error
    for name, plain in (("dropout", (None, 0.0)), ("alpha", (None,)), ("nbest_size", (None, 0, 1))):
        value = getattr(loaded.model, name, None)
        if value not in plain:
            raise FormatError(
                f"{file}: model.{name} is {value!r:.60}, which makes tokens random; expected none, as for inference"
            )
    loaded.no_truncation()
    loaded.no_padding()
    return loaded


def _within(loaded: "tokenizers.Tokenizer", rows: int | None) -> "tokenizers.Tokenizer":
    """Leave out control tokens that have no row, where that changes no other token's id."""
    added = loaded.get_added_tokens_decoder()
    kept = {token: one for token, one in added.items() if rows is None or token < rows or not one.special}
    return loaded if len(kept) == len(added) else _with_added(loaded, kept) or loaded


def _with_added(loaded: "tokenizers.Tokenizer", added: "Mapping[int, AddedToken]") -> "tokenizers.Tokenizer | None":
    """Make a tokenizer that shares the model of another, with these added tokens; None if they would get other ids."""
    made = _join(loaded, added)
    return made if made.get_added_tokens_decoder() == added else None


def _join(loaded: "tokenizers.Tokenizer", added: "Mapping[int, AddedToken]") -> "tokenizers.Tokenizer":
    """Make a tokenizer that shares the model of another, with these added tokens in the order of their ids."""
    from tokenizers import Tokenizer

    made = Tokenizer(loaded.model)
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        if (value := getattr(loaded, part)) is not None:
            setattr(made, part, value)
    made.add_tokens([added[token] for token in sorted(added)])
    return made
