"""Texts through the official client: several prompts, the prompt's log-probabilities, tokens and back."""

import httpx
import openai
import pytest

import intact

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
        ({"prompt": "x", "max_tokens": -1}, "max_tokens"),
        ({"prompt": "x", "best_of": 3}, "best_of"),
        ({"prompt": "x", "suffix": "y"}, "suffix"),
        ({"prompt": "x", "logprobs": 21}, "logprobs"),
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
    wrong = httpx.post(server.url + "/detokenize", json={"model": "tiny", "tokens": [1, 10**7]})
    assert wrong.status_code == 400
    assert wrong.json()["error"]["param"] == "tokens"
    with pytest.raises(openai.BadRequestError, match="embeddings"):
        client.embeddings.create(model="tiny", input="x")
