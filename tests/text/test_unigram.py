"""Unigram: the tokens of Hugging Face's library from every kind of file, and of the algorithm with its tie rule."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import FormatError, ParameterError
from intact.text import Tokenizer

from .oracles import unigram
from .test_tokenizer import BYTE_LEVEL
from .test_wordpiece import ODD, SCRIPTS, write
from .vocabularies import XLMR, unigram_metadata, unigrams

ODD_TEXT = st.text(ODD.replace("\u0085", ""), max_size=4)
PARTS = st.one_of(
    st.sampled_from((*XLMR, "unaffableness", "a" * 300, "....!!!!")), st.text(SCRIPTS, max_size=8), ODD_TEXT,
    st.text(max_size=4),
)  # fmt: skip
TEXT = st.lists(PARTS, max_size=12).map("".join)


@pytest.fixture(scope="module", params=[False, True], ids=["unknown", "bytes"])
def kinds(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The library's tokenizer, and ours from a folder and from a GGUF file."""
    made = unigrams(request.param)
    return {
        "library": made,
        "folder": Tokenizer.from_folder(write(tmp_path_factory.mktemp("folder"), made)),
        "gguf": Tokenizer.from_gguf(unigram_metadata(request.param)),
    }


@given(TEXT, TEXT)
def test_every_kind_of_file_gives_the_tokens_of_the_library(kinds: dict[str, Any], text: str, other: str) -> None:
    single, pair = kinds["library"].encode(text), kinds["library"].encode(text, other)
    for name in ("folder", "gguf"):
        assert kinds[name].encode(text) == single.ids, name
        assert kinds[name].encode_pair(text, other, special=True) == (pair.ids, pair.type_ids), name


@given(TEXT)
def test_control_tokens_in_a_text_are_text_unless_asked_for(kinds: dict[str, Any], text: str) -> None:
    for name in ("folder", "gguf"):
        ids = kinds[name].encode(text, special=False, bos=False)
        assert {kinds[name].token_bytes(token) for token in ids if kinds[name].is_special(token)} <= {b"<unk>"}


def test_a_control_token_that_normalisation_would_write_is_text(kinds: dict[str, Any]) -> None:
    wide = "\uff1cs\uff1e"  # NFKC makes <s> of it, and the library the control token
    assert 0 in kinds["library"].encode(wide, add_special_tokens=False).ids
    for name in ("folder", "gguf"):
        for special in (True, False):
            assert 0 not in kinds[name].encode(wide, special, bos=False)


@given(TEXT)
def test_all_files_decode_alike(kinds: dict[str, Any], text: str) -> None:
    ids = kinds["folder"].encode(text)
    assert kinds["folder"].decode(ids) == kinds["gguf"].decode(ids)
    assert kinds["folder"].vocabulary_digest == kinds["gguf"].vocabulary_digest


@given(TEXT)
def test_what_was_decoded_becomes_the_same_tokens(kinds: dict[str, Any], text: str) -> None:
    for name in ("folder", "gguf"):
        ids = kinds[name].encode(text, special=False, bos=False)
        if not any(map(kinds[name].is_special, ids)):
            assert kinds[name].encode(kinds[name].decode(ids), special=False, bos=False) == ids


def test_text_comes_back_normalised(kinds: dict[str, Any]) -> None:
    for name in ("folder", "gguf"):
        assert kinds[name].decode(kinds[name].encode(" The  ﬁne\tＤｏｇ ")) == "The fine Dog"


SCORES = st.dictionaries(st.text("ab", min_size=1, max_size=4), st.integers(-4, 0), min_size=1, max_size=12)


@given(SCORES, st.text("abc", max_size=12))
def test_of_equal_ways_the_one_with_the_longest_last_piece_counts(scores: dict[str, int], text: str) -> None:
    pieces = {"<unk>": 0.0} | {piece: float(score) for piece, score in scores.items()}
    metadata = unigram_metadata(
        tokens=list(pieces),
        scores=list(pieces.values()),
        token_type=[2] + [1] * len(scores),
        precompiled_charsmap=None,
        add_space_prefix=False,
        remove_extra_whitespaces=False,
        **dict.fromkeys(("add_bos_token", "add_eos_token", "bos_token_id", "eos_token_id", "seperator_token_id")),
        unknown_token_id=0,
    )
    tokenizer = Tokenizer.from_gguf(metadata)
    ids = tokenizer.encode(text, bos=False)
    found = [None if token == 0 else tokenizer.token_bytes(token).decode() for token in ids]
    assert found == unigram(text, {piece: float(score) for piece, score in scores.items()})


