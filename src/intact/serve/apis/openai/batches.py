"""`/v1/batches`: files of requests, processed in the background and across restarts. This module is optional.

The output and error files serve as the journal: a request with a line in either is done. After the server was killed,
the next one drops an incomplete last line and processes the requests that have no line yet; since answers are functions
of their requests, the result is the same. If the disk fails, the batch waits and then continues in the same way. A
request that has no answer when its batch's window closes is not answered.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, BinaryIO, NamedTuple

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from pydantic import Field
from starlette.responses import Response

from intact._base.files import write_whole
from intact.serve.apis.openai import chat, completions, files
from intact.serve.apis.openai.files import Files
from intact.serve.errors import ApiError
from intact.serve.forms import Form, FormRoute, few, parse_json, read_form
from intact.serve.replies import encode, logged, reply
from intact.serve.requests import ChatRequest, CompletionRequest
from intact.serve.service import Client, uninterrupted
from intact.serve.state import Paging, load, make_private

NEEDS = "state"
"""The setting that these endpoints require."""
_LOG = logging.getLogger("intact.serve")
AT_A_TIME = 16
"""Number of concurrent requests per batch."""
MOST = 50_000
"""Maximum number of requests in a batch."""
RETRY = 1.0
"""Seconds before retrying a request that was rejected because the queue was full."""
REPAIR = 10.0
"""Seconds before resuming a batch whose files could not be written."""
Answer = Callable[[Any, str], Awaitable[dict[str, Any]]]


class Endpoint(NamedTuple):
    """Functions that parse a batch request from its body and answer it."""

    read: Callable[[dict[str, Any]], Any]
    answer: Answer


class BatchRequest(Form):
    """`/v1/batches`: a file of requests, and its completion window in hours."""

    input_file_id: str
    endpoint: str
    completion_window: Annotated[str, Field(pattern=r"^[1-9]\d{0,2}h$")] = "24h"
    metadata: Annotated[dict[str, str], few(16)] | None = None


@dataclass(eq=False)
class Batch:
    """A batch in progress.

    Attributes
    ----------
    value : dict
        Its fields, mirrored in its file.
    lock : Lock
        Held while the fields change.
    """

    value: dict[str, Any]
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    task: asyncio.Task[None] | None = None


class Batches:
    """The batches in a folder.

    Parameters
    ----------
    endpoints : mapping of str to Endpoint
        Endpoints by path.
    """

    def __init__(self, folder: Path, files: Files, endpoints: dict[str, Endpoint]) -> None:
        self._folder, self._files, self._endpoints = folder, files, endpoints
        self._batches: dict[str, Batch] = {}
        self._stopping = False
        make_private(folder)

    def resume(self) -> None:
        """Resume the batches that an earlier server accepted."""
        for path in sorted(self._folder.glob("batch_*.json")):
            value = load(path)
            if value is not None and value["status"] in ("in_progress", "cancelling"):
                self._begin(value)

    async def stop(self) -> None:
        """Stop, leaving all batches for the next server."""
        self._stopping = True
        tasks = [batch.task for batch in self._batches.values() if batch.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def create(self, request: BatchRequest, client: str) -> dict[str, Any]:
        """Accept a batch; from then on, it survives restarts.

        Raises
        ------
        ApiError
            If the file, the endpoint, or a line is invalid.
        """
        if request.endpoint not in self._endpoints:
            raise ApiError(400, f"a batch's endpoint must be one of {', '.join(self._endpoints)}", "endpoint")
        self._files.find(client, request.input_file_id, "input_file_id")
        total = await asyncio.to_thread(self._check, request.input_file_id, request.endpoint)
        now, hours = int(time.time()), int(request.completion_window.removesuffix("h"))
        value = {
            "id": f"batch_{uuid.uuid4().hex}",
            "object": "batch",
            "endpoint": request.endpoint,
            "errors": None,
            "input_file_id": request.input_file_id,
            "completion_window": request.completion_window,
            "status": "in_progress",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": now,
            "in_progress_at": now,
            "expires_at": now + 3600 * hours,
            "completed_at": None,
            "failed_at": None,
            "cancelled_at": None,
            "expired_at": None,
            "request_counts": {"total": total, "completed": 0, "failed": 0},
            "metadata": request.metadata,
            "client": client,
            "output": f"file-{uuid.uuid4().hex}",
        }
        try:
            self._save(value)
        except OSError as error:
            raise ApiError(507, f"the batch cannot be stored: {error.strerror}", None, "storage_failed") from error
        self._begin(value)
        return _public(value)

    def find(self, client: str, name: str) -> dict[str, Any]:
        """Return a client's batch.

        Raises
        ------
        ApiError
            404, if the client has no such batch.
        """
        return _public(self._own(client, name))

    def all(self, client: str) -> list[dict[str, Any]]:
        """Return a client's batches, newest first."""
        names = [path.stem for path in self._folder.glob("batch_*.json")]
        found = [value for name in names if (value := self._known(name)) is not None]
        mine = [_public(value) for value in found if value["client"] == client]
        return sorted(mine, key=lambda value: (-value["created_at"], value["id"]))

    async def cancel(self, client: str, name: str) -> dict[str, Any]:
        """Cancel a batch; its answers so far are kept."""
        value = self._own(client, name)
        if (batch := self._batches.get(name)) is not None:
            async with batch.lock:
                if value["status"] == "in_progress":
                    await uninterrupted(asyncio.to_thread(self._save, value | {"status": "cancelling"}))
                    value["status"] = "cancelling"
                    if batch.task is not None:
                        batch.task.cancel()
        return _public(value)

    def _own(self, client: str, name: str) -> dict[str, Any]:
        value = self._known(name) if re.fullmatch(r"batch_[0-9a-f]{32}", name) else None
        if value is None or value["client"] != client:
            raise ApiError(404, f"no batch with the id {name!r:.60}", "batch_id", "not_found")
        return value

    def _known(self, name: str) -> dict[str, Any] | None:
        batch = self._batches.get(name)
        return load(self._path(name)) if batch is None else batch.value

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _save(self, value: dict[str, Any]) -> None:
        write_whole(self._path(value["id"]), json.dumps(value))

    def _check(self, file: str, endpoint: str) -> int:
        """Validate every line before any request is processed; return the number of requests."""
        names = set[str]()
        for number, line in enumerate(self._files.lines(file), 1):
            where = f"line {number} of {file}"
            value = parse_json(line, where, "input_file_id")
            name = value.get("custom_id") if isinstance(value, dict) else None
            if not isinstance(name, str) or not isinstance(value.get("body"), dict):
                raise ApiError(400, f"{where} must have a custom_id, a url and a body", "input_file_id")
            if value.get("url") != endpoint or value.get("method", "POST") != "POST":
                raise ApiError(400, f"{where}: expected POST to {endpoint}", "input_file_id")
            if name in names:
                raise ApiError(
                    400, f"{where}: its custom_id {name!r:.60} is already used by an earlier request", "input_file_id"
                )
            names.add(name)
            if number > MOST:
                raise ApiError(400, f"a batch may have at most {MOST:,} requests", "input_file_id")
        if not names:
            raise ApiError(400, f"{file} contains no requests", "input_file_id")
        return len(names)

    def _begin(self, value: dict[str, Any]) -> None:
        batch = self._batches[value["id"]] = Batch(value)
        batch.task = asyncio.create_task(self._work(batch))

    async def _work(self, batch: Batch) -> None:
        value = batch.value
        try:
            status = await self._in_time(batch) if value["status"] == "in_progress" else "cancelled"
            await self._end(batch, status if value["status"] == "in_progress" else "cancelled")
        except asyncio.CancelledError:
            if value["status"] != "cancelling" or self._stopping:
                raise  # the server shuts down; the next one continues
            await self._end(batch, "cancelled")

    async def _in_time(self, batch: Batch) -> str:
        """Answer requests until the window closes; return the batch's final status."""
        try:
            async with asyncio.timeout(batch.value["expires_at"] - time.time()):
                await _retrying(lambda: self._answer_all(batch))
        except TimeoutError:
            return "expired"
        except Exception as error:
            entry = {"code": "batch_failed", "message": logged(error).message}
            batch.value["errors"] = {"object": "list", "data": [entry]}
            return "failed"
        return "completed"

    async def _answer_all(self, batch: Batch) -> None:
        value = batch.value
        paths, counts = self._written(value), value["request_counts"]
        done = await uninterrupted(asyncio.to_thread(_repair, *paths))
        counts |= _counts(done)
        places = asyncio.Semaphore(AT_A_TIME)
        endpoint = self._endpoints[value["endpoint"]]
        lines = (json.loads(line) for line in self._files.lines(value["input_file_id"]))
        left = (line for line in lines if line["custom_id"] not in done)
        with paths[0].open("ab") as answers, paths[1].open("ab") as errors:

            async def one(line: dict[str, Any]) -> None:
                try:
                    entry, good = await self._answer(endpoint, line, value["client"])
                    async with batch.lock:
                        counts["completed" if good else "failed"] += 1
                        await uninterrupted(asyncio.to_thread(self._keep, answers if good else errors, entry, value))
                finally:
                    places.release()

            async with asyncio.TaskGroup() as group:
                while (line := await uninterrupted(asyncio.to_thread(next, left, None))) is not None:
                    await places.acquire()
                    group.create_task(one(line))

    def _keep(self, output: BinaryIO, entry: dict[str, Any], value: dict[str, Any]) -> None:
        output.write(encode(entry) + b"\n")
        output.flush()
        os.fsync(output.fileno())
        self._save(value)

    async def _answer(self, endpoint: Endpoint, line: dict[str, Any], client: str) -> tuple[dict[str, Any], bool]:
        """Return a line for the output or the error file, and true if it is an answer."""
        try:
            fields = {"seed": 0} | line["body"] | {"stream": None}  # the same file gives the same answers
            request = await asyncio.to_thread(endpoint.read, fields)
            async with asyncio.timeout(request.intact.deadline):
                status, body = 200, await self._answer_when_admitted(endpoint, request, client)
        except Exception as error:
            known = logged(error)
            status, body = known.status, known.as_dict()
        name = f"batch_req_{uuid.uuid4().hex}"
        response = {"status_code": status, "request_id": name, "body": body}
        return {"id": name, "custom_id": line["custom_id"], "response": response, "error": None}, status == 200

    async def _answer_when_admitted(self, endpoint: Endpoint, request: Any, client: str) -> dict[str, Any]:
        """Return an answer, retrying while the request is rejected because the queue is full."""
        while True:
            try:
                return await endpoint.answer(request, f"batch of {client}")
            except ApiError as error:
                if error.status != 429:
                    raise
            await asyncio.sleep(RETRY)

    async def _end(self, batch: Batch, status: str) -> None:
        async with batch.lock:
            await _retrying(lambda: uninterrupted(asyncio.to_thread(self._conclude, batch.value, status)))
        del self._batches[batch.value["id"]]

    def _written(self, value: dict[str, Any]) -> tuple[Path, Path]:
        """Return the paths of the output and error files."""
        return self._files.path(value["output"]), self._files.path(value["id"].replace("batch_", "file-"))

    def _conclude(self, value: dict[str, Any], status: str) -> None:
        ended = {"status": status, f"{status}_at": int(time.time())}
        ended["request_counts"] = value["request_counts"] | _counts(_repair(*self._written(value)))
        for kind, path in zip(("output", "error"), self._written(value), strict=True):
            if path.exists() and path.stat().st_size:
                self._files.describe(value["client"], path.name, f"{value['id']}_{kind}.jsonl", "batch_output")
                ended[f"{kind}_file_id"] = path.name
            else:
                path.unlink(missing_ok=True)
        self._save(value | ended)
        value |= ended


