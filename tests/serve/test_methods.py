"""Reasoning methods through the official client: the library's answers, progress, budgets, and who leaves."""

import asyncio
import importlib
import json
import sys
import weakref

import httpx
import openai
import pytest

import intact
from intact.reason import Extend, Steps, find, method
from intact.reason.aggregate.votes import elect
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob
from intact.reason.problem import Problem, whole_text
from intact.reason.testing.toy import MarkovBackend
from intact.serve.apis.openai import chat, reasoning
from intact.serve.app import create_app
from intact.serve.errors import ApiError
from intact.serve.models import Loading, Models
from intact.serve.requests import ChatRequest, Extension
from intact.serve.service import Service
from intact.serve.settings import ServerSettings
from intact.solving.run import as_problem, backend_of
from intact.tasks.score.answers import read_answer
from support.patience import PATIENCE

QUESTION = "What is 17 + 5?"
MESSAGES = [{"role": "user", "content": QUESTION}]
ASKED = {"messages": MESSAGES, "max_tokens": 12, "seed": 3}


@pytest.fixture(scope="module")
def library(tiny_path):
    return intact.load(tiny_path, threads=1)


def test_a_suffix_of_the_name_is_what_the_library_solves(client, library):
    given = client.chat.completions.create(
        model="tiny:self-consistency-4", **ASKED, extra_body={"intact": {"answer": "text", "trace": True}}
    )
    name = as_problem(QUESTION, backend_of(library)).id
    problem = Problem(name, (("user", QUESTION),), whole_text, seed=3)
    wanted = intact.solve(library, "self_consistency", problem, n=4, max_tokens=12, budget="tokens=65536")
    told = given.intact
    assert told["votes"] == wanted.answer.votes
    assert told["answer"] == wanted.answer.answer
    assert told["trace"]["nodes"] == json.loads(json.dumps(wanted.trace["nodes"]))
    assert given.choices[0].message.content == wanted.answer.chosen.text
    assert given.usage.completion_tokens == wanted.cost.tokens == told["cost"]["tokens"]


def test_the_two_ways_to_ask_are_one(client):
    answers = [
        client.chat.completions.create(
            model=model, **ASKED, stream=False, extra_body={"intact": {"answer": "text", **own}}
        ).intact
        for model, own in [
            ("tiny:best-of-n-3", {}),
            ("tiny:best_of_n", {"n": 3}),
            ("tiny", {"method": "best_of_n", "parameters": {"n": 3}}),
        ]
    ]
    assert answers[0] == answers[1] == answers[2]


def test_hopeless_texts_of_a_method_end_as_the_library_s(client, library):
    rule = {"stop_mean_below": -3.0, "stop_window": 4}
    own = {"answer": "text", "trace": True, **rule}
    given = client.chat.completions.create(
        model="tiny:self-consistency-4", **ASKED | {"max_tokens": 30}, extra_body={"intact": own}
    )
    name = as_problem(QUESTION, backend_of(library)).id
    problem = Problem(name, (("user", QUESTION),), whole_text, seed=3)
    wanted = intact.solve(library, "self_consistency", problem, n=4, max_tokens=30, budget="tokens=65536", **rule)
    assert given.intact["trace"]["nodes"] == json.loads(json.dumps(wanted.trace["nodes"]))
    assert "unlikely" in {node["why"] for node in wanted.trace["nodes"]}


@pytest.mark.parametrize("method", ["self-consistency", "program-aided", "interleaved-code", "hogwild", "plan-search"])
def test_a_method_reads_the_system_message_and_the_history(client, method):
    """Programs end as they may: the texts differ."""
    history = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    system = {"role": "system", "content": "Answer in French."}
    asked = [MESSAGES, [system, *MESSAGES], [*history, *MESSAGES], [system, *history, *MESSAGES]]
    own = {"answer": "text", "trace": True, "budget": "tokens=24"}
    texts = [
        [
            node["text"]
            for node in client.chat.completions.create(
                model=f"tiny:{method}", messages=messages, max_tokens=12, extra_body={"intact": own}
            ).intact["trace"]["nodes"]
            if node["kind"] == "extend"
        ]
        for messages in asked
    ]
    assert all(texts)
    assert len(set(map(tuple, texts))) == len(asked)


def test_a_method_of_bare_questions_refuses_a_conversation(client):
    messages = [{"role": "system", "content": "Answer in French."}, *MESSAGES]
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model="tiny:linc", messages=messages, extra_body={"intact": {"answer": "text"}})
    assert raised.value.param == "intact.method"
    assert "linc takes only a question (one user turn), got a conversation" in raised.value.body["message"]


