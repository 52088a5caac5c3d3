"""The application: endpoints, middleware, startup and shutdown."""

from __future__ import annotations

import asyncio
import functools
import importlib
import logging
import pkgutil
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

import intact
from intact._base.errors import NotInstalledError
from intact._base.markup import verify_page
from intact.serve import apis, methods, shared_page
from intact.serve.errors import ApiError, ErrorFormat, invalid, without_folder
from intact.serve.forms import WARNING, FormRoute
from intact.serve.metrics import AccessMiddleware
from intact.serve.middleware import FormatMiddleware, HeadMiddleware, SecurityMiddleware
from intact.serve.replies import error_reply, reply
from intact.serve.service import Service, TheService
from intact.serve.settings import ServerSettings

_LOG = logging.getLogger("intact.serve")
THREADS = 16
"""Threads for short work: templates, tokenizers, constraints, loading."""
PAGE = Path(__file__).parent / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE_HEADERS = {"content-security-policy": POLICY, "cache-control": "no-cache"}


def create_app(service: Service, is_replica: bool = False) -> FastAPI:
    """Create the application.

    Parameters
    ----------
    is_replica : bool
        If true, another process holds the connections, checks requests, and writes the access log.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "intact-serve"))
        first = asyncio.create_task(_load_first(service))
        yield
        service.ending = True
        first.cancel()
        await asyncio.gather(service.methods.close(), service.verifications.close(), service.pulls.close())
        await service.models.close()
        if service.tracing is not None:
            await asyncio.to_thread(service.tracing.close)

    app = FastAPI(
        title="intact",
        version=intact.__version__,
        summary="Language models that repeat to the bit, behind OpenAI's interface",
        docs_url=None,  # the docs pages would load external scripts
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    for error in (ApiError, RequestValidationError, HTTPException):
        app.add_exception_handler(error, _error_reply)
    app.include_router(router)
    formats: dict[str, ErrorFormat] = {}
    for module in _api_modules():
        needs = getattr(module, "NEEDS", "host")
        if getattr(service.settings, needs) is None:
            _refuse_paths(app, module.router, needs)
            continue
        if hasattr(module, "attach"):
            module.attach(app)
        app.include_router(module.router)
        formats |= getattr(module, "ERRORS", {})
    app.mount("/page", _PageFiles(directory=PAGE), name="page")
    app.add_middleware(HeadMiddleware)
    if service.tracing is not None:
        app.add_middleware(service.tracing.middleware)
    if is_replica:
        app.add_middleware(FormatMiddleware, formats=formats)
        return app
    app.add_middleware(SecurityMiddleware, settings=service.settings, formats=formats)
    if service.settings.origins:
        app.add_middleware(CORSMiddleware, **cross_origin(service.settings))
    app.add_middleware(AccessMiddleware, metrics=service.metrics)
    return app


def _refuse_paths(app: FastAPI, paths: APIRouter, option: str) -> None:
    """Respond on a router's paths with an error that names the missing server option."""

    async def refuse(request: Request) -> Response:
        message = f"the server was started without --{option} DIR, which {request.url.path:.60} needs"
        raise ApiError(404, message, code="unavailable")

    for route in paths.routes:
        if isinstance(route, APIRoute):
            app.add_api_route(route.path, refuse, methods=list(route.methods or ()), include_in_schema=False)


def cross_origin(settings: ServerSettings) -> dict[str, Any]:
    """Return the arguments for Starlette's CORSMiddleware."""
    return {
        "allow_origins": settings.origins,
        "allow_methods": ["GET", "POST", "DELETE"],
        "allow_headers": ["*"],  # clients send custom headers
        "expose_headers": ["retry-after", WARNING],
    }


def error_formats() -> dict[str, ErrorFormat]:
    """Return the error formats by path, for the APIs that have their own."""
    found: dict[str, ErrorFormat] = {}
    for module in _api_modules():
        found |= getattr(module, "ERRORS", {})
    return found


def _api_modules() -> Iterator[ModuleType]:
    """Yield the modules below `apis` that have a router, sorted by name.

    A module is optional: if its file is absent, so are the endpoints that need it.
    """
    for found in pkgutil.walk_packages(apis.__path__, apis.__name__ + "."):
        try:
            module = importlib.import_module(found.name)
        except ImportError as error:
            if not (error.name or "").startswith(apis.__name__):
                raise
            _LOG.warning("%s is left out: it needs %s", found.name, error.name)
            continue
        if hasattr(module, "router"):
            yield module


