"""Texts through the official client: several prompts, the prompt's log-probabilities, tokens and back."""

import httpx
import openai
import pytest

import intact
from support.serving import running
from support.tiny import write_tiny

SAMPLED = {"model": "tiny", "max_tokens": 12, "seed": 4, "temperature": 0.8}


@pytest.fixture(scope="module")
def library(tiny_path):
    return intact.load(tiny_path, threads=1, drafter="off")


def joined(stream, count):
    texts, logprobs, finish = [""] * count, [[] for _ in range(count)], [None] * count
    for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            finish[choice.index] = choice.finish_reason or finish[choice.index]
            if choice.logprobs:
                told = choice.logprobs
                logprobs[choice.index] += zip(
                    told.tokens, told.token_logprobs, told.top_logprobs, told.text_offset, strict=True
                )
    return texts, logprobs, finish


def test_several_prompts_and_samples(client, library):
    prompts = ["Once upon a time", [30, 40, 50]]
    for given in (prompts[0], prompts[1], [prompts[0], "two"], [prompts[1], [60, 61]]):
        many = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
        wanted = [one.text for row in library.generate(many, 2, max_tokens=12, seed=4, temperature=0.8) for one in row]
        answer = client.completions.create(**SAMPLED, prompt=given, n=2)
        assert [choice.text for choice in answer.choices] == wanted
        assert [choice.index for choice in answer.choices] == list(range(len(wanted)))
        streamed = client.completions.create(**SAMPLED, prompt=given, n=2, stream=True)
        assert joined(streamed, len(wanted))[0] == wanted


@pytest.mark.parametrize(
    ("finish", "rule"),
    [("uncertain", {"stop_below": 0.2}), ("unlikely", {"stop_mean_below": -3.5, "stop_window": 5})],
)
def test_an_unsure_text_ends_as_a_stopped_one(client, library, finish, rule):
    ((wanted,),) = library.generate("Once upon a time", max_tokens=12, temperature=0.8, seed=4, **rule)
    assert wanted.finish == finish
    asked = {"prompt": "Once upon a time", "extra_body": {"intact": rule}}
    (choice,) = client.completions.create(**SAMPLED, **asked).choices
    assert (choice.text, choice.finish_reason) == (wanted.text, "stop")


def test_the_prompt_is_scored(client, library):
    text = "Once upon a time, there was a bear — naïve"
    ids = library.tokenizer.encode(text)
    exact = (library.logprobs(ids) / 2**24).tolist()
    for prompt in (text, ids):
        answer = client.completions.create(
            **(SAMPLED | {"max_tokens": 1, "temperature": 0}), prompt=prompt, echo=True, logprobs=2
        )
        told = answer.choices[0].logprobs
        assert told.token_logprobs[0] is None
        assert told.token_logprobs[1 : len(ids)] == exact
        assert len(told.tokens) == len(ids) + 1 == len(told.text_offset)
        assert answer.choices[0].text.startswith(text)
        greedy = library.logits(ids).argmax(-1)
        for i in range(1, len(ids)):  # as lm-evaluation-harness tells whether a continuation is the greedy one
            likeliest = max(told.top_logprobs[i], key=told.top_logprobs[i].get)
            assert (likeliest == told.tokens[i]) == (greedy[i - 1] == ids[i])
            assert len(told.top_logprobs[i]) in (2, 3)
        none = client.completions.create(model="tiny", prompt=prompt, echo=True, logprobs=2, max_tokens=0)
        assert none.choices[0].logprobs.token_logprobs == told.token_logprobs[:-1]
        assert none.choices[0].text == text


@pytest.mark.parametrize("add_bos", [False, True])
def test_offsets_point_into_the_text(tmp_path, add_bos):
    path = write_tiny(tmp_path / "m.gguf", "qwen3", context=512, metadata={"tokenizer.ggml.add_bos_token": add_bos})
    text = "a\u20acb \U0001f43b naïve"
    with (
        running({"m": path}) as there,
        openai.OpenAI(base_url=there.url + "/v1", api_key="none", max_retries=0) as asking,
    ):
        asked = {"model": "m", "echo": True, "logprobs": 0, "max_tokens": 12, "temperature": 1, "seed": 3}
        answers = [asking.completions.create(**asked, prompt=prompt).choices for prompt in (text, [text, text])]
        (choice,), (same, _) = answers
        assert same == choice
        assert choice.text.startswith(text)
        told = choice.logprobs
        starts = told.text_offset[1:] if add_bos else told.text_offset
        assert told.text_offset[0] == starts[0] == 0
        for token, start in zip(told.tokens[add_bos:], starts, strict=True):
            if not token.startswith("bytes:") and token in choice.text:
                assert choice.text[start:].startswith(token)
        inside = [start for token, start in zip(told.tokens[add_bos:], starts, strict=True) if "bytes:" in token]
        assert {choice.text[start] for start in inside if start < len(text)} <= set("\u20ac\U0001f43bï")
        assert inside
        ids = there.service.models.served["m"].loaded.tokenizer.encode(text)
        (given,) = asking.completions.create(**asked, prompt=ids).choices  # tokens are repeated with what they say
        shift = len(given.text) - len(choice.text)
        assert bool(shift) == add_bos
        assert [start - shift for start in given.logprobs.text_offset[add_bos:]] == starts


