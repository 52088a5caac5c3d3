"""WordPiece: the tokens of Hugging Face's library from every kind of file, and of the algorithm as published."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import FormatError
from intact.text import Tokenizer

from .oracles import wordpiece
from .vocabularies import BERT, wordpiece_metadata, wordpieces

SCRIPTS = (
    "the unaffable foxruns.,!? \t\n\u00a0\u3000éüÅÉñ\u0301\u0308漢字日本你好世界Приветмирनमस्तेمرحبا안녕하세요ΓειάσουΣς"
)
ODD = "\x00\x01\x1f\x7f\u200b\u200d\ufe0f\ufeff\ufffd\u0085\u2028ﬁ①²Ⅳ😀🇩🇪[]#\u2581$+<=>^`|~İıßſ"
MARKS = (*BERT, "[cls]", "##", "unaffableness", "a" * 100, "a" * 101, "é" * 99, "字" * 130)
PARTS = st.one_of(st.sampled_from(MARKS), st.text(SCRIPTS, max_size=8), st.text(ODD, max_size=4), st.text(max_size=4))
TEXT = st.lists(PARTS, max_size=12).map("".join)
SIMPLE = st.lists(st.one_of(st.text(SCRIPTS, max_size=8), st.sampled_from(MARKS[5:])), max_size=12).map("".join)
"""Characters whose categories no version of Unicode changed."""


def write(folder: Path, made: Any, **config: Any) -> Path:
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module", params=[True, False], ids=["uncased", "cased"])
def kinds(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The library's tokenizer, and ours from a folder, from a GGUF file and from a vocab.txt."""
    made = wordpieces(request.param)
    listed = tmp_path_factory.mktemp("vocabulary")
    known = made.get_vocab()
    (listed / "vocab.txt").write_text("".join(f"{piece}\n" for piece in sorted(known, key=known.__getitem__)))
    (listed / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": request.param}))
    return {
        "library": made,
        "lowercase": request.param,
        "folder": Tokenizer.from_folder(write(tmp_path_factory.mktemp("folder"), made)),
        "gguf": Tokenizer.from_gguf(wordpiece_metadata(request.param)),
        "vocab.txt": Tokenizer.from_folder(listed),
    }


@given(TEXT, TEXT)
def test_every_kind_of_file_gives_the_tokens_of_the_library(kinds: dict[str, Any], text: str, other: str) -> None:
    single, pair = kinds["library"].encode(text), kinds["library"].encode(text, other)
    for name in ("folder", "gguf", "vocab.txt"):
        assert kinds[name].encode(text) == single.ids, name
        assert kinds[name].encode_pair(text, other, special=True) == (pair.ids, pair.type_ids), name


@given(SIMPLE)
def test_tokens_are_those_of_the_algorithm(kinds: dict[str, Any], text: str) -> None:
    known = kinds["library"].get_vocab()
    expected = wordpiece(text, known, known["[UNK]"], lowercase=kinds["lowercase"])
    assert kinds["gguf"].encode(text, special=False, bos=False) == expected


@given(TEXT)
def test_control_tokens_in_a_text_are_text_unless_asked_for(kinds: dict[str, Any], text: str) -> None:
    for name in ("folder", "gguf", "vocab.txt"):
        ids = kinds[name].encode(text, special=False, bos=False)
        assert {kinds[name].token_bytes(token) for token in ids if kinds[name].is_special(token)} <= {b"[UNK]"}


@given(TEXT)
def test_all_files_decode_alike(kinds: dict[str, Any], text: str) -> None:
    ids = kinds["folder"].encode(text)
    decoded = kinds["folder"].decode(ids)
    assert decoded == kinds["gguf"].decode(ids) == kinds["vocab.txt"].decode(ids)
    assert kinds["folder"].vocabulary_digest == kinds["gguf"].vocabulary_digest


@given(TEXT)
def test_what_was_decoded_becomes_the_same_tokens(kinds: dict[str, Any], text: str) -> None:
    for name in ("folder", "gguf", "vocab.txt"):
        tokenizer = kinds[name]
        ids = [token for token in tokenizer.encode(text, special=False) if not tokenizer.is_special(token)]
        assert tokenizer.encode(tokenizer.decode(ids), special=False, bos=False) == ids


def test_words_come_back_without_case_accents_and_spacing() -> None:
    tokenizer = Tokenizer.from_gguf(wordpiece_metadata())
    assert tokenizer.decode(tokenizer.encode("The  quick,\nBrown fóx")) == "the quick , brown fox"


def test_a_pair_has_the_types_of_its_texts() -> None:
    tokenizer = Tokenizer.from_gguf(wordpiece_metadata())
    first, second = (tokenizer.encode(text, special=False, bos=False) for text in ("the fox", "[SEP]"))
    before, after = tokenizer.around
    ids, types = tokenizer.encode_pair("the fox", "[SEP]")
    assert ids == [*before, *first, *after, *second, *after]
    assert types == [0] * (len(first) + 2) + [1] * (len(second) + 1)


def test_case_is_kept_where_a_piece_has_it_or_the_file_says_so() -> None:
    upper = Tokenizer.from_gguf(wordpiece_metadata(False)).encode("The", bos=False)
    assert upper != Tokenizer.from_gguf(wordpiece_metadata(False)).encode("the", bos=False)
    told = Tokenizer.from_gguf(wordpiece_metadata(False) | {"tokenizer.ggml.normalizer.lowercase": True})
    assert told.encode("The", bos=False) == told.encode("the", bos=False)


def test_a_piece_for_the_mark_of_words_is_one_within_words() -> None:
    metadata = wordpiece_metadata()
    metadata["tokenizer.ggml.tokens"] += ["\u2581"]
    metadata["tokenizer.ggml.token_type"] += [1]
    tokenizer = Tokenizer.from_gguf(metadata)
    assert tokenizer.decode(tokenizer.encode("a\u2581")) == "a\u2581"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unknown_token_id": 10**6}, "unknown_token_id must be an integer from 0 to"),
        ({"tokens": ["[UNK]", "\u2581[UNK]"], "token_type": [3, 1], "unknown_token_id": 0}, r"'\[UNK\]' twice"),
        (
            {"tokens": ["[CLS]", "\u2581a"], "token_type": [3, 1], "unknown_token_id": None},
            "unknown_token_id is missing",
        ),
        ({"normalizer.lowercase": "yes"}, "normalizer.lowercase must be true or false"),
        ({"cls_token_id": -1}, "cls_token_id must be an integer"),
    ],
)
def test_broken_metadata_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        Tokenizer.from_gguf(wordpiece_metadata(**changes))


