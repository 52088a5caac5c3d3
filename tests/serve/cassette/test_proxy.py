"""A proxy records what clients ask, and replays it with equal bits once the endpoint is gone."""

import json

import anthropic
import httpx
import ollama
import openai
import pytest

from intact._base.errors import CassetteError, ParameterError
from intact.serve.cassette.cassette import Cassette
from intact.serve.cassette.matching import HttpRequest
from intact.serve.cassette.recorder import RecordPolicy, RequestCounts
from intact.serve.cassette.redaction import Redaction
from serve.cassette.sessions import KEY, run, session
from support.recorded_endpoint import chat_reply, endpoint
from support.serving import running

MESSAGES = [{"role": "user", "content": "Hi"}]
TOOL = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {"id": {"type": "string"}}}},
}


def client(url, **more):
    return openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, **more)


def ask(url, text="Hi", stream=False, **more):
    """Return an answer, or the list of a stream's events."""
    messages = [{"role": "user", "content": text}]
    with client(url) as made:
        found = made.chat.completions.create(model="tiny", messages=messages, stream=stream, **more)
        return list(found) if stream else found


def everything(url):
    """Send one request of each kind; return all that the clients see, without times of Ollama's streams."""
    seen = []
    with client(url) as made:
        fixed = {"model": "tiny", "max_tokens": 6, "seed": 1}
        seen.append(made.chat.completions.create(messages=MESSAGES, **fixed).model_dump_json())
        seen.append(
            [one.model_dump_json() for one in made.chat.completions.create(messages=MESSAGES, stream=True, **fixed)]
        )
        seen.append(made.chat.completions.create(messages=MESSAGES, tools=[TOOL], n=2, **fixed).model_dump_json())
        seen.append(made.completions.create(prompt="Hi", **fixed).model_dump_json())
        first = made.responses.create(model="tiny", input="Hi", max_output_tokens=5)
        seen.append(first.model_dump_json())
        then = made.responses.create(model="tiny", input="And?", max_output_tokens=5, previous_response_id=first.id)
        seen.append(then.model_dump_json())
        seen.append(
            [
                one.model_dump_json()
                for one in made.responses.create(model="tiny", input="Ho", max_output_tokens=5, stream=True)
            ]
        )
        seen.append(made.models.list().model_dump_json())
    with anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0) as made:
        seen.append(made.messages.create(model="tiny", messages=MESSAGES, max_tokens=5).model_dump_json())
        seen.append(
            [
                one.model_dump_json()
                for one in made.messages.create(model="tiny", messages=MESSAGES, max_tokens=5, stream=True)
            ]
        )
    made = ollama.Client(url)
    options = {"num_predict": 5}
    seen.append(made.chat("tiny", MESSAGES, options=options).model_dump_json())
    seen.append([one.message.content for one in made.chat("tiny", MESSAGES, options=options, stream=True)])
    seen.append(made.generate("tiny", "Hi", options=options).model_dump_json())
    return seen


@pytest.fixture(scope="module")
def recorded(tiny_path, tmp_path_factory):
    """A file with a request of each kind, and what the clients saw while it was recorded."""
    file = tmp_path_factory.mktemp("recorded") / "c.json"
    with running({"tiny": tiny_path}) as there, session(file, there.url) as (proxy, recorder):
        seen = everything(proxy.url)
        assert recorder.counts == RequestCounts(recorded=len(seen))
    return file, seen


def test_a_recorded_session_is_replayed_with_equal_bits_without_the_endpoint(recorded):
    file, seen = recorded
    before = file.read_bytes()
    with session(file) as (proxy, recorder):
        assert everything(proxy.url) == seen
        assert recorder.counts == RequestCounts(replayed=len(seen))
    assert file.read_bytes() == before


def test_the_key_is_nowhere_in_the_file(recorded):
    file, _ = recorded
    text = file.read_text()
    assert KEY not in text
    assert KEY[3:] not in text
    assert "authorization" not in text.lower()
    assert "x-api-key" not in text.lower()


