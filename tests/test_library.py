"""The library's face: prompts, parameters, samples, streams, chats, ends, and what is said about mistakes."""

import asyncio
import dataclasses
import os
import subprocess
import sys
import threading
from datetime import datetime
from fractions import Fraction

import numpy as np
import pytest

import intact
from intact import _native
from intact._base.errors import ModelError, ParameterError
from intact.checkpoints.formats import Tensor
from intact.executors.native import NativeExecutor
from intact.library import prompt_id
from intact.models.aspects.step import SequenceChunk
from intact.models.ops import Logits
from intact.numerics.functions import LOG2E
from intact.numerics.sampling import branch_key, log_probability, make_sampling
from intact.text import ChatPrompt, Tokenizer
from support.tiny import write_tiny

SAMPLED = {"temperature": 1.0, "seed": 3}
CONTEXT = 96


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", "qwen3", context=CONTEXT)


@pytest.fixture(scope="module")
def model(path):
    return intact.load(path, threads=1)


@pytest.fixture
def endless(monkeypatch):
    """No token ends a continuation."""
    monkeypatch.setattr(Tokenizer, "eos_ids", frozenset())


def one(model, prompt, **parameters):
    ((completion,),) = model.generate(prompt, **parameters)
    return completion


def test_a_prompt_is_a_text_or_tokens(model):
    ids = model.tokenizer.encode("the other")
    forms = ["the other", ids, tuple(ids), np.array(ids), np.array(ids, np.uint16), [np.int64(i) for i in ids]]
    assert len({one(model, form, max_tokens=6, **SAMPLED) for form in forms}) == 1
    assert model.generate([ids], max_tokens=6, **SAMPLED) == model.generate("the other", max_tokens=6, **SAMPLED)
    assert one(model, ids).prompt_tokens == len(ids)


def test_the_order_and_the_company_of_prompts_change_nothing(model):
    prompts = ["one", "and two", [7, 8, 9], "the third is somewhat longer than the others are"]
    together = model.generate(prompts, n=2, max_tokens=9, logprobs=True, **SAMPLED)
    assert [len(samples) for samples in together] == [2] * 4
    assert model.generate(prompts[::-1], n=2, max_tokens=9, logprobs=True, **SAMPLED) == together[::-1]
    for prompt, samples in zip(prompts, together, strict=True):
        assert model.generate(prompt, n=2, max_tokens=9, logprobs=True, **SAMPLED) == [samples]


def test_few_samples_are_the_first_of_many(model):
    (many,) = model.generate("some", n=20, max_tokens=8, logprobs=True, **SAMPLED)
    assert model.generate("some", n=5, max_tokens=8, logprobs=True, **SAMPLED) == [many[:5]]
    assert len({sample.tokens for sample in many}) > 15
    assert one(model, "some", max_tokens=8, logprobs=True, **SAMPLED) == many[0]


def test_fewer_tokens_are_the_first_of_more(model, endless):
    long = one(model, "some", max_tokens=20, **SAMPLED)
    short = one(model, "some", max_tokens=7, **SAMPLED)
    assert (short.tokens, short.finish, len(long.tokens)) == (long.tokens[:7], "length", 20)
    assert one(model, "some", max_tokens=1, **SAMPLED).tokens == long.tokens[:1]


def test_rows_limit_a_step_and_change_nothing(path, model):
    narrow = intact.load(path, threads=1, rows=3, chunk=2)
    prompts = ["one", "and two", [7, 8, 9]]
    expected = model.generate(prompts, n=3, max_tokens=9, logprobs=True, **SAMPLED)
    assert narrow.generate(prompts, n=3, max_tokens=9, logprobs=True, **SAMPLED) == expected
    assert narrow.executor.counters["largest_step"] == 3


