"""Answers that end with their client: whoever leaves has its work cancelled within a step."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from intact.serve.errors import ApiError, as_api_error, encode, reply

_LOG = logging.getLogger("intact.serve")
DONE = b"data: [DONE]\n\n"


async def as_events(values: AsyncGenerator[Any, None]) -> AsyncGenerator[bytes, None]:
    """Values as events, with OpenAI's word at the end."""
    async with aclosing(values):
        async for value in values:
            yield event(value)
    yield DONE


class Spelt(dict[str, Any]):
    """A value whose JSON is known.

    Attributes
    ----------
    json : bytes
    """

    json: bytes


class Frame:
    """Values that differ from one another in one text alone: what is around it is encoded once.

    Parameters
    ----------
    fill : callable
        Gives the value with a text.
    """

    _MARK = "\x00text\x00"

    def __init__(self, fill: Callable[[str], Mapping[str, Any]]) -> None:
        self._fill = fill
        self._before, _, self._after = encode(fill(self._MARK)).rpartition(encode(self._MARK))

    def with_text(self, text: str) -> Spelt:
        """One of these values."""
        value = Spelt(self._fill(text))
        value.json = self._before + encode(text) + self._after
        return value


def event(value: Any) -> bytes:
    """A value as a server-sent event."""
    return b"data: " + (value.json if isinstance(value, Spelt) else encode(value)) + b"\n\n"


def told(error: Exception) -> ApiError:
    """An error as the client is told it; one that nobody raised on purpose goes to the log."""
    shown = as_api_error(error)
    if shown.code == "internal_error":
        _LOG.error("a request failed", exc_info=error)
    return shown


class Attended(Response):
    """An answer whose work is done while the client is there.

    Parameters
    ----------
    seconds : float
        How long the work may take.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Work until the end, or until the client has left."""
        work = asyncio.create_task(self._serve(scope, receive, send))
        gone = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            gone.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        if not work.cancelled() and (error := work.exception()) is not None:
            raise error

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError


class Reply(Attended):
    """A JSON value that takes its time."""

    def __init__(self, work: Callable[[], Awaitable[Any]], seconds: float) -> None:
        super().__init__(seconds)
        self._work = work

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                answer = reply(await self._work())
        except Exception as error:
            answer = told(error).response()
        await answer(scope, receive, send)


class Stream(Attended):
    """Server-sent events. An error before the first is an answer of its own; a later one is the last event.

    Parameters
    ----------
    events : async generator of bytes
    """

    def __init__(self, events: AsyncGenerator[bytes, None], seconds: float) -> None:
        super().__init__(seconds)
        self._events = events

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = False

        async def write(body: bytes, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": more})

        async with aclosing(self._events) as events:
            try:
                async with asyncio.timeout(self._seconds):
                    async for part in events:
                        if not began:
                            began = True
                            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
                        await write(part)
            except Exception as error:
                shown = told(error)
                if not began:
                    await shown.response()(scope, receive, send)
                    return
                await write(event(shown.as_dict()))
            await write(b"", False)


_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
