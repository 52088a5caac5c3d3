"""WordPiece, BERT's tokenizer: splits words from the left into the longest pieces in the vocabulary.

A piece within a word begins with `##`. A word of more than 100 characters, or one with a remainder that no piece
matches, becomes one unknown token. Before splitting, control characters are dropped, Chinese characters become separate
words, and for an uncased vocabulary letters are lower-cased and accents removed (Devlin et al. 2019, arXiv 1810.04805;
Schuster and Nakajima 2012).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from intact._base.errors import FormatError
from intact.checkpoints.formats.metadata import Metadata
from intact.checkpoints.formats.tensor import map_file
from intact.text.family import Family, token_id
from intact.text.vocabulary import SPECIAL, WORD_START, TokenType

if TYPE_CHECKING:
    import tokenizers

CONTINUES: Final = "##"
"""Prefix of pieces within a word."""
LONGEST_WORD: Final = 100
"""Maximum length, in characters, of a word that is split into pieces, as in all published models."""
MOST_LONGEST_WORD: Final = 256
"""Highest value of this limit that a file may set: the time per word grows with its cube."""
_LONGEST_VOCABULARY: Final = 16 << 20
_CONTROLS: Final = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
_CLS: Final = 101
_SEP: Final = 102
_UNKNOWN: Final = 100


def spell_wordpiece(text: str) -> bytes:
    """Return the bytes of a piece; one that begins a word gets a leading space."""
    spelled = text[len(CONTINUES) :] if text.startswith(CONTINUES) else " " + text
    return spelled.encode("utf-8", "replace")


def build_wordpiece(
    ids: Mapping[str, int], unknown: str, *, lowercase: bool, strip_accents: bool | None = None, chinese: bool = True
) -> "tokenizers.Tokenizer":
    """Build BERT's tokenizer from a vocabulary.

    Parameters
    ----------
    ids : mapping
        Id of each piece; pieces within words begin with `##`.
    unknown : str
        Piece for words that cannot be split.
    lowercase : bool
        If true, lower-case letters.
    strip_accents : bool, optional
        If true, remove accents; by default the same as `lowercase`.
    chinese : bool
        If true, each Chinese character is a word.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    made = Tokenizer(WordPiece(dict(ids), unk_token=unknown, max_input_chars_per_word=LONGEST_WORD))
    made.normalizer = BertNormalizer(
        clean_text=True, handle_chinese_chars=chinese, strip_accents=strip_accents, lowercase=lowercase
    )
    made.pre_tokenizer = BertPreTokenizer()
    return made


def vocabulary_of_gguf(meta: Metadata, texts: Sequence[str], types: Sequence[TokenType]) -> list[str]:
    """Return the pieces of a GGUF file in BERT's spelling.

    llama.cpp's converter prepends U+2581 to pieces that begin a word, and removes `##` from the others.
    """
    pieces = [text if kind in SPECIAL else _piece(text) for text, kind in zip(texts, types, strict=True)]
    first: dict[str, int] = {}
    for token, piece in enumerate(pieces):
        if first.setdefault(piece, token) != token:
            meta.fail("tokens", f"has {piece!r:.60} twice, as {first[piece]} and {token}; expected distinct pieces")
    return pieces


def _piece(text: str) -> str:
    begins = text.startswith(WORD_START) and text != WORD_START  # a lone U+2581 represents itself within a word
    return text[1:] if begins else CONTINUES + text


def wordpiece_family(meta: Metadata, pieces: Sequence[str], types: Sequence[TokenType]) -> Family:
    """Build the family of a GGUF file whose `tokenizer.ggml.model` is `bert`.

    If the file does not specify `normalizer.lowercase`, the vocabulary is uncased unless a piece has a letter from A to
    Z.
    """
    unknown = token_id(meta, "unknown_token_id", _UNKNOWN, len(pieces))
    if unknown is None:
        meta.fail("unknown_token_id", f"is missing; expected the token for words without pieces, below {len(pieces)}")
    cased = any(
        kind is TokenType.NORMAL and text[:1] != "[" and any("A" <= letter <= "Z" for letter in text)
        for text, kind in zip(pieces, types, strict=True)
    )
    lowercase = meta.flag("normalizer.lowercase", not cased)
    accents = meta.flag("normalizer.strip_accents", lowercase)
    ids = {piece: token for token, piece in enumerate(pieces)}
    return Family(
        build=lambda: build_wordpiece(ids, pieces[unknown], lowercase=lowercase, strip_accents=accents),
        spell=spell_wordpiece,
        default_ids=(
            token_id(meta, "cls_token_id", _CLS, len(pieces)),
            token_id(meta, "seperator_token_id", _SEP, len(pieces)),
        ),
        add_bos=True,
        leading_space=True,
        add_eos=True,
        pair_types=(0, 1),
    )