@pytest.mark.parametrize(
    ("content", "config", "message"),
    [
        ("[UNK]\n[CLS]\n[SEP]\n[PAD]\na\n", {}, "no piece '.MASK.' for the vocabulary's mask_token"),
        ("\n".join((*BERT, "a", "a")), {}, "'a' in lines 6 and 7"),
        ("\n".join(BERT), {"do_lower_case": 1}, "do_lower_case must be true or false"),
        ("\n".join(BERT), {"sep_token": "</s>"}, "no piece '</s>' for the vocabulary's sep_token"),
        (b"\xff\n", {}, "not readable as text"),
    ],
)
def test_a_broken_list_of_pieces_is_refused(
    tmp_path: Path, content: str | bytes, config: dict[str, Any], message: str
) -> None:
    (tmp_path / "vocab.txt").write_bytes(content.encode() if isinstance(content, str) else content)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(FormatError, match=message):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("continuing_subword_prefix", "@@", "continuing_subword_prefix is '@@'; expected '##'"),
        ("max_input_chars_per_word", 10**9, "max_input_chars_per_word is 1000000000; expected 1 to 256"),
        ("unk_token", "<none>", "unk_token is '<none>', which is not in the vocabulary"),
    ],
)
def test_a_broken_model_is_refused(tmp_path: Path, part: str, value: Any, message: str) -> None:
    document = json.loads(wordpieces().to_str())
    document["model"][part] = value
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(FormatError, match=message):
        Tokenizer.from_folder(tmp_path)


def test_words_that_can_be_control_tokens_are_refused(tmp_path: Path) -> None:
    document = json.loads(wordpieces().to_str())
    document["pre_tokenizer"] = {"type": "WhitespaceSplit"}
    document["normalizer"] = None
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(FormatError, match="plain text becomes the control token"):
        Tokenizer.from_folder(tmp_path)