def test_an_id_names_a_prompts_luck(model):
    tokens = model.tokenizer.encode("some")
    parameters = SAMPLED | {"max_tokens": 8}
    default = model.generate("some", **parameters)
    assert model.generate("some", ids=[prompt_id(tokens)], **parameters) == default
    first, second = model.generate(["some", "some"], ids=["a", "b"], **parameters)
    assert first != second
    assert model.generate(["some", "some"], ids=["b", "a"], **parameters) == [second, first]
    assert model.generate(["some", "some"], **parameters) == [default[0], default[0]]
    chunks = list(model.stream("some", id="b", **parameters))
    assert tuple(chunk.token for chunk in chunks) == second[0].tokens


def test_seeds_of_any_size_differ(model):
    seeds = (0, 1, -1, -(1 << 63), (1 << 64) - 1, 1 << 63)
    assert len({one(model, "some", max_tokens=8, temperature=1.0, seed=seed).tokens for seed in seeds}) == len(seeds)
    assert len({branch_key(seed, ("a", 0)) for seed in seeds}) == len(seeds)


def test_greedy_takes_the_largest_logit_and_needs_no_seed(model, endless):
    found = one(model, "some", max_tokens=8)
    tokens = model.tokenizer.encode("some")
    logits, _ = model.logits([*tokens, *found.tokens[:-1]], raw=True)
    assert found.tokens == tuple(logits[len(tokens) - 1 :].argmax(axis=1))
    for parameters in ({"seed": 9}, {"top_k": 5}, {"top_p": 0.5}, {"min_p": 0.5}, {"temperature": 0}):
        assert one(model, "some", max_tokens=8, **parameters) == found


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 0.000001}, {"min_p": 1.0}, {"temperature": 0.000001}])
def test_the_narrowest_sampling_is_greedy(model, narrow):
    assert one(model, "some", max_tokens=12, **{"temperature": 1.0} | narrow) == one(model, "some", max_tokens=12)


def test_filters_keep_what_they_say(model, endless):
    tokens = model.tokenizer.encode("some")
    last = model.logits(tokens, raw=True)[0][-1]
    order = np.lexsort((np.arange(len(last)), -last.astype(np.int64)))
    (samples,) = model.generate(tokens, n=200, max_tokens=1, temperature=3.0, top_k=7, seed=1)
    assert {sample.tokens[0] for sample in samples} == set(order[:7].tolist())


def test_a_temperature_is_the_decimal_it_shows(model):
    for same in ((0.7, np.float64(0.7), 7e-1), (1, 1.0), (0.333333, 333333e-6)):
        assert len({one(model, "some", max_tokens=12, temperature=t, seed=2) for t in same}) == 1
    assert make_sampling(0.7).slope == round(Fraction(LOG2E) / Fraction(7, 10))


def test_log_probabilities_are_those_of_a_teacher_forced_pass(model, endless):
    tokens = model.tokenizer.encode("some text")
    for parameters in ({}, SAMPLED, {"temperature": 2.0, "top_k": 3}):
        found = one(model, tokens, max_tokens=10, logprobs=True, **parameters)
        scores = model.logprobs([*tokens, *found.tokens])
        assert scores.dtype == np.int64
        assert found.logprobs == tuple(scores[len(tokens) - 1 :].tolist())
    logits, scale = model.logits(tokens, raw=True)
    assert scale == 65536
    assert scores[0] == log_probability(logits[0], tokens[1])
    assert one(model, tokens).logprobs is None


def test_logits_come_as_floats_and_as_integers(model):
    raw, scale = model.logits("some text", raw=True)
    view = model.logits("some text")
    assert (raw.dtype, view.dtype, raw.shape) == (np.int32, np.float32, (len(model.tokenizer.encode("some text")), 301))
    assert np.array_equal(view, raw.astype(np.float32) / np.float32(scale))
    assert model.logprobs([5]).shape == (0,)


def test_a_long_text_is_scored_as_a_short_one_is(path, model):
    tokens = [(i * 37) % 301 for i in range(CONTEXT)]
    pieces = intact.load(path, chunk=5, threads=1)
    assert np.array_equal(model.logprobs(tokens), pieces.logprobs(tokens))
    assert np.array_equal(model.logprobs(tokens[:40]), model.logprobs(tokens)[:39])


