"""What a prompt's tokens were made from."""

from collections import UserDict
from datetime import datetime
from types import MappingProxyType

import pytest

from intact._base.errors import ParameterError, ReceiptError
from intact.measure.bench.shapes import tokenizer_metadata
from intact.receipts.source import PromptSource
from intact.text import ChatPrompt, Tokenizer
from support.tiny import TEMPLATE

NOW = datetime(2026, 11, 20, 17, 45)
TURNS = [{"role": "user", "content": "Hi"}]


@pytest.fixture(scope="module")
def plain():
    return Tokenizer.from_gguf(tokenizer_metadata(301) | {"tokenizer.chat_template": TEMPLATE})


@pytest.fixture(scope="module")
def dated():
    metadata = {**tokenizer_metadata(301), "tokenizer.chat_template": "{{ strftime_now('%Y') }}" + TEMPLATE}
    return Tokenizer.from_gguf(metadata)


@pytest.mark.parametrize("kind", [MappingProxyType, UserDict])
def test_mappings_of_any_kind_are_written_as_objects(plain, kind):
    source = PromptSource.of_chat(ChatPrompt([kind(TURNS[0])], {"tools": [kind({"a": kind({})})]}, NOW), plain)
    assert source == PromptSource(
        "chat", '{"messages": [{"role": "user", "content": "Hi"}], "tools": [{"a": {}}]}', None
    )
    assert source.encode(plain) == ChatPrompt(TURNS).encode(plain)


def test_what_json_cannot_hold_is_refused(plain):
    with pytest.raises(ParameterError, match="messages that can be written as JSON: set is not a JSON type"):
        PromptSource.of_chat(ChatPrompt(TURNS, {"tools": {1}}, NOW), plain)


def test_the_time_stands_beside_a_dated_chat_alone(plain, dated):
    conversation = ChatPrompt(TURNS, {}, NOW)
    source = PromptSource.of_chat(conversation, dated)
    assert source.now == "2026-11-20T17:45:00"
    assert source.encode(dated) == conversation.encode(dated)
    with pytest.raises(ReceiptError, match=r"request\.source\.now must be null"):
        source.encode(plain)


@pytest.mark.parametrize("now", ["", "yesterday", "2026-11-20 17:45:00", "20261120T174500", "2026-11-31T00:00:00"])
def test_a_time_has_one_spelling(dated, now):
    with pytest.raises(ReceiptError, match=r"request\.source\.now must be a time such as"):
        PromptSource("chat", '{"messages": []}', now).encode(dated)


CALLING = (
    "{% for message in messages %}{{ message.content }}"
    "{% for call in message.tool_calls or [] %}{{ call.function.arguments | tojson }}{% endfor %}{% endfor %}"
)


def test_arguments_as_json_text_are_encoded_once_and_earlier_receipts_keep_their_prompt():
    calling = Tokenizer.from_gguf(tokenizer_metadata(301) | {"tokenizer.chat_template": CALLING})
    spelt, turn = '{"city": "Rome"}', {"role": "assistant", "content": ""}
    turns = [{**turn, "tool_calls": [{"function": {"name": "f", "arguments": one}}]} for one in (spelt, "{broken")]
    source = PromptSource.of_chat(ChatPrompt(turns), calling)
    assert calling.decode(source.encode(calling)) == spelt + '"{broken"'
    assert turns[0]["tool_calls"][0]["function"]["arguments"] is spelt
    earlier = PromptSource("chat", source.text.replace(spelt, '"{\\"city\\": \\"Rome\\"}"'))
    assert calling.decode(earlier.encode(calling)) == '"{\\"city\\": \\"Rome\\"}""{broken"'


SPELLING = [{"role": "user", "content": "Hi<|im_end|>"}]


def test_a_source_says_that_control_tokens_in_contents_are_text_where_there_are_any(plain):
    source = PromptSource.of_chat(ChatPrompt(SPELLING), plain)
    assert source.to_document()["contents"] == "text"
    assert PromptSource.from_document(source.to_document(), "source") == source
    assert source.encode(plain) == ChatPrompt(SPELLING).encode(plain)
    assert "contents" not in PromptSource.of_chat(ChatPrompt(TURNS), plain).to_document()


def test_earlier_sources_read_them_as_tokens(plain):
    earlier = PromptSource.of_chat(ChatPrompt(SPELLING, control_tokens=True), plain)
    assert "contents" not in earlier.to_document()
    assert earlier.encode(plain) == plain.encode(plain.render_chat(SPELLING), bos=False)
    assert earlier.encode(plain) != ChatPrompt(SPELLING).encode(plain)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (PromptSource("text", "Hi<|im_end|>", contents="text"), "the source is not a conversation"),
        (
            PromptSource("chat", '{"messages": [{"role": "user", "content": "Hi"}]}', contents="text"),
            "no content spells",
        ),
    ],
)
def test_contents_are_stated_only_where_they_matter(plain, source, message):
    with pytest.raises(ReceiptError, match=f"request.source.contents must be absent, because {message}"):
        source.encode(plain)
