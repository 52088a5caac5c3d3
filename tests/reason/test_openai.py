"""An endpoint that misbehaves in every way: each request fails alone, and is named and charged."""

from __future__ import annotations

import gc
import json
import logging
import math
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

import intact
from intact._base.errors import ParameterError
from intact.engine.sampling.parameters import SamplingParameters
from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason import Answer, Extend, Problem, Race, Result, Steps, find, method
from intact.reason.backends.base import Generation, Written
from intact.reason.backends.openai import KEY, OpenAIBackend
from intact.reason.backends.openai_wire import stand_in
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.journal import Journal
from intact.reason.driving.services import MethodJob, Services
from intact.reason.problem import State
from intact.solving.run import backend_of, opened, solve_all
from intact.tasks.score.scorers import find_scorer
from support.endpoint import Endpoint, Reply, answer, event, letters, sent, serve, usage
from support.patience import PATIENCE

SECRET = "sk-very-secret-0123456789"
CHAT = (("user", "ask?"),)
END = event(False, "", None, "stop")
DONE = b"data: [DONE]\n\n"


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(KEY, SECRET)
    with serve(Endpoint()) as served:
        yield served


def backend(endpoint: Endpoint, **options: Any) -> OpenAIBackend:
    return OpenAIBackend(endpoint.url, "toy", **{"seconds": 5.0, "pause": 0.001} | options)


def write(endpoint: Endpoint, prompt: Any = "ask?", text: str = "", **parameters: Any) -> Written:
    options = {
        name: parameters.pop(name) for name in ("seconds", "retries", "largest", "continues") if name in parameters
    }
    with backend(endpoint, **options) as back:
        (written,) = run(back, [generation(prompt, text, **parameters)])
        return written


def generation(prompt: Any = "ask?", text: str = "", place: int = 0, **parameters: Any) -> Generation:
    state = State(prompt, ("p",))
    state = state.append(text) if text else state
    return Generation(state, SamplingParameters(**{"max_tokens": 8, "temperature": 1.0} | parameters), ("p", place))


def run(back: OpenAIBackend, generations: list[Generation]) -> list[Written]:
    back.start(generations)
    deadline = time.monotonic() + PATIENCE
    while any(one.written is None for one in generations):
        assert time.monotonic() < deadline, "nothing came back"
        back.step()
    return [one.written for one in generations if one.written is not None]


def test_completions_and_chats_are_asked_for_and_read(endpoint: Endpoint) -> None:
    for prompt, path in (("ask?", "/v1/completions"), (CHAT, "/v1/chat/completions")):
        written = write(endpoint, prompt, top_logprobs=2, top_k=5)
        asked, headers, body = endpoint.asked[-1]
        assert asked == path
        assert headers["authorization"] == f"Bearer {SECRET}"
        assert (body["model"], body["max_tokens"], body["top_k"], body["stream"]) == ("toy", 8, 5, True)
        assert body.get("prompt", body.get("messages")) in ("ask?", [{"role": "user", "content": "ask?"}])
        assert "stop" not in body
        assert written.why in ("end", "length")
        assert (
            len(written.tokens)
            == len(written.logprobs)
            == len(written.top)
            == len(written.text) + (written.why == "end")
        )
        assert all(value < 0 for value in written.logprobs)
        assert all(len(top) == 2 and top[0][1] >= top[1][1] for top in written.top)


def test_branches_have_seeds_of_their_own(endpoint: Endpoint) -> None:
    with backend(endpoint) as back:
        texts = [written.text for written in run(back, [generation(place=i) for i in range(12)])]
        again = [written.text for written in run(back, [generation(place=i) for i in reversed(range(12))])]
    seeds = [body["seed"] for _, _, body in endpoint.asked]
    assert len(set(seeds)) == 12
    assert max(seeds) < 1 << 31
    assert texts == again[::-1]
    assert len(set(texts)) > 4


