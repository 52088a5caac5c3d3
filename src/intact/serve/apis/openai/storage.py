"""The endpoints of files and batches, where the server has a folder for them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Form, Query, Request, UploadFile
from starlette.responses import FileResponse, Response

from intact.serve.apis.openai import chat, completions, reasoning
from intact.serve.apis.openai.batches import Batches, Endpoint
from intact.serve.apis.openai.files import Files
from intact.serve.errors import ApiError, reply
from intact.serve.generation import Service
from intact.serve.requests import BatchRequest, ChatRequest, CompletionRequest, FilesPaging, Paging


def batches_of(service: Service, folder: Path, files: Files) -> Batches:
    """The batches of a folder."""

    async def chats(request: ChatRequest, client: str) -> dict[str, Any]:
        if reasoning.wanted(request):
            return await reasoning.answer(service, request, client)
        return await chat.answer(service, request, client)

    async def texts(request: CompletionRequest, client: str) -> dict[str, Any]:
        return await completions.answer(service, request, client)

    endpoints = {
        "/v1/chat/completions": Endpoint(ChatRequest, chats),
        "/v1/completions": Endpoint(CompletionRequest, texts),
    }
    return Batches(folder / "batches", files, endpoints)


def page(values: Sequence[dict[str, Any]], paging: Paging) -> dict[str, Any]:
    """The part of a list that is asked for, as OpenAI tells it.

    Raises
    ------
    ApiError
        400, if it is to begin after something that the list does not have.
    """
    names, start = [value["id"] for value in values], 0
    if paging.after is not None:
        if paging.after not in names:
            raise ApiError(400, f"after: the list does not have {paging.after!r:.60}", "after", "not_found")
        start = names.index(paging.after) + 1
    end = start + paging.limit
    names, more = names[start:end], end < len(names)
    ends = {"first_id": names[0], "last_id": names[-1]} if names else {"first_id": None, "last_id": None}
    return {"object": "list", "data": values[start:end], **ends, "has_more": more}


def add_storage(app: FastAPI, files: Files, batches: Batches) -> None:
    """Serve files and batches."""

    def client(request: Request) -> str:
        return str(request.scope["intact.client"])

    @app.post("/v1/files")
    async def upload(file: UploadFile, purpose: Annotated[Literal["batch"], Form()], request: Request) -> Response:
        """Take a file in, for a batch."""
        who = client(request)
        return reply(await asyncio.to_thread(files.add, who, file.filename or "", purpose, file.file))

    @app.get("/v1/files")
    async def list_files(paging: Annotated[FilesPaging, Query()], request: Request) -> Response:
        """Give files, the newest first unless asked otherwise."""
        found = [value for value in files.all(client(request)) if paging.purpose in (None, value["purpose"])]
        return reply(page(found if paging.order == "asc" else found[::-1], paging))

    @app.get("/v1/files/{name}")
    async def one_file(name: str, request: Request) -> Response:
        return reply(files.find(client(request), name))

    @app.get("/v1/files/{name}/content")
    async def content(name: str, request: Request) -> Response:
        files.find(client(request), name)
        return FileResponse(files.path(name), media_type="application/octet-stream")

    @app.delete("/v1/files/{name}")
    async def delete_file(name: str, request: Request) -> Response:
        files.delete(client(request), name)
        return reply({"id": name, "object": "file", "deleted": True})

    @app.post("/v1/batches")
    async def create_batch(body: BatchRequest, request: Request) -> Response:
        """Accept a file of requests."""
        return reply(await batches.create(body, client(request)))

    @app.get("/v1/batches")
    async def list_batches(paging: Annotated[Paging, Query()], request: Request) -> Response:
        """Give batches, the newest first."""
        return reply(page(batches.all(client(request)), paging))

    @app.get("/v1/batches/{name}")
    async def one_batch(name: str, request: Request) -> Response:
        return reply(batches.find(client(request), name))

    @app.post("/v1/batches/{name}/cancel")
    async def cancel_batch(name: str, request: Request) -> Response:
        return reply(await batches.cancel(client(request), name))