def test_a_stream_is_the_first_sample(model):
    for parameters in ({}, SAMPLED, SAMPLED | {"stop": ["e", "xyz"]}):
        found = one(model, "some", max_tokens=15, logprobs=True, **parameters)
        chunks = list(model.stream("some", max_tokens=15, **parameters))
        assert "".join(chunk.text for chunk in chunks) == found.text
        assert tuple(chunk.token for chunk in chunks) == found.tokens
        assert tuple(chunk.logprob for chunk in chunks) == found.logprobs


def test_streams_of_one_model_may_interleave(model, endless):
    prompts = ["one", "and two", "three and four"]
    alone = [one(model, prompt, max_tokens=12, **SAMPLED).tokens for prompt in prompts]
    streams = [model.stream(prompt, max_tokens=12, **SAMPLED) for prompt in prompts]
    found = [[] for _ in streams]
    for turn in range(12):
        for i, stream in enumerate(streams):
            found[i].append(next(stream).token)
        if turn == 5:  # and something else in between
            assert one(model, prompts[0], max_tokens=12, **SAMPLED).tokens == alone[0]
    assert [tuple(tokens) for tokens in found] == alone
    assert all(next(stream, None) is None for stream in streams)
    assert model.engine.held == 0


def test_a_stream_that_is_left_gives_its_pages_back(model, endless):
    stream = model.stream("some text", max_tokens=30, **SAMPLED)
    for _ in range(4):
        next(stream)
    assert model.engine.held > 0
    stream.close()
    assert model.engine.held == 0
    for _ in model.stream("some text", max_tokens=30):
        assert model.engine.held > 0
        break
    assert model.engine.held == 0
    model.stream("never begun")
    assert model.engine.held == 0


@pytest.mark.parametrize("good", [0, 1])
def test_an_error_in_a_step_gives_the_pages_back(model, monkeypatch, good):
    def broken(*_):
        raise KeyboardInterrupt

    steps = iter([model.executor.step] * good + [broken])
    monkeypatch.setattr(model.executor, "step", lambda *parts: next(steps)(*parts))
    with pytest.raises(KeyboardInterrupt):
        model.generate(["one", "two"], n=3, max_tokens=9)
    assert model.engine.held == 0
    monkeypatch.undo()
    assert one(model, "one", max_tokens=3) == one(model, "one", max_tokens=3)


def test_a_continuation_ends_at_the_contexts_end(model, endless):
    tokens = [5 + i % 50 for i in range(CONTEXT - 4)]
    found = one(model, tokens, max_tokens=100)
    assert (len(found.tokens), found.finish, found.prompt_tokens) == (4, "context", CONTEXT - 4)
    assert one(model, tokens, max_tokens=4).finish == "length"
    assert len(one(model, tokens[: CONTEXT - 1] + [5] * 3, max_tokens=9).tokens) == 1
    assert [len(chunk) for chunk in [list(model.stream(tokens, max_tokens=100))]] == [4]


def test_an_end_token_ends_a_continuation_and_is_no_text(model, monkeypatch):
    free = one(model, "some", max_tokens=30, **SAMPLED)
    token = next(t for i, t in enumerate(free.tokens) if i > 3 and t not in free.tokens[:i] and t > 2)
    monkeypatch.setattr(Tokenizer, "eos_ids", frozenset({token}))
    found = one(model, "some", max_tokens=30, **SAMPLED)
    place = free.tokens.index(token)
    assert (found.tokens, found.finish) == (free.tokens[: place + 1], "stop")
    assert found.text == model.tokenizer.decode(free.tokens[:place], continuation=True)


