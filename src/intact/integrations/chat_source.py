"""Answers to chat requests in OpenAI's format, from a server or from a model in this process."""

from __future__ import annotations

import asyncio
import json
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from intact._base.errors import EndpointError, ParameterError
from intact._base.packages import check_installed
from intact.checkpoints.catalogue import resolve

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


class ServerSource(ChatSource):
    """A server, asked over HTTP."""

    def __init__(self, base_url: str, key: str | None = None) -> None:
        check_installed("a server's client", "httpx")
        import httpx

        try:
            address = httpx.URL(base_url)
        except httpx.InvalidURL as error:
            raise ParameterError(f"base_url {base_url!r:.100} is not an address: {error}") from None
        if address.scheme not in ("http", "https") or not address.host:
            raise ParameterError(f"base_url must be http://HOST... or https://HOST..., got {base_url!r:.100}")
        self.url = str(address).rstrip("/").removesuffix("/v1") + "/v1"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(headers=headers, timeout=SECONDS, verify=address.scheme == "https")
        self._failure = httpx.HTTPError

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the response to a request."""
        with self._sent(body) as response:
            return self._reply(b"".join(_bounded(response.iter_bytes())), response.status_code)

    def stream(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the chunks of a streamed response."""
        with self._sent({**body, "stream": True}) as response:
            if response.status_code != 200:
                self._reply(b"".join(_bounded(response.iter_bytes())), response.status_code)
            rest = b""
            for part in _bounded(response.iter_bytes()):
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    data = line.strip().removeprefix(b"data:").strip()
                    if line.startswith(b"data:") and data != b"[DONE]":
                        yield self._reply(data, 200)

    @contextmanager
    def _sent(self, body: dict[str, Any]) -> Iterator[httpx.Response]:
        """Send a request; yield the response before its body is read."""
        try:
            with self._client.stream("POST", f"{self.url}/chat/completions", json=body) as response:
                yield response
        except self._failure as error:
            reason = f"{type(error).__name__}: {error!s:.200}"
            raise EndpointError(f"{self.url} cannot be reached, or broke off ({reason})") from error

    def _reply(self, data: bytes, status: int) -> dict[str, Any]:
        """Parse a response or a chunk; raise if it is an error."""
        try:
            reply = json.loads(data)
        except ValueError:
            raise EndpointError(f"{self.url}: HTTP {status}, and the reply is not JSON") from None
        if status != 200 or not isinstance(reply, dict) or "error" in reply:
            message = reply.get("error", reply) if isinstance(reply, dict) else reply
            if isinstance(message, dict):
                message = message.get("message", message)
            raise EndpointError(f"{self.url}: HTTP {status}: {message!s:.400}")
        return reply

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _bounded(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the parts of a reply; raise if they become too large."""
    size = 0
    for part in parts:
        size += len(part)
        if size > LARGEST:
            raise EndpointError(f"a server's reply has more than {LARGEST:,} bytes")
        yield part


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
        self._end = weakref.finalize(self, _unload, self._service.models, self._loop, thread)  # also at exit

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

    def close(self) -> None:
        """Unload the model."""
        self._end()


def _unload(models: Models, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    """Unload a source's models and end its thread."""
    asyncio.run_coroutine_threadsafe(models.close(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
