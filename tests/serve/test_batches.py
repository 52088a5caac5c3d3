"""Batches through the official client: answered, resumed after a restart and a torn line, cancelled, refused."""

import asyncio
import io
import json
import resource
import threading
import time

import httpx
import openai
import pytest

from intact.serve.apis.openai import batches as openai_batches
from intact.serve.apis.openai.batches import Batches, BatchRequest, Endpoint
from intact.serve.apis.openai.files import Files
from intact.serve.errors import ApiError
from intact.serve.requests import ChatRequest
from support.patience import PATIENCE
from support.serving import running

KEYS = ("first-client-0123456789", "second-client-0123456789")


def official(server, key=0):
    return openai.OpenAI(base_url=server.url + "/v1", api_key=KEYS[key], max_retries=0)


def line(i, **more):
    body = {"model": "tiny", "messages": [{"role": "user", "content": f"Item {i}"}], "max_tokens": 6, "seed": i} | more
    return {"custom_id": f"item-{i}", "method": "POST", "url": "/v1/chat/completions", "body": body}


def upload(client, lines):
    content = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines).encode()
    return client.files.create(file=("input.jsonl", io.BytesIO(content)), purpose="batch").id


def start(client, lines, endpoint="/v1/chat/completions"):
    return client.batches.create(input_file_id=upload(client, lines), endpoint=endpoint, completion_window="24h")


def ended(client, batch):
    end = time.monotonic() + PATIENCE
    while (now := client.batches.retrieve(batch.id)).status in ("in_progress", "cancelling"):
        assert time.monotonic() < end
        time.sleep(0.02)
    return now


def answers(client, name):
    lines = client.files.content(name).text.splitlines()
    return {one["custom_id"]: one["response"] for one in map(json.loads, lines)}


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


def test_a_batch_is_answered_as_its_requests_alone(tiny_path, state):
    with running({"tiny": tiny_path}, state=state, keys=KEYS) as server, official(server) as client:
        method = {"intact": {"method": "self_consistency", "n": 2, "answer": "text"}}
        batch = start(client, [*[line(i) for i in range(20)], line(20, temperature=-1), line(21, **method)])
        assert batch.request_counts.total == 22
        batch = ended(client, batch)
        assert batch.status == "completed"
        assert (batch.request_counts.completed, batch.request_counts.failed) == (21, 1)
        refused = answers(client, batch.error_file_id)
        assert list(refused) == ["item-20"]
        assert refused["item-20"]["status_code"] == 400
        assert refused["item-20"]["body"]["error"]["param"] == "temperature"
        told = answers(client, batch.output_file_id)
        assert len(told) == 21
        alone = client.chat.completions.create(**line(3)["body"])
        assert told["item-3"]["body"]["choices"][0]["message"]["content"] == alone.choices[0].message.content
        assert [one.id for one in client.batches.list()] == [batch.id]
        assert {one.purpose for one in client.files.list()} == {"batch", "batch_output"}
        with official(server, 1) as other:  # whose it is not
            for ask in (
                lambda: other.batches.retrieve(batch.id),
                lambda: other.files.content(batch.output_file_id),
                lambda: other.files.delete(batch.input_file_id),
            ):
                with pytest.raises(openai.NotFoundError):
                    ask()
            assert list(other.files.list()) == []
        assert client.files.delete(batch.input_file_id).deleted


def test_bodies_are_read_as_those_of_requests_alone(tiny_path, state):
    lenient = {"user": "me", "guided_regex": "[ab]{3}", "max_completion_tokens": 1_000_000}
    with running({"tiny": tiny_path}, state=state, keys=KEYS) as server, official(server) as client:
        batch = ended(client, start(client, [line(0, **lenient), line(1, max_tokns=3)]))
        told = answers(client, batch.output_file_id)["item-0"]["body"]
        assert len(told["choices"][0]["message"]["content"]) == 3
        refused = answers(client, batch.error_file_id)["item-1"]
        assert refused["status_code"] == 400
        assert "did you mean max_tokens" in refused["body"]["error"]["message"]


