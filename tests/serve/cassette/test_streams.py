"""Streams are kept as events, however they were cut, and are valid streams when they are replayed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ReceiptError
from intact.serve.cassette.content import BodyContent
from intact.serve.cassette.streams import MOST_BYTES, expand, parse_events, parse_lines, read_events, write_events

EVENTS, LINES = "text/event-stream; charset=utf-8", "application/x-ndjson"


def delta(text, reason=None, **more):
    return {"id": "c1", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}], **more}


def sse(*values, end="data: [DONE]\n\n"):
    return ("".join(f"data: {json.dumps(value)}\n\n" for value in values) + end).encode()


def values(stored):
    return [event.get("data", event.get("text")) for event in expand(stored)]


def test_chunks_that_differ_in_one_text_are_stored_once_and_replayed_one_by_one():
    stored = parse_events(sse(delta("The"), delta(" capital"), delta(" is"), delta("", "stop")))
    assert [event.get("lengths") for event in stored] == [[3, 8, 3], None, None]
    assert stored[0]["data"] == delta("The capital is")
    assert stored[2] == {"text": "[DONE]"}
    assert values(stored) == [delta("The"), delta(" capital"), delta(" is"), delta("", "stop"), "[DONE]"]
    assert b"".join(write_events(stored)) == sse(
        *(delta(text) for text in ("The", " capital", " is")), delta("", "stop")
    ).replace(b": {", b":{").replace(b'": ', b'":').replace(b", ", b",").replace(b"data:{", b"data: {")


@given(st.lists(st.text(min_size=1).filter(lambda text: text.isprintable()), min_size=1), st.data())
def test_a_text_has_one_form_however_it_was_cut(texts, data):
    whole = "".join(texts)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(whole) - 1)), max_size=5)))
    other = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True) if a < b]
    one, two = (parse_events(sse(*map(delta, parts))) for parts in (texts, other))
    assert one[0]["data"] == two[0]["data"] == delta(whole)
    assert values(one)[:-1] == list(map(delta, texts))


def test_line_ends_comments_and_retry_times_do_not_matter():
    plain = parse_events(b'event: a\ndata: {"x": 1}\n\ndata: two\ndata: lines\n\n')
    other = parse_events(
        b'\xef\xbb\xbf: wait\r\nretry: 5\r\n\r\nevent:a\r\ndata:{"x":1}\r\n\r\ndata: two\rdata: lines\r\r'
    )
    assert plain == other == [{"event": "a", "data": {"x": 1}}, {"text": "two\nlines"}]
    assert parse_events(b"".join(write_events(plain))) == plain


def test_separators_in_texts_do_not_end_lines():
    stored = parse_events(sse(delta("a\u2028b\u0085c")))
    assert stored[0]["data"]["choices"][0]["delta"]["content"] == "a\u2028b\u0085c"


def test_sequence_numbers_are_counted_again_and_padding_is_dropped():
    def event(number, text):
        return {
            "type": "response.output_text.delta",
            "delta": text,
            "sequence_number": number,
            "obfuscation": "x" * number,
        }

    stored = parse_events(sse(event(4, "a"), event(5, "b"), event(9, "c"), end=""))
    assert [one.get("lengths") for one in stored] == [[1, 1], None]
    assert [value["sequence_number"] for value in values(stored)] == [4, 5, 9]
    assert "obfuscation" not in json.dumps(stored)


def test_lines_of_ollama_are_joined_at_the_time_of_the_first():
    def line(text, second):
        return {"created_at": f"2026-01-01T00:00:0{second}Z", "message": {"role": "assistant", "content": text}}

    data = b"".join(json.dumps(line(text, at)).encode() + b"\n" for at, text in enumerate("abc"))
    stored = parse_lines(data)
    assert [value["message"]["content"] for value in values(stored)] == ["a", "b", "c"]
    assert {value["created_at"] for value in values(stored)} == {"2026-01-01T00:00:00Z"}


def test_events_with_other_differences_stay_apart():
    stored = parse_events(sse(delta("a", logprobs=[1]), delta("b", logprobs=[2]), delta("c", model="m"), end=""))
    assert [one.get("lengths") for one in stored] == [None, None, None]


def test_arguments_of_a_streamed_call_are_joined():
    def part(text):
        return {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": text}}

    data = b"".join(b"event: content_block_delta\n" + sse(part(text), end="") for text in ('{"city"', ': "Os', 'lo"}'))
    stored = parse_events(data)
    assert stored[0]["data"]["delta"]["partial_json"] == '{"city": "Oslo"}'
    assert stored[0]["event"] == "content_block_delta"
    assert BodyContent.of(data, EVENTS).data() == BodyContent("events", stored).data()


@pytest.mark.parametrize(
    "event",
    [
        {"data": {"content": "abc"}, "lengths": [1, 1]},
        {"data": {"content": "abc"}, "lengths": [3]},
        {"data": {"content": "abc"}, "lengths": [4, -1]},
        {"data": {"content": "abc", "text": "d"}, "lengths": [1, 2]},
        {"data": [1], "lengths": [1, 1]},
        {"data": {"content": "ab", "sequence_number": "1"}, "lengths": [1, 1]},
        {"text": "a", "data": 1},
        {"text": 3},
        {"event": "a\ndata: b", "text": "c"},
        {"data": {"content": "x" * 20_000, "pad": "y" * 5000}, "lengths": [1] * 20_000},
        {"other": 1},
        "text",
    ],
)
def test_damaged_events_are_refused(event):
    with pytest.raises(ReceiptError):
        read_events([event], "answer")


def test_an_event_that_would_expand_beyond_the_limit_is_refused_by_its_size():
    event = {"data": {"content": "x" * 20_000, "pad": "y" * 5000}, "lengths": [1] * 20_000}
    with pytest.raises(ReceiptError, match=f"at most {MOST_BYTES:,} bytes"):
        read_events([event], "answer")


@pytest.mark.parametrize(
    ("data", "kind", "stored"),
    [
        (b'{"a": [1, 2.5]}', "application/json", {"json": {"a": [1, 2.5]}}),
        (b'{"a": NaN}', "application/json", {"text": '{"a": NaN}'}),
        (b'{"a": 1, "a": 2}', "application/json", {"text": '{"a": 1, "a": 2}'}),
        (b"[" * 200 + b"]" * 200, "application/json", {"text": "[" * 200 + "]" * 200}),
        (b"\xff\x00", "application/octet-stream", {"base64": "/wA="}),
        (b"\xff\x00", EVENTS, {"base64": "/wA="}),
        (b"not found", "text/plain", {"text": "not found"}),
        (b'{"x":1}\nbroken\n', LINES, {"lines": [{"data": {"x": 1}}, {"text": "broken"}]}),
    ],
)
def test_bodies_are_stored_by_what_they_are_and_come_back(data, kind, stored):
    content = BodyContent.of(data, kind)
    assert content.to_document() == stored
    assert BodyContent.from_document(stored, "body") == content
    assert BodyContent.of(content.data(), kind) == content
