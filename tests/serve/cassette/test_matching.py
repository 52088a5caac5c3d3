"""Requests are equal by method, path and body, whatever their identifiers, times, labels, and the order of members."""

import json

import pytest

from intact._base.errors import ParameterError
from intact.serve.cassette.content import BodyContent
from intact.serve.cassette.matching import DEFAULT, HttpRequest, check_matchers, comparable, key_of, nearest


def request(body, path="/v1/chat/completions", **more):
    return HttpRequest("POST", path, content=BodyContent("json", body), **more)


def key(one, matchers=DEFAULT, earlier=None):
    return key_of(comparable(one, matchers, earlier))


def chat(content="Hi", **more):
    return {"model": "m", "messages": [{"role": "user", "content": content}], **more}


def test_the_order_of_members_and_the_form_of_whole_numbers_do_not_matter():
    body = {"temperature": 0.0, "messages": [{"content": "Hi", "role": "user"}], "model": "m"}
    assert key(request(chat(temperature=0))) == key(request(body))


@pytest.mark.parametrize(
    "other",
    [
        request(chat("Ho")), request(chat(seed=1)), request(chat(), path="/v1/completions"),
        HttpRequest("PUT", "/v1/chat/completions", content=BodyContent("json", chat())), request(chat(stream=True)),
    ],
)  # fmt: skip
def test_other_requests_have_other_keys(other):
    assert key(request(chat())) != key(other)


def test_host_and_query_matter_only_if_they_are_named():
    one, two = request(chat(), host="https://a", query="x=1&y=2"), request(chat(), host="https://b", query="y=2&x=1")
    assert key(one) == key(two)
    assert key(one, ("method", "host")) != key(two, ("method", "host"))
    assert key(one, ("query",)) == key(two, ("query",))
    assert key(one, ("query",)) != key(request(chat(), query="x=2"), ("query",))


def turn(name, answer="4", other=None):
    call = {"id": name, "type": "function", "function": {"name": "add", "arguments": '{"id": 1}'}}
    messages = [
        {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": other or name, "content": answer},
    ]  # fmt: skip
    return request(chat() | {"messages": messages})


def test_identifiers_do_not_matter_but_which_are_equal_does():
    assert key(turn("call_1")) == key(turn("call_9f"))
    assert key(turn("call_1")) != key(turn("call_1", other="call_2"))
    assert key(turn("call_1")) != key(turn("call_1", answer="5"))


def test_arguments_of_tools_may_have_members_of_any_name():
    def use(city):
        return request(
            {"messages": [{"content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {"id": city}}]}]}
        )

    assert key(use("Oslo")) != key(use("Bergen"))


def test_times_and_labels_do_not_matter():
    assert key(request(chat(user="u1", metadata={"run": "1"}, created_at=5))) == key(request(chat()))


def test_a_continued_answer_is_known_by_the_request_that_made_it():
    def follow(identifier):
        return request({"input": "And?", "previous_response_id": identifier}, "/v1/responses")

    earlier = {"resp_1": "key of a", "resp_2": "key of a", "resp_3": "key of b"}
    assert key(follow("resp_1"), earlier=earlier) == key(follow("resp_2"), earlier=earlier)
    assert key(follow("resp_1"), earlier=earlier) != key(follow("resp_3"), earlier=earlier)


def test_a_multipart_request_is_the_same_whatever_its_boundary():
    def upload(boundary, text="Hi"):
        part = f'--{boundary}\r\nContent-Disposition: form-data; name="f"\r\n\r\n{text}\r\n--{boundary}--\r\n'
        return HttpRequest("POST", "/v1/files", content=BodyContent.of(part.encode()))

    assert key(upload("a1")) == key(upload("f" * 16))
    assert key(upload("a1")) != key(upload("a1", "Ho"))


def test_the_nearest_request_and_its_first_difference_are_found():
    others = [
        comparable(request({"prompt": "Hi"}, "/v1/completions")),
        comparable(request(chat("What is the capital of Norway?", seed=1))),
        comparable(request(chat("Hello", seed=2))),
    ]
    index, difference = nearest(comparable(request(chat("What is the capital of Sweden?", seed=1))), others)
    assert index == 1
    assert difference.place == "body.messages[0].content"
    assert "from character 23 on" in difference.text
    assert "recorded:  'What is the capital of Norway?'" in difference.text
    assert nearest(comparable(request(chat())), []) is None


def test_a_missing_member_is_a_difference():
    _, difference = nearest(comparable(request(chat())), [comparable(request(chat(tools=[])))])
    assert difference.place == "body.tools"
    assert "requested: nothing" in difference.text


def test_matchers_are_checked():
    assert check_matchers(["body", "method", "body"]) == ("method", "body")
    for names, message in ((["boddy"], "did you mean body"), ([], "matched on something")):
        with pytest.raises(ParameterError, match=message):
            check_matchers(names)


def test_keys_are_of_json_so_that_types_matter():
    assert key(request(chat(seed=1))) != key(request(chat(seed="1")))
    assert key(request(chat(stream=True))) != key(request(chat(stream=1)))
    assert json.dumps(comparable(request(chat())))
