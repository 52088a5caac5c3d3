"""Tokenizers from the metadata of a GGUF file.

Five families: `gpt2`, byte-level BPE with its merges in the file; `bert` and `t5`, which have modules of their own
(`wordpiece`, `unigram`); `llama`, SentencePiece BPE, which stores a score for every piece instead of merges; and
`gemma4`, the same with merges in the file. SentencePiece repeatedly joins the neighbours whose joint piece has the best
score, or the leftmost such pair on ties. Listing all pairs of pieces by the score of their result turns this into BPE
with merges.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from intact._base.errors import FormatError
from intact.checkpoints.formats.metadata import Metadata, Strings
from intact.text import infill
from intact.text.family import Family, token_id
from intact.text.json_loading import aliases_of
from intact.text.pairs import PairTemplate
from intact.text.parts import Parts
from intact.text.pretokenizers import KINDS
from intact.text.unigram import unigram_family
from intact.text.vocabulary import (
    SPECIAL,
    TURN_ENDS,
    WORD_START,
    Tokens,
    TokenType,
    is_byte_token,
    spell_byte_level,
    spell_sentencepiece,
    turn_ends,
)
from intact.text.wordpiece import vocabulary_of_gguf, wordpiece_family

if TYPE_CHECKING:
    import tokenizers
    from tokenizers.models import BPE

_PREFIX: Final = "tokenizer.ggml."
_TEMPLATE: Final = "tokenizer.chat_template"
_NAMED: Final = {
    "unk_token": "unknown_token_id",
    "sep_token": "seperator_token_id",  # sic, as in the format
    "pad_token": "padding_token_id",
    "cls_token": "cls_token_id",
    "mask_token": "mask_token_id",
}
"""Special tokens available to templates: names in Transformers, and keys in GGUF."""
_LONGEST_PIECE: Final = 256
"""Maximum length in characters of a piece with a score; Gemma 3 has up to 16. All positions to split a piece are tried.
"""
_MOST_MERGES: Final = 1 << 20
"""Maximum number of pairs of pieces that form a piece; Gemma 3 has half a million."""


def parts_from_gguf(metadata: Mapping[str, Any], source: str = "metadata") -> Parts:
    """Build a tokenizer's parts from GGUF metadata.

    Parameters
    ----------
    metadata : mapping
        Keys as in the file: `tokenizer.ggml.model`, `tokenizer.ggml.tokens` and so on.
    source : str
        File name for error messages.

    Raises
    ------
    FormatError
        If a key is missing or has the wrong type, lists differ in length, a merge or an id names no token, or the kind
        of tokenizer is not supported. The message names the key.
    """
    meta = Metadata(metadata, source, prefix=_PREFIX, error=FormatError)
    texts, stored = _texts(meta)
    types = _types(meta, texts)
    model = meta.string("model", "")
    if model == "gpt2":
        family = _byte_level(meta, texts)
    elif model == "llama":
        family = _sentencepiece(meta, texts, types, _merges_by_score(meta, texts, types))
    elif model == "gemma4":
        family = _sentencepiece(meta, texts, types, _merges(meta))
    elif model == "t5":
        family = unigram_family(meta, texts, types)
    elif model == "bert":
        texts = vocabulary_of_gguf(meta, texts, types)
        stored = Strings(texts)
        family = wordpiece_family(meta, texts, types)
    else:
        meta.fail(
            "model",
            f"is {model!r}; expected gpt2 (byte-level BPE), llama or gemma4 (SentencePiece), t5 (Unigram) or "
            "bert (WordPiece)",
        )
    size = len(texts)
    default_bos, default_eos = family.default_ids
    bos_id = token_id(meta, "bos_token_id", default_bos, size)
    eos_id = token_id(meta, "eos_token_id", default_eos, size)
    ends = {eos_id, token_id(meta, "eot_token_id", None, size), token_id(meta, "eom_token_id", None, size)} - {None}
    special = {token for token, kind in enumerate(types) if kind in SPECIAL}
    add_bos = meta.flag("add_bos_token", family.add_bos and bos_id is not None)
    add_eos = meta.flag("add_eos_token", family.add_eos and eos_id is not None)
    if add_bos and bos_id is None:
        meta.fail("bos_token_id", f"is missing, but {_PREFIX}add_bos_token requires it")
    if add_eos and eos_id is None:
        meta.fail("eos_token_id", f"is missing, but {_PREFIX}add_eos_token requires it")
    ids = {name: metadata.get(_PREFIX + key) for name, key in _NAMED.items()}  # unvalidated, for templates only
    ids |= {"bos_token": bos_id, "eos_token": eos_id}
    user = {texts[token]: token for token, kind in enumerate(types) if kind is TokenType.USER_DEFINED}
    controls = {texts[token]: token for token in sorted(special)}
    prefix = (bos_id,) if add_bos and bos_id is not None else ()
    suffix = (eos_id,) if add_eos and eos_id is not None else ()
    plain = family.build()
    parsing = _copy(plain)
    plain.add_tokens(_added(user, special=False))
    parsing.add_tokens(_added(user, special=False))
    parsing.add_special_tokens(_added(controls, special=True))
    return Parts(
        parsing=parsing,
        plain=plain,
        tokens=Tokens(stored, _type_of(types), family.spell),
        bos_id=bos_id,
        eos_id=eos_id,
        eos_ids=frozenset(token for token in ends if token is not None)
        | turn_ends((token, texts[token]) for token in special),
        prefix=prefix,
        suffix=suffix,
        leading_space=family.leading_space,
        templates=_templates(metadata, source),
        named={name: texts[token] for name, token in ids.items() if type(token) is int and 0 <= token < size},
        source=source,
        infill=infill.read_gguf(metadata, source),
        pair=_pair(meta, family, prefix, suffix),
        aliases=aliases_of(parsing, user | controls),
    )


def _pair(meta: Metadata, family: Family, prefix: tuple[int, ...], suffix: tuple[int, ...]) -> PairTemplate | None:
    """Return the tokens around a pair of texts: as for a single text, with EOS and maybe a separator between the two.

    XLM-RoBERTa has both (`add_sep_token`, by default if inputs begin with BOS); BERT's separator is its EOS.
    """
    if family.pair_types is None:
        return None
    separator = token_id(meta, "seperator_token_id", None, len(meta.array("tokens")))
    separates = separator is not None and (separator,) == suffix and family.pair_types == (0, 0)
    if separates and meta.flag("add_sep_token", bool(prefix)):
        return PairTemplate(prefix, suffix + suffix, suffix, family.pair_types)
    return PairTemplate(prefix, suffix, suffix, family.pair_types)


def _templates(metadata: Mapping[str, Any], source: str) -> dict[str, str]:
    """Read the chat templates: the default one, and named ones, whose names are suffixes of the key."""
    found = {}
    for key, value in metadata.items():
        if key == _TEMPLATE or key.startswith(_TEMPLATE + "."):
            if not isinstance(value, str):
                raise FormatError(f"{source}: {key} must be a string, got {type(value).__name__}")
            found[key.removeprefix(_TEMPLATE)[1:] or "default"] = value
    return found


def _type_of(types: Sequence[TokenType]) -> Callable[[int], TokenType]:
    known, kept = tuple(TokenType), bytes(types)
    return lambda token: known[kept[token]]


def _texts(meta: Metadata) -> tuple[list[str], Sequence[str]]:
    """Read the vocabulary, both as a list for building and in a compact form to keep."""
    texts, stored = meta.strings("tokens"), meta.array("tokens")
    stored = stored if isinstance(stored, Strings) else Strings(stored)
    if not texts:
        meta.fail("tokens", "is empty; expected the vocabulary")
    if "" in texts:
        texts = [text or f"[EMPTY_{token}]" for token, text in enumerate(texts)]
        stored = Strings(texts)
    if len(set(texts)) != len(texts):
        first: dict[str, int] = {}
        for token, text in enumerate(texts):
            if first.setdefault(text, token) != token:
                meta.fail("tokens", f"has {text!r:.60} twice, as {first[text]} and {token}; expected distinct tokens")
    return texts, stored


def _types(meta: Metadata, texts: Sequence[str]) -> list[TokenType]:
    """Read the token types. Tokens known to end a turn are control tokens, regardless of the file."""
    if meta.get("token_type") is None:
        types = [TokenType.NORMAL] * len(texts)
    else:
        known = list(TokenType)
        numbers = meta.numbers("token_type", len(texts))
        try:
            types = [known[number] if number >= 0 else TokenType.UNDEFINED for number in numbers]
        except (IndexError, TypeError):
            meta.fail("token_type", f"contains a type that is not one of {', '.join(f'{t:d} {t.name}' for t in known)}")
    for token, (text, kind) in enumerate(zip(texts, types, strict=True)):
        if kind is TokenType.BYTE and not is_byte_token(text):
            meta.fail("tokens", f"entry {token} is {text!r:.60}, but its type is BYTE; expected <0x00> to <0xFF>")
        if kind is not TokenType.CONTROL and text in TURN_ENDS:
            types[token] = TokenType.CONTROL
    return types


def _byte_level(meta: Metadata, texts: Sequence[str]) -> Family:
    name = meta.string("pre", "default")
    if name not in KINDS:
        meta.fail("pre", f"is {name!r}; expected one of {', '.join(sorted(KINDS))}")
    kind = KINDS[name]

    def build() -> "tokenizers.Tokenizer":
        from tokenizers import Regex
        from tokenizers.normalizers import NFC
        from tokenizers.pre_tokenizers import ByteLevel, PreTokenizer, Sequence, Split

        splits: list[PreTokenizer] = [Split(Regex(pattern), behavior="isolated") for pattern in kind.patterns]
        words = Sequence([*splits, ByteLevel(add_prefix_space=False, use_regex=False)])
        model = _bpe(meta, texts, _merges(meta), ignore_merges=kind.whole_words)
        return _assemble(model, NFC() if kind.nfc else None, words)

    return Family(build, spell_byte_level, (None, None), kind.bos, leading_space=False)


def _merges(meta: Metadata) -> list[tuple[str, str]]:
    """Read the merges; of duplicates, only the first counts."""
    written = meta.strings("merges")
    pairs: list[Any] = [tuple(merge.split(" ", 1)) for merge in written]
    for index, pair in enumerate(pairs):
        if len(pair) != 2 or not pair[0] or not pair[1] or " " in pair[1]:
            meta.fail("merges", f"entry {index} is {written[index]!r:.60}; expected two tokens separated by a space")
    return list(dict.fromkeys(pairs))


def _bpe(meta: Metadata, texts: Sequence[str], merges: list[tuple[str, str]], **options: Any) -> "BPE":
    from tokenizers.models import BPE

    vocabulary = {text: token for token, text in enumerate(texts)}
    try:
        return BPE(vocab=vocabulary, merges=merges, **options)
    except Exception as error:
        for index, (left, right) in enumerate(merges):
            for part in (left, right, left + right):
                if part not in vocabulary:
                    meta.fail("merges", f"entry {index}, {left!r:.60} with {right!r:.60}: {part!r:.60} is not a token")
        raise FormatError(f"{meta.source}: the tokenizer cannot be built: {error}") from error


def _merges_by_score(meta: Metadata, texts: Sequence[str], types: Sequence[TokenType]) -> list[tuple[str, str]]:
    scores = meta.numbers("scores", len(texts))
    for token, score in enumerate(scores):
        if not isinstance(score, int | float) or math.isnan(score):
            meta.fail("scores", f"entry {token} is {score!r:.60}; expected a number")
    scored = {text: scores[token] for token, text in enumerate(texts) if types[token] is TokenType.NORMAL}
    longest = max(scored, key=len, default="")
    if len(longest) > _LONGEST_PIECE:
        meta.fail(
            "tokens",
            f"entry {texts.index(longest)}, {longest!r:.60}, has {len(longest)} characters; "
            f"expected at most {_LONGEST_PIECE} in a piece with a score",
        )
    merges = list(islice(merges_of_scores(scored), _MOST_MERGES + 1))
    if len(merges) > _MOST_MERGES:
        meta.fail("tokens", f"has more than the {_MOST_MERGES} allowed pairs of pieces that form another piece")
    return merges


def _sentencepiece(
    meta: Metadata, texts: Sequence[str], types: Sequence[TokenType], merges: list[tuple[str, str]]
) -> Family:
    leading_space = meta.flag("add_space_prefix", True)
    unknown = token_id(meta, "unknown_token_id", 0, len(texts))
    pieces = [text for text, kind in zip(texts, types, strict=True) if kind is TokenType.NORMAL]

    def build() -> "tokenizers.Tokenizer":
        from tokenizers import Regex
        from tokenizers.normalizers import Prepend, Replace, Sequence
        from tokenizers.pre_tokenizers import Split

        model = _bpe(
            meta,
            texts,
            merges,
            unk_token=None if unknown is None else texts[unknown],
            fuse_unk=False,
            byte_fallback=True,
        )
        replace = Replace(" ", WORD_START)
        return _assemble(
            model,
            Sequence([Prepend(WORD_START), replace]) if leading_space else replace,
            Split(Regex(word_starts(pieces)), behavior="merged_with_next"),
        )

    return Family(build, spell_sentencepiece, (1, 2), add_bos=True, leading_space=leading_space)


def merges_of_scores(scored: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """Yield all pairs of pieces that form a piece, ordered by the score of the result, best first.

    SentencePiece ranks a piece regardless of how it is formed, and takes the leftmost pair on ties; a list of merges
    has a rank per pair. The two differ only where two pairs that form the same piece overlap, as in a run of one
    repeated character; with shorter left parts first, the leftmost still wins in all cases known to occur in
    vocabularies.
    """
    return (
        (left, right)
        for piece in sorted(scored, key=scored.__getitem__, reverse=True)
        for cut in range(1, len(piece))
        if (left := piece[:cut]) in scored and (right := piece[cut:]) in scored
    )


def word_starts(pieces: Iterable[str]) -> str:
    """Return a pattern for the spaces before which text can be split without changing its tokens.

    In most vocabularies, no piece contains an inner space, so words can be tokenized, and their tokens cached, one by
    one. Text is not split at a space after a character that precedes a space inside some piece.
    """
    joined = {
        piece[i - 1] for piece in pieces if WORD_START in piece for i in range(1, len(piece)) if piece[i] == WORD_START
    }
    escaped = "".join(f"\\x{{{ord(character):x}}}" for character in sorted(joined))  # in Gemma: > of its piece `>▁</`
    return f"(?<![{escaped}]){WORD_START}" if joined else WORD_START


def _assemble(model: "BPE", normalize: Any, split: Any) -> "tokenizers.Tokenizer":
    import tokenizers

    made = tokenizers.Tokenizer(model)
    if normalize is not None:
        made.normalizer = normalize
    made.pre_tokenizer = split
    return made


def _copy(made: "tokenizers.Tokenizer") -> "tokenizers.Tokenizer":
    """Return a second tokenizer that shares the first one's model."""
    return _assemble(made.model, made.normalizer, made.pre_tokenizer)


def _added(texts: Iterable[str], *, special: bool) -> "list[tokenizers.AddedToken]":
    from tokenizers import AddedToken

    return [AddedToken(text, normalized=False, special=special) for text in texts]