def test_a_stop_string_cuts_wherever_tokens_end(model, endless):
    free = one(model, "some", max_tokens=30, **SAMPLED)
    pieces = [chunk.text for chunk in model.stream("some", max_tokens=30, **SAMPLED)]
    assert "".join(pieces) == free.text
    for start, length in ((3, 1), (5, 2), (8, 4), (12, 7)):
        stop = free.text[start : start + length]
        found = one(model, "some", max_tokens=30, stop=["never seen", stop], **SAMPLED)
        assert (found.finish, found.stop, free.stop) == ("stop", stop, None)
        assert found.text == free.text[: free.text.index(stop)]
        assert stop in model.tokenizer.decode(found.tokens, continuation=True)
        assert found.tokens == free.tokens[: len(found.tokens)]
        shown = [chunk.text for chunk in model.stream("some", max_tokens=30, stop=["never seen", stop], **SAMPLED)]
        assert "".join(shown) == found.text
    tail = free.text[-1] + "and what never comes"
    held = one(model, "some", max_tokens=30, stop=[tail], **SAMPLED)
    assert (held.text, held.finish) == (free.text, "length")


def test_a_chat_is_the_rendered_template(model):
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
    text = model.tokenizer.chat_template.render(messages)
    ids = model.tokenizer.encode(text, bos=False)
    assert ids[0] == 1  # a control token
    found = model.chat(messages, max_tokens=9, logprobs=True, **SAMPLED)
    assert found == one(model, ids, max_tokens=9, logprobs=True, **SAMPLED)
    chunks = list(model.chat_stream(messages, max_tokens=9, **SAMPLED))
    assert "".join(chunk.text for chunk in chunks) == found.text


def test_a_chat_is_one_answer(model):
    with pytest.raises(ParameterError, match="chat gives one answer, got n=3: pass generate a ChatPrompt"):
        model.chat([{"role": "user", "content": "some"}], n=3)
    with pytest.raises(ParameterError, match="chat gives one answer, but ids names several: use id"):
        model.chat([{"role": "user", "content": "some"}], ids=["a"])
    with pytest.raises(ParameterError, match="stream gives one answer, got n=2: use generate for several"):
        model.stream("some", n=2)
    assert len(list(model.stream("some", n=1, max_tokens=2))) == 2


def test_a_chat_says_where_tools_stand(model):
    messages = [{"role": "user", "content": "some"}]
    with pytest.raises(ParameterError, match="tools are part of the prompt: pass generate a ChatPrompt"):
        model.chat(messages, tools=[])
    with pytest.raises(ParameterError, match="variables must be a mapping"):
        ChatPrompt(messages, [{"type": "function"}])


def test_a_prompt_s_time_may_be_a_text():
    messages = [{"role": "user", "content": "some"}]
    assert ChatPrompt(messages, now="2024-07-26").now == ChatPrompt(messages, now=datetime(2024, 7, 26)).now
    with pytest.raises(ParameterError, match="now must be a time such as"):
        ChatPrompt(messages, now="noon")


def test_a_tokenizer_says_what_it_is_and_what_it_decodes(model):
    assert repr(model.tokenizer) == "Tokenizer(301 tokens)"
    with pytest.raises(ParameterError, match="ids must be a list of token ids, got 5"):
        model.tokenizer.decode(5)


def test_a_list_of_texts_is_no_text(model):
    for call in (model.stream, model.logits, model.logprobs):
        with pytest.raises(
            ParameterError, match="must be one string or its token ids, got a list that contains 'some'"
        ):
            call(["some", "other"])


def test_sizes_are_bytes_or_texts(path, tmp_path):
    with intact.load(path, cache_bytes="3MB", prefix_cache=tmp_path, prefix_cache_bytes="1MB") as one_model:
        assert one_model.engine.pool.most == 3_000_000 // one_model.executor.page_bytes
    with pytest.raises(ParameterError, match="cache_bytes must be a size such as 300MB"):
        intact.load(path, cache_bytes="much")


def test_arguments_of_load_that_cannot_be_are_named(path):
    with pytest.raises(ParameterError, match=r"adapters\['a'\] must be a file or a folder, got 5"):
        intact.load(path, adapters={"a": 5})
    with pytest.raises(ParameterError, match=r"no executor named 'cuda' .*: expected 'native', 'wgpu', 'auto', 'ref"):
        intact.load(path, executor="cuda")


