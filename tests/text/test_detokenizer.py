"""Streaming detokenization."""

from hypothesis import given
from hypothesis import strategies as st

from intact.text import Detokenizer

TOKENS = [
    b"",
    b" ",
    b"a",
    b" a",
    "é".encode(),
    b"\xc3",
    b"\xa9",
    b"\xf0\x9f",
    b"\x98\x80",
    b"\xff",
    b"\xed\xa0",
    b"\x80",
    b"e\xcc",
    b"\x81",
]
IDS = st.lists(st.integers(0, len(TOKENS) - 1), max_size=20)


@given(IDS)
def test_pieces_join_to_the_whole(ids: list[int]) -> None:
    stream = Detokenizer(TOKENS.__getitem__)
    assert "".join(map(stream.push, ids)) + stream.flush() == b"".join(TOKENS[i] for i in ids).decode(
        "utf-8", "replace"
    )


@given(st.text(), st.data())
def test_only_whole_characters_come_out_and_none_waits(text: str, data: st.DataObject) -> None:
    text = text.encode("utf-8", "replace").decode()
    raw = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    stream = Detokenizer(pieces.__getitem__)
    shown = ""
    for index in range(len(pieces)):
        shown += stream.push(index)
        sofar = b"".join(pieces[: index + 1])
        assert shown == sofar.decode("utf-8", "ignore")
    assert stream.flush() == ""


def test_an_emoji_in_two_tokens_comes_out_once() -> None:
    stream = Detokenizer(TOKENS.__getitem__)
    assert [stream.push(7), stream.push(8), stream.flush()] == ["", "😀", ""]


def test_bytes_that_are_no_text_become_replacement_characters() -> None:
    stream = Detokenizer(TOKENS.__getitem__)
    assert [stream.push(9), stream.push(5), stream.push(2), stream.push(7), stream.flush()] == ["�", "", "�a", "", "�"]


def test_the_first_space_alone_is_stripped() -> None:
    stream = Detokenizer(TOKENS.__getitem__, strip_first_space=True)
    assert [stream.push(0), stream.push(3), stream.push(3)] == ["", "a", " a"]
