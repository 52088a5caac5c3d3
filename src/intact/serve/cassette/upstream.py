"""Endpoints: their addresses for each API, and the requests that are sent on to them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args
from urllib.parse import urlsplit

from intact._base.errors import ParameterError

Api = Literal["openai", "anthropic", "ollama"]
APIS: Final = get_args(Api)
DIRECT: Final = "intact.direct"
"""Extension of requests that the patch of httpx (`httpx_patch`) leaves alone."""
_DEFAULTS: Final[Mapping[Api, tuple[str, str]]] = {
    "openai": ("OPENAI_BASE_URL", "https://api.openai.com/v1"),
    "anthropic": ("ANTHROPIC_BASE_URL", "https://api.anthropic.com"),
    "ollama": ("OLLAMA_HOST", "http://127.0.0.1:11434"),
}
"""Environment variable and usual address of each API."""
ENDPOINTS: Final = re.compile(
    r"(?:/v1)?(?:/chat/completions|/completions|/embeddings|/models(?:/[^/]+)?|/rerank|/responses(?:/[^/]+)?)"
    r"|/v1/messages(?:/count_tokens)?|/api/(?:chat|embed|embeddings|generate|show|tags|version)"
)
"""Pattern of the ends of paths of language models' APIs."""
_NOT_FORWARDED: Final = frozenset(
    (
        *("accept-encoding", "connection", "content-encoding", "content-length", "expect", "host", "keep-alive"),
        *("proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding"),
        *("upgrade",),
    )
)


@dataclass(frozen=True)
class Upstream:
    """An endpoint.

    Attributes
    ----------
    base : str
        Its address, without credentials, such as ``https://api.openai.com/v1``.

    Raises
    ------
    ParameterError
        If it is no address of an endpoint.
    """

    base: str

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.base)
            valid = (
                parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
            )
        except ValueError:
            valid = False
        if not valid:
            raise ParameterError(f"{self.base!r:.100} is no address; expected http:// or https:// with a host")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ParameterError("an address must have no credentials, query or fragment: keys are sent as headers")

    @property
    def host(self) -> str:
        """Scheme, host and port."""
        parts = urlsplit(self.base)
        return f"{parts.scheme}://{parts.netloc}"

    def url(self, path: str, query: str = "") -> str:
        """Return the address of a path as clients write it.

        Base addresses of OpenAI's API end where its paths begin with ``/v1``; those of the other APIs end before that.
        """
        base = urlsplit(self.base).path.rstrip("/")
        if base.endswith("/v1") or api_of(path) != "openai":
            base = base.removesuffix("/v1")
        elif base:
            path = path.removeprefix("/v1")
        return f"{self.host}{base}{path}" + (f"?{query}" if query else "")


def api_of(path: str) -> Api:
    """Return the API to which a path belongs."""
    if path.startswith("/v1/messages") or path == "/v1/complete":
        return "anthropic"
    return "ollama" if path.startswith("/api/") or path in ("/", "/api") else "openai"


def read_upstreams(texts: Sequence[str]) -> dict[Api, Upstream]:
    """Return the endpoint of each API.

    Parameters
    ----------
    texts : sequence of str
        Addresses, each for all APIs, or for one as ``API=URL``; without one, the address is that of the environment
        variables from which clients take it, or else the API's public one.

    Raises
    ------
    ParameterError
        If one is no address, or two are for the same API.
    """
    given: dict[Api, str] = {}
    everything = ""
    for text in texts:
        name, equals, url = text.partition("=")
        api = next((one for one in APIS if one == name), None)
        if equals and api is not None:
            if api in given:
                raise ParameterError(f"there are two addresses for {api}")
            given[api] = url
        elif everything:
            raise ParameterError(f"there are two addresses for all APIs; write API=URL, with one of {', '.join(APIS)}")
        else:
            everything = text
    return {api: Upstream(given.get(api) or everything or default_address(api)) for api in APIS}


def default_address(api: Api) -> str:
    """Return the address that clients of an API would use here."""
    variable, usual = _DEFAULTS[api]
    address = os.environ.get(variable) or usual
    if "://" not in address:  # Ollama's variable may be a host only
        host = address.replace("0.0.0.0", "127.0.0.1")
        address = f"http://{host}" if ":" in host else f"http://{host}:11434"
    return address


def split_address(url: str) -> tuple[str, str]:
    """Return the base address and the path of a client's request, so that the path is as with a base address set.

    ``https://host/api/v1/chat/completions`` becomes ``https://host/api/v1`` and ``/v1/chat/completions``.
    """
    parts = urlsplit(url)
    host = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    found = re.search(rf"(?:{ENDPOINTS.pattern})\Z", parts.path)
    if found is None or not found[0].startswith("/v1/"):
        return host, parts.path or "/"
    return host + parts.path[: found.start()] + "/v1", found[0]


def forwarded(headers: Mapping[str, str], extra: Sequence[str] = ()) -> dict[str, str]:
    """Return the headers of a message that are sent on: all but those of the connection."""
    return {name: value for name, value in headers.items() if name not in _NOT_FORWARDED and name not in extra}