def test_progress_tells_the_tree_as_it_grows(client):
    own = {"method": "beam_search", "n": 4, "progress": True, "trace": True, "answer": "text"}
    own["parameters"] = {"width": 2, "steps": 2, "delimiter": "e"}
    chunks = list(client.chat.completions.create(model="tiny", **ASKED, stream=True, extra_body={"intact": own}))
    told = [chunk.intact for chunk in chunks if hasattr(chunk, "intact")]
    assert told[0]["event"] == "start"
    assert told[-1]["event"] == "result"
    nodes = [event["node"] for event in told if event["event"] == "node"]
    begun = {event["branch"] for event in told if event["event"] == "begin"}
    trace = told[-1]["trace"]["nodes"]
    key = lambda node: json.dumps(node, sort_keys=True)  # noqa: E731
    assert sorted(map(key, nodes)) == sorted(map(key, trace))
    assert begun == {node["branch"] for node in trace if node["kind"] == "extend"}
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    whole = client.chat.completions.create(model="tiny", **ASKED, extra_body={"intact": {**own, "progress": False}})
    assert text == whole.choices[0].message.content
    assert whole.intact == {name: value for name, value in told[-1].items() if name != "event"}


def test_a_spent_budget_says_so(client):
    own = {"method": "self_consistency", "n": 8, "budget": "tokens=20", "answer": "text"}
    given = client.chat.completions.create(model="tiny", **ASKED, extra_body={"intact": own})
    assert given.intact["why"] == "spent"
    assert given.intact["cost"]["tokens"] <= 20
    assert given.choices[0].finish_reason == "length"


@pytest.mark.parametrize(
    ("method", "seed", "number", "place", "finish"),
    [
        ("self-consistency", 3, None, 0, "length"),  # all are cut
        ("self-consistency", 1, None, 2, "stop"),  # the third ends
        ("self-consistency", 2, "0", 0, "length"),
        ("majority-of-bests", 3, None, 0, "length"),
        ("best-of-n", 3, None, None, "length"),  # it chooses a text nevertheless
    ],
)
def test_where_no_answer_can_be_read_the_reply_is_the_first_complete_text(client, method, seed, number, place, finish):
    own = {"answer": "number", "trace": True}
    asked = ASKED | {"model": f"tiny:{method}-4", "seed": seed}
    given = client.chat.completions.create(**asked, extra_body={"intact": own})
    (choice,), about = given.choices, given.intact
    texts = {node["branch"]: node["text"] for node in about["trace"]["nodes"] if node["kind"] == "extend"}
    wanted = texts[about["chosen"]] if place is None else list(texts.values())[place]
    assert (choice.message.content, choice.finish_reason, about["answer"]) == (wanted, finish, number)
    noted = 'no answer could be read as a number, so the message is a text as it is; "answer": "text" in the field'
    assert [one[: len(noted)] for one in about["caveats"]] == ([noted] if number is None else [])
    chunks = list(client.chat.completions.create(**asked, stream=True, extra_body={"intact": own}))
    choices = [one for chunk in chunks for one in chunk.choices]
    assert ("".join(one.delta.content or "" for one in choices), choices[-1].finish_reason) == (wanted, finish)
    assert chunks[-1].intact["caveats"] == about["caveats"]


