"""Responses: JSON and server-sent events, whose work is cancelled within a step when the client disconnects."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, NamedTuple

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from intact.serve.errors import OPENAI_ERRORS, ApiError, ErrorFormat, as_api_error, ending
from intact.serve.identity import new_identifier, request_time

_LOG = logging.getLogger("intact.serve")
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_PREFIXES = {"chat.completion": "chatcmpl", "chat.completion.chunk": "chatcmpl", "text_completion": "cmpl"}


def encode(value: Any) -> bytes:
    """Encode a value as JSON; a lone surrogate, which a client may have sent, is escaped."""
    try:
        return _JSON.encode(value).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response with a JSON value."""
    return Response(encode(value), status, headers, "application/json")


def error_reply(error: Exception, scope: Scope | None = None) -> Response:
    """Return the response for a failed request; log unexpected errors.

    Parameters
    ----------
    scope : Scope, optional
        The request's scope, in which the middleware recorded the error format.
    """
    known, form = logged(error), _error_format(scope or {})
    _note(known, scope or {})
    return reply(form.body(known), form.status(known), known.headers)


def _note(error: ApiError, scope: Scope) -> None:
    """Record an error for the access log; all copies of a scope share the state."""
    if "state" in scope:
        scope["state"]["error"] = error


def _error_format(scope: Scope) -> ErrorFormat:
    found: ErrorFormat = scope.get("intact.errors", OPENAI_ERRORS)
    return found


def logged(error: Exception) -> ApiError:
    """Convert an error to one for the client; log it if it is unexpected."""
    known = as_api_error(error)
    if known.code == "internal_error":
        _LOG.error("a request failed", exc_info=error)
    return known


def head(kind: str, model: str, fingerprint: str, seed: int) -> dict[str, Any]:
    """Return the first fields of a response; only its identifier and time differ when a request is repeated."""
    return {
        "id": f"{_PREFIXES[kind]}-{new_identifier()}",
        "object": kind,
        "created": int(request_time()),
        "model": model,
        "system_fingerprint": fingerprint,
        "seed": seed,
    }


class EncodedValue(dict[str, Any]):
    """A value whose JSON is already encoded.

    Attributes
    ----------
    json : bytes
    """

    json: bytes


class ChunkTemplate:
    """Values that differ only in one string: the JSON around it is encoded once.

    Parameters
    ----------
    fill : callable
        Returns the value for a given string.
    """

    _MARK = "\x00text\x00"

    def __init__(self, fill: Callable[[str], Mapping[str, Any]]) -> None:
        self._fill = fill
        self._before, _, self._after = encode(fill(self._MARK)).rpartition(encode(self._MARK))

    def json(self, text: str) -> bytes:
        """Return the JSON of the value for a string."""
        return self._before + encode(text) + self._after

    def with_text(self, text: str) -> EncodedValue:
        """Return the value for a string."""
        value = EncodedValue(self._fill(text))
        value.json = self.json(text)
        return value


def event(value: Any, name: str | None = None) -> bytes:
    """Encode a value as a server-sent event, optionally named."""
    before = b"" if name is None else f"event: {name}\n".encode()
    return before + b"data: " + (value.json if isinstance(value, EncodedValue) else encode(value)) + b"\n\n"


def line(value: Any, name: str | None = None) -> bytes:
    """Encode a value as a line of JSON; lines have no names."""
    return (value.json if isinstance(value, EncodedValue) else encode(value)) + b"\n"


async def as_events(values: AsyncGenerator[Any, None]) -> AsyncGenerator[bytes, None]:
    """Yield values as events, followed by OpenAI's end marker."""
    async with aclosing(values):
        async for value in values:
            yield event(value)
    yield b"data: [DONE]\n\n"


class CancellableResponse(Response):
    """A response whose work is cancelled if the client disconnects, or ended with an error if the server shuts down.

    Parameters
    ----------
    seconds : float
        Timeout for the work.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds, self._is_cut = seconds, False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the work until it is done, the client disconnects, or the server shuts down."""
        work = asyncio.create_task(self._serve(scope, receive, send))
        gone = asyncio.create_task(_disconnected(receive))
        cut = asyncio.create_task(scope["app"].state.service.cut.wait())
        try:
            await asyncio.wait({work, gone, cut}, return_when=asyncio.FIRST_COMPLETED)
            if cut.done() and not gone.done() and not work.done():
                self._is_cut = True
                work.cancel()
                await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, gone, cut):
                task.cancel()
            await asyncio.gather(work, gone, cut, return_exceptions=True)
        if not work.cancelled() and (error := work.exception()) is not None:
            raise error

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError

    @asynccontextmanager
    async def _limited(self) -> AsyncIterator[None]:
        """Limit the time of the block; raise an error to report if the server's shutdown interrupts it."""
        try:
            async with asyncio.timeout(self._seconds):
                yield
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._is_cut or task is None:
                raise
            self._is_cut = False  # a second cancellation then ends the report
            task.uncancel()
            raise ending() from None


class JsonReply(CancellableResponse):
    """A JSON response whose value takes time to compute."""

    def __init__(self, work: Callable[[], Awaitable[Any]], seconds: float) -> None:
        super().__init__(seconds)
        self._work = work

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._limited():
                answer = reply(await self._work())
        except Exception as error:
            answer = error_reply(error, scope)
        await answer(scope, receive, send)


class StreamFormat(NamedTuple):
    """A stream format: its content type, and the function that encodes a value, optionally named."""

    content_type: bytes
    encode: Callable[[Any, str | None], bytes]


class EventStream(CancellableResponse):
    """A stream of server-sent events, or of JSON lines.

    An error before the first event becomes an ordinary error response; a later one is the last event.
    """

    def __init__(self, events: AsyncGenerator[bytes, None], seconds: float, form: StreamFormat | None = None) -> None:
        super().__init__(seconds)
        self._events, self._form = events, form or EVENTS

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, headers = False, [(b"content-type", self._form.content_type), *_HEADERS]

        async def write(body: bytes, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": more})

        async with aclosing(self._events) as events:
            try:
                async with self._limited():
                    async for part in events:
                        if not began:
                            began = True
                            await send({"type": "http.response.start", "status": 200, "headers": headers})
                        await write(part)
            except Exception as error:
                if not began:
                    await error_reply(error, scope)(scope, receive, send)
                    return
                known, form = logged(error), _error_format(scope)
                _note(known, scope)
                await write(self._form.encode(form.body(known), form.event))
            await write(b"", False)


EVENTS = StreamFormat(b"text/event-stream; charset=utf-8", event)
LINES = StreamFormat(b"application/x-ndjson", line)
_HEADERS = [
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
