"""Stored responses: fetch, delete and continue them through `/v1/responses/ID`, and list their input.

Responses are kept in memory until the server stops; with `--state`, they are files, which survive a restart. Each
client has its own bounded store, in which a new response evicts the oldest.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from starlette.responses import Response

from intact._base.files import write_whole
from intact.serve.errors import ApiError
from intact.serve.identity import new_identifier
from intact.serve.replies import encode, reply
from intact.serve.service import Client, Service, uninterrupted
from intact.serve.state import Paging, load, make_private

_LOG = logging.getLogger("intact.serve")
MOST = 1_000
"""Maximum number of responses per client."""
CLIENT_BYTES = 32 << 20
"""Maximum bytes of a client's responses; a single larger one is not stored."""
ALL_BYTES = 64 << 20
"""Maximum bytes of all responses together."""
_PREFIXES = {"message": "msg_", "function_call": "fc_", "function_call_output": "fco_", "reasoning": "rs_"}
"""ID prefixes of items, by type."""
_NAME = re.compile(r"resp_[0-9a-f]{32}")
_CLIENT = re.compile(r"[0-9a-f]{16}")


class StoredResponse(NamedTuple):
    """A response with all items before it: those of the responses it continued, and its own input."""

    response: dict[str, Any]
    items: list[dict[str, Any]]

    @classmethod
    def of_dict(cls, value: dict[str, Any]) -> StoredResponse | None:
        """Return the response written by `_asdict`; None if the value is not one."""
        response, items = value.get("response"), value.get("items")
        if (
            not isinstance(response, dict)
            or not isinstance(response.get("output"), list)
            or not isinstance(items, list)
        ):
            return None
        return cls(response, items)

    def conversation(self) -> list[dict[str, Any]]:
        """Return the items that precede those of a request continuing this response."""
        return [*self.items, *self.response["output"]]


class ResponseStore:
    """Responses by client and identifier, oldest first.

    Parameters
    ----------
    folder : Path, optional
        Folder for their files; without one, responses are kept in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder, self._contents = folder, dict[str, bytes]()
        self._sizes: dict[str, OrderedDict[str, int]] = {}
        if folder is not None:
            make_private(folder)
            self._find_files(folder)

    def _find_files(self, folder: Path) -> None:
        found = [(path, path.stat()) for path in folder.glob("*/resp_*.json")]
        for path, status in sorted(found, key=lambda one: one[1].st_mtime_ns):
            if _NAME.fullmatch(path.stem) and _CLIENT.fullmatch(path.parent.name):
                self._sizes.setdefault(path.parent.name, OrderedDict())[path.stem] = status.st_size

    async def add(self, client: str, stored: StoredResponse) -> bool:
        """Store a response; return false on failure. A full disk affects only this response."""
        content, owner, name = await asyncio.to_thread(_encoded, stored), _owner(client), stored.response["id"]
        if len(content) > CLIENT_BYTES:
            return False
        try:
            await uninterrupted(asyncio.to_thread(self._write, owner, name, content))
        except OSError as error:
            _LOG.error("a response cannot be stored: %s", error.strerror)
            return False
        self._sizes.setdefault(owner, OrderedDict())[name] = len(content)
        self._make_room(owner)
        return True

    async def find(self, client: str, name: str) -> StoredResponse | None:
        """Return a client's response; None if the client has no such response, or its file is damaged."""
        owner = _owner(client)
        if name not in self._sizes.get(owner, {}):
            return None
        value = await asyncio.to_thread(self._read, owner, name)
        return None if value is None else StoredResponse.of_dict(value)

    def delete(self, client: str, name: str) -> bool:
        """Delete a client's response; return true if it existed."""
        owner = _owner(client)
        there = name in self._sizes.get(owner, {})
        if there:
            self._drop(owner, name)
        return there

    def _make_room(self, owner: str) -> None:
        """Evict the oldest responses of a client that has too many, then of the client that uses the most space."""
        mine = self._sizes[owner]
        while len(mine) > MOST or sum(mine.values()) > CLIENT_BYTES:
            self._drop(owner, next(iter(mine)))
        while sum(sum(sizes.values()) for sizes in self._sizes.values()) > ALL_BYTES:
            largest = max(self._sizes, key=lambda one: sum(self._sizes[one].values()))
            self._drop(largest, next(iter(self._sizes[largest])))

    def _write(self, owner: str, name: str, content: bytes) -> None:
        if self._folder is None:
            self._contents[name] = content
            return
        (self._folder / owner).mkdir(mode=0o700, exist_ok=True)
        write_whole(self._path(self._folder, owner, name), content)

    def _read(self, owner: str, name: str) -> dict[str, Any] | None:
        if self._folder is not None:
            return load(self._path(self._folder, owner, name))
        content = self._contents.get(name)
        return None if content is None else json.loads(content)

    def _drop(self, owner: str, name: str) -> None:
        del self._sizes[owner][name]
        if not self._sizes[owner]:
            del self._sizes[owner]
        if self._folder is None:
            del self._contents[name]
        else:
            self._path(self._folder, owner, name).unlink(missing_ok=True)

    @staticmethod
    def _path(folder: Path, owner: str, name: str) -> Path:
        return folder / owner / f"{name}.json"