def test_a_model_without_a_template_does_not_chat(tmp_path):
    path = write_tiny(tmp_path / "base.gguf")
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"tokenizer.chat_template", b"tokenizer.chat_temPLATE"))
    with pytest.raises(ParameterError, match="no chat template"):
        intact.load(path).chat([{"role": "user", "content": "hello"}])


def test_a_token_beyond_the_vocabulary_is_no_text(tmp_path, endless):
    """Embeddings of safetensors may be padded; a padding token may be drawn, and stands for nothing."""
    import json

    from support.folders import tokenizer_json, write_folder
    from support.variants import VARIANTS

    folder = write_folder(tmp_path, VARIANTS["qwen3"], "qwen3")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json(260)))
    model = intact.load(folder)
    found = one(model, [5, 6], max_tokens=30, temperature=5.0)
    assert max(found.tokens) >= model.tokenizer.size == 260
    assert found.text == model.tokenizer.decode([t for t in found.tokens if t < 260], continuation=True)


def test_info_says_what_runs(model, path):
    info = model.info()
    assert info["path"] == str(path)
    assert (info["architecture"], info["layers"], info["context"], info["vocabulary"]) == ("qwen3", 2, CONTEXT, 301)
    assert (info["profile"], info["executor"], info["threads"]) == ("int8", "native", 1)
    assert info["tier"] in _native.kernels.tiers()
    assert "tiny.gguf" in repr(model)


def test_a_request_inside_exclusive_is_told_so(model):
    with (
        model.exclusive(),
        pytest.raises(RuntimeError, match=r"this thread already holds the engine \(inside `exclusive`"),
    ):
        model.generate("some", max_tokens=2)
    assert one(model, "some", max_tokens=2)


def test_streams_take_what_their_likes_take(model):
    whole = one(model, "some", max_tokens=3, logprobs=True)
    pieces = list(model.stream("some", max_tokens=3, logprobs=True))
    assert tuple(piece.logprob for piece in pieces) == whole.logprobs
    messages = [{"role": "user", "content": "some"}]
    for logprobs in (False, True):
        *_, last = model.stream("some", max_tokens=3, logprobs=logprobs, receipt=True)
        assert (last.receipt.output.logprobs is not None) == logprobs
    texts = [piece.text for piece in model.chat_stream(messages, n=1, max_tokens=3)]
    assert "".join(texts) == model.chat(messages, n=1, max_tokens=3).text
    for several in (model.chat, model.chat_stream):
        with pytest.raises(ParameterError, match="chat gives one answer, got n=2"):
            several(messages, n=2)