router = APIRouter(route_class=FormRoute)


@router.get("/health")
async def health() -> Response:
    """Report that the server is running."""
    return reply({"status": "ok"})


@router.get("/ready")
async def ready(service: TheService) -> Response:
    """Report readiness for requests: the first model has loaded or failed, and no shutdown has begun."""
    is_ready = not service.ending and service.models.ready
    return reply({"status": "ready" if is_ready else "not ready"}, 200 if is_ready else 503)


@router.get("/metrics")
async def metrics(service: TheService) -> Response:
    """Return metrics in Prometheus format."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


@router.get("/version")
async def version() -> Response:
    """Return the version of intact."""
    return reply({"version": intact.__version__})


@router.get("/v1/models")
async def list_models(service: TheService) -> Response:
    """List the models."""
    return reply({"object": "list", "data": [_model(service, name) for name in service.models.names]})


@router.get("/v1/models/{name:path}")
async def one_model(name: str, service: TheService) -> Response:
    """Describe a model."""
    return reply(_model(service, name))


def _model(service: Service, name: str) -> dict[str, Any]:
    served = service.models.find(methods.split(name)[0])
    loaded = served.model
    known: dict[str, Any] = {
        "max_model_len": None if loaded is None else loaded.context,
        "sampling_defaults": None if loaded is None else dict(loaded.sampling_defaults.values),
        "status": served.status,
        "requests": served.requests,
        **({"error": served.failure} if served.status == "failed" else {}),
        **({"loading": served.progress.as_dict()} if served.progress is not None else {}),
    }
    parent = {"parent": served.name} if methods.split(name)[0] != served.name else {}
    if name == service.models.first and service.models.partners:
        known["partners"] = list(service.models.partners)
    return {"id": name, "object": "model", "created": served.created, "owned_by": "intact", **parent, **known}


@router.get("/v1/methods")
async def list_methods() -> Response:
    """List the reasoning methods with their parameters."""
    return reply({"object": "list", "data": methods.catalogue()})


@router.get("/", include_in_schema=False)
async def page() -> Any:
    """Return the web page."""
    return FileResponse(PAGE / "index.html", headers=_PAGE_HEADERS)


@router.get("/verify", include_in_schema=False)
async def verification_page() -> Response:
    """Return the page that verifies receipts in the browser, using the user's own files (docs/browser.md)."""
    try:
        text = await asyncio.to_thread(_verification_page)
    except NotInstalledError as error:
        _LOG.error("/verify: %s", error)
        raise ApiError(404, without_folder(error, verify_page.folder()), code="not_installed") from None
    # The page states its own policy in its first lines, but browsers ignore frame rules there.
    headers = {"content-security-policy": "frame-ancestors 'none'", "cache-control": "no-cache"}
    return Response(text, media_type="text/html; charset=utf-8", headers=headers | verify_page.ISOLATION)


@router.get("/page/shared.html", include_in_schema=False)
async def shared_page_template() -> Response:
    """Return the file of a shared conversation with an empty place for the data (docs/page.md)."""
    try:
        text = await asyncio.to_thread(shared_page.template)
    except NotInstalledError as error:
        _LOG.error("/page/shared.html: %s", error)
        raise ApiError(404, without_folder(error, verify_page.folder()), code="not_installed") from None
    return Response(text, media_type="text/html; charset=utf-8", headers=_PAGE_HEADERS)


@functools.cache
def _verification_page() -> str:
    return verify_page.page()


class _PageFiles(StaticFiles):
    """The files of the page, with a policy that lets them connect only to this server."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_PAGE_HEADERS)
        return response


async def _load_first(service: Service) -> None:
    """Load the first model before it is requested."""
    with suppress(ApiError):  # logged, and listed with the model
        async with service.models.lease(service.models.first):
            pass


async def _error_reply(request: Request, error: Exception) -> Response:
    if isinstance(error, RequestValidationError):
        error = invalid(error.errors(), error.body)
    elif isinstance(error, HTTPException) and not isinstance(error, ApiError):
        known = ApiError(error.status_code, str(error.detail).lower())
        known.headers = dict(error.headers or {})
        error = known
    return error_reply(error, request.scope)