def document_of_vocabulary(file: Path, config: Mapping[str, Any]) -> bytes:
    """Write the tokenizer.json of a vocab.txt, which has one piece per line; the id is the line number, counted from 0.

    Parameters
    ----------
    file : Path
        The vocab.txt.
    config : mapping
        The tokenizer_config.json next to it: `do_lower_case`, `strip_accents`, `tokenize_chinese_chars`, and the names
        of control tokens, with the defaults of Transformers' `BertTokenizer`.

    Raises
    ------
    FormatError
        If the file is not UTF-8, has a duplicate piece or lacks a control token, or an option has the wrong type.
    """
    from tokenizers import AddedToken
    from tokenizers.decoders import WordPiece as WordPieceDecoder
    from tokenizers.processors import TemplateProcessing

    content = map_file(file)
    if len(content) > _LONGEST_VOCABULARY:
        raise FormatError(f"{file}: the file has {len(content)} bytes; expected at most {_LONGEST_VOCABULARY}")
    try:
        lines = content[:].decode().replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise FormatError(f"{file}: not readable as text: {error}") from error
    ids: dict[str, int] = {}
    for line, piece in enumerate(lines):
        if ids.setdefault(piece, line) != line:
            raise FormatError(f"{file}: has {piece!r:.60} in lines {ids[piece] + 1} and {line + 1}; expected it once")
    made = build_wordpiece(
        ids,
        _control(config, "unk", ids, file),
        lowercase=bool(_option(config, "do_lower_case", True, file)),
        strip_accents=_option(config, "strip_accents", None, file),
        chinese=bool(_option(config, "tokenize_chinese_chars", True, file)),
    )
    controls = [_control(config, name, ids, file) for name in ("unk", "sep", "pad", "cls", "mask")]
    made.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in dict.fromkeys(controls)])
    _, sep, _, cls, _ = controls
    made.post_processor = TemplateProcessing(
        single=[cls, "$A:0", f"{sep}:0"],
        pair=[cls, "$A:0", f"{sep}:0", "$B:1", f"{sep}:1"],
        special_tokens=[(cls, ids[cls]), (sep, ids[sep])],
    )
    made.decoder = WordPieceDecoder(prefix=CONTINUES)
    return made.to_str().encode()


def vocabulary_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a tokenizer_config.json that affect tokenization with a vocab.txt."""
    names = ("do_lower_case", "strip_accents", "tokenize_chinese_chars", *(f"{name}_token" for name in _CONTROLS))
    return {name: config[name] for name in names if name in config}


def check_wordpiece(loaded: "tokenizers.Tokenizer", controls: Mapping[int, str], file: Path) -> None:
    """Raise if a tokenizer.json splits words in an unsupported way, or turns plain text into control tokens.

    Parameters
    ----------
    loaded : tokenizers.Tokenizer
        Tokenizer that takes control tokens literally.
    controls : mapping
        Ids and names of the control tokens.
    """
    model = loaded.model
    if (prefix := model.continuing_subword_prefix) != CONTINUES:
        raise FormatError(f"{file}: model.continuing_subword_prefix is {prefix!r:.40}; expected {CONTINUES!r}")
    if not 1 <= model.max_input_chars_per_word <= MOST_LONGEST_WORD:
        raise FormatError(
            f"{file}: model.max_input_chars_per_word is {model.max_input_chars_per_word}; "
            f"expected 1 to {MOST_LONGEST_WORD}"
        )
    unknown = model.token_to_id(model.unk_token)
    if unknown is None:
        raise FormatError(f"{file}: model.unk_token is {model.unk_token!r:.60}, which is not in the vocabulary")
    for token, text in controls.items():
        if token != unknown and token in loaded.encode(text, add_special_tokens=False).ids:
            raise FormatError(
                f"{file}: plain text becomes the control token {text!r:.60}; expected a pre-tokenizer that splits it, "
                "such as BertPreTokenizer"
            )


def _option(config: Mapping[str, Any], key: str, default: bool | None, file: Path) -> bool | None:
    value = config.get(key)
    if value is not None and not isinstance(value, bool):
        raise FormatError(f"{file.parent / 'tokenizer_config.json'}: {key} must be true or false, got {value!r:.60}")
    return default if value is None else value


def _control(config: Mapping[str, Any], name: str, ids: Mapping[str, int], file: Path) -> str:
    value = config.get(f"{name}_token", _CONTROLS[name])
    text = value.get("content") if isinstance(value, dict) else value
    if not isinstance(text, str) or text not in ids:
        raise FormatError(f"{file}: has no piece {text!r:.60} for the vocabulary's {name}_token; expected one")
    return text
