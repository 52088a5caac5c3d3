"""Encoders equal Transformers, read texts whole, pool as their files say, and score pairs."""

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import intact
from intact._base.errors import ModelError, ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.engine.encoding import EncodingJob
from intact.engine.hidden import read_hidden
from intact.executors.settings import ExecutorSettings
from intact.measure.bench.shapes import tokenizer_metadata
from intact.models import build_program
from intact.models.aspects.step import SequenceChunk
from intact.models.bert import Bert
from intact.numerics.functions import sigmoid
from intact.quantizing import quantize
from support.folders import tensor_values, tokenizer_json, write_encoder, write_safetensors
from support.gguf_writer import write_gguf
from support.tiny import write_tiny
from support.variants.encoders import ENCODERS, PAIR
from support.variants.form import TOKENS

GOLDENS = json.loads((Path(__file__).parent / "goldens.json").read_text())
PROFILES = {"int8": {}, "4 bits": {"bits": 4}, "fp32": {"profile": "fp32"}}
RERANKERS = tuple(name for name in ENCODERS if "reranker" in name)
POOLED = {"cls_token": "cls", "mean_tokens": "mean", "lasttoken": "last"}


def text_of(name):
    return PAIR if name in RERANKERS else TOKENS


def heads(model, tokens):
    """What enters the head at each row of a text."""
    job = EncodingJob(tokens, "all")
    model.run([job])
    return job.results()