def _owner(client: str) -> str:
    """Return the folder name for a client."""
    return hashlib.sha256(client.encode()).hexdigest()[:16]


def _encoded(stored: StoredResponse) -> bytes:
    return encode(stored._asdict())


def as_items(given: str | Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a request's input as items with identifiers, with all text as content parts."""
    values = [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else given
    return [_as_item(value) for value in values]


def _as_item(value: dict[str, Any]) -> dict[str, Any]:
    item = {"id": _PREFIXES[value["type"]] + new_identifier(), "status": "completed", **value}
    if isinstance(item.get("content"), str):
        kind = "output_text" if item["role"] == "assistant" else "input_text"
        item["content"] = [{"type": kind, "text": item["content"]}]
    return item


class ItemsPaging(Paging):
    """Query of a response's input; as in OpenAI's API, the last item comes first by default."""

    order: Literal["asc", "desc"] = "desc"


router = APIRouter()


def attach(app: FastAPI) -> None:
    """Open the response store."""
    service: Service = app.state.service
    folder = service.settings.state
    app.state.responses = ResponseStore(None if folder is None else folder / "responses")


async def _store(request: Request) -> ResponseStore:
    return request.app.state.responses  # type: ignore[no-any-return]


TheResponses = Annotated[ResponseStore, Depends(_store)]


async def _found(store: ResponseStore, client: str, name: str) -> StoredResponse:
    if (found := await store.find(client, name)) is None:
        raise _missing(name)
    return found


def _missing(name: str) -> ApiError:
    message = f"no response with the id {name!r:.60}: it was not stored, or was replaced by newer ones"
    return ApiError(404, message, "response_id", "not_found")


async def previous_items(store: ResponseStore, client: str, name: str) -> list[dict[str, Any]]:
    """Return the items before a request that continues a response.

    Raises
    ------
    ApiError
        400, if there is no such response.
    """
    if (found := await store.find(client, name)) is None:
        error, field = _missing(name), "previous_response_id"
        raise ApiError(400, error.message, field, "previous_response_not_found")
    return found.conversation()


@router.get("/v1/responses/{name}")
async def one_response(name: str, store: TheResponses, client: Client) -> Response:
    """Return a stored response."""
    return reply((await _found(store, client, name)).response)


@router.delete("/v1/responses/{name}")
async def delete_response(name: str, store: TheResponses, client: Client) -> Response:
    """Delete a response."""
    if not store.delete(client, name):
        raise _missing(name)
    return reply({"id": name, "object": "response.deleted", "deleted": True})


@router.get("/v1/responses/{name}/input_items")
async def input_items(
    name: str, paging: Annotated[ItemsPaging, Query()], store: TheResponses, client: Client
) -> Response:
    """List all items before a response, including those of earlier responses that it continued."""
    items = (await _found(store, client, name)).items
    return paging.page(items if paging.order == "asc" else items[::-1])