def test_what_was_written_is_continued_as_text(endpoint: Endpoint) -> None:
    write(endpoint, "ask?", "ab")
    assert endpoint.asked[-1][2]["prompt"] == "ask?ab"
    assert "continues='vllm'" in write(endpoint, CHAT, "ab").error
    assert len(endpoint.asked) == 1
    turns = [{"role": "user", "content": "ask?"}, {"role": "assistant", "content": "ab"}]
    write(endpoint, CHAT, "ab", continues="prefill")
    assert endpoint.asked[-1][2]["messages"] == turns
    assert "add_generation_prompt" not in endpoint.asked[-1][2]
    write(endpoint, CHAT, "ab", continues="vllm")
    assert endpoint.asked[-1][2]["messages"] == turns
    assert endpoint.asked[-1][2]["continue_final_message"] is True
    assert endpoint.asked[-1][2]["add_generation_prompt"] is False


def test_a_stop_string_is_told_from_the_end_and_closes_the_connection(endpoint: Endpoint) -> None:
    endpoint.script = [answer(letters("ab\n"), letters("\nc" * 50), usage(103), delay=0.01)]
    written = write(endpoint, stop=("\n\n",), max_tokens=200)
    assert (written.text, written.why) == ("ab\n\n", "stop")
    assert len(written.tokens) == 4  # what follows is not read
    endpoint.script = [answer(letters("ab\n"), END, usage(4), DONE)]
    written = write(endpoint, stop=("\n\n",))
    assert (written.text, written.why) == ("ab\n", "end")


