"""Patches of httpx that send requests to language models through a cassette's proxy, whatever address clients use.

It changes the transports, so it holds for clients that exist already, for asynchronous ones, and for the clients of
OpenAI, Anthropic and Ollama, which are built on httpx or httpx2. Other requests are left alone. `patched` also applies
the patch of aiohttp.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from intact.serve.cassette.aiohttp_patch import patched_aiohttp
from intact.serve.cassette.redirection import redirection
from intact.serve.cassette.running import RunningProxy
from intact.serve.cassette.upstream import DIRECT

MODULES: Final = ("httpx", "httpx2")


@contextmanager
def patched(proxy: RunningProxy) -> Iterator[None]:
    """Send requests to language models through a proxy until the block ends."""
    with ExitStack() as stack:
        for name in MODULES:
            if find_spec(name) is not None:
                stack.enter_context(_patched(import_module(name), proxy))
        if find_spec("aiohttp") is not None:
            stack.enter_context(patched_aiohttp(import_module("aiohttp"), proxy))
        yield


@contextmanager
def _patched(module: Any, proxy: RunningProxy) -> Iterator[None]:
    sync_class, async_class = module.HTTPTransport, module.AsyncHTTPTransport
    original, original_async = sync_class.handle_request, async_class.handle_async_request

    def redirected(request: Any) -> Any:
        """Return the request to the proxy; None if the request is not for a language model."""
        there = None if request.extensions.get(DIRECT) else redirection(str(request.url), proxy)
        if there is None:
            return None
        headers = module.Headers(request.headers)
        headers.update(there.headers)
        return module.Request(
            request.method, there.url, headers=headers, stream=request.stream, extensions=request.extensions
        )

    def handle_request(self: Any, request: Any) -> Any:
        there = redirected(request)
        if there is None:
            return original(self, request)
        transport = sync_class(verify=False, trust_env=False)
        try:
            response = original(transport, there)
        except BaseException:
            transport.close()
            raise
        response.stream = closing(response.stream, transport.close)
        return response

    async def handle_async_request(self: Any, request: Any) -> Any:
        there = redirected(request)
        if there is None:
            return await original_async(self, request)
        transport = async_class(verify=False, trust_env=False)
        try:
            response = await original_async(transport, there)
        except BaseException:
            await transport.aclose()
            raise
        response.stream = closing_async(response.stream, transport.aclose)
        return response

    closing, closing_async = _closing(module), _closing_async(module)
    sync_class.handle_request, async_class.handle_async_request = handle_request, handle_async_request
    try:
        yield
    finally:
        sync_class.handle_request, async_class.handle_async_request = original, original_async


def _closing(module: Any) -> Callable[[Any, Callable[[], None]], Any]:
    """Return a class of streams that close their transport too."""

    class ClosingStream(module.SyncByteStream):  # type: ignore[misc]
        """A body whose transport is closed with it."""

        def __init__(self, stream: Any, close: Callable[[], None]) -> None:
            self._stream, self._close = stream, close

        def __iter__(self) -> Iterator[bytes]:
            yield from self._stream

        def close(self) -> None:
            """Close the body and the transport."""
            self._stream.close()
            self._close()

    return ClosingStream


def _closing_async(module: Any) -> Callable[[Any, Callable[[], Any]], Any]:
    """Return a class of asynchronous streams that close their transport too."""

    class ClosingAsyncStream(module.AsyncByteStream):  # type: ignore[misc]
        """A body whose transport is closed with it."""

        def __init__(self, stream: Any, close: Callable[[], Any]) -> None:
            self._stream, self._close = stream, close

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for chunk in self._stream:
                yield chunk

        async def aclose(self) -> None:
            """Close the body and the transport."""
            await self._stream.aclose()
            await self._close()

    return ClosingAsyncStream
