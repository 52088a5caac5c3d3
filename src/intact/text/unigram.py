"""Unigram, the tokenizer of XLM-RoBERTa and T5: segments a text into the pieces with the best total score.

A piece's score is the logarithm of its probability; a segmentation's score is the sum over its pieces (Kudo 2018, arXiv
1804.10959, section 3.2). The `tokenizers` library finds the best one with the Viterbi algorithm, and its result is
well-defined:

- Scores are binary64 numbers, added from left to right: the score of a path to a position is the score of the path to
  the last piece's start plus the piece's score.
- Starts are visited from left to right, and a path to a position replaces another only if its score is greater: on
  ties, the path whose last piece begins first wins.
- A character that is not itself a piece may be an unknown piece, with the vocabulary's lowest score minus 10.
  Neighbouring unknown characters form one unknown token or, with byte fallback, one token per byte.

The library reads scores as JSON, and parses some of them as a neighbour of the nearest binary64. Scores from GGUF files
are passed to it in the same way, so a file and a folder of the same model give the same tokens.
"""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from intact._base.errors import FormatError
from intact.checkpoints.formats.metadata import Metadata
from intact.text.charsmap import MOST_BYTES, check_charsmap
from intact.text.family import Family, token_id
from intact.text.vocabulary import WORD_START, TokenType, spell_sentencepiece

if TYPE_CHECKING:
    import tokenizers

LONGEST_PIECE: Final = 256
"""Maximum length of a piece in characters; XLM-RoBERTa has up to 16. Tokenization time grows with the longest piece."""
MOST_PIECE_BYTES: Final = 16 << 20
"""Maximum size of all pieces in bytes; XLM-RoBERTa has 2 million. The library needs about 170 times this memory."""
MOST_SCORE: Final = 1e12
"""Maximum magnitude of a score, which keeps sums over a text finite."""
_FLAGS: Final = ("single_word", "lstrip", "rstrip", "normalized", "special")
_END: Final = 1
_UNKNOWN: Final = 2


def hide(text: str) -> str:
    """Return a name for a piece that no input can match: words never contain a space, as U+2581 replaces it."""
    return " " + text


def unigram_family(meta: Metadata, texts: Sequence[str], types: Sequence[TokenType]) -> Family:
    """Build the family of a GGUF file whose `tokenizer.ggml.model` is `t5`."""
    scores = meta.numbers("scores", len(texts))
    unknown = token_id(meta, "unknown_token_id", _UNKNOWN, len(texts))
    if unknown is None:
        meta.fail("unknown_token_id", f"is missing; expected the token for unknown characters, below {len(texts)}")
    normal = [score for score, kind in zip(scores, types, strict=True) if kind is TokenType.NORMAL]
    check_vocabulary(list(zip(texts, scores, strict=True)), f"{meta.source}: {meta.prefix}tokens")
    if not normal:
        meta.fail("token_type", f"has no token of the type {TokenType.NORMAL:d}; expected pieces")
    matched = {TokenType.NORMAL, TokenType.USER_DEFINED, TokenType.BYTE}
    vocabulary = [
        (text, score) if kind in matched and token != unknown else (hide(text), max(normal))
        for token, (text, score, kind) in enumerate(zip(texts, scores, types, strict=True))
    ]
    leading_space = meta.flag("add_space_prefix", True)
    steps: list[dict[str, Any]] = []
    if charsmap := _charsmap_of_gguf(meta):
        steps.append({"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()})
    prepend = "always" if leading_space else "never"
    words: list[dict[str, Any]] = [
        {"type": "Metaspace", "replacement": WORD_START, "prepend_scheme": prepend, "split": True}
    ]
    if meta.flag("remove_extra_whitespaces", False):
        if leading_space:  # as in the tokenizer.json of XLM-RoBERTa and T5
            words.insert(0, {"type": "WhitespaceSplit"})
        else:
            steps.append({"type": "Replace", "pattern": {"Regex": "^ +| +$"}, "content": ""})
            steps.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
    document: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": steps} if steps else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": words},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "Unigram",
            "unk_id": unknown,
            "vocab": vocabulary,
            "byte_fallback": sum(kind is TokenType.BYTE for kind in types) == 256,
        },
    }

    def build() -> "tokenizers.Tokenizer":
        from tokenizers import Tokenizer

        return Tokenizer.from_str(json.dumps(document))

    return Family(
        build, spell_sentencepiece, (None, _END), add_bos=False, leading_space=leading_space, add_eos=True,
        pair_types=(0, 0),
    )  # fmt: skip