GARBAGE = {
    "not JSON": (sent(b"<html>"), "not valid JSON"),
    "not UTF-8": (sent(b'{"choices": "\xff"}'), "not UTF-8: byte 13 is 0xFF"),
    "too deep": (sent(b"[" * 100_000), "nested too deep"),
    "a member twice": (sent(b'{"choices": [], "choices": []}'), "has a duplicate member 'choices'"),
    "a list": (sent([1]), "expected a JSON object"),
    "no choices": (sent({"id": 1}), "expected one choice, got None"),
    "two choices": (sent({"choices": [{"text": "a"}, {"text": "b"}]}), "expected one choice"),
    "a choice of text": (sent({"choices": ["a"]}), "a choice must be an object"),
    "text of numbers": (sent({"choices": [{"text": 7}]}), "expected a string of text, got 7"),
    "a delta of text": (sent({"choices": [{"delta": "x"}]}), "expected a string of text"),
    "NaN": (letters("a", float("nan")), "contains the number NaN"),
    "infinity": (
        sent(b'{"choices": [{"text": "a", "logprobs": {"tokens": ["a"], "token_logprobs": [-1e999]}}]}'),
        "contains the number -1e999",
    ),
    "a chance above 1": (letters("a", 0.5), "at most 0, got 0.5"),
    "a text as log-probability": (letters("a", "-1"), "at most 0, got '-1'"),
    "a huge number": (letters("a", -(10**400)), "at most 0"),
    "wrong counts": (event(False, "a", {"tokens": ["a"], "token_logprobs": []}), "lists of equal length"),
    "no lists": (event(False, "a", {"tokens": "a", "token_logprobs": 1}), "lists of equal length"),
    "log-probabilities of text": (event(False, "a", "x"), "logprobs must be an object"),
    "another end": (event(False, "a", None, "content_filter"), "it ended with 'content_filter'"),
    "an error": (sent({"error": {"message": "out of memory"}}), "the endpoint says: out of memory"),
    "usage without counts": (sent({"choices": [], "usage": {"total": 3}}), "usage must contain"),
    "negative usage": (usage(-1), "usage must contain"),
    "usage of floats": (sent({"choices": [], "usage": {"completion_tokens": 1.5, "prompt_tokens": 1}}), "usage must"),
    "no end": (DONE, "ended without a finish reason"),
    "nothing": (b"", "ended without a finish reason"),
    "comments only": (b": hello\n\nevent: x\n\n", "ended without a finish reason"),
    "some log-probabilities": (
        [*letters("a"), event(False, "b"), END],
        "4 chunks of text came with log-probabilities for only 3",
    ),
    "too many tokens": (letters("abcabcabc"), "wrote 9 tokens, but only 8 were allowed"),
    "too many claimed": ([*letters("a"), END, usage(4000)], "wrote 4000 tokens, but only 8 were allowed"),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_named_and_fails_alone(endpoint: Endpoint, name: str) -> None:
    parts, message = GARBAGE[name]
    endpoint.script = [answer(letters("ab"), parts)] if "too many" not in name else [answer(parts)]
    with backend(endpoint, concurrency=1) as back:
        bad, good = run(back, [generation(), generation(place=1)])
    assert bad.why == "error"
    assert message in bad.error
    assert good.why in ("end", "length")
    assert len(endpoint.asked) == 2  # it is not asked again
    assert len(bad.tokens) == (8 if "too many" in name else 4 if name == "some log-probabilities" else 2)


def test_missing_rivals_are_named_where_they_were_asked_for(endpoint: Endpoint) -> None:
    endpoint.script = [answer(event(False, "a", {"tokens": ["a"], "token_logprobs": [-1.0]}), END)]
    assert "likeliest 3 tokens were requested" in write(endpoint, top_logprobs=3).error


def test_an_endpoint_that_does_not_stream_is_read_all_the_same(endpoint: Endpoint) -> None:
    whole = {
        "choices": [{"text": "ab.cd", "finish_reason": "stop"}],
        "usage": {"completion_tokens": 6, "prompt_tokens": 2},
    }
    headers = {"Content-Type": "application/json"}
    endpoint.script = [Reply(headers=headers, parts=[json.dumps(whole).encode()]) for _ in range(2)]
    written = write(endpoint)
    assert (written.text, written.why, len(written.tokens), written.logprobs) == ("ab.cd", "end", 6, ())
    assert write(endpoint, stop=(".",)).text == "ab."
    endpoint.script = [Reply(headers={"Content-Type": "text/html"}, parts=[b"<html>welcome"])]
    assert "the reply b'<html>welcome' is not valid JSON" in write(endpoint).error


@pytest.mark.parametrize(
    ("claimed", "charged", "note"),
    [(1, 4, "fewer tokens than arrived"), (4, 4, ""), (5, 5, ""), (8, 8, "more tokens than arrived")],
)
def test_the_larger_count_is_charged_and_a_lie_is_noted(
    endpoint: Endpoint, claimed: int, charged: int, note: str
) -> None:
    endpoint.script = [answer(letters("abab"), END, usage(claimed), DONE)]
    with backend(endpoint) as back:
        (written,) = run(back, [generation()])
        notes = [caveat for caveat in back.caveats if "than arrived" in caveat]
    assert len(written.tokens) == len(written.logprobs) == charged
    assert sum(written.logprobs) / LOGPROB_SCALE == -0.5 * charged
    assert [note in one for one in notes] == [True] * bool(note)


WHOLE = json.dumps({"choices": [{"index": 0, "text": "word " * 2000, "finish_reason": "stop"}]}).encode()


@pytest.mark.parametrize("claimed", [None, 1])
def test_a_text_that_is_too_long_for_its_tokens_is_charged_and_noted(endpoint: Endpoint, claimed: int | None) -> None:
    """10,000 bytes in one event: no fewer than 40 tokens, whatever is said of them."""
    streamed = answer([event(False, "word " * 2000)], END, [] if claimed is None else usage(claimed), DONE)
    plain = Reply(headers={"Content-Type": "application/json"}, parts=[WHOLE])
    for reply in (streamed, plain):
        endpoint.script = [reply] * 2
        with backend(endpoint) as back:
            (written,) = run(back, [generation(max_tokens=50)])
            notes = " ".join(back.caveats)
            (cut,) = run(back, [generation(max_tokens=39)])
        assert (written.text, len(written.tokens)) == ("word " * 2000, 40)
        assert "more than 64 bytes a token" in notes
        assert ("does not say how many tokens" in notes) == (reply is plain or claimed is None)
        assert "wrote 40 tokens, but only 39 were allowed" in cut.error
        assert len(cut.tokens) == 39


def test_honest_counts_are_not_noted(endpoint: Endpoint) -> None:
    stopped = answer(letters("ab."), letters("c" * 9))
    endpoint.script = [answer(letters("abab"), END, usage(4), DONE), stopped]
    with backend(endpoint) as back:
        run(back, [generation()])
        run(back, [generation(stop=(".",))])
        notes = " ".join(back.caveats)
    assert "bytes a token" not in notes
    assert "does not say" not in notes


def thought(text: str) -> bytes:
    return sent({"choices": [{"index": 0, "delta": {"reasoning_content": text}, "finish_reason": None}]})


def test_reasoning_is_charged_where_a_text_is_cut_and_not_asked_for_again(endpoint: Endpoint) -> None:
    endpoint.script = [answer([thought("so")] * 20, letters("a."), letters("b" * 9), delay=0.001)]
    written = write(endpoint, max_tokens=60, stop=(".",))
    assert (written.text, written.why, len(written.tokens), len(written.logprobs)) == ("a.", "stop", 22, 22)
    endpoint.script = [answer([thought("so")] * 3)]
    with backend(endpoint) as back:
        (written,) = run(back, [generation()])
        notes = " ".join(back.caveats)
    assert "ended without a finish reason" in written.error
    assert len(written.tokens) == 3
    assert "(reasoning)" in notes
    assert "does not report log-probabilities" not in notes
    broken = {"Content-Type": "text/event-stream", "Content-Length": "9999"}
    endpoint.script = [Reply(headers=broken, parts=[thought("so")] * 3)]
    written = write(endpoint)
    assert "in the middle of an answer" in written.error
    assert (len(written.tokens), len(endpoint.asked)) == (3, 3)
    endpoint.script = [answer([thought("so")] * 9)]
    assert "wrote 9 tokens, but only 8 were allowed" in write(endpoint).error


def test_two_texts_have_different_stand_ins_for_tokens(endpoint: Endpoint) -> None:
    endpoint.script = [answer(event(False, text), END, usage(3)) for text in ("ab", "ba")]
    one, other = write(endpoint), write(endpoint)
    assert len(one.tokens) == len(other.tokens) == 3
    assert not set(one.tokens) & set(other.tokens)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_endpoint_is_asked_again(endpoint: Endpoint, status: int) -> None:
    endpoint.script = [Reply(status, {}, [b"busy"])] * 3
    assert write(endpoint).why in ("end", "length")
    assert len(endpoint.asked) == 4


def test_one_that_stays_busy_is_given_up(endpoint: Endpoint) -> None:
    endpoint.script = [Reply(429, {}, [b'{"error": "busy"}'])] * 9
    written = write(endpoint, retries=2)
    assert written.error == 'HTTP 429 Too Many Requests: {"error": "busy"}, at all 3 attempts'
    assert (len(endpoint.asked), written.tokens) == (3, ())


@pytest.mark.parametrize(
    ("status", "message"), [(400, "HTTP 400"), (401, "HTTP 401"), (302, "HTTP 302"), (404, "no such")]
)
def test_a_refusal_is_final(endpoint: Endpoint, status: int, message: str) -> None:
    endpoint.script = [Reply(status, {"Location": "http://127.0.0.1:9/"}, [b"no such model"])]
    assert message in write(endpoint).error
    assert len(endpoint.asked) == 1


def test_the_wait_asked_for_is_waited_but_not_for_ever(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("intact.reason.backends.openai.pause_for", sleep)
    waits = ["7", formatdate(time.time() + 30, usegmt=True), "-3", "nan", "soon", "900"]
    endpoint.script = [Reply(503, {"Retry-After": wait}, []) for wait in waits]
    with backend(endpoint, pause=0.5, retries=9) as back:
        (written,) = run(back, [generation()])
    assert "asks to wait 900 s, more than the limit of 60" in written.error
    assert slept[0] == 7
    assert 25 < slept[1] <= 30
    assert slept[2:] == [0, 0.5 * 8, 0.5 * 16]  # of what cannot be read nothing is known: the schedule holds


def test_nobody_there_is_named() -> None:
    with OpenAIBackend("http://127.0.0.1:9/v1", "toy", pause=0.001, retries=1) as back:
        (written,) = run(back, [generation()])
    assert "no connection (ConnectError" in written.error


def test_an_endpoint_that_hangs_or_drips_is_left_after_its_time(endpoint: Endpoint) -> None:
    endpoint.script = [answer(letters("ab"), delay=0.5)] * 2
    assert write(endpoint, seconds=0.2, retries=1).error == "no complete answer within 0.2 s, at all 2 attempts"
    endpoint.script = [answer([b": alive\n\n"] * 50, delay=0.02)]
    assert "no complete answer within 0.3 s" in write(endpoint, seconds=0.3, retries=0).error


def test_an_answer_that_breaks_off_is_charged_and_not_asked_for_again(endpoint: Endpoint) -> None:
    endpoint.script = [answer(letters("abc"), [b""] * 9, delay=0.1)]
    with backend(endpoint, seconds=0.6) as back:
        (written,) = run(back, [generation()])
        assert any("broke off" in caveat for caveat in back.caveats)
    assert written.error == "no complete answer within 0.6 s, in the middle of an answer"
    assert (written.text, len(written.tokens), len(endpoint.asked)) == ("abc", 3, 1)
    cut = Reply(headers={"Content-Type": "text/event-stream", "Content-Length": "9999"}, parts=letters("ab"))
    endpoint.script = [cut]
    written = write(endpoint)
    assert "no connection (RemoteProtocolError" in written.error
    assert len(written.tokens) == 2


def test_equal_texts_whose_probabilities_differ_in_the_last_digits_are_one_text(endpoint: Endpoint) -> None:
    """Servers that batch tell another one at every time."""
    noise = [0.0, -1e-5, 2e-5]
    endpoint.script = [answer(letters("ab", -0.5 + one), [END], [usage(2)], [DONE]) for one in noise]
    endpoint.script += [answer(letters("cd", -1.5), [END], [usage(2)], [DONE])]
    with backend(endpoint, concurrency=1) as back:
        (result,) = solved(back, MethodJob(find("rpc"), Problem("p", "ask?"), {"n": 4}))
    assert (result.why, result.answer.answer) == ("done", "ab"), result.error
    assert result.answer.votes["ab"] == pytest.approx(math.exp(-0.5), rel=1e-4)


@pytest.mark.parametrize("name", ["deepconf_online", "speculative_thinking", "beam_search"])
def test_one_whose_own_context_is_full_is_not_asked_for_ever(endpoint: Endpoint, name: str) -> None:
    """Its answers end with "length", and hold nothing: no cap would ever strike."""
    full = answer([event(False, "", None, "length")], [usage(0)], [DONE])
    endpoint.script = [full] * 100
    parameters = {"n": 2, "warmup": 1} if name == "deepconf_online" else {}
    with backend(endpoint) as back:
        tasks = [MethodJob(find(name), Problem("p", "ask?"), parameters)]
        driver = Driver({"toy": back, "large": back}, sampling={"max_tokens": 5}, services=Services(find_scorer))
        ((_, result),) = driver.solve(tasks)
    assert result.why == "done", result.error
    assert len(endpoint.asked) <= 16
    assert {node["why"] for node in result.trace["nodes"] if node["kind"] == "extend"} == {"context"}


def test_an_answer_may_not_be_larger_than_allowed(endpoint: Endpoint) -> None:
    for headers in ({"Content-Type": "text/event-stream"}, {"Content-Type": "application/json"}, {}):
        endpoint.script = [Reply(headers=headers, parts=[b"x" * 1000] * 100)]
        assert write(endpoint, largest=10_000).error == "the answer is larger than 10,000 bytes"


def test_no_more_requests_run_than_are_allowed(endpoint: Endpoint) -> None:
    endpoint.hold = 3
    with backend(endpoint, concurrency=3) as back:
        assert len(run(back, [generation(place=i) for i in range(12)])) == 12
    assert endpoint.most == 3


def test_what_is_cancelled_comes_back_at_once_with_what_had_arrived(endpoint: Endpoint) -> None:
    endpoint.script = [answer(letters("ab"), [b": wait\n\n"] * 10_000, delay=0.05)]
    with backend(endpoint, concurrency=1) as back:
        running, queued = generation(), generation(place=1)
        back.start([running, queued])
        deadline = time.monotonic() + PATIENCE
        while back._live[running].arrived != 2:
            assert time.monotonic() < deadline
            assert not back.step()
        back.cancel([queued, running])
        back.cancel([running])
        assert {id(one) for one in back.step()} == {id(running), id(queued)}
    assert running.written is not None
    assert queued.written is not None
    assert (running.written.text, running.written.why, len(running.written.tokens)) == ("ab", "cancelled", 2)
    assert queued.written == Written("", (), (), (), "cancelled")


def test_the_key_is_nowhere_but_in_its_header(
    endpoint: Endpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = [Reply(401, {}, [f"bad key {SECRET}".encode()]), answer(sent(f"{SECRET} is no JSON".encode()))]
    echo += [answer(letters("a"), sent({"error": SECRET})), answer(event(False, SECRET), END)]
    endpoint.script = list(echo)
    with backend(endpoint) as back, Journal(tmp_path / "journal") as journal:
        task = MethodJob(find("self_consistency"), Problem("p", "ask?"), {"n": 8})
        ((_, result),) = Driver({"http": back}, journal=journal).solve([task])
        assert len(endpoint.asked) == 8
        shown = [
            repr(back),
            back.identity,
            repr(vars(back)["_notes"]),
            json.dumps(result.as_dict(trace=True)),
            caplog.text,
        ]
    files = b"".join([file.read_bytes() for file in tmp_path.iterdir()])
    assert all(headers["authorization"].endswith(SECRET) for _, headers, _ in endpoint.asked)
    assert all("secret" not in text for text in shown)
    assert b"secret" not in files
    assert "***" in shown[3]


def test_a_key_goes_to_its_own_host_alone(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    def sent_by(models: dict[str, str], name: str) -> str | None:
        endpoint.script = [answer(letters("so"), END)]
        with opened(models) as backends:
            (written,) = run(backends[name], [generation()])
        assert written.error == ""
        return endpoint.asked[-1][1].get("authorization")

    here, there = f"{endpoint.url}#m", "http://127.0.0.2:9/v1#m"
    assert sent_by({"main": here, "judge": there}, "main") == f"Bearer {SECRET}"
    assert sent_by({"main": here, "judge": here}, "judge") == f"Bearer {SECRET}"
    assert sent_by({"main": there, "big judge": here}, "big judge") is None
    monkeypatch.setenv(f"{KEY}_BIG_JUDGE", "of its own")
    assert sent_by({"main": there, "big judge": here}, "big judge") == "Bearer of its own"
    assert sent_by({"main": here, "big judge": here}, "big judge") == "Bearer of its own"


def test_a_key_that_is_sent_back_escaped_or_in_parts_is_not_shown(endpoint: Endpoint) -> None:
    hexed = "".join([f"\\u{ord(letter):04X}" for letter in SECRET])
    chat = json.dumps({"choices": [{"delta": {"content": "KEY"}, "finish_reason": "stop"}]})
    asked = {
        "escaped": answer(sent(chat.replace("KEY", SECRET.replace("-", "\\u002d")).encode())),
        "escaped wholly": answer(sent(chat.replace("KEY", hexed).encode())),
        "in an error": answer(sent(('{"error": "' + "x" * 190 + hexed + '"}').encode())),
        "in JSON within JSON": answer(sent({"error": json.dumps({"key": SECRET}).replace("-", "\\u002d")})),
        "no JSON": answer(sent(hexed.encode() + b" is no JSON")),
        "a member twice": answer(sent(f'{{"{SECRET}": 1, "{SECRET}": 2}}'.encode())),
        "a member twice, escaped": answer(sent(f'{{"{hexed}": 1, "{hexed}": 2}}'.encode())),
        "in parts": answer(letters(SECRET), END),
        "in parts, and cut": answer(letters(f"the key is {SECRET}\n\n"), END),
        "behind the status": Reply(401, {}, [b"no"], reason=f"no {SECRET}"),
        "in a status line that is none": Reply(401, {}, [b"no"], reason=f"x\x00 {SECRET}"),
    }
    for name, reply in asked.items():
        endpoint.script = [reply] * 2
        prompt = CHAT if name.startswith("escaped") else "ask?"
        written = write(endpoint, prompt, retries=0, top_logprobs=1 * ("parts" in name), max_tokens=64, stop=("\n\n",))
        shown = repr(written)
        assert "***" in shown, name
        for part in ("secret", "very", "0123", "\\u0073", "\\u0053"):
            assert part not in shown, name
        assert not {stand_in(letter) for letter in SECRET} & set(written.tokens), name


@pytest.mark.parametrize(
    "url", ["127.0.0.1/v1", "ftp://x/v1", "http://me:word@x/v1", "http://x/v1?key=1", "http://x:port/v1", ""]
)
def test_addresses_that_are_none_or_hold_secrets_are_refused(url: str) -> None:
    with pytest.raises(ParameterError):
        OpenAIBackend(url, "toy")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("concurrency", 0), ("context", -5), ("largest", 0), ("retries", -1)],
        *[("seconds", float("nan")), ("seconds", 0.0), ("pause", -1.0), ("pause", float("inf"))],
    ],
)
def test_numbers_that_make_no_sense_are_refused(name: str, value: float) -> None:
    with pytest.raises(ParameterError, match=f"{name} must"):
        OpenAIBackend("http://x/v1", "toy", **{name: value})  # type: ignore[arg-type]


def test_a_way_to_continue_that_there_is_not_is_refused() -> None:
    with pytest.raises(ParameterError, match="continues must be"):
        OpenAIBackend("http://x/v1", "toy", continues="sglang")  # type: ignore[arg-type]


def test_an_endpoint_needs_the_name_of_a_model() -> None:
    with pytest.raises(ParameterError, match="http://x/v1#NAME"):
        backend_of("http://x/v1")


def test_a_key_that_no_header_can_carry_is_refused_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "two\nlines")
    with pytest.raises(ParameterError, match=KEY) as caught:
        OpenAIBackend("http://x/v1", "toy")
    assert "lines" not in str(caught.value)