def test_unused_tokens_are_never_made_of_a_text() -> None:
    tokenizer = Tokenizer.from_gguf(unigram_metadata())
    assert not {tokenizer.size - 1, tokenizer.size - 2} & set(tokenizer.encode("[PAD0][PAD1]"))
    assert tokenizer.token_bytes(tokenizer.size - 1) == b""


def test_a_model_without_separators_joins_no_texts() -> None:
    with pytest.raises(ParameterError, match="does not support text pairs"):
        BYTE_LEVEL.encode_pair("a", "b")


def test_t5_ends_both_texts() -> None:
    t5 = Tokenizer.from_gguf(
        unigram_metadata(**dict.fromkeys(("bos_token_id", "add_bos_token", "add_eos_token", "seperator_token_id")))
    )
    first, second = (t5.encode(text, bos=False) for text in ("fox", "dog"))
    assert t5.encode("fox") == [*first, 2]
    assert t5.encode_pair("fox", "dog").ids == [*first, 2, *second, 2]


SIZE = len(unigram_metadata()["tokenizer.ggml.tokens"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": [0.0]}, "scores has 1 entries"),
        ({"scores": [float("nan")] * SIZE}, "entry 0 is .*nan.*; expected a piece and its score"),
        ({"scores": [float("inf")] * SIZE}, "entry 0 is .*inf.*; expected a piece and its score"),
        ({"token_type": [3] * SIZE}, "token_type has no token of the type 1"),
        ({"unknown_token_id": SIZE}, "unknown_token_id must be an integer from 0 to"),
        ({"tokens": [f"{n:0257}" for n in range(SIZE)]}, "has 257 characters; expected at most 256"),
        ({"tokens": [f" {n}" for n in range(SIZE)]}, "does not begin with a space"),
        ({"precompiled_charsmap": "AAAA"}, "precompiled_charsmap must be an array"),
        ({"precompiled_charsmap": [300]}, r"precompiled_charsmap must be an array of bytes \(uint8 or int8\)"),
        ({"precompiled_charsmap": ["a"]}, r"precompiled_charsmap must be an array of bytes \(uint8 or int8\)"),
        ({"precompiled_charsmap": [1, 2, 3]}, "precompiled_charsmap states a trie of"),
    ],
)
def test_broken_metadata_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        Tokenizer.from_gguf(unigram_metadata(**changes))


def test_signed_bytes_are_read_as_bytes() -> None:
    table = unigram_metadata()["tokenizer.ggml.precompiled_charsmap"]
    signed = Tokenizer.from_gguf(unigram_metadata(precompiled_charsmap=table.view(np.int8)))
    assert signed.encode("ﬁne") == Tokenizer.from_gguf(unigram_metadata()).encode("ﬁne")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model.unk_id", None, "model.unk_id is None; expected a piece's number"),
        ("model.unk_id", 10**9, "model.unk_id is 1000000000"),
        ("model.vocab", {}, "model.vocab must be a list of pieces with scores"),
        ("model.vocab", [["a", "b"]], "entry 0 is .*; expected a piece and its score"),
        ("model.vocab", [["<unk>", 0.0], ["a", -1.0], ["a", -2.0]], "entry 2 is 'a'; expected a non-empty piece that"),
        ("model.vocab", [["<unk>", 0.0], ["", -1.0]], "entry 1 is ''; expected a non-empty piece"),
        ("pre_tokenizer", None, "pre_tokenizer is missing; expected Metaspace"),
        ("pre_tokenizer", {"type": "WhitespaceSplit"}, "pre_tokenizer is WhitespaceSplit; expected Metaspace"),
        ("normalizer.precompiled_charsmap", "?", "precompiled_charsmap is not base64"),
        ("normalizer.precompiled_charsmap", "/P///w==", "precompiled_charsmap states a trie of 4294967292 bytes in 4"),
        ("normalizer.precompiled_charsmap", None, "precompiled_charsmap is None; expected base64"),
        ("added_tokens", [{"id": 0}], r"added_tokens\[0\] is .*; expected an id and content"),
        ("added_tokens", [{"id": 0, "content": "<s>", "special": 1}], "as true or false"),
    ],
)
def test_a_broken_tokenizer_json_is_refused(tmp_path: Path, path: str, value: Any, message: str) -> None:
    document: Any = json.loads(unigrams().to_str())
    *parents, last = path.split(".")
    inner = document
    for name in parents:
        inner = inner[name]
    inner[last] = value
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(FormatError, match=message):
        Tokenizer.from_folder(tmp_path)


def test_a_file_without_the_model_s_type_is_read_as_the_library_reads_it(tmp_path: Path) -> None:
    document = json.loads(unigrams().to_str())
    del document["model"]["type"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    wide = "\uff1cs\uff1e the fox"
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.encode(wide) == Tokenizer.from_gguf(unigram_metadata()).encode(wide)