def states(model, tokens):
    """The same as floats, (rows, width)."""
    if model.executor.profile == "fp32":
        return np.stack([np.frombuffer(head, "<f4") for head in heads(model, tokens)]).astype(np.float64)
    width = model.program.buffers["x"].width
    return np.stack([read_hidden(head, "int8").floats[:width] for head in heads(model, tokens)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("encoders")
    return cache(lambda name, pooling=None: write_encoder(root / f"{name} {pooling}", ENCODERS[name], name, pooling))


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.native
def test_the_fp32_profile_equals_transformers(folder, name):
    theirs = GOLDENS["encoders"][name]["transformers"]
    tokens = text_of(name)
    ours = states(intact.load(folder(name), profile="fp32"), tokens)
    rows = [p for p in GOLDENS["positions"] if p < len(tokens)]
    part = ours[np.ix_(rows, range(0, ours.shape[1], GOLDENS["every"]))]
    assert np.abs(part - np.array(theirs["rows"])).max() <= 1e-6 * theirs["range"]
    assert theirs["ours"] <= 1e-6


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.native
def test_the_bits_are_those_of_numerics_version_1(folder, name, profile):
    found = b"".join(heads(intact.load(folder(name), **PROFILES[profile]), text_of(name)))
    assert hashlib.sha256(found).hexdigest()[:16] == GOLDENS["encoders"][name]["digests"][profile]


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.native
def test_the_reference_equals_native(folder, name):
    reference, native = (intact.load(folder(name), executor=kind) for kind in ("reference", "native"))
    assert heads(reference, text_of(name)) == heads(native, text_of(name))


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.native
def test_integers_stay_near_floats(folder, name):
    exact, eight = (states(intact.load(folder(name), **PROFILES[p]), text_of(name)) for p in ("fp32", "int8"))
    cosines = (exact * eight).sum(axis=1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(eight, axis=1)
    assert cosines.min() > 0.9997  # measured 0.99983 and more
    assert GOLDENS["encoders"][name]["transformers"]["int8"] < 0.02


@pytest.mark.parametrize("spec", ["int8-row", "gptq:int8-row"])
@pytest.mark.native
def test_a_quantised_encoder_stays_near_its_source(folder, tmp_path, spec):
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat " * 40)
    quantize(folder("bert"), tmp_path / "out", spec, calibrate=text, context=16, windows=4)
    exact, ours = (states(intact.load(one), TOKENS) for one in (folder("bert"), tmp_path / "out"))
    cosines = (exact * ours).sum(axis=1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(ours, axis=1)
    assert 0.999 < cosines.min() < 1
    native, reference = (intact.load(tmp_path / "out", executor=kind) for kind in ("native", "reference"))
    assert heads(native, TOKENS) == heads(reference, TOKENS)


@pytest.mark.parametrize("mode", POOLED)
@pytest.mark.parametrize("options", [{}, {"profile": "fp32"}], ids=["int8", "fp32"])
@pytest.mark.native
def test_vectors_are_pooled_as_the_folder_says(folder, mode, options):
    model = intact.load(folder("bert", mode), **options)
    text = "The sky is blue"
    rows = states(model, model.tokenizer.encode(text))
    expected = {"cls": rows[0], "mean": rows.mean(axis=0), "last": rows[-1]}[POOLED[mode]]
    (found,) = model.embed(text)
    np.testing.assert_allclose(found.vector, expected / np.linalg.norm(expected), atol=1e-5)
    (chosen,) = model.embed(text, pooling=POOLED[mode])
    assert np.array_equal(chosen.vector, found.vector)
    (short,) = model.embed(text, dimensions=8)
    assert np.isclose(np.linalg.norm(short.vector), 1, atol=1e-6)


@pytest.mark.native
def test_a_folder_without_a_pooling_wants_one(folder):
    model = intact.load(folder("bert"))
    with pytest.raises(ParameterError, match="its files do not name a pooling: give pooling='last' or 'cls' or 'mean'"):
        model.embed("The sky")
    with pytest.raises(ParameterError, match="pooling must be"):
        model.embed("The sky", pooling="max")


@pytest.mark.parametrize("name", RERANKERS)
@pytest.mark.native
def test_a_reranker_scores_pairs(folder, name):
    floats = intact.load(folder(name), profile="fp32")
    job = EncodingJob(PAIR, "first")
    floats.run([job])
    head, prompts = floats.rerank_prompts("sky", ["blue", "a bird"])
    logit = GOLDENS["encoders"][name]["transformers"]["logit"]
    assert abs(head.score(job.result()) - 1 / (1 + np.exp(-logit))) < 1e-5
    assert prompts == [floats.tokenizer.encode_pair("sky", text).ids for text in ("blue", "a bird")]
    exact = int(sigmoid(np.array(round(logit * 65536)))) / (1 << 30)
    eight = intact.load(folder(name))
    job = EncodingJob(PAIR, "first")
    eight.run([job])
    assert abs(eight.rerank_prompts("sky", ["blue"])[0].score(job.result()) - exact) < 0.02
    documents = ["blue", "a bird", "the sky is blue", ""]
    ranked = eight.rerank("sky", documents)
    assert [one.score for one in ranked] == sorted((one.score for one in ranked), reverse=True)
    for one in ranked:
        (alone,) = eight.rerank("sky", [documents[one.index]])
        assert (alone.score, alone.tokens) == (one.score, one.tokens)


@pytest.mark.native
def test_the_second_text_has_the_second_type(folder):
    """Without a separator, rows are those of the first type alone, up to it the same."""
    checkpoint = open_checkpoint(folder("bert-reranker"))
    embed = build_program(checkpoint).ops[0]
    assert (embed.separator, embed.second_bias) == (2, "token_types.1")
    assert build_program(open_checkpoint(folder("bert"))).ops[0].second_bias is None
    assert build_program(open_checkpoint(folder("xlm-roberta-reranker"))).ops[0].first == 2


@pytest.mark.native
def test_an_encoder_writes_no_text(folder):
    model = intact.load(folder("bert", "cls_token"))
    message = "an encoder cannot generate text: use embed, or rerank"
    for call in (
        lambda: model.generate("The sky"),
        lambda: model.chat([{"role": "user", "content": "Hello"}]),
        lambda: model.logprobs("The sky"),
        lambda: model.logits("The sky"),
        lambda: next(model.stream("The sky")),
    ):
        with pytest.raises(ParameterError, match=message):
            call()
    with pytest.raises(ParameterError, match="is not a reranker: its files have no head of two layers"):
        model.rerank("sky", ["blue"])
    with pytest.raises(ParameterError, match="the text has 62 tokens; the encoder reads at most 48"):
        model.embed("x" * 60)
    assert len(model.embed("x" * 46)) == 1


@pytest.mark.native
def test_other_models_are_not_read_whole(tmp_path):
    model = intact.load(write_tiny(tmp_path / "tiny.gguf"))
    with pytest.raises(ParameterError, match="the model generates text"):
        model.run([EncodingJob([5, 6, 7], "all")])
    with pytest.raises(ParameterError, match="pooling must be 'last' or None"):
        model.embed("x", pooling="mean")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drafter": "lookup"}, "an encoder does not generate tokens: give drafter='off'"),
        ({"draft_model": "absent.gguf"}, "an encoder does not generate tokens: give drafter='off'"),
        ({"partners": ["absent.gguf"]}, "an encoder does not generate tokens: leave out partners"),
        ({"tensor_parallel": 2}, "an encoder cannot be divided"),
        ({"pipeline_parallel": 2}, "an encoder cannot be divided"),
    ],
)
@pytest.mark.native
def test_what_only_writers_have_is_refused_before_weights_are_read(folder, options, message, monkeypatch):
    monkeypatch.setattr(ExecutorSettings, "make_executor", lambda *given, **named: pytest.fail("it read weights"))
    with pytest.raises(ParameterError, match=message):
        intact.load(folder("bert"), **options)


@pytest.mark.native
def test_executors_refuse_parts_of_texts_and_positions_that_are_not_there(folder):
    for kind in ("reference", "native"):
        executor = intact.load(folder("bert"), executor=kind).executor
        executor.reserve_pages(4)
        pages, wanted = np.arange(4, dtype=np.int32), np.arange(1)
        with pytest.raises(ParameterError, match="reads each text whole, in one chunk that begins at position 0"):
            executor.step([SequenceChunk(3, np.array([5], np.int32), pages)], wanted)
        with pytest.raises(ParameterError, match="the model has positions for 48 tokens, not for 49"):
            executor.step([SequenceChunk(0, np.full(49, 5, np.int32), pages)], wanted)


GGUF_NAMES = {
    "bert.context_length": "max_position_embeddings",
    "bert.embedding_length": "hidden_size",
    "bert.feed_forward_length": "intermediate_size",
    "bert.block_count": "num_hidden_layers",
    "bert.attention.head_count": "num_attention_heads",
    "bert.attention.layer_norm_epsilon": "layer_norm_eps",
    "tokenizer.ggml.token_type_count": "type_vocab_size",
}


def as_gguf(path, name, pooling, **changes):
    """The model of a folder as llama.cpp's converter writes it."""
    config = dict(ENCODERS[name].config) | {"architectures": ["BertModel"]}
    values = tensor_values(config, name)
    metadata = {key: config[own] for key, own in GGUF_NAMES.items()} | {
        "general.architecture": "bert",
        "bert.attention.causal": False,
        "bert.pooling_type": pooling,
    }
    tensors = {
        Bert.canonical_name(own): ("F32", array.shape, array.astype("<f4").tobytes()) for own, array in values.items()
    }
    return write_gguf(path, metadata | tokenizer_metadata(config["vocab_size"]) | changes, tensors)


@pytest.mark.native
def test_a_gguf_file_and_a_folder_give_the_same_bits(folder, tmp_path):
    model = intact.load(as_gguf(tmp_path / "bert.gguf", "bert", 1))
    assert heads(model, TOKENS) == heads(intact.load(folder("bert")), TOKENS)
    mean, cls = (
        intact.load(as_gguf(tmp_path / "mean.gguf", "bert", 1)),
        intact.load(as_gguf(tmp_path / "c.gguf", "bert", 2)),
    )
    assert np.array_equal(mean.embed([list(TOKENS)])[0].vector, cls.embed([list(TOKENS)], pooling="mean")[0].vector)
    assert np.array_equal(cls.embed([list(TOKENS)])[0].vector, mean.embed([list(TOKENS)], pooling="cls")[0].vector)


@pytest.mark.native
def test_a_gguf_file_that_is_causal_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"attention\.causal"):
        intact.load(as_gguf(tmp_path / "bert.gguf", "bert", 1, **{"bert.attention.causal": True}))


# Whatever a golden is to notice must change the answer on this text.
@pytest.mark.parametrize(
    ("name", "key", "value"),
    [("bert", "layer_norm_eps", 1e-2), ("bert", "num_attention_heads", 2), ("xlm-roberta", "layer_norm_eps", 1e-2)],
)
@pytest.mark.native
def test_every_hyper_parameter_matters(tmp_path, name, key, value):
    variant = ENCODERS[name]
    changed = write_encoder(tmp_path, variant._replace(config=dict(variant.config) | {key: value}), name)
    found = b"".join(heads(intact.load(changed), TOKENS))
    assert hashlib.sha256(found).hexdigest()[:16] != GOLDENS["encoders"][name]["digests"]["int8"]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("bert", {"hidden_act": "relu"}, "hidden_act must be gelu"),
        ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type must be absolute"),
        ("bert", {"is_decoder": True}, "is_decoder"),
        ("bert", {"max_position_embeddings": 47}, r"embeddings\.position_embeddings\.weight has shape"),
        ("bert", {"type_vocab_size": 3}, r"embeddings\.token_type_embeddings\.weight has shape"),
        ("xlm-roberta", {"pad_token_id": 60}, "max_position_embeddings"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, name, changes, message):
    path = write_encoder(tmp_path, ENCODERS[name], name)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(ModelError, match=message):
        build_program(open_checkpoint(path))


def test_a_reranker_needs_its_separator(tmp_path):
    path = write_encoder(tmp_path, ENCODERS["bert-reranker"], "bert-reranker")
    (path / "tokenizer.json").write_text(json.dumps(tokenizer_json()))
    with pytest.raises(ModelError, match=r"name no token \[SEP\]"):
        build_program(open_checkpoint(path))
    (path / "tokenizer.json").unlink()
    (path / "vocab.txt").write_text("[PAD]\n[CLS]\nsky\n[SEP]\nblue\n")
    assert build_program(open_checkpoint(path)).ops[0].separator == 3


@pytest.mark.native
def test_a_folder_with_berts_own_vocabulary(tmp_path):
    """Words are cut into pieces, and the types of a pair follow from its separator."""
    path = write_encoder(tmp_path, ENCODERS["bert-reranker"], "bert-reranker")
    (path / "tokenizer.json").unlink()
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters), "sky", "blue"]
    pieces += [f"[unused{i}]" for i in range(301 - len(pieces))]
    (path / "vocab.txt").write_text("\n".join(dict.fromkeys(pieces)) + "\n")
    model = intact.load(path)
    names = [model.tokenizer.token_bytes(token).decode() for token in model.tokenizer.encode("Skys blue")]
    assert names[0] == "[CLS]"
    assert names[-1] == "[SEP]"
    pair = model.tokenizer.encode_pair("sky", "blue skys")
    assert model.program.ops[0].separator == 3 == pair.ids[pair.types.index(1) - 1]
    assert [one.index for one in model.rerank("sky", ["blue", "sky"])]
    job = EncodingJob(pair.ids, "first")
    model.run([job])
    reference = intact.load(path, executor="reference")
    other = EncodingJob(pair.ids, "first")
    reference.run([other])
    assert job.result() == other.result()