def test_constraints_that_no_endpoint_shares_are_named(endpoint: Endpoint) -> None:
    assert "endpoints do not support regex; use json_schema" in write(endpoint, regex="a+").error
    assert "endpoints do not support stop_mean_below" in write(endpoint, stop_mean_below=-1).error
    write(endpoint, json_schema={"type": "object"})
    assert endpoint.asked[-1][2]["response_format"]["json_schema"]["schema"] == {"type": "object"}


@method("none", temperature=1.0)
def racing(problem: Problem, *, m: int = 2) -> Steps:
    """Race."""
    raced = yield Race([Extend(problem.start, max_tokens=40)] * 6, m)
    whys = [state.why for state in raced.states]
    return Answer(None, details={"winners": raced.winners, "lengths": [s.length for s in raced.states], "whys": whys})


def solved(back: OpenAIBackend, *tasks: MethodJob, **options: Any) -> list[Result]:
    return [result for _, result in sorted(Driver({"http": back}, **options).solve(tasks), key=lambda pair: pair[0])]


def test_what_solving_opens_it_closes(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    before = set(threading.enumerate())
    endpoint.script = [answer(letters("so: 1.\n"), letters("b" * 99), delay=0.001) for _ in range(8)]
    model = f"{endpoint.url}#toy"
    result = intact.solve(model, "self_consistency", Problem("p", "ask?"), n=8, max_tokens=200, stop=["\n"])
    assert result.why == "done"
    with opened(model) as backends:
        assert len(list(solve_all(backends, [MethodJob(racing, Problem("p", "ask?"), {})]))) == 1
    deadline = time.monotonic() + PATIENCE
    while left := set(threading.enumerate()) - before:  # the server's end a moment later
        assert time.monotonic() < deadline, left
        time.sleep(0.01)
    gc.collect()
    assert not [record.message for record in caplog.records if record.name == "asyncio"]


def test_what_is_cut_is_closed_without_a_word(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    endpoint.script = [answer(letters("ab"), [b": wait\n\n"] * 50_000, delay=0.01) for _ in range(4)]
    with backend(endpoint, concurrency=2) as back:
        back.start([generation(place=place) for place in range(4)])
        deadline = time.monotonic() + PATIENCE
        while not any(arrival.arrived for arrival in back._live.values()):
            assert time.monotonic() < deadline
            back.step()
    gc.collect()
    assert not [record.message for record in caplog.records if record.name == "asyncio"]


def test_a_race_is_decided_by_tokens_and_losers_are_cut(endpoint: Endpoint) -> None:
    lengths = [9, 4, 12, 4, 30, 7]
    for m in (1, 2, 4, 6):
        endpoint.script = [answer(letters("a" * length), END, usage(length)) for length in lengths]
        with backend(endpoint, concurrency=1) as back:  # one after the other, so that each gets its own
            (result,) = solved(back, MethodJob(racing, Problem("p", "ask?"), {"m": m}))
        details = result.answer.details
        assert details["winners"] == [1, 3, 5, 0, 2, 4][:m]
        assert [why == "end" for why in details["whys"]] == [i in details["winners"] for i in range(6)]
        assert result.cost.tokens == sum(details["lengths"])
    slow = answer(letters("a" * 30), END, delay=0.05)
    endpoint.script = [answer(letters("aaa"), END), slow, slow, slow, slow, slow]
    with backend(endpoint) as back:
        (result,) = solved(back, MethodJob(racing, Problem("p", "ask?"), {"m": 1}))
    lengths = result.answer.details["lengths"]
    assert len(result.answer.details["winners"]) == 1
    assert sorted(lengths)[0] == 3
    assert max(lengths) < 20  # cut soon after the fourth token


def test_caps_hold_and_a_journal_spares_requests(endpoint: Endpoint, tmp_path: Path) -> None:
    task = MethodJob(find("self_consistency"), Problem("p", "ask?"), {"n": 8})
    told = []
    for _ in range(2):
        with backend(endpoint) as back, Journal(tmp_path / "journal") as journal:
            (result,) = solved(back, task, journal=journal, budget=Budget(tokens=30), sampling={"max_tokens": 8})
        assert 0 < result.cost.tokens <= 30
        value = result.as_dict(trace=True)
        value["cost"].pop("seconds")
        value.pop("caveats")
        told.append(json.loads(json.dumps(value)))
        asked = len(endpoint.asked)
    assert told[0] == told[1]
    assert len(endpoint.asked) == asked


def test_methods_that_need_log_probabilities_say_so(endpoint: Endpoint) -> None:
    endpoint.mute = True
    with backend(endpoint) as back:
        needing = ("rpc", "self_certainty", "deepconf", "deepconf_online", "self_consistency")
        tasks = [MethodJob(find(name), Problem("p", "ask?"), {"n": 4}) for name in needing]
        scorers = ("likelihood", "mean_logprob", "perplexity", "entropy", "p_true", "restart", "verification", "colep")
        tasks[:0] = [MethodJob(find("best_of_n"), Problem("p", "ask?"), {"n": 4, "scorer": name}) for name in scorers]
        *failed, voted = solved(back, *tasks, services=Services(find_scorer))
        assert all("does not report log-probabilities" in result.error for result in failed)
        assert voted.why == "done"
        assert any("does not report log-probabilities" in caveat for caveat in back.caveats)
