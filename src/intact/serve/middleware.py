"""What every request passes first: its host, its origin, its key, its body."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from intact.serve.errors import ApiError
from intact.serve.settings import Settings
from intact.serve.sse import told

PUBLIC = ("/", "/health", "/ready", "/page/")
"""Paths without a key: the page asks for one, and what watches over the server learns nothing but that."""
UPLOADS = "/v1/files"
RATE = 32 << 10
"""Bytes a second that an upload brings at least, once the seconds that every body may take are over."""
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_CLOSE = (b"connection", b"close")
"""What is left of the body is not read."""


class Guard:
    """Turns away what should not come in.

    - A name in the Host header that nobody listed: a page of another site, whose name was pointed here, would otherwise
      pass for ours (DNS rebinding). Addresses and `localhost` cannot be so used.
    - A page of another origin that was not listed: it could make a browser's owner ask without knowing.
    - Requests without one of the keys, where there are keys; all are compared, each in constant time.
    - Bodies that are too long, or take too long. They are read here as a whole: nothing is begun for half of one.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._keys = [hashlib.sha256(key.encode()).digest() for key in settings.keys]
        self._hosts = {"localhost", *map(_hostname, (settings.host, *settings.hosts))} - {""}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, extra, began = Headers(scope=scope), list(_HEADERS), False

        async def answer(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        try:
            if (refused := scope["state"]["refused"]) is not None:
                raise refused
            self._check_host(headers)
            extra += self._check_origin(headers)
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                await Response(status_code=204)(scope, receive, answer)
                return
            scope["intact.client"] = self._client(scope, headers)
            if scope["path"].rstrip("/") == UPLOADS and scope["method"] == "POST":
                receive = self._counted(receive, extra)
            else:
                receive = await self._body(headers, receive)
            await self._app(scope, receive, answer)
        except Exception as error:
            if began:
                raise
            response = told(error).response()
            extra.append(_CLOSE)
            await response(scope, receive, answer)

    def _check_host(self, headers: Headers) -> None:
        name = _hostname(headers.get("host", ""))
        if name not in self._hosts and not _is_address(name):
            raise ApiError(403, f"this server is not {name!r:.100}; --allow-host lets it be", code="host_not_allowed")

    def _check_origin(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """The headers by which a page of a listed origin may read the answer."""
        origin = headers.get("origin")
        if origin is None or origin == f"http://{headers.get('host')}" or origin == f"https://{headers.get('host')}":
            return []
        if origin not in self._settings.origins:
            message = f"pages of {origin!r:.100} may not use this server; --allow-origin lets them"
            raise ApiError(403, message, code="origin_not_allowed")
        asked = headers.get("access-control-request-headers", "")  # clients send headers of their own
        return [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-allow-methods", b"GET, POST, DELETE"),
            (b"access-control-allow-headers", asked.encode("latin-1")),
            (b"access-control-expose-headers", b"retry-after"),
            (b"vary", b"origin"),
        ]

    def _client(self, scope: Scope, headers: Headers) -> str:
        """Who asks: the beginning of its key's digest, or its address."""
        path: str = scope["path"]
        if not self._keys or path in PUBLIC or path.startswith("/page/"):
            return scope["client"][0] if scope.get("client") else "local"
        scheme, _, key = headers.get("authorization", "").partition(" ")
        digest = hashlib.sha256(key.strip().encode()).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._keys]  # all of them, whichever it is
        if scheme.lower() != "bearer" or not any(matches):
            message = "an API key is needed: Authorization: Bearer KEY" if not key else "this API key is not known"
            raise ApiError(401, message, code="invalid_api_key")
        return f"key-{digest.hex()[:8]}"

    async def _body(self, headers: Headers, receive: Receive) -> Receive:
        """The body as a whole; then what the connection says."""
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
            raise ApiError(408, f"the body did not come within {seconds} seconds", code="timeout") from None
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        return replay

    def _counted(self, receive: Receive, extra: list[tuple[bytes, bytes]]) -> Receive:
        """A long body, piece by piece; an answer before its end ends the connection."""
        extra.append(_CLOSE)
        loop, patience, limit = asyncio.get_running_loop(), self._settings.body_seconds, self._settings.upload_bytes
        began, come = loop.time(), 0

        async def counted() -> Message:
            nonlocal come
            try:
                async with asyncio.timeout_at(min(loop.time(), began + come / RATE) + patience):
                    message = await receive()
            except TimeoutError:
                raise ApiError(408, f"the body came slower than {RATE:,} bytes a second", code="timeout") from None
            come += len(message.get("body", b""))
            if come > limit:
                raise _too_long(limit)
            if not message.get("more_body") and _CLOSE in extra:
                extra.remove(_CLOSE)
            return message

        return counted


def _too_long(limit: int) -> ApiError:
    return ApiError(413, f"the body is longer than {limit:,} bytes", code="body_too_long")


def _hostname(host: str) -> str:
    """A host's name as it is compared: in small letters, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