@pytest.mark.native
def test_a_reranker_in_a_gguf_file_has_the_folders_score(folder, tmp_path):
    """As llama.cpp writes XLM-RoBERTa: no first positions, no dimensions of 1, the head as cls and cls.output."""
    config = dict(ENCODERS["xlm-roberta-reranker"].config)
    own = folder("xlm-roberta-reranker")
    names = {"classifier.dense": "cls", "classifier.out_proj": "cls.output"}
    tensors = {}
    for name, tensor in open_checkpoint(own).tensors.items():
        stem, _, end = name.rpartition(".")
        data, shape = tensor.data.tobytes(), tensor.shape
        if name.endswith("position_embeddings.weight"):
            shape, data = (shape[0] - 2, shape[1]), data[2 * 4 * shape[1] :]
        if len(shape) == 2 and shape[0] == 1:
            shape = shape[1:]
        tensors[f"{names[stem]}.{end}" if stem in names else Bert.canonical_name(name)] = (tensor.kind, shape, data)
    metadata = {key: config[name] for key, name in GGUF_NAMES.items()} | {
        "general.architecture": "bert",
        "bert.attention.causal": False,
        "bert.pooling_type": 4,
        "bert.context_length": config["max_position_embeddings"] - 2,
    }
    path = write_gguf(tmp_path / "reranker.gguf", metadata | tokenizer_metadata(config["vocab_size"]), tensors)
    scores = []
    for source in (own, path):
        model = intact.load(source, profile="fp32")
        job = EncodingJob(PAIR, "first")
        model.run([job])
        scores.append(model._pair_head.score(job.result()))
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)  # a GGUF file has its epsilon as float32
    with pytest.raises(ParameterError, match="it pools by 'rank'"):
        intact.load(path).embed([list(TOKENS)])


def test_what_published_folders_hold_besides_is_left_aside(tmp_path):
    """The numbers of positions as integers of 64 bits, and the pooler, which vectors do not pass."""
    path = write_encoder(tmp_path, ENCODERS["bert"], "bert")
    tensors = {
        name: (tensor.kind, tensor.shape, tensor.data.tobytes())
        for name, tensor in open_checkpoint(path).tensors.items()
    }
    tensors["embeddings.position_ids"] = ("I64", (1, 48), np.arange(48, dtype="<i8").tobytes())
    tensors["pooler.dense.weight"] = ("F32", (64, 64), np.ones((64, 64), "<f4").tobytes())
    tensors["pooler.dense.bias"] = ("F32", (64,), np.ones(64, "<f4").tobytes())
    plain = build_program(open_checkpoint(path))
    write_safetensors(path / "model.safetensors", tensors)
    assert build_program(open_checkpoint(path)).ops == plain.ops
    tensors["encoder.layer.0.attention.distance_embedding.weight"] = ("F32", (4, 16), bytes(256))
    write_safetensors(path / "model.safetensors", tensors)
    with pytest.raises(ModelError, match="distance_embedding"):
        build_program(open_checkpoint(path))
