"""The application between clients and their endpoint: it replays recorded answers, and gets and keeps the others."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from intact._base.errors import IntactError
from intact.serve.apis.anthropic.errors import ERROR_FORMAT
from intact.serve.cassette.content import BodyContent
from intact.serve.cassette.entry import Origin, RecordedAnswer
from intact.serve.cassette.local import LocalModel
from intact.serve.cassette.matching import HttpRequest
from intact.serve.cassette.recorder import CassetteRecorder
from intact.serve.cassette.redaction import SECRET_HEADERS
from intact.serve.cassette.streams import MOST_BYTES
from intact.serve.cassette.upstream import DIRECT, Api, Upstream, api_of, forwarded
from intact.serve.errors import ApiError, ErrorFormat
from intact.serve.middleware import SecurityMiddleware
from intact.serve.settings import ServerSettings

if TYPE_CHECKING:
    import httpx

UPSTREAM: Final = "x-intact-upstream"
"""Header with the endpoint of a request; only with `TOKEN`, so that no other program can send requests anywhere."""
TOKEN: Final = "x-intact-token"
ERRORS: Final[Mapping[str, ErrorFormat]] = {
    "/v1/messages": ERROR_FORMAT,
    "/api": ErrorFormat(lambda error: error.status, lambda error: {"error": error.message}),
}
"""Error formats of APIs other than OpenAI's, by path."""
PATIENCE: Final = 30.0
"""Seconds that answers whose client has left may take to be recorded when the session ends."""
_OWN: Final = (UPSTREAM, TOKEN)


class AnswerTarget(NamedTuple):
    """The endpoint that answers a request."""

    url: str
    headers: Mapping[str, str]
    origin: Origin


