"""Checks on every request before its endpoint: host, origin, API key, body."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from intact.serve.errors import OPENAI_ERRORS, ApiError, ErrorFormat, ending
from intact.serve.replies import error_reply
from intact.serve.settings import LINGER, ServerSettings, address_of

PUBLIC = ("/", "/health", "/ready", "/page/", "/verify")
"""Paths that need no key: the page asks for one, the page at /verify requests nothing from the server, and monitoring
only learns that the server is running.
"""
UPLOADS = "/v1/files"
RATE = 32 << 10
"""Minimum upload rate, in bytes per second, after the time that any request body is allowed has elapsed."""
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_CLOSE = (b"connection", b"close")


class SecurityMiddleware:
    """Rejects requests that must not reach the server.

    - Requests whose Host header is not listed: otherwise a site could point its own name at this server, and its pages
      would pass as the server's own (DNS rebinding). Addresses and `localhost` cannot be abused in this way.
      Starlette's TrustedHostMiddleware cannot allow all addresses, and answers in plain text, so this is done here.
    - Requests from pages of unlisted origins: they could act on behalf of the browser's user. Starlette's
      CORSMiddleware handles the listed ones; for others, it would only hide the responses.
    - Requests without a valid key, if there are keys; all keys are compared, each in constant time. The server's own
      user needs no key on the Unix socket (`intact.serve.same_user`).
    - Bodies that are too long or too slow. A body is read here in full, so no work begins on a partial body.

    Parameters
    ----------
    formats : mapping of str to ErrorFormat
        Error format for a path and everything below it; OpenAI's format is used elsewhere.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings, formats: Mapping[str, ErrorFormat]) -> None:
        self._app, self._settings, self._formats = app, settings, formats
        self._keys = [hashlib.sha256(key.encode()).digest() for key in settings.keys]
        self._hosts = {"localhost", *map(_hostname, (settings.host, *settings.hosts))} - {""}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or reject it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, began, read, ends = Headers(scope=scope), False, False, False
        scope["intact.errors"] = error_format(self._formats, scope["path"])

        async def receive_noting() -> Message:
            nonlocal read
            message = await receive()
            read = read or not message.get("more_body", False)
            return message

        async def send_with_headers(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                close = [] if read and not ends else [_CLOSE]
                message = {**message, "headers": [*message["headers"], *_HEADERS, *close]}
            elif not (read or ends or message.get("more_body", False)):
                await send({**message, "more_body": True})
                message = {"type": "http.response.body"}
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LINGER):
                        while not read:
                            await receive_noting()
            await send(message)

        try:
            if (refusal := scope["state"]["refusal"]) is not None:
                raise refusal
            self._check_host(headers)
            self._check_origin(headers)
            scope["intact.client"] = self._client(scope, headers)
            if scope["path"].rstrip("/") == UPLOADS and scope["method"] == "POST":
                checked = self._counted(receive_noting)
            else:
                checked = await self._body(headers, receive_noting)
            await self._app(scope, checked, send_with_headers)
        except asyncio.CancelledError:  # happens only while the server shuts down
            ends = True
            if not began:
                await error_reply(ending(), scope)(scope, receive, send_with_headers)
        except Exception as error:
            if began:
                raise
            await error_reply(error, scope)(scope, receive, send_with_headers)

    def _check_host(self, headers: Headers) -> None:
        name = _hostname(headers.get("host", ""))
        if name not in self._hosts and address_of(name) is None:
            message = f"this server is not {name!r:.100}; start it with --allow-host to add a name"
            raise ApiError(403, message, code="host_not_allowed")

    def _check_origin(self, headers: Headers) -> None:
        origin, host = headers.get("origin"), headers.get("host")
        if origin not in (None, f"http://{host}", f"https://{host}", *self._settings.origins):
            message = f"pages of {origin!r:.100} may not use this server; start it with --allow-origin to allow them"
            raise ApiError(403, message, code="origin_not_allowed")

    def _client(self, scope: Scope, headers: Headers) -> str:
        """Return the client's name: the beginning of its key's digest, or its address."""
        path: str = scope["path"]
        if is_same_user(scope):
            return "same-user"
        if not self._keys or path in PUBLIC or path.startswith("/page/"):
            return scope["client"][0] if scope.get("client") else "local"
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = [key.strip()] if scheme.lower() == "bearer" else []
        given += headers.getlist("x-api-key")[:1]  # sent by Anthropic's clients, sometimes with both
        for digest in [hashlib.sha256(key.encode()).digest() for key in given]:
            matches = [hmac.compare_digest(digest, known) for known in self._keys]  # always all, for constant time
            if any(matches):
                return f"key-{digest.hex()[:8]}"
        needed = "an API key is needed: Authorization: Bearer KEY, or x-api-key: KEY"
        message = "this API key is not known" if key or any(given) else needed
        raise ApiError(401, message, code="invalid_api_key")

    async def _body(self, headers: Headers, receive: Receive) -> Receive:
        """Read the whole body; return a function that yields it first and then the connection's remaining messages."""
        limit = self._settings.body_bytes
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > limit:
            raise _too_long(limit)
        body, more = bytearray(), True
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        break
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > limit:
                        raise _too_long(limit)
        except TimeoutError:
            seconds = f"{self._settings.body_seconds:g}"
            raise ApiError(408, f"the body did not arrive within {seconds} seconds", code="timeout") from None
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        return replay

    def _counted(self, receive: Receive) -> Receive:
        """Limit the length of a long body, and its upload rate from below."""
        loop, grace, limit = asyncio.get_running_loop(), self._settings.body_seconds, self._settings.upload_bytes
        began, received = loop.time(), 0

        async def receive_counted() -> Message:
            nonlocal received
            try:
                async with asyncio.timeout_at(min(loop.time(), began + received / RATE) + grace):
                    message = await receive()
            except TimeoutError:
                raise ApiError(408, f"the body arrived slower than {RATE:,} bytes a second", code="timeout") from None
            received += len(message.get("body", b""))
            if received > limit:
                raise _too_long(limit)
            return message

        return receive_counted


