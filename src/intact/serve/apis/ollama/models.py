"""`/api/tags`, `/api/show`, `/api/ps`, `/api/version`: the server's models, which clients cannot change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.responses import Response

import intact
from intact.serve import methods
from intact.serve.apis.ollama import forms
from intact.serve.apis.ollama.description import Description, Digests, describe, files_of
from intact.serve.apis.ollama.forms import JsonRoute, find_name
from intact.serve.apis.ollama.texts import timestamp
from intact.serve.errors import ApiError, without_folder
from intact.serve.forms import Form
from intact.serve.models import Served
from intact.serve.replies import CancellableResponse, JsonReply, reply
from intact.serve.service import Service, TheService, in_thread

VERSION = "0.12.6"
"""Version of Ollama whose API this implements; clients query it to find out which features they may use."""
NEVER = "9999-12-31T23:59:59Z"
"""Expiry time reported for loaded models."""

ERRORS = forms.ERRORS
router = APIRouter(route_class=JsonRoute)


class NamedModel(Form):
    """A model name; older clients send it as `name`."""

    model: str | None = None
    name: str | None = None

    def required_name(self) -> str:
        """Return the name.

        Raises
        ------
        ApiError
            400, if it is missing.
        """
        if not (found := self.model or self.name):
            raise ApiError(400, "model is missing", "model", "missing_field")
        return found


class ShowRequest(NamedModel):
    """`/api/show`; `verbose` has no effect, the vocabulary is never included."""

    verbose: bool | None = None
    system: str | None = None
    template: str | None = None
    options: dict[str, Any] | None = None


def attach(app: FastAPI) -> None:
    """Create the digest cache."""
    app.state.ollama_digests = Digests()


async def _digests(request: Request) -> Digests:
    return request.app.state.ollama_digests  # type: ignore[no-any-return]


TheDigests = Annotated[Digests, Depends(_digests)]


@router.get("/api/version")
async def version() -> Response:
    """Return the version of Ollama's API, and that of this package."""
    return reply({"version": VERSION, "intact": intact.__version__})


@router.get("/api/tags")
async def tags(service: TheService, digests: TheDigests) -> CancellableResponse:
    """List the models."""
    return JsonReply(lambda: _list(service, digests), service.seconds())


@router.get("/api/ps")
async def running(service: TheService, digests: TheDigests) -> CancellableResponse:
    """List the loaded models."""
    return JsonReply(lambda: _running(service, digests), service.seconds())


@router.post("/api/show")
async def show(body: ShowRequest, service: TheService) -> CancellableResponse:
    """Describe a model."""
    return JsonReply(lambda: _show(service, body), service.seconds())


@router.post("/api/create", include_in_schema=False)
@router.post("/api/copy", include_in_schema=False)
@router.post("/api/push", include_in_schema=False)
@router.delete("/api/delete", include_in_schema=False)
async def refuse() -> Response:
    """Reject requests that change models."""
    raise ApiError(
        403, "clients cannot change the models of this server: it serves the files and names it was started with"
    )


async def _list(service: Service, digests: Digests) -> dict[str, Any]:
    return {"models": [await _entry(served, digests) for served in list(service.models.served.values())]}


async def _entry(served: Served, digests: Digests) -> dict[str, Any]:
    description = await _described(served)
    try:
        size, digest = sum(file.stat().st_size for file in files_of(served.path)), await digests.find(served.path)
    except OSError:  # the files are gone
        size, digest = 0, ""
    return {
        "name": served.name,
        "model": served.name,
        "modified_at": timestamp(datetime.fromtimestamp(served.created, UTC)),
        "size": size,
        "digest": digest,
        "details": {} if description is None else description.details,
    }


async def _described(served: Served) -> Description | None:
    """Return a model's description; None if it cannot be read, in which case it is still listed."""
    try:
        return await in_thread(lambda: describe(served.path))
    except (ApiError, OSError):
        return None


async def _running(service: Service, digests: Digests) -> dict[str, Any]:
    models = []
    for served in list(service.models.served.values()):
        if (model := served.model) is not None:
            more = {"expires_at": NEVER, "size": served.need, "size_vram": 0, "context_length": model.context}
            models.append({**await _entry(served, digests), **more})
    return {"models": models}


async def _show(service: Service, request: ShowRequest) -> dict[str, Any]:
    name = find_name(service, request.required_name())
    served = service.models.find(methods.split(name)[0])
    try:
        description = await in_thread(lambda: describe(served.path))
    except OSError as error:
        message = without_folder(f"the model {name} cannot be read: {error}", served.path.parent)
        raise ApiError(503, message, "model", "model_broken") from error
    return {
        "modelfile": f"# a file that intact serves\nFROM {name}\n",
        "parameters": "",
        "template": description.template,
        "details": description.details,
        "model_info": description.info,
        "capabilities": description.capabilities,
        "modified_at": timestamp(datetime.fromtimestamp(served.created, UTC)),
    }