class CassetteProxy:
    """An ASGI application.

    Parameters
    ----------
    recorder : CassetteRecorder
    upstreams : mapping
        The endpoint of each API; empty if none may be reached.
    local : LocalModel, optional
        The model that answers requests that have no recording.
    seconds : float
        Timeout for an endpoint's answer, in seconds.

    Attributes
    ----------
    token : str
        Secret with which a request may name its endpoint.
    """

    def __init__(
        self,
        recorder: CassetteRecorder,
        upstreams: Mapping[Api, Upstream],
        local: LocalModel | None = None,
        *,
        seconds: float = 600.0,
    ) -> None:
        self.recorder, self._upstreams, self._local, self._seconds = recorder, upstreams, local, seconds
        self.token = secrets.token_hex(16)
        self._client: httpx.AsyncClient | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def application(self, settings: ServerSettings) -> ASGIApp:
        """Return the application with the checks on every request that the server makes: host, origin, size."""
        return SecurityMiddleware(self, settings, ERRORS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or handle startup and shutdown."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        body = await _read(receive)
        headers = {name: value for name, value in Headers(scope=scope).items() if name not in _OWN}
        request, upstream = self._parse(scope, headers, body)
        self.recorder.redaction.note_keys(headers, request.query)
        entry = self.recorder.play(request)
        if entry is not None:
            await _send_answer(entry.answer, send)
            return
        target = await self._target(request, headers, upstream)
        pump = _Pump(self._recorded(request, target, scope["method"], body))
        task = asyncio.create_task(pump.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await pump.send_to(send)

    def _parse(self, scope: Scope, headers: Mapping[str, str], body: bytes) -> tuple[HttpRequest, Upstream | None]:
        """Return the request as a cassette describes it, and its endpoint, if there is one."""
        path, query = scope["path"], scope["query_string"].decode("latin-1")
        named = Headers(scope=scope)
        upstream = self._upstreams.get(api_of(path))
        if UPSTREAM in named:
            if not hmac.compare_digest(named.get(TOKEN, ""), self.token):
                raise ApiError(403, f"{UPSTREAM} needs the token of this session", code="permission_denied")
            upstream = Upstream(named[UPSTREAM])
        host = "" if upstream is None else upstream.host
        content = BodyContent.of(body, headers.get("content-type", "")) if body else None
        return HttpRequest(scope["method"], path, query, host=host, headers=headers, content=content), upstream

    async def _target(
        self, request: HttpRequest, headers: Mapping[str, str], upstream: Upstream | None
    ) -> AnswerTarget:
        """Return the endpoint that answers a request without a recording.

        Raises
        ------
        ApiError
            If the policy is to fail, or there is none.
        """
        missing = self.recorder.policy.missing
        if missing == "answer" and self._local is not None:
            try:
                url = await asyncio.to_thread(self._local.start)
            except IntactError as error:
                raise ApiError(503, f"the local model cannot answer: {error}", code="model_failed") from error
            address = Upstream(url).url(request.path, request.query)
            sent = forwarded(headers, tuple(SECRET_HEADERS))
            return AnswerTarget(address, sent, Origin("local", self._local.name))
        if missing == "ask" and upstream is not None:
            return AnswerTarget(
                upstream.url(request.path, request.query), forwarded(headers), Origin("remote", upstream.host)
            )
        raise self.recorder.refusal(request)

    async def _recorded(
        self, request: HttpRequest, target: AnswerTarget, method: str, body: bytes
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the messages of an endpoint's answer; keep the answer once it is complete."""
        import httpx

        scope, kept = self.recorder.scope or "", bytearray()
        assert self._client is not None
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._client.stream(
                    method, target.url, headers={**target.headers, "accept-encoding": "identity"}, content=body,
                    extensions={DIRECT: True},
                ) as response,
            ):  # fmt: skip
                headers = forwarded({name.lower(): value for name, value in response.headers.items()})
                raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
                yield {"type": "http.response.start", "status": response.status_code, "headers": raw}
                async for chunk in response.aiter_bytes():
                    kept += chunk
                    if len(kept) > MOST_BYTES:
                        raise ApiError(502, f"the answer is larger than {MOST_BYTES:,} bytes", code="too_large")
                    yield {"type": "http.response.body", "body": chunk, "more_body": True}
        except (httpx.HTTPError, TimeoutError) as error:
            text = f"{target.origin.name} did not answer: {type(error).__name__}"
            raise ApiError(504 if isinstance(error, TimeoutError) else 502, text, code="upstream_failed") from error
        origin = target.origin
        if origin.kind == "local" and self._local is not None:
            origin = Origin("local", origin.name, self._local.identity)
        content = BodyContent.of(bytes(kept), headers.get("content-type", ""))
        self.recorder.keep(request, RecordedAnswer(response.status_code, headers, content), origin, scope)
        yield {"type": "http.response.body", "body": b"", "more_body": False}

    async def _live(self, receive: Receive, send: Send) -> None:
        import httpx

        await receive()
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        async with httpx.AsyncClient(timeout=self._seconds, limits=limits, follow_redirects=False) as client:
            self._client = client
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self.finish()
        await send({"type": "lifespan.shutdown.complete"})

    async def finish(self) -> None:
        """Wait until the answers under way are recorded, and cancel those that take too long."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=PATIENCE)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


class _Pump:
    """Reads an answer to its end, even if its client leaves: a recording must be complete.

    Parameters
    ----------
    messages : async iterator
        The messages of the answer.
    """

    def __init__(self, messages: AsyncIterator[dict[str, Any]]) -> None:
        self._messages = messages
        self._queue: asyncio.Queue[dict[str, Any] | Exception | None] = asyncio.Queue()

    async def run(self) -> None:
        """Read the answer."""
        try:
            async with aclosing(self._messages) as messages:  # type: ignore[type-var]
                async for message in messages:
                    self._queue.put_nowait(message)
        except Exception as error:
            self._queue.put_nowait(error)
        finally:
            self._queue.put_nowait(None)

    async def send_to(self, send: Send) -> None:
        """Send what is read to the client.

        Raises
        ------
        Exception
            Of the endpoint, so that the client sees an error, or a broken stream.
        """
        while (message := await self._queue.get()) is not None:
            if isinstance(message, Exception):
                raise message
            await send(message)


async def _read(receive: Receive) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def _send_answer(answer: RecordedAnswer, send: Send) -> None:
    headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    is_stream = answer.content.kind in ("events", "lines")
    if not is_stream:
        headers.append((b"content-length", str(len(answer.content.data())).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    for chunk in answer.content.chunks():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if is_stream:
            await asyncio.sleep(0)  # let other requests in between
    with suppress(OSError):
        await send({"type": "http.response.body", "body": b"", "more_body": False})