def _public(value: dict[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in value.items() if name not in ("client", "output")}


def _counts(done: dict[str, bool]) -> dict[str, int]:
    good = sum(done.values())
    return {"completed": good, "failed": len(done) - good}


def _repair(*paths: Path) -> dict[str, bool]:
    """Return the requests that have a line, with true for answers, after removing an incomplete last line."""
    done: dict[str, bool] = {}
    for path in paths:
        if not path.exists():
            continue
        end = 0
        with path.open("rb") as file:
            for line in file:
                try:
                    value = json.loads(line)
                except ValueError:
                    break
                if not line.endswith(b"\n"):
                    break
                done[value["custom_id"]] = value["response"]["status_code"] == 200
                end += len(line)
        if end < path.stat().st_size:
            os.truncate(path, end)
    return done


async def _retrying(work: Callable[[], Awaitable[None]]) -> None:
    """Run work, waiting and retrying while a file cannot be written."""
    while True:
        # in a separate task: before Python 3.13, a group that fails may leave its task marked as cancelled
        attempt = asyncio.ensure_future(work())
        try:
            return await attempt
        except* OSError as failed:
            _LOG.error("a batch waits: %s", failed.exceptions[0])
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # cancelled just as the attempt failed
            raise asyncio.CancelledError
        await asyncio.sleep(REPAIR)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    if (batches := getattr(app.state, "batches", None)) is not None:
        batches.resume()
    yield
    if batches is not None:
        await batches.stop()


router = APIRouter(route_class=FormRoute, lifespan=_lifespan)


def attach(app: FastAPI) -> None:
    """Open the folder of batches."""
    service = app.state.service

    def endpoint(form: type[Form], answer: Callable[..., Awaitable[dict[str, Any]]]) -> Endpoint:
        return Endpoint(lambda body: read_form(form, body, service.settings)[0], partial(answer, service))

    endpoints = {
        "/v1/chat/completions": endpoint(ChatRequest, chat.answer),
        "/v1/completions": endpoint(CompletionRequest, completions.answer),
    }
    app.state.batches = Batches(service.settings.state / "batches", files.attach(app), endpoints)


async def _batches(request: Request) -> Batches:
    return request.app.state.batches  # type: ignore[no-any-return]


TheBatches = Annotated[Batches, Depends(_batches)]


@router.post("/v1/batches")
async def create_batch(body: BatchRequest, batches: TheBatches, client: Client) -> Response:
    """Accept a file of requests."""
    return reply(await batches.create(body, client))


@router.get("/v1/batches")
async def list_batches(paging: Annotated[Paging, Query()], batches: TheBatches, client: Client) -> Response:
    """List batches, newest first."""
    return paging.page(batches.all(client))


@router.get("/v1/batches/{name}")
async def one_batch(name: str, batches: TheBatches, client: Client) -> Response:
    """Describe a batch."""
    return reply(batches.find(client, name))


@router.post("/v1/batches/{name}/cancel")
async def cancel_batch(name: str, batches: TheBatches, client: Client) -> Response:
    """Cancel a batch."""
    return reply(await batches.cancel(client, name))