class HeadMiddleware:
    """Supports `HEAD` on every path that supports `GET`: same status and headers; the connection omits the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        inner = {**scope, "method": "GET"}
        try:
            await self._app(inner, receive, send)
        finally:
            scope.update({**inner, "method": "HEAD"})  # the route, for the access log


class FormatMiddleware:
    """Formats errors as the path's API does, for an application whose requests were checked by another process.

    Parameters
    ----------
    formats : mapping of str to ErrorFormat
        As in `SecurityMiddleware`.
    """

    def __init__(self, app: ASGIApp, formats: Mapping[str, ErrorFormat]) -> None:
        self._app, self._formats = app, formats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, and send its error if no response has begun."""
        began = False

        async def send_noting(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        scope["intact.errors"] = error_format(self._formats, scope["path"])
        try:
            await self._app(scope, receive, send_noting)
        except Exception as error:
            if began:
                raise
            await error_reply(error, scope)(scope, receive, send)


def error_format(formats: Mapping[str, ErrorFormat], path: str) -> ErrorFormat:
    """Return the error format for a path: that of the API with this path prefix, or OpenAI's."""
    found = (form for prefix, form in formats.items() if path == prefix or path.startswith(prefix + "/"))
    return next(found, OPENAI_ERRORS)


def is_same_user(scope: Scope) -> bool:
    """Return true if a request came through the Unix socket, which only the server's own user can open."""
    server = scope.get("server")
    return server is not None and server[1] is None


def _too_long(limit: int) -> ApiError:
    return ApiError(413, f"the body is longer than {limit:,} bytes", code="body_too_long")


def _hostname(host: str) -> str:
    """Normalise a host name for comparison: lower case, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
