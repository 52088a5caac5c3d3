"""A cassette's proxy in a thread of this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from intact.serve.background import in_background
from intact.serve.cassette.local import LocalModel
from intact.serve.cassette.proxy import CassetteProxy
from intact.serve.cassette.recorder import CassetteRecorder
from intact.serve.cassette.upstream import Api, Upstream
from intact.serve.settings import ServerSettings

BODY: int = 64 << 20
"""Maximum bytes of a request: more than the server's own limit, since endpoints take pictures and files."""


class RunningProxy(NamedTuple):
    """A proxy that listens.

    Attributes
    ----------
    url : str
        Its address, without a path.
    token : str
        Secret with which a request may name its endpoint.
    """

    url: str
    token: str


@contextmanager
def proxying(
    recorder: CassetteRecorder, upstreams: Mapping[Api, Upstream], local: LocalModel | None = None, *, port: int = 0
) -> Iterator[RunningProxy]:
    """Run a proxy on a loopback address until the block ends; its last answers are then recorded."""
    settings = ServerSettings(port=port, body_bytes=BODY, upload_bytes=BODY)
    proxy = CassetteProxy(recorder, upstreams, local)
    with ExitStack() as stack:
        if local is not None:
            stack.callback(local.close)
        url = stack.enter_context(in_background(proxy.application(settings), settings))
        yield RunningProxy(url, proxy.token)
