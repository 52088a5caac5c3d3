"""A patch of aiohttp, on which LiteLLM's asynchronous client is built; as `httpx_patch`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from intact.serve.cassette.redirection import redirection
from intact.serve.cassette.running import RunningProxy


@contextmanager
def patched_aiohttp(module: Any, proxy: RunningProxy) -> Iterator[None]:
    """Send requests of aiohttp to language models through a proxy until the block ends."""
    original = module.ClientSession._request

    async def request(self: Any, method: str, url: Any, **options: Any) -> Any:
        there = redirection(str(self._build_url(url)), proxy)
        if there is not None:
            headers = {**dict(self._prepare_headers(options.get("headers"))), **there.headers}
            url, options = there.url, options | {"headers": headers, "ssl": False, "proxy": None}
        return await original(self, method, url, **options)

    module.ClientSession._request = request
    try:
        yield
    finally:
        module.ClientSession._request = original
