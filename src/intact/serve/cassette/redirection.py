"""Addresses of requests to language models, and those to which patched clients send them instead."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from intact.serve.cassette.proxy import TOKEN, UPSTREAM
from intact.serve.cassette.running import RunningProxy
from intact.serve.cassette.upstream import ENDPOINTS, split_address

_END: Final = re.compile(rf"(?:{ENDPOINTS.pattern})\Z")


class Redirection(NamedTuple):
    """The address of a request to the proxy, and the headers to add."""

    url: str
    headers: dict[str, str]


def redirection(url: str, proxy: RunningProxy) -> Redirection | None:
    """Return where a request goes instead of a language model's address; None if it is for something else.

    Parameters
    ----------
    url : str
        The request's whole address, percent-encoded.
    """
    parts = urlsplit(url)
    own = urlsplit(proxy.url).netloc
    if parts.netloc.rpartition("@")[2] == own or not _END.search(parts.path):
        return None
    base, path = split_address(url)
    query = f"?{parts.query}" if parts.query else ""
    return Redirection(proxy.url + path + query, {"host": own, UPSTREAM: base, TOKEN: proxy.token})
