"""Keys are never written, nor is what the user names."""

import json

import pytest

from intact._base.errors import ParameterError
from intact.serve.cassette.content import BodyContent
from intact.serve.cassette.matching import HttpRequest
from intact.serve.cassette.redaction import REDACTED, Redaction

KEY = "sk-proj-abcdef123456"


def written(redaction, request):
    one = redaction.request(request)
    return one, json.dumps([one.path, one.query, dict(one.headers), one.content and one.content.to_document()])


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"])
def test_only_listed_headers_are_kept_and_keys_are_removed_wherever_they_are_repeated(name):
    redaction = Redaction()
    headers = {name: f"Bearer {KEY}", "user-agent": "x", "content-type": "application/json", "x-stainless-os": "Linux"}
    body = {"messages": [{"content": f"my key is {KEY}", KEY: 1}], "arguments": json.dumps({"key": KEY})}
    request = HttpRequest(
        "POST", f"/v1/{KEY}/chat", f"key={KEY}&x=1", headers=headers, content=BodyContent("json", body)
    )
    redaction.note_keys(headers, request.query)
    one, text = written(redaction, request)
    assert one.headers == {"content-type": "application/json"}
    assert one.query == f"key={REDACTED}&x=1"
    assert KEY not in text
    for answer in (json.dumps({"error": f"Incorrect API key: {KEY}"}), f"data: {KEY}\n\n"):
        for kind in ("application/json", "text/event-stream", "text/plain"):
            assert KEY not in json.dumps(redaction.content(BodyContent.of(answer.encode(), kind)).to_document())


def test_keys_of_the_environment_are_removed(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert Redaction().content(BodyContent("text", f"a {KEY} b")).value == "a *** b"


def test_a_key_that_a_stream_spells_in_parts_is_removed():
    redaction = Redaction()
    redaction.add_secrets([KEY])
    events = [{"choices": [{"delta": {"content": part}}]} for part in (KEY[:6], KEY[6:], " is it")]
    data = "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode()
    found = redaction.content(BodyContent.of(data, "text/event-stream"))
    assert found.value == [{"data": {"choices": [{"delta": {"content": "*** is it"}}]}}]
    assert BodyContent.from_document(found.to_document(), "body") == found


def test_fields_and_patterns_are_redacted_at_any_depth():
    redaction = Redaction(["email"], [r"cust-\d+"])
    body = {"email": "a@b", "list": [{"email": {"x": 1}, "note": "see cust-17, cust-18"}], "cust-19": 1}
    assert redaction.content(BodyContent("json", body)).value == {
        "email": REDACTED, "list": [{"email": REDACTED, "note": f"see {REDACTED}, {REDACTED}"}], REDACTED: 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patterns": ["("]}, "is not a regular expression"),
        ({"patterns": ["x*"]}, "matches the empty text"),
    ],
)
def test_what_cannot_be_redacted_is_refused(arguments, message):
    with pytest.raises(ParameterError, match=message):
        Redaction(**arguments)