def hide_controls(document: Mapping[str, Any], file: Path) -> tuple[bytes, dict[str, int]]:
    """Rewrite a tokenizer.json so that no input can match a control token's piece.

    Parameters
    ----------
    document : mapping
        Content of a tokenizer.json whose model is a Unigram.

    Returns
    -------
    content : bytes
        The tokenizer.json without its added tokens, and with control tokens' pieces renamed.
    ids : dict
        Ids of all pieces by their names in the file.

    Raises
    ------
    FormatError
        If a piece, a score or the unknown token is invalid, or words may contain spaces.
    """
    model = document["model"]
    vocabulary = model.get("vocab")
    if not isinstance(vocabulary, list) or not vocabulary:
        raise FormatError(f"{file}: model.vocab must be a list of pieces with scores, got {vocabulary!r:.60}")
    check_vocabulary(vocabulary, f"{file}: model.vocab")
    unknown = model.get("unk_id")
    if type(unknown) is not int or not 0 <= unknown < len(vocabulary):
        raise FormatError(f"{file}: model.unk_id is {unknown!r:.60}; expected a piece's number below {len(vocabulary)}")
    steps = list(_steps(document.get("pre_tokenizer"), "pretokenizers"))
    if not any(step.get("type") == "Metaspace" and step.get("replacement") == WORD_START for step in steps):
        kinds = " + ".join(str(step.get("type")) for step in steps) or "missing"
        raise FormatError(f"{file}: pre_tokenizer is {kinds}; expected Metaspace with U+2581, as Unigram models have")
    controls = {token.content for token in added_tokens(document, file) if token.special} | {vocabulary[unknown][0]}
    hidden = [[hide(text) if text in controls else text, score] for text, score in vocabulary]
    changed = dict(document) | {"model": dict(model) | {"vocab": hidden}, "added_tokens": []}
    return json.dumps(changed).encode(), {text: token for token, (text, _) in enumerate(vocabulary)}


def added_tokens(document: Mapping[str, Any], file: Path) -> "list[tokenizers.AddedToken]":
    """Return the added tokens of a tokenizer.json, in the order of their ids."""
    from tokenizers import AddedToken

    found = {}
    listed = document.get("added_tokens") or []
    for index, token in enumerate(listed if isinstance(listed, list) else [listed]):
        match token:
            case {"id": int(number), "content": str(text)} if text and number >= 0:
                flags = {name: token.get(name, False) for name in _FLAGS}
                if not all(isinstance(flag, bool) for flag in flags.values()):
                    raise FormatError(f"{file}: added_tokens[{index}] must have {', '.join(_FLAGS)} as true or false")
                found[number] = AddedToken(text, **flags)
            case _:
                raise FormatError(f"{file}: added_tokens[{index}] is {token!r:.80}; expected an id and content")
    return [found[number] for number in sorted(found)]


def check_vocabulary(pairs: Sequence[Any], where: str) -> None:
    """Raise a FormatError that names the first entry that is not a string of valid length with a finite score."""
    seen: set[str] = set()
    for index, pair in enumerate(pairs):
        match pair:
            case [str(text), int() | float() as score] if abs(score) <= MOST_SCORE:
                pass
            case _:
                raise FormatError(
                    f"{where}: entry {index} is {pair!r:.80}; "
                    f"expected a piece and its score, from {-MOST_SCORE:g} to {MOST_SCORE:g}"
                )
        if len(text) > LONGEST_PIECE:
            raise FormatError(
                f"{where}: entry {index}, {text!r:.60}, has {len(text)} characters; expected at most {LONGEST_PIECE}"
            )
        if text[:1] in ("", " ") or text in seen:
            raise FormatError(
                f"{where}: entry {index} is {text!r:.60}; expected a non-empty piece that does not begin with a space "
                "and occurs only once"
            )
        seen.add(text)
    total = len("".join(seen).encode("utf-8", "replace"))
    if total > MOST_PIECE_BYTES:
        raise FormatError(f"{where}: has pieces of {total} bytes in all; expected at most {MOST_PIECE_BYTES}")


def check_charsmaps(document: Mapping[str, Any], file: Path) -> None:
    """Raise a FormatError if a normalisation table in a tokenizer.json is damaged; see `check_charsmap`."""
    for step in _steps(document.get("normalizer"), "normalizers"):
        if step.get("type") != "Precompiled":
            continue
        text, where = step.get("precompiled_charsmap"), f"{file}: precompiled_charsmap"
        if not isinstance(text, str) or len(text) > 2 * MOST_BYTES:
            raise FormatError(f"{where} is {text!r:.60}; expected base64 of at most {MOST_BYTES} bytes")
        try:
            table = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise FormatError(f"{where} is not base64: {error}") from error
        check_charsmap(table, where)


def _charsmap_of_gguf(meta: Metadata) -> bytes:
    """Read the normalisation table; empty if there is no table."""
    if meta.get("precompiled_charsmap") is None:
        return b""
    stored = meta.array("precompiled_charsmap")
    if len(stored) > MOST_BYTES:
        meta.fail("precompiled_charsmap", f"has {len(stored)} entries; expected at most {MOST_BYTES} bytes")
    try:
        table = bytes(int(value) & 0xFF for value in stored if -128 <= value < 256)
    except (TypeError, ValueError):
        table = b""
    if len(table) != len(stored):
        meta.fail("precompiled_charsmap", f"must be an array of bytes (uint8 or int8), found {stored!r:.80}")
    if table:
        check_charsmap(table, f"{meta.source}: {meta.prefix}precompiled_charsmap")
    return table


def _steps(part: Any, inner: str) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of a normaliser or pre-tokenizer of a tokenizer.json, flattening sequences."""
    if isinstance(part, dict):
        yield part
        steps = part.get(inner)
        for step in steps if isinstance(steps, list) else []:
            yield from _steps(step, inner)