def test_every_entry_names_its_origin(recorded):
    file, seen = recorded
    entries = Cassette.read(file).entries
    assert len(entries) == len(seen)
    assert {one.origin.kind for one in entries} == {"remote"}
    assert all(one.origin.name == one.request.host != "" for one in entries)


def test_requests_are_equal_however_the_endpoint_cuts_its_stream(tmp_path):
    texts = []
    for width in (3, 7):
        file = tmp_path / f"{width}.json"
        with endpoint(lambda path, body, width=width: chat_reply(body, "Oslo is the capital.", width)) as there:
            events = run(file, lambda url: ask(url, stream=True), there.url)
        assert [one.choices[0].delta.content for one in events[1:3]] == [
            "Oslo is the capital."[:width],
            "Oslo is the capital."[width : 2 * width],
        ]
        assert run(file, lambda url: ask(url, stream=True)) == events
        value = json.loads(file.read_text().replace(there.url, ""))
        parts = value["entries"][0]["answer"]["body"]["events"]
        assert sum(parts[1].pop("lengths")) == 20
        texts.append(value)
    assert texts[0] == texts[1]


def test_embeddings_are_replayed_to_the_bit(tmp_path):
    vector = [0.1, -1.5e-7, 3.0, 1e300, -0.0]

    def answer(path, body):
        assert path == "/v1/embeddings"
        data = [
            {
                "object": "embedding",
                "index": 0,
                "embedding": vector if body.get("encoding_format") != "base64" else "AACAPwAAAEA=",
            }
        ]
        return 200, "application/json", [json.dumps({"object": "list", "data": data, "model": "m"}).encode()]

    def work(url):
        with client(url) as made:
            return [
                made.embeddings.create(model="m", input="Hi", encoding_format=kind).data[0].embedding
                for kind in ("float", "base64")
            ] + [made.embeddings.create(model="m", input="Hi").data[0].embedding]  # fmt: skip

    file = tmp_path / "c.json"
    with endpoint(answer) as there:
        seen = run(file, work, there.url)
    assert seen[0] == vector
    again = run(file, work)
    assert again == seen
    assert list(map(repr, again[0])) == list(map(repr, vector))


