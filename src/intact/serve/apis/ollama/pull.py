"""`/api/pull`: fetch a model from the catalogue, and serve it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request

from intact._base.errors import IntactError
from intact.checkpoints.catalogue import CATALOGUE, Entry
from intact.checkpoints.catalogue.place import store
from intact.checkpoints.download import pull
from intact.serve.apis.ollama import forms
from intact.serve.apis.ollama.forms import LATEST, JsonRoute
from intact.serve.apis.ollama.models import NamedModel
from intact.serve.errors import ApiError, without_folder
from intact.serve.middleware import is_same_user
from intact.serve.replies import LINES, CancellableResponse, EventStream, JsonReply, line
from intact.serve.service import CancellableWork, Service, TheService
from intact.serve.settings import is_loopback

INTERVAL = 0.1
"""Seconds between two progress lines."""
_SUCCESS = {"status": "success"}
_STAGES = {
    "fetch": "pulling",
    "unpack": "unpacking",
    "check": "verifying sha256 digest of",
    "wait": "waiting for another pull of",
}

ERRORS = forms.ERRORS
router = APIRouter(route_class=JsonRoute)


class PullRequest(NamedModel):
    """`/api/pull`; `insecure` has no effect, since files are verified by digest."""

    insecure: bool | None = None
    stream: bool | None = None


@router.post("/api/pull")
async def pull_model(body: PullRequest, request: Request, service: TheService) -> CancellableResponse:
    """Fetch a model from the catalogue, and serve it; do nothing if it is already served."""
    name, seconds = body.required_name().removesuffix(LATEST), service.seconds()
    is_allowed = is_same_user(request.scope) or is_loopback(service.settings.host)
    if body.stream is False:
        return JsonReply(lambda: _last(_progress(service, name, is_allowed)), seconds)
    return EventStream(_lines(_progress(service, name, is_allowed)), seconds, LINES)


class PullWork(CancellableWork[Path]):
    """A download with its progress.

    Attributes
    ----------
    progress : dict
        The current progress line.
    """

    def __init__(self, wanted: Entry) -> None:
        super().__init__("pull")
        self._entry = wanted
        self.progress: dict[str, Any] = {"status": "pulling manifest"}

    def run(self) -> Path:
        """Fetch the file."""
        self.check()
        return pull(self._entry, report=self._report).path

    def _report(self, stage: str, done: int, total: int | None) -> None:
        self.check()
        progress: dict[str, Any] = {"status": f"{_STAGES[stage]} {self._entry.name}"}
        if self._entry.sha256 is not None:
            progress["digest"] = f"sha256:{self._entry.sha256}"
        self.progress = progress | ({} if total is None else {"total": total, "completed": done})


async def _progress(service: Service, name: str, is_allowed: bool) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the progress lines of a pull."""
    if name not in service.models:
        wanted = _wanted(name, is_allowed)
        work = PullWork(wanted)
        last = work.progress
        async with service.pulls.running(work) as future:
            yield last  # even if the thread has moved on
            while not future.done():
                if (now := work.progress) != last:
                    yield now
                    last = now
                await asyncio.wait([future], timeout=INTERVAL)
            try:
                path = future.result()
            except (IntactError, OSError) as error:
                raise ApiError(502, without_folder(f"pull model {name}: {error}", store()), "model") from error
        if name not in service.models.served:  # another client may have pulled it too
            service.models.add(name, path)
    yield _SUCCESS


def _wanted(name: str, is_allowed: bool) -> Entry:
    """Return the catalogue entry if the client may have it fetched.

    Raises
    ------
    ApiError
        403, if the client may be on another machine; 404, if the catalogue has no such model.
    """
    if not is_allowed:
        message = (
            "models are pulled only for this machine: through the user's own socket, or while the server listens to "
            "no other address"
        )
        raise ApiError(403, f"{message}: run intact pull {name:.200}", "model", "unsupported")
    if name not in CATALOGUE:
        message = f"pull model {name!r:.200}: it is not a model of the catalogue; available: {', '.join(CATALOGUE)}"
        raise ApiError(404, message, "model", "model_not_found")
    return CATALOGUE[name]


async def _lines(values: AsyncGenerator[dict[str, Any], None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(values):
        async for value in values:
            yield line(value)


async def _last(values: AsyncGenerator[dict[str, Any], None]) -> dict[str, Any]:
    last: dict[str, Any] = {}
    async with aclosing(values):
        async for value in values:
            last = value
    return last
