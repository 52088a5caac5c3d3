"""Loads a tokenizer.json as two tokenizers: one recognises control tokens in text, the other takes them literally."""

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
"""Files that contain one of these words are parsed here before the library reads them."""


class Loaded(NamedTuple):
    """The tokenizers of a file.

    Attributes
    ----------
    parsing : tokenizers.Tokenizer
        Recognises control tokens in text.
    plain : tokenizers.Tokenizer
        Treats control tokens as plain text.
    added : mapping
        Added tokens by id.
    known : mapping
        Ids of all tokens by text.
    aliases : mapping
        Added-token ids, by the ids under which these tokenizers re-register them.
    """

    parsing: "tokenizers.Tokenizer"
    plain: "tokenizers.Tokenizer"
    added: "Mapping[int, AddedToken]"
    known: Mapping[str, int]
    aliases: Mapping[int, int]


def load(content: bytes, file: Path, rows: int | None) -> Loaded:
    """Build the tokenizers of a tokenizer.json.

    Parameters
    ----------
    content : bytes
        Content of the file.
    file : Path
        File name for error messages.
    rows : int, optional
        Rows of the model's embedding; control tokens beyond them are dropped.

    Raises
    ------
    FormatError
        If the file cannot be read, or its model makes tokenization random or turns plain text into control tokens.
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
    """Build the tokenizers of a Unigram model, in which control tokens have different names and thus different ids."""
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
    """Map the ids under which a tokenizer re-registers added tokens to the tokens' own ids."""
    own = {token: known[one.content] for token, one in made.get_added_tokens_decoder().items()}
    return {token: real for token, real in own.items() if token != real}


def _load(content: bytes, file: Path) -> "tokenizers.Tokenizer":
    from tokenizers import Tokenizer

    try:
        loaded = Tokenizer.from_buffer(content)
    except BaseException as error:
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        raise FormatError(f"{file}: not a readable tokenizer.json: {str(error)[:300]}") from error
    for name, plain in (("dropout", (None, 0.0)), ("alpha", (None,)), ("nbest_size", (None, 0, 1))):
        value = getattr(loaded.model, name, None)
        if value not in plain:
            raise FormatError(
                f"{file}: model.{name} is {value!r:.60}, which makes tokens random; expected none for inference"
            )
    loaded.no_truncation()
    loaded.no_padding()
    return loaded


def _within(loaded: "tokenizers.Tokenizer", rows: int | None) -> "tokenizers.Tokenizer":
    """Drop control tokens without an embedding row, unless that would change the id of another token."""
    added = loaded.get_added_tokens_decoder()
    kept = {token: one for token, one in added.items() if rows is None or token < rows or not one.special}
    return loaded if len(kept) == len(added) else _with_added(loaded, kept) or loaded


def _with_added(loaded: "tokenizers.Tokenizer", added: "Mapping[int, AddedToken]") -> "tokenizers.Tokenizer | None":
    """Return a tokenizer that shares the model, with these added tokens; None if their ids would change."""
    made = _join(loaded, added)
    return made if made.get_added_tokens_decoder() == added else None


def _join(loaded: "tokenizers.Tokenizer", added: "Mapping[int, AddedToken]") -> "tokenizers.Tokenizer":
    """Return a tokenizer that shares the model, with these added tokens in the order of their ids."""
    from tokenizers import Tokenizer

    made = Tokenizer(loaded.model)
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        if (value := getattr(loaded, part)) is not None:
            setattr(made, part, value)
    made.add_tokens([added[token] for token in sorted(added)])
    return made