def test_nothing_accepted_is_lost(tiny_path, state, monkeypatch):
    answer = Batches._answer

    async def of_the_first_five(self, endpoint, line, client):
        if int(line["custom_id"].removeprefix("item-")) >= 5:
            await asyncio.Event().wait()
        return await answer(self, endpoint, line, client)

    lines = [line(i, max_tokens=30, ignore_eos=True) for i in range(40)]
    monkeypatch.setattr(Batches, "_answer", of_the_first_five)
    with running({"tiny": tiny_path}, state=state, keys=KEYS) as server, official(server) as client:
        batch = start(client, lines)
        server.settle(lambda: client.batches.retrieve(batch.id).request_counts.completed == 5)
    monkeypatch.undo()
    (output,) = [path for path in (state / "files").glob("file-*") if b"batch_req" in path.read_bytes()]
    before = output.read_bytes()
    assert before.count(b"\n") == 5
    output.write_bytes(before + b'{"id": "batch_req_torn", "custom')
    with running({"tiny": tiny_path}, state=state, keys=KEYS) as server, official(server) as client:
        resumed = ended(client, batch)
        assert resumed.status == "completed"
        assert resumed.request_counts.completed == 40
        assert output.read_bytes().startswith(before)
        assert resumed.error_file_id is None
        told = answers(client, resumed.output_file_id)
        assert sorted(told) == sorted(one["custom_id"] for one in lines)
        body = dict(lines[39]["body"])
        own = {"ignore_eos": body.pop("ignore_eos")}
        alone = client.chat.completions.create(**body, extra_body=own)
        assert told["item-39"]["body"]["choices"][0]["message"]["content"] == alone.choices[0].message.content


def test_a_batch_can_be_cancelled(tiny_path, state):
    with running({"tiny": tiny_path}, state=state, keys=KEYS) as server, official(server) as client:
        batch = start(client, [line(i, max_tokens=900, ignore_eos=True) for i in range(50)])
        client.batches.cancel(batch.id)
        assert ended(client, batch).status == "cancelled"
        server.settle(server.idle)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["{"],
        ["[]"],
        [{"custom_id": "a"}],
        [line(1), line(1)],
        [line(1) | {"url": "/v1/embeddings"}],
        [line(1) | {"custom_id": 5}],
        ["[" * 5000],
        [line(1), line(2, user="a" * 5000)],
    ],
    ids=lambda lines: str(lines)[:40],
)
def test_a_bad_file_is_refused_before_anything_is_done(storing, lines):
    with official(storing) as client, pytest.raises(openai.BadRequestError) as raised:
        start(client, lines)
    assert raised.value.param == "input_file_id"


def test_a_batch_has_as_many_requests_as_it_may_and_no_more(storing, monkeypatch):
    monkeypatch.setattr(openai_batches, "MOST", 3)
    with official(storing) as client:
        assert start(client, [line(i) for i in range(3)]).request_counts.total == 3
        with pytest.raises(openai.BadRequestError, match="a batch may have at most 3 requests") as raised:
            start(client, [line(i) for i in range(4)])
    assert raised.value.param == "input_file_id"


@pytest.fixture(scope="module")
def storing(tiny_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("storing")
    with running({"tiny": tiny_path}, state=folder, keys=KEYS, upload_bytes=15_000, body_bytes=5_000) as server:
        yield server


def test_bad_names_and_endpoints(storing):
    with official(storing) as client:
        for name in ("file-1", "../../etc/passwd", "file-" + "0" * 32):
            with pytest.raises(openai.NotFoundError):
                client.files.retrieve(name)
            with pytest.raises(openai.NotFoundError) as raised:
                client.batches.create(input_file_id=name, endpoint="/v1/completions", completion_window="24h")
            assert raised.value.param == "input_file_id"
        with pytest.raises(openai.BadRequestError) as raised:
            start(client, [line(1)], "/v1/embeddings")
        assert raised.value.param == "endpoint"
        with pytest.raises(openai.APIStatusError) as raised:
            upload(client, ["x" * 20_000])
        assert raised.value.status_code == 413


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"files": {"file": ("x", b"x")}}, "purpose"),
        ({"data": {"purpose": "batch"}, "files": {"other": ("x", b"x")}}, "file"),
        ({"data": {"purpose": "batch"}}, "file"),
    ],
    ids=str,
)
def test_a_form_without_a_field_names_it(storing, sent, param):
    refused = httpx.post(storing.url + "/v1/files", headers={"authorization": f"Bearer {KEYS[0]}"}, **sent)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == param
    assert refused.json()["error"]["message"] == f"{param} is missing"