def tools(text):
    """Answer a first request by a call with a new identifier, and one with its result by a text."""
    numbers = iter(range(100))

    def answer(path, body):
        if body["messages"][-1]["role"] == "tool":
            return chat_reply(body, text)
        call = {"id": f"call_{next(numbers)}", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        value = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
        value["choices"] = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
        return 200, "application/json", [json.dumps(value).encode()]

    return answer


def test_a_loop_with_tools_is_replayed_whatever_names_the_client_gives_its_calls(tmp_path):
    def loop(url, rename=lambda name: name):
        with client(url) as made:
            call = made.chat.completions.create(model="m", messages=MESSAGES, tools=[TOOL]).choices[0].message
            name = rename(call.tool_calls[0].id)
            said = {"role": "assistant", "tool_calls": [call.tool_calls[0].model_dump() | {"id": name}]}
            result = {"role": "tool", "tool_call_id": name, "content": "2"}
            return (
                made.chat.completions.create(model="m", messages=[*MESSAGES, said, result]).choices[0].message.content
            )

    file = tmp_path / "c.json"
    with endpoint(tools("Two.")) as there:
        assert run(file, loop, there.url) == "Two."
    assert run(file, loop) == "Two."
    assert run(file, lambda url: loop(url, lambda name: "toolu_random_7")) == "Two."


def test_equal_requests_are_replayed_in_their_order_and_no_more_often(tmp_path):
    file, answers = tmp_path / "c.json", iter(["one", "two"])
    with endpoint(lambda path, body: chat_reply(body, next(answers))) as there:
        run(file, lambda url: [ask(url), ask(url)], there.url)
    with session(file) as (proxy, recorder):
        assert [ask(proxy.url).choices[0].message.content for _ in range(2)] == ["one", "two"]
        with pytest.raises(openai.NotFoundError, match="is recorded 2 times, and was requested once more"):
            ask(proxy.url)
        assert recorder.counts == RequestCounts(replayed=2, refused=1)
    texts = run(file, lambda url: [ask(url).choices[0].message.content for _ in range(4)], repeats=True)
    assert texts == ["one", "two", "two", "two"]


def test_a_test_that_is_run_again_is_replayed_and_recorded_from_its_first_request(tmp_path):
    file, answers = tmp_path / "c.json", iter(["one", "two", "three"])
    with (
        endpoint(lambda path, body: chat_reply(body, next(answers))) as there,
        session(file, there.url) as (proxy, recorder),
    ):
        for scope in ("t1", "t2", "t2"):
            recorder.begin(scope)
            ask(proxy.url)
    with session(file) as (proxy, recorder):
        for scope, text in (("t2", "three"), ("t1", "one"), ("t2", "three")):
            recorder.begin(scope)
            assert ask(proxy.url).choices[0].message.content == text
    with session(file) as (proxy, recorder):  # where the test is unknown, recordings of any match
        assert [ask(proxy.url).choices[0].message.content for _ in range(2)] == ["one", "three"]
        with pytest.raises(openai.NotFoundError):
            ask(proxy.url)


@pytest.fixture
def one(tmp_path):
    """A file with one request."""
    file = tmp_path / "c.json"
    with endpoint(lambda path, body: chat_reply(body, "Oslo")) as there:
        run(file, lambda url: ask(url, "What is the capital of Norway?"), there.url)
    return file


def test_fail_names_the_nearest_request_in_the_apis_own_format(one):
    with session(one) as (proxy, recorder):
        with pytest.raises(openai.NotFoundError) as error:
            openai.OpenAI(base_url=f"{proxy.url}/v1", api_key=KEY).chat.completions.create(
                model="tiny", messages=[{"role": "user", "content": "What is the capital of Sweden?"}]
            )
        assert error.value.code == "not_recorded"
        assert "differs at body.messages[0].content\n  from character 23 on" in str(error.value.message)
        assert recorder.counts.refused == 1  # clients do not retry it
        with pytest.raises(anthropic.NotFoundError, match="no recording has this request: POST /v1/messages"):
            anthropic.Anthropic(base_url=proxy.url, api_key=KEY).messages.create(
                model="m", messages=MESSAGES, max_tokens=5
            )
        with pytest.raises(ollama.ResponseError, match="no recording has this request: POST /api/chat"):
            ollama.Client(proxy.url).chat("m", MESSAGES)


def test_ask_lets_a_cassette_grow_unless_the_mode_is_none(one):
    before = one.read_bytes()
    with endpoint(lambda path, body: chat_reply(body, "Stockholm")) as there:
        for mode, counts in (
            ("none", RequestCounts(passed_on=1)),
            (None, RequestCounts(recorded=1)),
            (None, RequestCounts(replayed=1)),
        ):
            with session(one, there.url, mode=mode, missing="ask") as (proxy, recorder):
                assert ask(proxy.url, "Sweden?").choices[0].message.content == "Stockholm"
                assert recorder.counts == counts
            assert (one.read_bytes() == before) == (mode == "none")
        assert len(there.requests) == 2
    assert len(Cassette.read(one).entries) == 2


def test_answer_is_given_by_the_local_model_and_marked(one, tiny_path):
    with session(one, model=tiny_path, missing="answer") as (proxy, recorder):
        assert ask(proxy.url, "What is the capital of Norway?").choices[0].message.content == "Oslo"
        text = ask(proxy.url, "Sweden?", max_tokens=5).choices[0].message.content
        stream = [event.model_dump() for event in ask(proxy.url, "Sweden?", max_tokens=5, stream=True)]
        assert recorder.counts == RequestCounts(replayed=1, local=2)
        assert "answered locally by tiny.gguf and recorded as such" in recorder.counts.text("tiny.gguf")
    marked = [entry for entry in Cassette.read(one).entries if entry.origin.kind == "local"]
    assert {entry.origin.name for entry in marked} == {"tiny.gguf"}
    assert all(entry.origin.identity.startswith("intact-") and len(entry.origin.identity) > 20 for entry in marked)
    with session(one) as (proxy, recorder):
        assert ask(proxy.url, "Sweden?", max_tokens=5).choices[0].message.content == text
        assert [event.model_dump() for event in ask(proxy.url, "Sweden?", max_tokens=5, stream=True)] == stream
        assert recorder.counts == RequestCounts(replayed=2, replayed_local=2)


def test_local_answers_are_not_recorded_in_mode_none(one, tiny_path):
    before = one.read_bytes()
    with session(one, model=tiny_path, missing="answer", mode="none") as (proxy, recorder):
        assert ask(proxy.url, "Sweden?", max_tokens=5).choices[0].message.content
        assert recorder.counts == RequestCounts(passed_on_local=1)
    assert one.read_bytes() == before


def test_all_records_again_and_keeps_what_was_not_requested(one):
    with endpoint(lambda path, body: chat_reply(body, "Bergen")) as there:
        run(one, lambda url: ask(url, "Sweden?"), there.url, missing="ask")
        run(one, lambda url: ask(url, "What is the capital of Norway?"), there.url, mode="all")
    texts = [entry.answer.content.value["choices"][0]["message"]["content"] for entry in Cassette.read(one).entries]
    assert texts == ["Bergen", "Bergen"]


def test_all_replaces_what_a_test_no_longer_sends(tmp_path):
    file = tmp_path / "c.json"
    with endpoint(lambda path, body: chat_reply(body, "Oslo")) as there:
        for mode, texts in ((None, {"t1": "one", "t2": "two"}), ("all", {"t1": "three"})):
            with session(file, there.url, mode=mode) as (proxy, recorder):
                for scope, text in texts.items():
                    recorder.begin(scope)
                    ask(proxy.url, text)
    found = {one.scope: one.request.content.value["messages"][0]["content"] for one in Cassette.read(file).entries}
    assert found == {"t1": "three", "t2": "two"}


def test_once_records_a_new_file_only(tmp_path):
    file = tmp_path / "c.json"
    with endpoint(lambda path, body: chat_reply(body, "Oslo")) as there:
        run(file, ask, there.url, mode="once")
        with session(file, there.url, mode="once") as (proxy, _), pytest.raises(openai.NotFoundError):
            ask(proxy.url, "Ho")
        assert len(there.requests) == 1


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_errors_of_the_key_and_of_the_moment_are_passed_on_and_not_kept(tmp_path, status):
    file = tmp_path / "c.json"
    reply = status, "application/json", [b'{"error":{"message":"no"}}']
    with (
        endpoint(lambda path, body: reply) as there,
        session(file, there.url) as (proxy, recorder),
        pytest.raises(openai.APIStatusError) as error,
    ):
        ask(proxy.url)
    assert error.value.status_code == status
    assert recorder.counts == RequestCounts(passed_on=1)
    assert not file.exists()


def test_errors_of_the_request_are_recorded(tmp_path):
    file = tmp_path / "c.json"
    reply = 400, "application/json", [b'{"error":{"message":"too long","code":"x"}}']

    def work(url):
        with pytest.raises(openai.BadRequestError, match="too long") as error:
            ask(url)
        return error.value.body

    with endpoint(lambda path, body: reply) as there:
        seen = run(file, work, there.url)
    assert run(file, work) == seen


def test_a_stream_whose_client_leaves_is_recorded_to_its_end(tmp_path):
    file = tmp_path / "c.json"
    with (
        endpoint(lambda path, body: chat_reply(body, "abcdefgh", 2)) as there,
        session(file, there.url) as (proxy, _),
        client(proxy.url) as made,
        made.chat.completions.create(model="tiny", messages=MESSAGES, stream=True) as stream,
    ):
        next(stream)
    events = run(file, lambda url: ask(url, stream=True))
    assert [one.choices[0].delta.content for one in events][1:5] == ["ab", "cd", "ef", "gh"]


def test_an_endpoint_that_cannot_be_reached_is_an_error_without_a_recording(tmp_path):
    file = tmp_path / "c.json"
    message = r"127\.0\.0\.1:9 did not answer: ConnectError"
    with session(file, "http://127.0.0.1:9") as (proxy, _), pytest.raises(openai.InternalServerError, match=message):
        ask(proxy.url)
    assert not file.exists()


def test_redacted_texts_do_not_matter_for_matching(tmp_path):
    file, redaction = tmp_path / "c.json", Redaction(["user_id"], [r"\d{4}-\d\d-\d\d"])
    with endpoint(lambda path, body: chat_reply(body, "on 2026-01-01")) as there:
        run(file, lambda url: ask(url, "Today is 2026-11-30."), there.url, redaction=redaction)
    assert "2026" not in file.read_text().replace('"created"', "")
    text = run(file, lambda url: ask(url, "Today is 2027-12-31."), redaction=redaction).choices[0].message.content
    assert text == "on REDACTED"


def test_nobody_else_can_send_requests_through_the_proxy(one):
    with session(one, "http://127.0.0.1:9", missing="ask") as (proxy, _):
        there = {"x-intact-upstream": "http://127.0.0.1:1", "x-intact-token": "guess"}
        assert httpx.post(f"{proxy.url}/v1/chat/completions", json={}, headers=there, timeout=None).status_code == 403
        assert httpx.get(f"{proxy.url}/v1/models", headers={"host": "evil.example"}, timeout=None).status_code == 403
        assert (
            httpx.get(f"{proxy.url}/v1/models", headers={"origin": "https://evil.example"}, timeout=None).status_code
            == 403
        )


def test_unusable_settings_are_refused_before_anything_runs(one, tmp_path):
    with pytest.raises(CassetteError, match="record it first"):
        run(tmp_path / "absent.json", ask, mode="none")
    with pytest.raises(CassetteError, match="matches on method, path, body, not on method, path"):
        run(one, ask, match_on=("method", "path"))
    for wrong in ({"mode": "twice", "missing": "fail"}, {"mode": "once", "missing": "guess"}):
        with pytest.raises(ParameterError, match="must be one of"):
            RecordPolicy(**wrong)


@pytest.mark.parametrize(
    ("mode", "missing", "is_new", "found"),
    [
        (None, None, True, ("once", "ask")), (None, None, False, ("once", "fail")),
        (None, "fail", False, ("none", "fail")), (None, "ask", False, ("new_episodes", "ask")),
        (None, "answer", False, ("new_episodes", "answer")), ("none", "answer", False, ("none", "answer")),
        ("once", None, False, ("once", "fail")), ("all", None, False, ("all", "ask")),
        ("new_episodes", None, True, ("new_episodes", "ask")), (None, "answer", True, ("once", "answer")),
    ],
)  # fmt: skip
def test_defaults_of_modes_are_those_of_vcr(mode, missing, is_new, found):
    policy = RecordPolicy.of(mode, missing, False, is_new=is_new)
    assert (policy.mode, policy.missing) == found


def test_a_whole_number_of_requests_may_be_under_way(tmp_path):
    file = tmp_path / "c.json"
    with endpoint(lambda path, body: chat_reply(body, body["messages"][0]["content"])) as there:
        from concurrent.futures import ThreadPoolExecutor

        def work(url):
            with ThreadPoolExecutor(8) as pool:
                return list(pool.map(lambda n: ask(url, f"number {n}").choices[0].message.content, range(24)))

        assert run(file, work, there.url) == [f"number {n}" for n in range(24)]
    assert run(file, work) == [f"number {n}" for n in range(24)]
    assert HttpRequest("GET", "/").content is None
