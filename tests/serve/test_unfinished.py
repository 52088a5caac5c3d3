"""A last message of the assistant that is continued, through every interface."""

import httpx
import pytest

import intact
from intact.reason.backends.openai import KEY, OpenAIBackend
from reason.test_openai import generation, run
from support.patience import PATIENCE

BEGUN = "The sky is blue because "
MESSAGES = [{"role": "user", "content": "Why is the sky blue?"}, {"role": "assistant", "content": BEGUN}]
SAMPLED = {"model": "tiny", "messages": MESSAGES, "max_tokens": 16, "seed": 5, "temperature": 0.9}
CONTINUE = {"continue_final_message": True, "add_generation_prompt": False}


@pytest.fixture(scope="module")
def wanted(tiny_path):
    """The library's text behind the tokens of the rendered beginning."""
    with intact.load(tiny_path, threads=1, drafter="off") as model:
        whole = model.tokenizer.render_chat(MESSAGES, False)
        prompt = model.tokenizer.encode(whole[: whole.rindex(BEGUN) + len(BEGUN)], bos=False)
        ((completion,),) = model.generate([prompt], max_tokens=16, seed=5, temperature=0.9)
    assert len(completion.text) > 5
    return completion


def post(server, path, body, status=200):
    answer = httpx.post(server.url + path, json=body, timeout=PATIENCE)
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.mark.parametrize("fields", [CONTINUE, {"continue_final_message": True}])
def test_a_chat_continues_it_where_asked_to(server, client, wanted, fields):
    answer = post(server, "/v1/chat/completions", SAMPLED | fields)
    assert answer["choices"][0]["message"]["content"] == wanted.text
    assert answer["usage"]["prompt_tokens"] == wanted.prompt_tokens
    stream = client.chat.completions.create(**SAMPLED, extra_body=fields, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == wanted.text
    anew = post(server, "/v1/chat/completions", SAMPLED)
    assert anew["usage"]["prompt_tokens"] > wanted.prompt_tokens
    receipt = post(server, "/v1/chat/completions", {**SAMPLED, **fields, "intact": {"receipt": True}})
    verdict = post(server, "/v1/verify", {"receipt": receipt["choices"][0]["receipt"]})
    assert verdict["outcome"] == "true"


def test_anthropics_and_ollamas_interfaces_continue_it(server, wanted):
    message = post(server, "/v1/messages", SAMPLED)
    assert message["content"] == [{"type": "text", "text": wanted.text}]
    assert message["usage"]["input_tokens"] == wanted.prompt_tokens
    options = {"num_predict": 16, "seed": 5, "temperature": 0.9}
    asked = {"model": "tiny", "messages": MESSAGES, "options": options, "stream": False}
    assert post(server, "/api/chat", asked)["message"]["content"] == wanted.text


def test_its_tokens_can_be_counted(server, wanted):
    counted = post(server, "/tokenize", {"messages": MESSAGES, **CONTINUE})
    assert counted["count"] == wanted.prompt_tokens
    bare = post(server, "/tokenize", {"messages": MESSAGES, "add_generation_prompt": False})
    assert bare["count"] > wanted.prompt_tokens


@pytest.mark.parametrize(
    ("last", "found"),
    [
        ({"role": "user", "content": "Why?"}, "the last message cannot be continued"),
        ({"role": "assistant", "content": ""}, "the last message cannot be continued"),
    ],
)
def test_what_cannot_be_continued_is_an_error(server, last, found):
    asked = SAMPLED | CONTINUE | {"messages": [MESSAGES[0], last]}
    error = post(server, "/v1/chat/completions", asked, 400)["error"]
    assert found in error["message"]
    assert error["param"] == "messages"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/tokenize"])
def test_the_beginning_of_another_answer_has_no_place_behind_it(server, path):
    asked = {"model": "tiny", "messages": MESSAGES, "continue_final_message": True, "add_generation_prompt": True}
    error = post(server, path, asked, 400)["error"]
    assert error["param"] == "add_generation_prompt"
    assert "must be false or left out" in error["message"]


def test_a_method_continues_none(server):
    asked = SAMPLED | CONTINUE | {"model": "tiny:self-consistency-2"}
    error = post(server, "/v1/chat/completions", asked, 400)["error"]
    assert "continue_final_message" in error["message"]


def test_methods_elsewhere_continue_answers_here(server, monkeypatch):
    """`OpenAIBackend` with `continues="vllm"`, as of `intact solve --continues vllm`."""
    monkeypatch.setenv(KEY, "none")
    with OpenAIBackend(server.url + "/v1", "tiny", continues="vllm") as backend:
        (written,) = run(backend, [generation((("user", "ask?"),), "ab")])
    assert written.why == "length"
    assert len(written.tokens) == 8