def test_a_purpose_that_nothing_serves_is_refused(storing):
    with official(storing) as client, pytest.raises(openai.BadRequestError) as raised:
        client.files.create(file=("x", b"x"), purpose="vision")
    assert raised.value.param == "purpose"


def test_lists_come_in_pages(tiny_path, state):
    with running({"tiny": tiny_path}, state=state, keys=KEYS) as server, official(server) as client:
        names = [upload(client, [line(i)]) for i in range(5)]
        other = client.files.create(file=("notes.txt", b"x"), purpose="batch").id
        ids = [one.id for one in client.files.list()]
        assert sorted(ids) == sorted([*names, other])
        assert [one.id for one in client.files.list(order="asc")] == ids[::-1]
        assert [one.id for one in client.files.list(limit=2)] == ids  # the client asks for page after page
        first = client.files.list(limit=4)
        assert (first.has_more, len(first.data), first.first_id, first.last_id) == (True, 4, ids[0], ids[3])
        rest = client.files.list(limit=2, after=first.last_id)
        assert ([one.id for one in rest.data], rest.has_more) == (ids[4:], False)
        assert [one.id for one in client.files.list(purpose="batch")] == ids
        assert client.files.list(purpose="batch_output").model_dump() == {
            "object": "list",
            "data": [],
            "first_id": None,
            "last_id": None,
            "has_more": False,
        }
        made = [
            client.batches.create(input_file_id=n, endpoint="/v1/chat/completions", completion_window="24h").id
            for n in names[:3]
        ]
        assert sorted(one.id for one in client.batches.list(limit=1)) == sorted(made)
        assert client.batches.list(limit=2).has_more
        for batch in client.batches.list():
            ended(client, batch)


@pytest.mark.parametrize(
    ("path", "query", "param"),
    [
        ("files", {"limit": 0}, "limit"),
        ("files", {"limit": 10_001}, "limit"),
        ("files", {"limit": "all"}, "limit"),
        ("files", {"order": "up"}, "order"),
        ("files", {"after": "file-1"}, "after"),
        ("files", {"porpoise": "batch"}, "porpoise"),
        ("batches", {"limit": 101}, "limit"),
        ("batches", {"after": "batch_1"}, "after"),
        ("batches", {"order": "asc"}, "order"),
    ],
    ids=str,
)
def test_a_page_that_cannot_be_given_names_the_field(storing, path, query, param):
    headers = {"authorization": f"Bearer {KEYS[0]}"}
    refused = httpx.get(f"{storing.url}/v1/{path}", params=query, headers=headers)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param), refused.text


class Watched(Files):
    """Knows who reads."""

    def __init__(self, folder):
        super().__init__(folder)
        self.readers = set()

    def lines(self, name):
        for one in super().lines(name):
            self.readers.add(threading.current_thread())
            yield one


class Held(Batches):
    """Keeps no answer before `go` is set."""

    def __init__(self, *given):
        super().__init__(*given)
        self.begun, self.go = threading.Event(), threading.Event()

    def _keep(self, *given):
        self.begun.set()
        self.go.wait(PATIENCE)
        super()._keep(*given)


async def item(request, client):
    """An answer; never, if the request is of seed 1."""
    if request.seed == 1:
        await asyncio.Event().wait()
    return {"seed": request.seed}


async def begun(kind, state, lines):
    """A batch without a server, and who works on it."""
    files = Watched(state / "files")
    batches = kind(state / "batches", files, {"/v1/chat/completions": Endpoint(ChatRequest.model_validate, item)})
    content = "".join(json.dumps(one) + "\n" for one in lines).encode()
    name = files.add("a", "input.jsonl", "batch", io.BytesIO(content))["id"]
    request = BatchRequest(input_file_id=name, endpoint="/v1/chat/completions", completion_window="24h")
    return files, batches, (await batches.create(request, "a"))["id"]


