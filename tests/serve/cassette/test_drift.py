"""Drift: which answers of an endpoint changed since they were recorded."""

import base64
import json
import struct
from dataclasses import replace

import openai
import pytest

from intact._base.errors import ParameterError
from intact.serve.cassette.cassette import Cassette
from intact.serve.cassette.comparing import answer_texts, generated_tokens, vector_difference
from intact.serve.cassette.content import BodyContent
from intact.serve.cassette.drift import Limits, measure_drift
from intact.serve.cassette.recorder import RequestCounts
from intact.serve.cassette.redaction import Redaction
from intact.serve.cassette.upstream import read_upstreams
from serve.cassette.sessions import KEY, session
from support.recorded_endpoint import chat_reply, endpoint

QUESTIONS = ("Norway?", "Sweden?", "Denmark?", "Finland?")
CAPITALS = dict(zip(QUESTIONS, ("Oslo", "Stockholm", "Copenhagen", "Helsinki"), strict=True))


class Capitals:
    """An endpoint whose answers, and the form of its streams and identifiers, may change."""

    def __init__(self):
        self.answers, self.width, self.number = dict(CAPITALS), 3, 0

    def __call__(self, path, body):
        self.number += 1
        text = self.answers[body["messages"][-1]["content"]]
        if isinstance(text, int):
            return text, "application/json", [b'{"error": {"message": "sorry"}}']
        return chat_reply(body, text, self.width, f"chatcmpl-{self.number}")


@pytest.fixture(scope="module")
def there():
    with endpoint(Capitals()) as running:
        yield running


@pytest.fixture
def capitals(there):
    there.answer = Capitals()
    there.requests.clear()
    return there.answer


@pytest.fixture(scope="module")
def cassette(there, tmp_path_factory):
    file = tmp_path_factory.mktemp("drift") / "c.json"
    with session(file, there.url) as (proxy, _), openai.OpenAI(base_url=f"{proxy.url}/v1", api_key=KEY) as client:
        for number, question in enumerate(QUESTIONS):
            messages = [{"role": "user", "content": question}]
            answer = client.chat.completions.create(model="m", messages=messages, stream=number % 2 == 1)
            list(answer) if number % 2 else answer
    return Cassette.read(file)


def measure(cassette, there, **limits):
    return measure_drift(cassette, read_upstreams([there.url]), Limits(**limits))


def test_identifiers_and_chunks_are_no_drift(cassette, there, capitals):
    capitals.width, capitals.number = 5, 1000
    report = measure(cassette, there)
    assert (report.compared, report.changed, report.failed) == (4, [], [])
    assert report.tokens == 10  # of the whole answers, since these streams state none
    assert report.interval[0] == 0.0
    assert report.interval[1] == pytest.approx(1 - 0.025 ** (1 / 4))


def test_changed_answers_are_named_with_their_first_difference(cassette, there, capitals):
    capitals.answers |= {"Norway?": "Bergen", "Sweden?": "Stockton"}
    report = measure(cassette, there)
    assert {(one.prompt, one.place) for one in report.changed} == {
        ("Norway?", "choices[0].message.content"), ("Sweden?", "choices[0].delta.content"),
    }  # fmt: skip
    changed = next(one for one in report.changed if one.prompt == "Sweden?")
    assert changed.text == "  from character 5 on\n  recorded: 'Stockholm'\n  now:      'Stockton'"
    assert report.to_document()["share"] == 0.5
    low, high = report.interval
    assert (low, high) == pytest.approx((0.0676, 0.9324), abs=1e-4)


def test_errors_are_not_counted_as_answers(cassette, there, capitals):
    capitals.answers |= {"Norway?": 500, "Sweden?": 429, "Denmark?": 400}
    report = measure(cassette, there)
    assert report.compared == 2
    assert [(one.prompt, one.place) for one in report.changed] == [("Denmark?", "status")]
    assert sorted(one.reason[:8] for one in report.failed) == ["HTTP 429", "HTTP 500"]