def test_a_completion_is_a_value(model):
    found = one(model, "some", max_tokens=3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.text = "other"  # type: ignore[misc]
    assert found == one(model, "some", max_tokens=3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n": 0}, r"n must be an integer from 1 to 1048576, got 0"),
        ({"n": 1.5}, r"n must be an integer from 1 to 1048576, got 1\.5"),
        ({"n": True}, r"n must be an integer from 1 to 1048576, got True"),
        ({"n": 10**9}, r"n must be an integer from 1 to 1048576, got 1000000000"),
        ({"draft": "no"}, "draft must be True or False, got 'no'"),
        ({"logprobs": "yes"}, "logprobs must be True or False, got 'yes'"),
        ({"on_error": "rise"}, "on_error must be 'raise' or 'return', got 'rise'"),
        ({"max_tokens": 0}, r"max_tokens must be an integer from 1 to \d+, got 0"),
        ({"max_tokens": "9"}, r"max_tokens must be an integer from 1 to \d+, got '9'"),
        ({"temperature": -0.1}, r"temperature must lie in \[0, 1000\], got -0\.1"),
        ({"temperature": float("nan")}, r"temperature must lie in \[0, 1000\], got nan"),
        ({"temperature": "hot"}, "temperature must be a number, .* got 'hot'"),
        ({"temperature": 0.1234567}, r"temperature may have at most 6 decimals, got 0\.1234567"),
        ({"temperature": 1e-7}, r"temperature may have at most 6 decimals, got 1e-07"),
        ({"top_p": 0}, r"top_p must lie in \(0, 1\], got 0"),
        ({"top_p": 1.2}, r"top_p must lie in \(0, 1\], got 1\.2"),
        ({"top_p": None}, "top_p must be a number, .* got None"),
        ({"top_k": -1}, r"top_k must be an integer from 0 to \d+, got -1"),
        ({"top_k": 2.0}, r"top_k must be an integer from 0 to \d+, got 2\.0"),
        ({"min_p": -1}, r"min_p must lie in \[0, 1\], got -1"),
        ({"min_p": 1.5}, r"min_p must lie in \[0, 1\], got 1\.5"),
        ({"seed": 1 << 64}, r"seed must be an integer from -\d+ to \d+, got 18446744073709551616"),
        ({"seed": "x"}, r"seed must be an integer from -\d+ to \d+, got 'x'"),
        ({"stop": 5}, r"stop must be a string or a list of strings, got int"),
        ({"stop": [5]}, r"stop\[0\] must be a string, got int"),
        ({"stop": ["a", ""]}, r"stop\[1\] is empty"),
        ({"ids": ["a", "b"]}, r"ids must be a list with a name for each of the 1 prompts"),
        ({"ids": "a"}, r"ids must be a list with a name for each of the 1 prompts"),
        ({"ids": 5}, r"ids must be"),
        ({"ids": [None]}, r"ids\[0\] must be a string, got None"),
        ({"ids": [7]}, r"ids\[0\] must be a string, got 7"),
        ({"ids": ["\ud800"]}, r"ids\[0\] contains the lone surrogate U\+D800"),
        ({"max_token": 2}, "no option named 'max_token': did you mean max_tokens"),
        ({"reciept": True}, "no option named 'reciept': did you mean receipt"),
        ({"prioritys": 1}, "no option named 'prioritys': did you mean priority"),
    ],
)
def test_an_impossible_parameter_is_named(model, parameters, message):
    with pytest.raises(ParameterError, match=message):
        model.generate("some", **parameters)
    with pytest.raises(ParameterError, match=message):
        asyncio.run(model.agenerate("some", **parameters))
    if not {"n", "ids", "logprobs", "on_error"} & set(parameters):
        with pytest.raises(ParameterError, match=message):
            model.stream("some", **parameters)
        with pytest.raises(ParameterError, match=message):
            model.chat([{"role": "user", "content": "some"}], **parameters)
    assert model.engine.held == 0


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ("", "the prompt is empty"),
        ([""], "the prompt is empty"),
        ([[]], "the prompt is empty"),
        ([], "there is no prompt"),
        (["fine", ""], "prompt 1: the prompt is empty"),
        ([5] * CONTEXT, r"the prompt has 96 tokens, which leaves no room for a token after it in the context of 96"),
        (["fine", [5] * 500], r"prompt 1: the prompt has 500 tokens"),
        ([5, 301], r"the prompt: token 1 must lie in \[0, 301\), got 301"),
        ([5, -1], r"the prompt: token 1 must lie in \[0, 301\), got -1"),
        ([5, 1 << 70], r"the prompt: token 1 must lie in"),
        ([5, 2.0], r"the prompt: token 1 must be an integer, got 2\.0"),
        ([True], r"the prompt: token 0 must be an integer, got True"),
        ([5, "a"], "prompts contains something that is not a prompt: 5; give a string, token ids, or a list of these"),
        (["a", 5], "prompts contains something that is not a prompt: 5"),
        ([5, None], "the prompt: token 1 must be an integer, got None"),
        ([{"role": "user", "content": "Hi"}], r"is a list of messages: use chat, or pass them as ChatPrompt"),
        ([[{"role": "user"}], "a"], r"prompt 0 is a list of messages: use chat"),
        (ChatPrompt([]), "messages is empty"),
        (ChatPrompt([{"role": "user"}]), r"messages\[0\] has no 'content'"),
        ([[5, 6], [7, None]], r"prompt 1: token 1 must be an integer, got None"),
        (None, r"prompts must be a string or a list of token ids, got None"),
        (5, r"prompts must be a string or a list of token ids, got 5"),
        ({"a": 1}, r"prompts must be a string or a list of token ids"),
        ("lone \ud800 surrogate", "not Unicode"),
        (b"\xff", "not UTF-8"),
        ("a" * 10**7, r"a text of 10000000 characters does not fit in the context of 96 tokens: the longest token"),
        (ChatPrompt([{"role": "user", "content": "a" * 10**6}]), r"a text of 10000\d\d characters does not fit"),
    ],
    ids=lambda value: f"{value!r:.30}",
)
def test_an_impossible_prompt_is_named(model, prompts, message):
    with pytest.raises(ParameterError, match=message):
        model.generate(prompts)
    assert model.engine.held == 0


