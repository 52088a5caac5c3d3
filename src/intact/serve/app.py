"""The application: endpoints, and what every request passes on its way to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

import intact
from intact.serve import chat
from intact.serve.errors import ApiError, invalid, reply
from intact.serve.generation import Service
from intact.serve.requests import ChatRequest
from intact.serve.sse import Attended, Reply, Stream

THREADS = 16
"""For what takes a while: templates, tokenizers, constraints, loading."""


def create_app(service: Service) -> FastAPI:
    """Make the application."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "intact-serve"))
        yield
        service.models.close()

    app = FastAPI(
        title="intact",
        version=intact.__version__,
        summary="Language models whose answers are facts, behind OpenAI's interface",
        docs_url=None,  # these would load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_exception_handler(ApiError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    _add_models(app, service)
    _add_texts(app, service)
    return app


def _add_models(app: FastAPI, service: Service) -> None:
    def described(name: str) -> dict[str, Any]:
        served = service.models.find(name)
        return {"id": name, "object": "model", "created": served.created, "owned_by": "intact"}

    @app.get("/v1/models")
    async def models() -> Response:
        return reply({"object": "list", "data": [described(name) for name in service.models.served]})

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> Response:
        return reply(described(name))


def _add_texts(app: FastAPI, service: Service) -> None:
    @app.post("/v1/chat/completions")
    async def chat_completions(body: ChatRequest, request: Request) -> Attended:
        """Go on with a conversation."""
        who, seconds = client(request), _seconds(service, body)
        if body.stream:
            return Stream(chat.stream(service, body, who), seconds, service.settings.stall_seconds)
        return Reply(lambda: chat.answer(service, body, who), seconds)


def client(request: Request) -> str:
    """Who asks: by its key, or its address."""
    return request.client.host if request.client else ""


def _seconds(service: Service, body: Any) -> float:
    limit = service.settings.request_seconds
    return limit if body.intact.deadline is None else min(limit, body.intact.deadline)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return invalid(error.errors(), error.body).response()


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = ApiError(error.status_code, str(error.detail).lower()).response()
    response.headers.update(error.headers or {})
    return response