def test_streams_tell_the_same(client):
    asked = SAMPLED | {"prompt": ["Once upon", "Twice"], "echo": True, "logprobs": 3, "n": 2}
    whole = client.completions.create(**asked)
    texts, logprobs, finish = joined(client.completions.create(**asked, stream=True), 4)
    for i, choice in enumerate(whole.choices):
        told = choice.logprobs
        assert texts[i] == choice.text
        assert finish[i] == choice.finish_reason
        assert logprobs[i] == list(
            zip(told.tokens, told.token_logprobs, told.top_logprobs, told.text_offset, strict=True)
        )


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[1, 2], [99999]]}, "prompt[1]"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": ["x"] * 200}, "prompt"),
        ({"prompt": [1] * 1024}, "prompt"),
        ({"prompt": "x", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "x", "max_tokens": -2}, "max_tokens"),
        ({"prompt": "x", "best_of": 3}, "best_of"),
        ({"prompt": "x", "suffix": "y"}, "suffix"),
        ({"prompt": "x", "logprobs": 21}, "logprobs"),
        ({"prompt": "x", "model": "tiny:self-consistency-4"}, "model"),
        *[
            ({"prompt": "x", "extra_body": {"intact": {name: value}}}, f"intact.{name}")
            for name, value in {
                "method": "self_consistency",
                "parameters": {"n": 4},
                "n": 4,
                "budget": "tokens=9",
                "answer": "text",
                "progress": True,
                "trace": True,
                "now": "nonsense",
            }.items()
        ],
    ],
    ids=str,
)
def test_bad_requests_name_the_field(client, more, param):
    with pytest.raises(openai.BadRequestError) as raised:
        client.completions.create(**(SAMPLED | more))
    assert raised.value.param == param


def test_log_probabilities_are_those_of_the_text_without_its_stop_string(client):
    asked = {"model": "tiny", "prompt": "So", "max_tokens": 20, "stop": "c def", "logprobs": 1, "n": 2, "echo": True}
    own = {"extra_body": {"intact": {"regex": "ab c defg"}}}
    whole = client.completions.create(**asked, **own)
    texts, logprobs, _ = joined(client.completions.create(**asked, **own, stream=True), 2)
    for choice, text, entries in zip(whole.choices, texts, logprobs, strict=True):
        assert choice.text == text == "Soab "
        told = choice.logprobs
        spelt = "".join(told.tokens)
        assert spelt.startswith(text)
        assert len(spelt) - len(told.tokens[-1]) < len(text)  # the last one begins within the text
        assert entries == list(zip(told.tokens, told.token_logprobs, told.top_logprobs, told.text_offset, strict=True))


READ = {"control_tokens": True}


def test_tokens_and_back(server, client, library):
    text = "Grüße, <|im_start|> 🐻"
    answer = httpx.post(server.url + "/tokenize", json={"model": "tiny", "prompt": text}).json()
    assert answer["tokens"] == library.tokenizer.encode(text)
    assert answer["count"] == len(answer["tokens"])
    back = httpx.post(server.url + "/detokenize", json={"model": "tiny", "tokens": answer["tokens"]}).json()
    assert back["prompt"] == text
    messages = [{"role": "user", "content": "Hi"}]
    answer = httpx.post(server.url + "/tokenize", json={"model": "tiny", "messages": messages}).json()
    assert answer["tokens"] == library.tokenizer.encode_chat(messages)
    spells = {"model": "tiny", "messages": [{"role": "user", "content": text}]}
    found = [httpx.post(server.url + "/tokenize", json=spells | more).json()["tokens"] for more in ({}, READ)]
    assert found == [library.tokenizer.encode_chat(spells["messages"], control_tokens=read) for read in (False, True)]
    assert found[0] != found[1]
    each = {"model": "tiny", "tokens": answer["tokens"], "each": True}
    spelt = httpx.post(server.url + "/detokenize", json=each).json()
    assert len(spelt["pieces"]) == len(answer["tokens"])
    assert "".join(spelt["pieces"]) == spelt["prompt"]
    assert "pieces" not in back
    wrong = httpx.post(server.url + "/detokenize", json={"model": "tiny", "tokens": [1, 10**7]})
    assert wrong.status_code == 400
    assert wrong.json()["error"]["param"] == "tokens"
    with pytest.raises(openai.BadRequestError, match="embeddings"):
        client.embeddings.create(model="tiny", input="x")
