"""`/v1/files`: files that batches read and write, stored in a folder. This module is optional, like batches."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request, UploadFile
from fastapi import Form as FormField
from pydantic import Field
from starlette.responses import FileResponse, Response

from intact._base.files import write_whole
from intact.serve.errors import ApiError
from intact.serve.replies import reply
from intact.serve.service import Client, Service
from intact.serve.settings import ServerSettings
from intact.serve.state import Paging, load, make_private

NEEDS = "state"
"""The setting that these endpoints require."""
router = APIRouter()


class FilesPaging(Paging):
    """Query of `/v1/files`: filtered by purpose, or all; sorted by upload time."""

    limit: Annotated[int, Field(ge=1, le=10_000)] = 10_000
    order: Literal["asc", "desc"] = "desc"
    purpose: str | None = None


class Files:
    """Files by identifier, each stored with a description; a file exists once its description does.

    Parameters
    ----------
    folder : Path
        The folder, created if absent and readable only by its owner.
    line_bytes : int
        Maximum length of a line, equal to the limit on request bodies.
    """

    def __init__(self, folder: Path, line_bytes: int = ServerSettings.body_bytes) -> None:
        self._folder, self._line_bytes = folder, line_bytes
        make_private(folder)

    def path(self, name: str) -> Path:
        """Return the path of a file's content."""
        return self._folder / name

    def add(self, client: str, filename: str, purpose: str, content: BinaryIO) -> dict[str, Any]:
        """Store an uploaded file."""
        name = f"file-{uuid.uuid4().hex}"
        try:
            with self.path(name).open("xb") as file:
                shutil.copyfileobj(content, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())
            return self.describe(client, name, filename, purpose)
        except OSError as error:
            self.path(name).unlink(missing_ok=True)
            raise ApiError(507, f"the file cannot be stored: {error.strerror}", "file", "storage_failed") from error

    def describe(self, client: str, name: str, filename: str, purpose: str) -> dict[str, Any]:
        """Describe a file whose content exists."""
        value = {
            "id": name,
            "object": "file",
            "bytes": self.path(name).stat().st_size,
            "created_at": int(time.time()),
            "filename": filename[:200],
            "purpose": purpose,
            "status": "processed",
        }
        write_whole(self._description(name), json.dumps(value | {"client": client}))
        return value

    def find(self, client: str, name: str, param: str = "file_id") -> dict[str, Any]:
        """Return a client's file; `param` is the field that names it.

        Raises
        ------
        ApiError
            404, if the client has no such file.
        """
        found = load(self._description(name)) if re.fullmatch(r"file-[0-9a-f]{32}", name) else None
        if found is None or found.pop("client") != client:
            raise ApiError(404, f"no file with the id {name!r:.60}", param, "not_found")
        return found

    def all(self, client: str) -> list[dict[str, Any]]:
        """Return a client's files, oldest first."""
        found = [value for path in self._folder.glob("file-*.json") if (value := load(path)) is not None]
        mine = [value for value in found if value.pop("client") == client]
        return sorted(mine, key=lambda value: (value["created_at"], value["id"]))

    def delete(self, client: str, name: str) -> None:
        """Delete a file."""
        self.find(client, name)
        self._description(name).unlink(missing_ok=True)
        self.path(name).unlink(missing_ok=True)

    def lines(self, name: str) -> Iterator[bytes]:
        """Yield the non-empty lines of a file.

        Raises
        ------
        ApiError
            404, if the file was deleted; 400, if a line is too long.
        """
        try:
            file = self.path(name).open("rb")
        except FileNotFoundError as error:
            raise ApiError(404, f"{name} no longer exists", "input_file_id", "not_found") from error
        with file:
            while line := file.readline(self._line_bytes + 1):
                if len(line) > self._line_bytes:
                    message = f"{name} has a line of more than {self._line_bytes:,} bytes"
                    raise ApiError(400, message, "input_file_id")
                if line.strip():
                    yield line

    def _description(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def attach(app: FastAPI) -> Files:
    """Open the folder of files, once."""
    service: Service = app.state.service
    if not hasattr(app.state, "files"):
        assert service.settings.state is not None
        app.state.files = Files(service.settings.state / "files", service.settings.body_bytes)
    files: Files = app.state.files
    return files


async def _files(request: Request) -> Files:
    return request.app.state.files  # type: ignore[no-any-return]


TheFiles = Annotated[Files, Depends(_files)]


@router.post("/v1/files")
async def upload(
    file: UploadFile, purpose: Annotated[Literal["batch"], FormField()], files: TheFiles, client: Client
) -> Response:
    """Store a file for a batch."""
    return reply(await asyncio.to_thread(files.add, client, file.filename or "", purpose, file.file))


@router.get("/v1/files")
async def list_files(paging: Annotated[FilesPaging, Query()], files: TheFiles, client: Client) -> Response:
    """List files, newest first by default."""
    found = [value for value in files.all(client) if paging.purpose in (None, value["purpose"])]
    return paging.page(found if paging.order == "asc" else found[::-1])


@router.get("/v1/files/{name}")
async def one_file(name: str, files: TheFiles, client: Client) -> Response:
    """Describe a file."""
    return reply(files.find(client, name))


@router.get("/v1/files/{name}/content")
async def content(name: str, files: TheFiles, client: Client) -> Response:
    """Return the content of a file."""
    files.find(client, name)
    return FileResponse(files.path(name), media_type="application/octet-stream")


@router.delete("/v1/files/{name}")
async def delete_file(name: str, files: TheFiles, client: Client) -> Response:
    """Delete a file."""
    files.delete(client, name)
    return reply({"id": name, "object": "file", "deleted": True})
