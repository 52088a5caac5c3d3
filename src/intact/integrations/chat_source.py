"""Answers to chat requests in OpenAI's format, from a server or from a model in this process."""

from __future__ import annotations

import asyncio
import json
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import aclosing
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from intact._base.errors import EndpointError, ParameterError
from intact._base.event_stream import EventReader, ReplyLimit
from intact._base.packages import check_installed
from intact.checkpoints.catalogue import resolve
from intact.reason.backends.address import endpoint_address

if TYPE_CHECKING:
    import httpx

    from intact.serve.models import Models

SECONDS: Final = 600.0
"""Timeout of a request to a server."""
LARGEST: Final = 64 << 20
"""Maximum bytes of a server's reply."""
CLIENT: Final = "plug-in"
"""Name of the only client of a model in this process."""


class ChatSource(ABC):
    """A source of answers; any thread may ask it."""

    @abstractmethod
    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the response to a request to ``/v1/chat/completions``.

        Raises
        ------
        IntactError
            If the request is invalid, or the server cannot be reached or answers with an error.
        """

    @abstractmethod
    def stream(self, body: dict[str, Any]) -> Generator[dict[str, Any], None, None]:
        """Yield the chunks of the response to a request; leaving early cancels it. Errors as for `complete`."""

    @abstractmethod
    def close(self) -> None:
        """Close connections, or unload the model."""


def open_source(model: str, base_url: str | None = None, key: str | None = None, **loading: Any) -> ChatSource:
    """Return a source: the server at an address, or without one the model, loaded in this process when first asked.

    Parameters
    ----------
    model : str
        Model name or file; servers get it with each request.
    base_url : str, optional
        Address of the server, with or without ``/v1`` at its end.
    key : str, optional
        API key for the server.
    **loading
        Arguments of `intact.load` for a model in this process: profile, threads.

    Raises
    ------
    IntactError
        If the address is invalid, the model is not here, or a required package is missing.
    """
    if base_url is None:
        return ModelSource(model, **loading)
    if loading:
        raise ParameterError(f"{', '.join(loading)} cannot be set for a server: start it with these options")
    return ServerSource(base_url, key)


def check_address(base_url: str) -> str:
    """Return a server's address, ending with ``/v1``.

    Raises
    ------
    ParameterError
        If it is not an address, or httpx is missing.
    """
    check_installed("a server's client", "httpx")
    return endpoint_address(base_url).removesuffix("/v1") + "/v1"


class ServerSource(ChatSource):
    """A server, asked over HTTP."""

    def __init__(self, base_url: str, key: str | None = None) -> None:
        self.url = check_address(base_url)
        import httpx

        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(headers=headers, timeout=SECONDS, verify=self.url.startswith("https"))
        self._failure = httpx.HTTPError

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the response to a request."""
        return self.post("chat/completions", body)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the response to a request to a path below ``/v1``; errors as for `complete`."""
        return self._ask("POST", path, json=body)

    def get(self, path: str) -> dict[str, Any]:
        """Return the value at a path below ``/v1``; errors as for `complete`."""
        return self._ask("GET", path)

    def _ask(self, verb: str, path: str, **content: Any) -> dict[str, Any]:
        url = f"{self.url}/{path}"
        try:
            with self._client.stream(verb, url, **content) as response:
                status, data = response.status_code, _body(url, response)
        except self._failure as error:
            raise EndpointError(f"{url} cannot be reached ({type(error).__name__}: {error!s:.200})") from error
        return _read_reply(url, status, data)

    def stream(self, body: dict[str, Any]) -> Generator[dict[str, Any], None, None]:
        """Yield the chunks of the response."""
        url = f"{self.url}/chat/completions"
        try:
            with self._client.stream("POST", url, json=body | {"stream": True}) as response:
                kind = response.headers.get("content-type", "")
                if response.status_code != 200 or not kind.startswith("text/event-stream"):
                    _read_reply(url, response.status_code, _body(url, response))
                    raise EndpointError(f"{url}: the reply is {kind!r:.60}, not a stream of events")
                events = EventReader(_limit(url))
                for part in response.iter_bytes():
                    for data in events.feed(part):
                        chunk = _read_reply(url, 200, data)
                        if chunk.get("error"):
                            _read_reply(url, 500, data)
                        yield chunk
                    if events.done:
                        return
        except self._failure as error:
            raise EndpointError(f"{url} cannot be reached ({type(error).__name__}: {error!s:.200})") from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _limit(url: str) -> ReplyLimit:
    return ReplyLimit(LARGEST, f"{url}: the reply")


def _body(url: str, response: httpx.Response) -> bytes:
    """Return the whole body of a response, unless it is too large."""
    limit = _limit(url)
    return b"".join(limit.count(part) for part in response.iter_bytes())


def _read_reply(url: str, status: int, data: bytes) -> dict[str, Any]:
    """Return a reply; raises the error that it reports."""
    try:
        reply = json.loads(data)
    except ValueError:
        raise EndpointError(f"{url}: HTTP {status}, and the reply is not JSON") from None
    if status != 200 or not isinstance(reply, dict):
        message = reply.get("error", reply) if isinstance(reply, dict) else reply
        if isinstance(message, dict):
            message = message.get("message", message)
        raise EndpointError(f"{url}: HTTP {status}: {message!s:.400}")
    return reply


class ModelSource(ChatSource):
    """A model in this process, with the server's chat API but without a socket: same prompts, tools and receipts.

    The model is loaded by the first request. Requests from several threads share the engine's steps.
    """

    def __init__(self, model: str, **loading: Any) -> None:
        from intact.serve import PACKAGES

        check_installed("a model in this process", *PACKAGES)
        from intact.serve.models import Loading, Models
        from intact.serve.service import Service
        from intact.serve.settings import ServerSettings

        if unknown := loading.keys() - {"profile", "threads"}:
            raise ParameterError(f"unknown model argument {min(unknown)!r:.60}: expected profile or threads")
        settings = ServerSettings(seeds="fixed", waiting=1 << 16)
        path = str(resolve(model))
        self._service = Service(settings, Models({model: path}, Loading(**loading), settings))
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, name="intact-chat", daemon=True)
        thread.start()
        end = partial(_unload, self._service.models, self._loop, thread)
        self._end = weakref.finalize(self, end)  # which is called at exit, too

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the response to a request."""
        from intact.serve.apis.openai.chat import answer
        from intact.serve.errors import ApiError
        from intact.serve.forms import read_form
        from intact.serve.requests import ChatRequest

        try:
            request, _ = read_form(ChatRequest, body, self._service.settings)
            reply = asyncio.run_coroutine_threadsafe(answer(self._service, request, CLIENT), self._loop).result()
        except ApiError as error:
            raise ParameterError(str(error)) from error
        return reply

    def stream(self, body: dict[str, Any]) -> Generator[dict[str, Any], None, None]:
        """Yield the chunks of the response."""
        from intact.serve.apis.openai.chat import chunks
        from intact.serve.errors import ApiError
        from intact.serve.forms import read_form
        from intact.serve.requests import ChatRequest

        arrived: SimpleQueue[dict[str, Any] | BaseException | None] = SimpleQueue()

        async def forward() -> None:
            try:
                request, _ = read_form(ChatRequest, body | {"stream": True}, self._service.settings)
                async with aclosing(chunks(self._service, request, CLIENT)) as found:
                    async for chunk in found:
                        arrived.put(chunk)
                arrived.put(None)
            except BaseException as error:
                arrived.put(error)
                raise

        running = asyncio.run_coroutine_threadsafe(forward(), self._loop)
        try:
            while (chunk := arrived.get()) is not None:
                if isinstance(chunk, ApiError):
                    raise ParameterError(str(chunk)) from chunk
                if isinstance(chunk, BaseException):
                    raise chunk
                yield chunk
        finally:
            running.cancel()

    def close(self) -> None:
        """Unload the model."""
        self._end()


def _unload(models: Models, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    """Unload a source's models and end its thread."""
    asyncio.run_coroutine_threadsafe(models.close(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
