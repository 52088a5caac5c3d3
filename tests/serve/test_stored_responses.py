"""Stored responses through the official client: continued, fetched, listed, deleted, bounded, kept over a restart."""

import asyncio
import json

import httpx
import openai
import pytest

from intact.serve.apis.openai import stored
from intact.serve.apis.openai.stored import ResponseStore, StoredResponse, as_items
from support.patience import PATIENCE
from support.serving import running

ASKED = {"model": "tiny", "input": "Why is the sky blue?", "max_output_tokens": 8, "temperature": 0.8}
KEYS = ("first-client-0123456789", "second-client-0123456789")


def official(server, key="none"):
    return openai.OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0)


def test_a_response_is_continued_by_its_identifier(client):
    first = client.responses.create(**ASKED)
    items = [{"role": "user", "content": ASKED["input"]}, *first.output, {"role": "user", "content": "And at night?"}]
    wanted = client.responses.create(**(ASKED | {"input": items}))
    more = ASKED | {"input": "And at night?", "previous_response_id": first.id}
    second = client.responses.create(**more)
    assert second.output_text == wanted.output_text
    assert second.usage == wanted.usage
    assert second.previous_response_id == first.id
    *_, last = client.responses.create(**more, stream=True)
    assert last.response.output_text == wanted.output_text
    items += [*second.output, {"role": "user", "content": "Why?"}]
    third = client.responses.create(**(ASKED | {"input": "Why?", "previous_response_id": second.id}))
    assert third.output_text == client.responses.create(**(ASKED | {"input": items})).output_text
    client.responses.delete(first.id)  # which the later ones do not need
    fourth = ASKED | {"input": "Why?", "previous_response_id": second.id}
    assert client.responses.create(**fourth).output_text == third.output_text


def test_instructions_are_those_of_each_request(client):
    first = client.responses.create(**ASKED, instructions="Be brief.")
    more = client.responses.create(**(ASKED | {"input": "And at night?", "previous_response_id": first.id}))
    items = [{"role": "user", "content": ASKED["input"]}, *first.output, {"role": "user", "content": "And at night?"}]
    assert more.output_text == client.responses.create(**(ASKED | {"input": items})).output_text


def test_a_response_is_fetched_and_deleted(client):
    for made in (client.responses.create(**ASKED), list(client.responses.create(**ASKED, stream=True))[-1].response):
        assert made.store is True
        assert client.responses.retrieve(made.id).to_dict() == made.to_dict()
        client.responses.delete(made.id)
        for gone in (client.responses.retrieve, client.responses.delete, client.responses.input_items.list):
            with pytest.raises(openai.NotFoundError, match="no response with the id 'resp_"):
                gone(made.id)
        with pytest.raises(openai.BadRequestError, match="no response with the id") as raised:
            client.responses.create(**ASKED, previous_response_id=made.id)
        assert (raised.value.param, raised.value.code) == ("previous_response_id", "previous_response_not_found")


def test_nothing_is_kept_of_a_request_that_says_so(server, client):
    answer = client.responses.create(**ASKED, store=False)
    assert answer.store is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(answer.id)
    spoken = httpx.post(server.url + "/v1/responses", json=ASKED | {"store": True}, timeout=PATIENCE)
    assert "intact-warning" not in spoken.headers


def test_the_input_is_listed_in_pages(client):
    first = client.responses.create(**ASKED)
    second = client.responses.create(**(ASKED | {"input": "And at night?", "previous_response_id": first.id}))
    texts = [ASKED["input"], first.output_text, "And at night?"]

    def listed(**query):
        return [item.content[0].text for item in client.responses.input_items.list(second.id, **query)]

    assert listed() == texts[::-1]
    assert listed(order="asc") == texts
    assert listed(order="asc", limit=1) == texts  # the client fetches page after page
    page = client.responses.input_items.list(second.id, limit=2)
    assert [item.role for item in page.data] == ["user", "assistant"]
    assert page.data[1].id == first.output[0].id
    assert page.has_more
    with pytest.raises(openai.BadRequestError, match="limit"):
        client.responses.input_items.list(second.id, limit=101)


def test_calls_and_their_outputs_are_continued(client):
    call = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
    asked = ASKED | {"input": [{"role": "user", "content": "Call f."}, call]}
    first = client.responses.create(**asked)
    output = {"type": "function_call_output", "call_id": "call_1", "output": "7"}
    second = client.responses.create(**(ASKED | {"input": [output], "previous_response_id": first.id}))
    whole = [*asked["input"], *first.output, output]
    assert second.output_text == client.responses.create(**(ASKED | {"input": whole})).output_text
    listed = client.responses.input_items.list(second.id, order="asc").data
    assert [item.type for item in listed] == ["message", "function_call", "message", "function_call_output"]