def test_the_key_is_of_the_environment_and_is_removed_from_what_comes_back(cassette, there, capitals, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    capitals.answers |= {"Norway?": f"your key is {KEY}"}
    report = measure(cassette, there)
    assert {headers["authorization"] for _, headers, _ in there.requests} == {f"Bearer {KEY}"}
    assert KEY not in json.dumps(report.to_document())
    assert len(report.changed) == 1


@pytest.mark.parametrize(
    ("limits", "reason", "sent"),
    [
        ({"requests": 2}, "beyond the limit of 2 requests", 2),
        ({"tokens": 5, "concurrency": 1}, "beyond the limit of 5 tokens", 3),
        ({"seconds": 1e-9}, "beyond the limit of 1e-09 seconds", 0),
    ],
)
def test_limits_hold_and_are_reported(cassette, there, capitals, limits, reason, sent):
    report = measure(cassette, there, **limits)
    assert len(there.requests) == report.compared == sent
    assert report.skipped == {reason: 4 - sent}


def test_limits_are_checked():
    with pytest.raises(ParameterError, match="requests must be above 0"):
        Limits(requests=0)


def test_what_cannot_be_sent_again_is_left_out_and_counted(tmp_path, there, capitals, tiny_path):
    file, redaction = tmp_path / "c.json", Redaction([], ["Nor[a-z]+"])
    capitals.answers["Hi"] = "Hi"
    with session(file, there.url, redaction=redaction) as (proxy, _):
        client = openai.OpenAI(base_url=f"{proxy.url}/v1", api_key=KEY)
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Norway?"}])
    with session(file, model=tiny_path, missing="answer") as (proxy, recorder):
        client = openai.OpenAI(base_url=f"{proxy.url}/v1", api_key=KEY)
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}], max_tokens=3)
        client.models.list()
        assert recorder.counts == RequestCounts(local=2)
    there.requests.clear()
    report = measure(Cassette.read(file), there)
    assert report.skipped == {"with redacted values": 1, "answered by the local model": 2}
    assert there.requests == []


def test_a_hostile_file_cannot_start_jobs_with_the_users_key(cassette, there, capitals):
    one = cassette.entries[0]
    for path in ("/v1/fine_tuning/jobs", "/v1/files", "//evil.example/v1/chat/completions", "/v1/responses/../files"):
        hostile = Cassette([replace(one, request=replace(one.request, path=path))])
        report = measure(hostile, there)
        assert report.skipped == {"to paths that generate no answer": 1}
    assert there.requests == []


def embedding(numbers, identifier="e1"):
    return BodyContent(
        "json", {"id": identifier, "data": [{"embedding": numbers, "index": 0}], "usage": {"prompt_tokens": 3}}
    )


def test_embeddings_are_compared_number_by_number():
    before, now = (answer_texts(embedding(numbers)) for numbers in ([1.0, 0.0], [0.6, 0.8]))
    assert answer_texts(embedding([1.0, 0.0], "e2")) == before
    place = next(name for name in before if before[name] != now[name])
    assert place == "data[0].embedding"
    assert vector_difference(before[place], now[place]) == "  2 numbers that differ by at most 0.8; cosine 0.600000000"
    for text in ("text", "[[ ## answer ## ]]", "[" * 10_000, "[1, NaN]", "[]", '["a"]'):
        assert vector_difference(text, "other") == vector_difference("[1.0]", text) == ""


def test_vectors_in_base64_are_compared_as_numbers():
    one, two = (base64.b64encode(struct.pack("<16f", x, *[1.0] * 15)).decode() for x in (1.0, 1.5))
    assert vector_difference(one, two).startswith("  16 numbers that differ by at most 0.5; cosine 0.99")


def test_tokens_are_counted_as_each_api_states_them():
    for value, count in (
        ({"usage": {"completion_tokens": 7}}, 7), ({"usage": {"output_tokens": 5}}, 5), ({"eval_count": 3}, 3), ({}, 0),
    ):  # fmt: skip
        assert generated_tokens(BodyContent("json", value)) == count
    stream = b'data: {"response": {"usage": {"output_tokens": 9}}}\n\n'
    assert generated_tokens(BodyContent.of(stream, "text/event-stream")) == 9
