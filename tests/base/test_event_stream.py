"""Replies in parts: however a stream is cut, the same events come, and never more bytes than allowed."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import EndpointError
from intact._base.event_stream import EventReader, ReplyLimit

STREAM = (
    b': hello\r\nevent: x\r\ndata: {"a":1}\r\n\r\ndata:{"b":"data: 2"}\n\n'
    b'id: 3\n{"c":3}\ndata: [DONE]\n\ndata: {"d":4}\n\n'
)
EVENTS = [b'{"a":1}', b'{"b":"data: 2"}']


def read(parts, json_lines=False, largest=1000):
    reader = EventReader(ReplyLimit(largest, "the reply"), json_lines)
    found = [data for part in parts for data in reader.feed(part)]
    return found + reader.close(), reader.done


@given(st.lists(st.integers(0, len(STREAM))))
def test_a_stream_cut_anywhere_has_the_same_events(cuts):
    places = [0, *sorted(cuts), len(STREAM)]
    parts = [STREAM[a:b] for a, b in pairwise(places)]
    assert read(parts) == (EVENTS, True)


def test_a_stream_that_breaks_off_is_not_done_and_its_last_line_counts():
    assert read([b'data: {"a":1}\n\ndata: {"b"']) == ([b'{"a":1}', b'{"b"'], False)


def test_plain_json_lines_are_read_only_on_request_and_until_there_is_an_event():
    lines = b'{"a":1}\n\n{"b":2}\nnoise\n'
    assert read([lines]) == ([], False)
    assert read([lines], json_lines=True) == ([b'{"a":1}', b'{"b":2}'], False)
    assert read([b'{"a":1}\ndata: {"b":2}\n{"c":3}\n'], json_lines=True) == ([b'{"a":1}', b'{"b":2}'], False)


def test_a_stream_of_the_largest_size_is_read_and_one_byte_more_is_refused():
    assert read([b"data: 1\n"] * 4 + [b"data: 12"], largest=40)[0] == [b"1"] * 4 + [b"12"]
    with pytest.raises(EndpointError, match=r"^the reply is larger than 39 bytes$"):
        read([b"data: 1\n"] * 5, largest=39)
    limit = ReplyLimit(3, "a body")
    assert limit.count(b"abc") == b"abc"
    with pytest.raises(EndpointError, match=r"^a body is larger than 3 bytes$"):
        limit.count(b"d")


def test_a_line_that_comes_byte_by_byte_is_read_in_linear_time():
    text = b"x" * 300_000
    parts = [b"data: ", *(text[i : i + 1] for i in range(len(text))), b"\n"]
    assert read(parts, largest=1_000_000)[0] == [text]