@pytest.mark.parametrize("method", ["logits", "logprobs"])
@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([], "the text has no tokens to score"),
        ("", "the text has no tokens to score"),
        ([5] * (CONTEXT + 1), "97 tokens exceed the context of 96"),
        (b"a" * 10**6, "a text of 1000000 characters does not fit in the context of 96 tokens"),
        ([5, 400], r"token 1 must lie in \[0, 301\), got 400"),
        ([-5], r"token 0 must lie in \[0, 301\), got -5"),
        (5, "must be a string or a list of token ids"),
    ],
    ids=lambda value: f"{value!r:.30}",
)
def test_an_impossible_text_to_score_is_named(model, method, tokens, message):
    with pytest.raises(ParameterError, match=message):
        getattr(model, method)(tokens)
    assert model.engine.held == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profile": "int3"}, "profile must be one of int8, int8_row, .* fp32, .* got 'int3'"),
        (
            {"profile": "llm_int8+wina50"},
            "profile: sparse inputs go with int8, int8_row, .*; got 'llm_int8.wina50'",
        ),
        ({"profile": "llm_int8", "weights_memory": "1GB"}, "weights_memory does not support the profile llm_int8"),
        ({"bits": 5}, "bits must be 8 or 4, got 5"),
        ({"page_size": 24}, r"page_size must be an integer from 16 to 65536 and a multiple of 16, got 24"),
        ({"page_size": 0}, "page_size must be .* got 0"),
        ({"page_size": "32"}, "page_size must be .* got '32'"),
        ({"chunk": 0}, "chunk must be an integer from 1 to 65536, got 0"),
        ({"rows": 1.5}, r"rows must be an integer from 1 to 65536, got 1\.5"),
        ({"threads": 0}, "threads must be an integer from 1 to 1024, got 0"),
        ({"threads": 5000}, "threads must be an integer from 1 to 1024, got 5000"),
        ({"threads": "2"}, "threads must be an integer from 1 to 1024, got '2'"),
        ({"threads": 1.5}, r"threads must be an integer from 1 to 1024, got 1\.5"),
        ({"threads": True}, "threads must be an integer from 1 to 1024, got True"),
        ({"prefix_cache": 3}, "prefix_cache must be True, False or a folder, got 3"),
        ({"prefix_cache": ""}, "prefix_cache must be True, False or a folder, got ''"),
        (
            {"prefix_cache_bytes": 9},
            "prefix_cache_bytes limits a folder, but no folder is given: give prefix_cache=FOLDER",
        ),
        ({"prefix_cache": "x", "prefix_cache_bytes": 0}, "prefix_cache_bytes must be .* got 0"),
        ({"executor": "gpu"}, "no executor named 'gpu'"),
        ({"executor": "reference", "profile": "fp32"}, "no executor named 'reference' for the profile fp32"),
    ],
)
def test_an_impossible_option_is_named(path, options, message):
    with pytest.raises(ParameterError, match=message):
        intact.load(path, **options)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("INTACT_ISA", "avx9", r"INTACT_ISA must name a tier that this machine has \(.*scalar\), got 'avx9'"),
        ("INTACT_ISA", "AVX2 ", "INTACT_ISA must name a tier"),
        ("INTACT_THREADS", "two", "INTACT_THREADS must be an integer from 1 to 1024, got 'two'"),
        ("INTACT_THREADS", "0", "INTACT_THREADS must be an integer from 1 to 1024, got '0'"),
        ("INTACT_THREADS", "-3", "INTACT_THREADS must be an integer from 1 to 1024, got '-3'"),
    ],
)
def test_an_impossible_environment_is_named(path, monkeypatch, name, value, message):
    monkeypatch.setenv(name, value)
    with pytest.raises(ParameterError, match=message):
        intact.load(path)


