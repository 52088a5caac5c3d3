"""A request without a seed gets another each time, which its answer and its receipt state; or 0, if seeds are fixed."""

import json

import httpx
import pytest

from support.patience import PATIENCE
from support.serving import running

BODY = {"model": "tiny", "max_tokens": 12, "temperature": 1.5}
TURNS = [{"role": "user", "content": "Name a colour."}]
METHOD = {"messages": TURNS, "intact": {"method": "best_of_n", "n": 2}}
REQUESTS = {
    "chat": ("/v1/chat/completions", BODY | {"messages": TURNS}),
    "completion": ("/v1/completions", BODY | {"prompt": "Red, green,"}),
    "method": ("/v1/chat/completions", BODY | METHOD),
    "message": ("/v1/messages", BODY | {"messages": TURNS}),
}


@pytest.fixture(scope="module")
def server(tiny_path):
    with running({"tiny": tiny_path}, seeds="fresh") as there:
        yield there


def ask(server, path, body):
    answer = httpx.post(server.url + path, json=body, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    return answer.json()


def said(answer):
    """What an answer says, in any API."""
    choice = answer["choices"][0] if "choices" in answer else answer
    return choice.get("message", {}).get("content") or choice.get("text") or choice["content"]


@pytest.mark.parametrize("name", REQUESTS)
def test_an_answer_states_its_seed_and_is_had_again_by_it(server, name):
    path, body = REQUESTS[name]
    first, second = ask(server, path, body), ask(server, path, body)
    assert first["seed"] != second["seed"]
    again = ask(server, path, body | {"seed": first["seed"]})
    assert (again["seed"], said(again)) == (first["seed"], said(first))
    assert len({json.dumps(said(ask(server, path, body))) for _ in range(4)}) > 1


def test_a_receipt_states_the_seed(server):
    answer = ask(server, "/v1/chat/completions", BODY | {"messages": TURNS, "intact": {"receipt": True}})
    receipt = answer["choices"][0]["receipt"]
    assert int(receipt["request"]["sampling"]["seed"]) == answer["seed"]
    assert ask(server, "/v1/verify", {"receipt": receipt, "model": "tiny"})["outcome"] == "true"


def test_a_stream_and_ollamas_answers_state_it_too(server):
    path, body = REQUESTS["chat"]
    with httpx.stream("POST", server.url + path, json=body | {"stream": True}, timeout=PATIENCE) as stream:
        events = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: {")]
    assert len({event["seed"] for event in events}) == 1
    answer = ask(
        server, "/api/chat", {"model": "tiny", "messages": TURNS, "stream": False, "options": {"num_predict": 3}}
    )
    assert answer["intact"]["seed"] >= 0


@pytest.mark.parametrize("name", REQUESTS)
def test_fixed_seeds_are_zero(tiny_path, name):
    path, body = REQUESTS[name]
    with running({"tiny": tiny_path}, seeds="fixed") as there:
        answer = ask(there, path, body)
        assert answer["seed"] == 0
        assert said(answer) == said(ask(there, path, body | {"seed": 0}))