@pytest.mark.parametrize(
    ("model", "own", "more", "param"),
    [
        ("tiny", {"method": "divination"}, {}, "intact.method"),
        ("tiny", {"method": "mine.py:majority"}, {}, "intact.method"),
        ("tiny", {"method": "compute_optimal"}, {}, "intact.method"),
        ("tiny:best-of-n", {"method": "self_consistency"}, {}, "intact.method"),
        ("tiny", {"method": "best_of_n", "n": 10**6}, {}, "intact.n"),
        ("tiny", {"method": "best_of_n", "n": 0}, {}, "intact.n"),
        ("tiny", {"method": "best_of_n", "parameters": {"n": "4"}}, {}, "intact.parameters.n"),
        ("tiny", {"method": "best_of_n", "parameters": {"m": 4}}, {}, "intact.parameters.m"),
        ("tiny", {"method": "majority_of_bests", "parameters": {"m": 2.5}}, {}, "intact.parameters.m"),
        ("tiny", {"method": "majority_of_bests", "parameters": {"m": 1025}}, {}, "intact.parameters.m"),
        ("tiny", {"method": "self_certainty", "parameters": {"p": 1e9}}, {}, "intact.parameters.p"),
        ("tiny", {"method": "smc", "parameters": {"scheme": "x"}}, {}, "intact.parameters.scheme"),
        ("tiny", {"method": "best_of_n", "budget": "everything"}, {}, "intact.budget"),
        (
            "tiny",
            {"method": "best_of_n", "parameters": {"scorer": "reward:/etc/passwd"}},
            {},
            "intact.parameters.scorer",
        ),
        ("tiny", {"method": "best_of_n", "budget": "seconds=9", "receipt": True}, {}, "intact.budget"),
        ("tiny", {"method": "best_of_n", "parameters": {"scorer": "value"}, "receipt": True}, {}, "intact.method"),
        ("tiny", {"method": "best_of_n", "regex": "a+"}, {}, "intact.regex"),
        ("tiny", {"method": "best_of_n", "stop_mean_below": 1}, {}, "stop_mean_below"),
        ("tiny", {"method": "best_of_n", "stop_window": 4}, {}, "stop_window"),
        ("tiny", {"method": "best_of_n", "now": "tomorrow"}, {}, "intact.now"),
        ("tiny", {"parameters": {"n": 4}}, {}, "intact.parameters"),
        ("tiny", {"n": 4}, {}, "intact.n"),
        ("tiny", {"budget": "tokens=9"}, {}, "intact.budget"),
        ("tiny", {"answer": "text"}, {}, "intact.answer"),
        ("tiny", {"progress": True}, {"stream": True}, "intact.progress"),
        ("tiny", {"trace": True}, {}, "intact.trace"),
        ("tiny", {"method": "best_of_n"}, {"n": 2}, "n"),
        ("tiny", {"method": "best_of_n"}, {"response_format": {"type": "json_object"}}, "response_format"),
        ("tiny", {"method": "best_of_n"}, {"tool_choice": "required"}, "tool_choice"),
        ("tiny", {"method": "best_of_n"}, {"logprobs": True}, "logprobs"),
        ("tiny", {"method": "best_of_n"}, {"temperature": -1}, "temperature"),
    ],
)
def test_what_makes_no_sense_is_named(client, model, own, more, param):
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model=model, **ASKED, **more, extra_body={"intact": own})
    assert raised.value.param == param


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tiny:self-consistncy-4", "no method named 'self-consistncy' for the model tiny: did you mean self-consis"),
        ("tiny:Best_of_N-4", "no method named 'Best_of_N' for the model tiny: did you mean best-of-n, "),
        ("tiny:divination", "no method named 'divination' for the model tiny: did you mean "),
        ("tinny:best-of-n", "no model named 'tinny': did you mean tiny?"),
    ],
)
def test_an_unknown_suffix_of_a_name_is_named_as_a_method(client, name, words):
    with pytest.raises(openai.NotFoundError) as raised:
        client.chat.completions.create(model=name, **ASKED, extra_body={"intact": {"answer": "text"}})
    assert words in raised.value.body["message"]
    assert (raised.value.param, raised.value.code) == ("model", "model_not_found")


def test_what_asks_for_nothing_may_be_said_with_a_method(client):
    asked = {"model": "tiny:best-of-n-2", **ASKED}
    neutral = {"response_format": {"type": "text"}, "modalities": ["text"], "parallel_tool_calls": True, "n": 1}
    neutral |= {"presence_penalty": 0, "logprobs": False, "extra_body": {"repetition_penalty": 1, "typical_p": 1}}
    plain = client.chat.completions.create(**asked)
    for choice in ("none", "auto"):
        assert client.chat.completions.create(**asked, **neutral, tool_choice=choice).choices == plain.choices
    newer = client.chat.completions.create(**(asked | {"max_tokens": 2}), max_completion_tokens=12)
    assert newer.choices == plain.choices


def test_what_a_field_says_anyway_may_be_said_without_a_method(client):
    neutral = {"parameters": {}, "answer": "expression", "progress": False, "trace": False}
    plain = client.chat.completions.create(model="tiny", **ASKED)
    same = client.chat.completions.create(model="tiny", **ASKED, extra_body={"intact": neutral})
    assert same.choices == plain.choices


def test_who_leaves_has_the_search_ended(server):
    body = {"model": "tiny", "messages": MESSAGES, "max_tokens": 900, "stream": True}
    body["intact"] = {"method": "self_consistency", "n": 64, "progress": True}
    with (
        httpx.Client() as client,
        client.stream("POST", server.url + "/v1/chat/completions", json=body, timeout=PATIENCE) as answer,
    ):
        lines = answer.iter_lines()
        while "writing" not in next(lines):
            pass
    server.settle(server.idle)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_is_charged_what_its_method_took(server, stream):
    admission = server.service.models.served["tiny"].admission
    before = admission.accounts.get("127.0.0.1", 0)
    asked = ASKED | {"model": "tiny:best-of-n-3", "stream": stream, "stream_options": {"include_usage": True}}
    answer = httpx.post(server.url + "/v1/chat/completions", json=asked, timeout=PATIENCE)
    told = answer.text.splitlines()[-4].removeprefix("data: ") if stream else answer.text
    server.settle(server.idle)
    assert admission.accounts["127.0.0.1"] - before == json.loads(told)["usage"]["total_tokens"]