async def over(batches, name):
    while batches.find("a", name)["status"] in ("in_progress", "cancelling"):
        await asyncio.sleep(0.005)
    return batches.find("a", name)


def run(scene):
    return asyncio.run(asyncio.wait_for(scene, PATIENCE))


def test_a_cancel_is_not_lost_while_an_answer_is_kept(state):
    async def scene():
        _, batches, name = await begun(Held, state, [line(0), line(1)])
        await asyncio.to_thread(batches.begun.wait)
        cancelling = asyncio.create_task(batches.cancel("a", name))
        await asyncio.sleep(0)
        batches.go.set()
        assert (await cancelling)["status"] == "cancelling"
        ended = await over(batches, name)
        assert (ended["status"], ended["request_counts"]) == ("cancelled", {"total": 2, "completed": 1, "failed": 0})
        assert json.loads((state / "batches" / f"{name}.json").read_text())["status"] == "cancelled"

    run(scene())


def test_a_server_that_ends_finishes_the_line_that_it_writes(state):
    async def scene():
        files, batches, name = await begun(Held, state, [line(0), line(1)])
        await asyncio.to_thread(batches.begun.wait)
        stopping = asyncio.create_task(batches.stop())
        await asyncio.sleep(0)
        batches.go.set()
        await stopping
        value = json.loads((state / "batches" / f"{name}.json").read_text())
        assert (value["status"], value["request_counts"]["completed"]) == ("in_progress", 1)
        assert files.path(value["output"]).read_bytes().count(b"\n") == 1

    run(scene())