def test_each_key_has_its_own(tiny_path):
    with running({"tiny": tiny_path}, keys=KEYS) as server, official(server, KEYS[0]) as one:
        made = one.responses.create(**ASKED)
        with official(server, KEYS[1]) as other:
            with pytest.raises(openai.NotFoundError):
                other.responses.retrieve(made.id)
            with pytest.raises(openai.NotFoundError):
                other.responses.delete(made.id)
            with pytest.raises(openai.BadRequestError, match="no response with the id"):
                other.responses.create(**ASKED, previous_response_id=made.id)
        assert one.responses.retrieve(made.id).output_text == made.output_text


def test_with_a_state_folder_they_survive_a_restart(tiny_path, tmp_path):
    more = ASKED | {"input": "And at night?"}
    with running({"tiny": tiny_path}, state=tmp_path) as server, official(server) as client:
        first, gone = client.responses.create(**ASKED), client.responses.create(**ASKED)
        client.responses.delete(gone.id)
        wanted = client.responses.create(**more, previous_response_id=first.id)
    with running({"tiny": tiny_path}, state=tmp_path) as server, official(server) as client:
        assert client.responses.retrieve(first.id).to_dict() == first.to_dict()
        assert client.responses.create(**more, previous_response_id=first.id).output_text == wanted.output_text
        (file,) = (tmp_path / "responses").glob(f"*/{first.id}.json")
        for damaged in ('{"response": ', '{"response": {}}', '{"response": [], "items": []}'):  # as after a torn disk
            file.write_text(damaged)
            with pytest.raises(openai.NotFoundError):
                client.responses.retrieve(first.id)
            with pytest.raises(openai.BadRequestError, match="no response with the id"):
                client.responses.create(**more, previous_response_id=first.id)


def test_without_one_they_end_with_the_server(tiny_path):
    with running({"tiny": tiny_path}) as server, official(server) as client:
        made = client.responses.create(**ASKED)
    with running({"tiny": tiny_path}) as server, official(server) as client, pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_client_s_oldest_make_room(tmp_path, monkeypatch, on_disk):
    monkeypatch.setattr(stored, "MOST", 3)
    monkeypatch.setattr(stored, "CLIENT_BYTES", 20_000)
    monkeypatch.setattr(stored, "ALL_BYTES", 30_000)

    async def play():
        store, names = ResponseStore(tmp_path / "responses" if on_disk else None), {}

        async def add(client, number, size):
            names[client, number] = name = f"resp_{len(names):032x}"
            return await store.add(client, StoredResponse({"id": name, "output": []}, as_items("x" * size)))

        async def there():
            return {one for one, name in names.items() if await store.find(one[0], name) is not None}

        for number in range(4):
            assert await add("a", number, 10)
        assert await there() == {("a", 1), ("a", 2), ("a", 3)}
        assert not await add("a", 4, 20_000)  # larger than all that the client may have
        assert await there() == {("a", 1), ("a", 2), ("a", 3)}
        assert await add("a", 5, 19_700)
        assert await there() == {("a", 5)}
        assert await add("b", 6, 9_000)
        assert await add("b", 7, 9_000)  # now a has most of all
        assert await there() == {("b", 6), ("b", 7)}
        return store

    store = asyncio.run(play())
    if on_disk:
        assert len(list((tmp_path / "responses").glob("*/*.json"))) == 2
        again = ResponseStore(tmp_path / "responses")
        assert again._sizes == {owner: sizes for owner, sizes in store._sizes.items() if sizes}


def test_a_disk_without_room_costs_the_keeping_alone(tiny_path, tmp_path):
    with running({"tiny": tiny_path}, state=tmp_path) as server, official(server) as client:
        (tmp_path / "responses").rmdir()
        (tmp_path / "responses").write_text("no folder")
        answer = client.responses.create(**ASKED)
        assert answer.output_text
        assert answer.store is False


def test_input_becomes_items_with_identifiers():
    (item,) = as_items("Hi")
    parts = [{"type": "input_text", "text": "Hi"}]
    assert item | {"id": ""} == {"id": "", "type": "message", "status": "completed", "role": "user", "content": parts}
    given = [
        {"type": "message", "id": "msg_1", "role": "assistant", "content": "Yes."},
        {"type": "function_call_output", "call_id": "call_1", "output": "7"},
    ]
    message, output = as_items(given)
    assert message["id"] == "msg_1"
    assert message["content"] == [{"type": "output_text", "text": "Yes."}]
    assert output["id"].startswith("fco_")
    assert json.dumps(given)  # what was given is not changed
    assert given[0]["content"] == "Yes."
