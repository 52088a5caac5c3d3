"""Fill in the middle: the prompt's tokens, from each spelling, from a file's keys, and without a space in front."""

import json

import pytest

from intact._base.errors import FormatError, ParameterError
from intact.measure.bench.shapes import tokenizer_metadata
from intact.text import Tokenizer, infill
from support.folders import tokenizer_json

KEY = "tokenizer.ggml.{}_token_id"


def metadata(names=(), size=400, **ids):
    """Metadata of a byte-level vocabulary whose last tokens have these names, and keys that name tokens."""
    made = tokenizer_metadata(size)
    made["tokenizer.ggml.tokens"] += names
    made["tokenizer.ggml.token_type"] += [3] * len(names)
    return made | {KEY.format(name): token for name, token in ids.items()}


@pytest.mark.parametrize("names", infill.SPELLINGS, ids=lambda names: names[0])
def test_a_model_is_shown_prefix_then_suffix_then_the_gap(names):
    tokenizer = Tokenizer.from_gguf(metadata(names))
    before, behind, gap = tokenizer.infill
    assert [tokenizer.token_bytes(token).decode() for token in tokenizer.infill] == list(names)
    head, tail = tokenizer.encode("def f(x):", bos=False), tokenizer.encode(" + 1", bos=False)
    assert tokenizer.encode_infill("def f(x):", " + 1") == [before, *head, behind, *tail, gap]
    assert tokenizer.encode_infill(head, " + 1") == [before, *head, behind, *tail, gap]
    assert tokenizer.encode_infill("", "") == [before, behind, gap]


def test_names_in_the_texts_are_text():
    names = infill.SPELLINGS[0]
    tokenizer = Tokenizer.from_gguf(metadata(names))
    ids = tokenizer.encode_infill(f'MARK = "{names[1]}"', names[2])
    assert [token for token in ids if tokenizer.is_special(token)] == list(tokenizer.infill)
    assert tokenizer.decode(ids, skip_special=False) == f'{names[0]}MARK = "{names[1]}"{names[1]}{names[2]}{names[2]}'


def test_the_keys_of_a_file_go_before_names():
    names = infill.SPELLINGS[0]
    new = {"fim_pre": 300, "fim_suf": 301, "fim_mid": 302}
    old = {"prefix": 310, "suffix": 311, "middle": 312}
    assert Tokenizer.from_gguf(metadata(names, **new, **old)).infill == (300, 301, 302)
    assert Tokenizer.from_gguf(metadata(names, **old)).infill == (310, 311, 312)
    assert Tokenizer.from_gguf(metadata(names, fim_pre=300)).infill == (400, 401, 402)
    with pytest.raises(FormatError, match=r"fim_suf_token_id must be an integer from 0 to 399, found 400"):
        Tokenizer.from_gguf(metadata(**new | {"fim_suf": 400}))


def test_bos_goes_in_front():
    bos = {"tokenizer.ggml.add_bos_token": True}
    tokenizer = Tokenizer.from_gguf(metadata(infill.SPELLINGS[1]) | bos)
    assert tokenizer.encode_infill("a", "b")[:2] == [tokenizer.bos_id, tokenizer.infill.prefix]


def test_a_suffix_has_no_space_in_front_where_a_text_has_one():
    """As Code Llama was trained: `tokenizer.encode(prefix)`, but for the suffix `encode("\u263a" + suffix)[2:]`."""
    pieces = ["<unk>", "<s>", "</s>", *[f"<0x{byte:02X}>" for byte in range(256)]]
    pieces += ["▁", "a", "b", "▁a", "▁b", "\u263a", "▁<PRE>", "▁<SUF>", "▁<MID>"]
    types = [2, 3, 3] + [6] * 256 + [1] * 6 + [3] * 3
    made = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.scores": [0.0] * 259 + [-float(n) for n in range(len(pieces) - 259)],
    }
    tokenizer = Tokenizer.from_gguf(made)
    spelt = [pieces[token] for token in tokenizer.encode_infill("a", "b a")]
    assert spelt == ["<s>", "▁<PRE>", "▁a", "▁<SUF>", "b", "▁a", "▁<MID>"]
    assert [pieces[token] for token in tokenizer.encode("b", bos=False)] == ["▁b"]


def test_a_folder_s_vocabulary_is_searched_too(tmp_path):
    file, made = tmp_path / "tokenizer.json", tokenizer_json()
    file.write_text(json.dumps(made))
    assert Tokenizer.from_folder(tmp_path).infill is None
    added = [{**made["added_tokens"][0], "id": 301 + i, "content": name} for i, name in enumerate(infill.SPELLINGS[3])]
    file.write_text(json.dumps(made | {"added_tokens": made["added_tokens"] + added}))
    assert Tokenizer.from_folder(tmp_path).infill == (301, 302, 303)
    assert Tokenizer.from_folder(tmp_path, rows=301).infill is None  # the model has no rows for them


def test_a_vocabulary_without_the_tokens_is_refused():
    tokenizer = Tokenizer.from_gguf(metadata(infill.SPELLINGS[0][:2]), "plain.gguf")
    assert tokenizer.infill is None
    with pytest.raises(ParameterError, match=r"plain\.gguf cannot fill in the middle of a text"):
        tokenizer.encode_infill("a", "b")
