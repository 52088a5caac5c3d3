"""The application: endpoints, and what every request passes on its way to them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

import intact
from intact.serve import methods
from intact.serve.apis import receipts, tokens
from intact.serve.apis.openai import chat, completions, reasoning, responses
from intact.serve.apis.openai.files import Files
from intact.serve.apis.openai.responses import ResponsesRequest
from intact.serve.apis.openai.storage import add_storage, batches_of
from intact.serve.errors import ApiError, invalid, reply
from intact.serve.forms import BodyRoute
from intact.serve.generation import Service
from intact.serve.metrics import Watch
from intact.serve.middleware import Guard
from intact.serve.requests import (
    ChatRequest,
    CompletionRequest,
    DetokenizeRequest,
    EmbeddingRequest,
    TokenizeRequest,
    VerifyRequest,
)
from intact.serve.site import add_page
from intact.serve.sse import Attended, Reply, Stream, as_events
from intact.serve.tracing import Traced

_LOG = logging.getLogger("intact.serve")
THREADS = 16
"""For what takes a while: templates, tokenizers, constraints, loading."""


def create_app(service: Service) -> FastAPI:
    """Make the application."""
    folder = service.settings.state
    files = None if folder is None else Files(folder / "files", service.settings.body_bytes)
    batches = None if folder is None or files is None else batches_of(service, folder, files)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "intact-serve"))
        first = asyncio.create_task(_load_first(service))
        if batches is not None:
            batches.resume()
        yield
        service.ending = True
        if batches is not None:
            await batches.stop()
        first.cancel()
        await asyncio.gather(service.methods.close(), service.verifying.close())
        await service.models.close()
        if service.tracing is not None:
            await asyncio.to_thread(service.tracing.close)

    app = FastAPI(
        title="intact",
        version=intact.__version__,
        summary="Language models that repeat to the bit, behind OpenAI's interface",
        docs_url=None,  # these would load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.router.route_class = BodyRoute
    app.add_exception_handler(ApiError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    _add_models(app, service)
    _add_texts(app, service)
    _add_state(app, service)
    if files is not None and batches is not None:
        add_storage(app, files, batches)
    add_page(app)
    if service.tracing is not None:
        app.add_middleware(Traced, tracing=service.tracing)
    app.add_middleware(Guard, settings=service.settings)
    app.add_middleware(Watch, metrics=service.metrics)
    return app


def _add_state(app: FastAPI, service: Service) -> None:
    @app.head("/health", include_in_schema=False)  # uptime monitors ask so
    @app.get("/health")
    async def health() -> Response:
        """Whether the server runs."""
        return reply({"status": "ok"})

    @app.head("/ready", include_in_schema=False)
    @app.get("/ready")
    async def ready() -> Response:
        """Whether a model is loaded, and the server is not about to end."""
        is_ready = not service.ending and any(served.model for served in service.models.served.values())
        return reply({"status": "ready" if is_ready else "not ready"}, 200 if is_ready else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


def _add_models(app: FastAPI, service: Service) -> None:
    def described(name: str) -> dict[str, Any]:
        served = service.models.find(methods.split(name)[0])
        return {"id": name, "object": "model", "created": served.created, "owned_by": "intact"}

    @app.get("/v1/models")
    async def models() -> Response:
        return reply({"object": "list", "data": [described(name) for name in service.models.served]})

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> Response:
        return reply(described(name))


def _add_texts(app: FastAPI, service: Service) -> None:
    def stream(chunks: AsyncGenerator[Any, None], body: Any) -> Attended:
        return Stream(as_events(chunks), _seconds(service, body))

    def whole(work: Callable[[], Awaitable[Any]], body: Any) -> Attended:
        return Reply(work, _seconds(service, body))

    @app.post("/v1/chat/completions")
    async def chat_completions(body: ChatRequest, request: Request) -> Attended:
        """Go on with a conversation; or answer it by a reasoning method."""
        way, who = reasoning if reasoning.wanted(body) else chat, client(request)
        if body.stream:
            return stream(way.chunks(service, body, who), body)
        return whole(lambda: way.answer(service, body, who), body)

    @app.post("/v1/completions")
    async def text_completions(body: CompletionRequest, request: Request) -> Attended:
        """Go on with texts."""
        who = client(request)
        if body.stream:
            return stream(completions.chunks(service, body, who), body)
        return whole(lambda: completions.answer(service, body, who), body)

    @app.get("/v1/receipts/{answer}")
    async def answers_receipts(answer: str, request: Request) -> Response:
        """Give the receipts of an answer of a moment ago."""
        found = service.receipts.find(client(request), responses.as_chat_id(answer))
        return Response(b'{"object":"list","data":%b}' % found, media_type="application/json")

    @app.post("/v1/verify")
    async def verify(body: VerifyRequest, request: Request) -> Attended:
        """Check a receipt."""
        who = client(request)
        return Reply(lambda: receipts.check(service, body, who), service.settings.request_seconds)

    @app.get("/v1/methods")
    async def list_methods() -> Response:
        """Give the reasoning methods with their parameters."""
        return reply({"object": "list", "data": methods.catalogue()})

    @app.post("/v1/responses")
    async def create_response(body: ResponsesRequest, request: Request) -> Attended:
        """Answer, in the words of OpenAI's newer interface."""
        who = client(request)
        if body.stream:
            return Stream(responses.events(service, body, who), _seconds(service, body))
        return whole(lambda: responses.answer(service, body, who), body)

    @app.post("/tokenize")
    async def tokenize(body: TokenizeRequest) -> Attended:
        """Give a text's tokens, or those of a conversation."""
        return Reply(lambda: tokens.tokenize(service, body), service.settings.request_seconds)

    @app.post("/detokenize")
    async def detokenize(body: DetokenizeRequest) -> Attended:
        """Give the text of tokens."""
        return Reply(lambda: tokens.detokenize(service, body), service.settings.request_seconds)

    @app.get("/tokenizer_info")
    async def tokenizer_info() -> Attended:
        """Describe the first model's tokenizer."""
        return Reply(lambda: tokens.described(service), service.settings.request_seconds)

    @app.post("/v1/embeddings")
    async def embeddings(body: EmbeddingRequest) -> Response:
        """Refuse: none of the architectures that are served gives embeddings."""
        service.models.find(body.model)
        raise ApiError(400, f"{body.model} writes text; it gives no embeddings", "model", "unsupported")


async def _load_first(service: Service) -> None:
    """Have the first model ready before it is asked for."""
    try:
        async with service.models.lease(service.models.first):
            pass
    except ApiError as error:
        _LOG.error("%s", error.message)


def client(request: Request) -> str:
    """Who asks, as the guard knows it."""
    return str(request.scope["intact.client"])


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