@pytest.mark.parametrize("receipt", [False, True])
def test_no_program_of_a_request_runs_without_protection(server, monkeypatch, receipt):
    """Also where the environment changes after the start."""
    running = importlib.import_module("intact.tools.sandbox.run")  # the package's own name for it is the function
    monkeypatch.setattr(running, "execute", lambda *_: pytest.fail("ran a client's program without protection"))
    monkeypatch.setenv("INTACT_SANDBOX", "none")
    asked = ASKED | {"model": "tiny:program-aided-1", "intact": {"answer": "text", "receipt": receipt}}
    answer = httpx.post(server.url + "/v1/chat/completions", json=asked, timeout=PATIENCE)
    assert answer.status_code == 501, answer.text
    assert "no protection against untrusted code" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("package", "command", "own"),
    [
        ("llguidance", "llguidance", {"regex": "[ab]"}),
    ],
)
def test_what_the_server_lacks_is_no_fault_of_the_request(server, monkeypatch, package, command, own):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("intact.engine.sampling.constraints._COMPILERS", weakref.WeakKeyDictionary())
    asked = ASKED | {"model": "tiny", "intact": own}
    answer = httpx.post(server.url + "/v1/chat/completions", json=asked, timeout=PATIENCE)
    assert answer.status_code == 501, answer.text
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("server_error", "unavailable")
    assert error["message"].endswith(f"pip install {command}")


def test_a_server_that_ends_waits_for_no_method(tiny_path):
    settings = ServerSettings(max_tokens=1000)
    service = Service(settings, Models({"tiny": str(tiny_path)}, Loading(threads=1), settings))
    served = service.models.served["tiny"]
    request = ChatRequest(model="tiny:best-of-n-64", messages=MESSAGES, max_tokens=900)

    async def scene():
        app = create_app(service)
        async with app.router.lifespan_context(app):
            asked = asyncio.create_task(chat.answer(service, request, "a"))
            while served.model is None or not served.loaded.engine.counters.decoded:
                await asyncio.sleep(0.005)
        with pytest.raises(ApiError, match="is shutting down"):
            await asked

    asyncio.run(asyncio.wait_for(scene(), PATIENCE))


def test_a_method_that_fails_after_it_has_written_is_an_error_and_no_answer():
    @method("none")
    def breaking(problem: Problem) -> Steps:
        yield Extend(problem.start)
        raise RuntimeError("no more paper")

    ((_, result),) = Driver({"toy": MarkovBackend()}).solve([MethodJob(breaking, Problem("p", "ask", whole_text), {})])
    assert (result.why, bool(result.answer.chosen)) == ("failed", True)
    with pytest.raises(ApiError, match="breaking failed: no more paper") as caught:
        reasoning._checked(result)
    assert caught.value.status == 500


def test_an_answer_that_the_server_cannot_read_is_no_fault_of_the_request(monkeypatch):
    monkeypatch.setitem(sys.modules, "math_verify", None)

    @method("none")
    def irrational(problem: Problem) -> Steps:
        samples = yield [Extend(problem.start)]
        problem.read(r"The answer is \sqrt{7}.")
        return elect(problem, samples)

    job = MethodJob(irrational, Problem("p", "ask", read_answer), {})
    ((_, result),) = Driver({"toy": MarkovBackend()}).solve([job])
    with pytest.raises(ApiError, match="is not a number, and reading it needs math-verify") as caught:
        reasoning._checked(result)
    assert (caught.value.status, caught.value.code) == (501, "unavailable")


@pytest.mark.parametrize(("name", "parameters", "texts"), [
    ("chain_of_thought", {}, 1),
    ("self_consistency", {}, 16),
    ("self_consistency", {"n": 3}, 3),
    ("self_consistency", {"n": 1000}, 64),
])  # fmt: skip
def test_the_texts_that_a_method_writes_side_by_side_are_foreseen(name, parameters, texts):
    problem = Problem("p", QUESTION)
    wanted = reasoning.MethodRequest(find(name), parameters, Budget(), problem, {}, Extension())
    assert wanted.texts == texts