def test_a_line_has_its_own_deadline(state):
    async def scene():
        files, batches, name = await begun(Batches, state, [line(0), line(1, intact={"deadline": 0.05})])
        ended = await over(batches, name)
        assert ended["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
        told = {one["custom_id"]: one for one in map(json.loads, files.lines(ended["error_file_id"]))}
        assert told["item-1"]["response"]["status_code"] == 504
        assert told["item-1"]["response"]["body"]["error"]["code"] == "timeout"

    run(scene())


def test_a_batch_ends_with_its_window_whatever_its_lines_do(state):
    async def scene():
        files, batches, name = await begun(Batches, state, [line(0), line(1), line(2)])
        while batches.find("a", name)["request_counts"]["completed"] < 2:
            await asyncio.sleep(0.005)
        await batches.stop()
        path = state / "batches" / f"{name}.json"
        value = json.loads(path.read_text())
        assert value["expires_at"] == value["created_at"] + 24 * 3600
        path.write_text(json.dumps(value | {"expires_at": time.time() + 0.2}))
        batches = Batches(
            state / "batches", files, {"/v1/chat/completions": Endpoint(ChatRequest.model_validate, item)}
        )
        batches.resume()
        ended = await over(batches, name)
        assert (ended["status"], ended["request_counts"]) == ("expired", {"total": 3, "completed": 2, "failed": 0})
        assert ended["expired_at"] >= ended["created_at"]
        told = {json.loads(one)["custom_id"] for one in files.lines(ended["output_file_id"])}
        assert told == {"item-0", "item-2"}
        assert json.loads(path.read_text())["status"] == "expired"

    run(scene())


class Full(Batches):
    """Its disk is full for a while, first while it answers, then while it ends."""

    def __init__(self, *given):
        super().__init__(*given)
        self.failures = 0

    def _keep(self, output, *given):
        if self.failures < 2:
            self.failures += 1
            output.write(b'{"torn": ')
            output.flush()
            raise OSError(28, "No space left on device", "/a/secret/path")
        super()._keep(output, *given)

    def _conclude(self, *given):
        if self.failures < 4:
            self.failures += 1
            raise OSError(28, "No space left on device")
        super()._conclude(*given)


def test_a_batch_waits_while_its_files_cannot_be_written(state, monkeypatch):
    monkeypatch.setattr(openai_batches, "REPAIR", 0.01)

    async def scene():
        files, batches, name = await begun(Full, state, [line(0), line(2, bogus=1), line(3)])
        ended = await over(batches, name)
        assert (ended["status"], ended["request_counts"]) == ("completed", {"total": 3, "completed": 2, "failed": 1})
        told = {json.loads(one)["custom_id"] for one in files.lines(ended["output_file_id"])}
        assert told == {"item-0", "item-3"}
        assert [json.loads(one)["custom_id"] for one in files.lines(ended["error_file_id"])] == ["item-2"]

    run(scene())


def test_work_is_tried_again_whenever_it_fails(monkeypatch):
    """Also after its last task has begun, when a group waits for them."""
    monkeypatch.setattr(openai_batches, "REPAIR", 0.01)
    failures = [2]

    async def fail():
        await asyncio.sleep(0)
        failures[0] -= 1
        if failures[0] >= 0:
            raise OSError(28, "No space left on device")

    async def work():
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    run(openai_batches._retrying(work))
    assert failures == [-1]


def test_a_server_ends_while_a_batch_waits(state):
    async def scene():
        _, batches, name = await begun(Full, state, [line(0), line(1)])
        while not batches.failures:
            await asyncio.sleep(0.005)
        await batches.stop()
        assert json.loads((state / "batches" / f"{name}.json").read_text())["status"] == "in_progress"

    run(scene())


def test_a_server_ends_while_a_failed_batch_comes_to_rest(state):
    async def scene():
        resting = asyncio.Event()

        class Resting(Full):
            async def _answer(self, endpoint, line, client):
                if line["custom_id"] == "item-1":
                    try:
                        await asyncio.Event().wait()
                    finally:  # the other one has failed
                        resting.set()
                        await asyncio.sleep(0.05)
                return await super()._answer(endpoint, line, client)

        _, batches, name = await begun(Resting, state, [line(0), line(1)])
        await resting.wait()
        await batches.stop()
        assert json.loads((state / "batches" / f"{name}.json").read_text())["status"] == "in_progress"

    run(scene())


def test_a_batch_that_fails_says_why_and_keeps_its_answers(state):
    async def scene():
        files, batches, name = await begun(Batches, state, [line(0)])
        await batches.stop()  # before it is begun
        files.path(batches.find("a", name)["input_file_id"]).unlink()
        batches = Batches(
            state / "batches", files, {"/v1/chat/completions": Endpoint(ChatRequest.model_validate, item)}
        )
        batches.resume()
        ended = await over(batches, name)
        assert ended["status"] == "failed"
        assert ended["errors"]["data"][0]["message"] == f"{ended['input_file_id']} no longer exists"
        assert json.loads((state / "batches" / f"{name}.json").read_text())["status"] == "failed"

    run(scene())


@pytest.mark.parametrize("window", ["", "24", "0h", "1000h", "1d", "-1h"])
def test_a_window_that_is_none_is_named(storing, window):
    with official(storing) as client, pytest.raises(openai.BadRequestError) as raised:
        client.batches.create(
            input_file_id=upload(client, [line(1)]), endpoint="/v1/chat/completions", completion_window=window
        )
    assert raised.value.param == "completion_window"


def test_files_are_read_beside_the_event_loop(state):
    async def scene():
        files, batches, name = await begun(Batches, state, [line(0), line(2)])
        assert (await over(batches, name))["status"] == "completed"
        assert files.readers
        assert threading.current_thread() not in files.readers

    run(scene())


def test_a_file_that_cannot_be_described_is_not_kept(state):
    files, (soft, hard) = Files(state), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        with pytest.raises(ApiError) as raised:
            files.add("a", "input.jsonl", "batch", io.BytesIO(b"short"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert raised.value.status == 507
    assert list(state.iterdir()) == []


def test_without_a_folder_there_are_none(client):
    asked = [
        ("/v1/files", client.files.list),
        ("/v1/files", lambda: upload(client, [line(0)])),
        ("/v1/files/x/content", lambda: client.files.content("x")),
        ("/v1/batches", lambda: client.batches.create(input_file_id="x", endpoint="/v1/y", completion_window="24h")),
        ("/v1/batches/x/cancel", lambda: client.batches.cancel("x")),
    ]
    for path, ask in asked:
        with pytest.raises(openai.NotFoundError) as raised:
            ask()
        assert raised.value.body["message"] == f"the server was started without --state DIR, which {path} needs"
        assert raised.value.code == "unavailable"