def test_the_environment_chooses_where_the_argument_does_not(path, monkeypatch):
    monkeypatch.setenv("INTACT_THREADS", "3")
    assert intact.load(path).executor.description["threads"] == 3
    assert intact.load(path, threads=2).executor.description["threads"] == 2
    monkeypatch.setenv("INTACT_ISA", "scalar")
    assert intact.load(path).executor.description["tier"] == "scalar"


def test_vocabulary_and_embedding_must_agree(tmp_path):
    path = write_tiny(tmp_path / "a.gguf", vocabulary=301)
    from intact.checkpoints.formats import open_checkpoint
    from support.gguf_writer import write_gguf
    from support.tiny import tokenizer_metadata

    with open_checkpoint(path) as checkpoint:
        tensors = {t.name: (t.kind, t.shape, t.data.tobytes()) for t in checkpoint.tensors.values()}
        write_gguf(tmp_path / "b.gguf", dict(checkpoint.metadata) | tokenizer_metadata(300), tensors)
    with pytest.raises(ModelError, match=r"the vocabulary has 300 tokens, but token_embd\.weight has 301 rows"):
        intact.load(tmp_path / "b.gguf")


def test_threads_that_cannot_be_started_are_an_error(tmp_path):
    path = write_tiny(tmp_path / "tiny.gguf")
    code = (
        "import resource, intact\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))\n"
        f"try: intact.load({str(path)!r}, threads=1024)\n"
        "except intact.ParameterError as error: print(error)"
    )
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert "cannot start 1024 threads" in done.stdout, done


def test_logits_that_are_not_finite_in_fp32_are_an_error(model):
    head = next(op.weight for op in model.program.ops if isinstance(op, Logits))
    shape = model.program.tensors[head].shape
    huge = Tensor(head, "F32", shape, np.full(shape, 3e38, np.float32).view(np.uint8).reshape(-1))
    program = dataclasses.replace(model.program, tensors={**model.program.tensors, head: huge})
    executor = NativeExecutor(program, "fp32", threads=1)
    executor.reserve_pages(1)
    chunk = SequenceChunk(0, np.array([1, 2], np.int32), np.array([0], np.int32))
    with pytest.raises(ModelError, match="not finite"):
        executor.step([chunk], np.array([1]))


def test_a_model_in_use_refuses_a_second_thread(path):
    model, errors = intact.load(path, threads=1), []

    def other():
        try:
            model.logprobs([5] * 90)
        except ParameterError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=other) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(errors) <= {"the model is already running in another thread"}


def test_pages_stay_where_they_are_while_others_are_reserved(model):
    executor = NativeExecutor(model.program, threads=1)
    executor.reserve_pages(2)
    worker = threading.Thread(target=executor.reserve_pages, args=((256 << 20) // executor.page_bytes,))
    refused = 0
    worker.start()
    while worker.is_alive():
        try:
            executor.copy_page(0, 1)
        except ValueError:
            refused += 1
    worker.join()
    assert refused
    executor.copy_page(0, 1)
