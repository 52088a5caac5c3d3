"""The server in front of the replicas: it checks requests like any server, and forwards each to a replica.

Answers are functions of their requests. So if a replica dies, its requests are repeated on another with the same
identifiers, and the part of a stream that was already sent is skipped. Nothing is lost, and nothing is sent twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import signal
import sys
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from itertools import count
from types import SimpleNamespace
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from intact.serve.app import cross_origin, error_formats
from intact.serve.errors import ApiError
from intact.serve.identity import TAG, RequestIdentity
from intact.serve.metrics import AccessMiddleware, Metrics
from intact.serve.middleware import SecurityMiddleware
from intact.serve.replicas.fleet import Fleet, ReplicaHandle
from intact.serve.replicas.replica import END, UNREAD, ForwardedRequest
from intact.serve.replicas.routing import blocks
from intact.serve.replies import reply
from intact.serve.settings import ServerSettings

RERUNS = 5
"""Maximum number of repetitions of a request whose replica was lost."""
PLACES = 1 << 16
"""Number of requests whose replica is remembered, since it stores their receipts and responses."""
_SCOPE = ("type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "query_string", "root_path")
_OWN_SCOPE = ("headers", "client", "server", "intact.client")
_IDENTIFIER = re.compile(rb"_?([0-9a-f]{32})\b")
_PROGRESS = b'"event":"writing"'
"""Marker of methods' progress events, which depend on timing and so differ when a request is repeated."""


class Gateway:
    """An ASGI application that forwards requests to replicas.

    Parameters
    ----------
    fleet : Fleet
        The replicas, which are started and watched while the server runs.
    cut : Event
        Set when running requests must end immediately.
    """

    def __init__(self, fleet: Fleet, settings: ServerSettings, cut: asyncio.Event) -> None:
        self.fleet, self._settings, self._cut = fleet, settings, cut
        self._numbers = count()
        self._places: OrderedDict[bytes, int] = OrderedDict()
        self._ending = False
        self.metrics = GatewayMetrics(fleet)

    def application(self) -> ASGIApp:
        """Return the application wrapped in the checks for every request."""
        app: ASGIApp = SecurityMiddleware(self, self._settings, error_formats())
        if self._settings.origins:
            app = CORSMiddleware(app, **cross_origin(self._settings))
        return AccessMiddleware(app, self.metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or handle the server's startup and shutdown."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        path = scope["path"]
        if path in ("/health", "/ready", "/metrics"):
            scope["route"] = SimpleNamespace(path=path)
            await self._own(path)(scope, receive, send)
        elif path == "/api/pull":
            raise ApiError(403, "replicas serve only the models that the server was started with", code="unsupported")
        else:
            await self._forward(scope, receive, send)

    def _own(self, path: str) -> Response:
        """Return the response for a path that the server handles itself."""
        if path == "/health":
            return reply({"status": "ok"})
        if path == "/metrics":
            return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")
        is_ready = bool(self.fleet.ready) and not self._ending
        return reply({"status": "ready" if is_ready else "not ready"}, 200 if is_ready else 503)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        tasks = {asyncio.create_task(self.fleet.watch()), asyncio.create_task(self._cut_in_time())}
        loop = asyncio.get_running_loop()
        if sys.platform != "win32":  # Windows has no such signal
            with suppress(NotImplementedError, RuntimeError, ValueError):  # unavailable in some threads
                loop.add_signal_handler(signal.SIGHUP, lambda: tasks.add(loop.create_task(self.fleet.restart())))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._ending = True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await send({"type": "lifespan.shutdown.complete"})

    async def _cut_in_time(self) -> None:
        await self._cut.wait()
        await self.fleet.cut()

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request to a replica, or to another one if the first is lost."""
        body = (await receive()).get("body", b"")
        identity = RequestIdentity.fresh()
        forwarded = {name: scope[name] for name in (*_SCOPE, *_OWN_SCOPE) if name in scope}
        beginnings = blocks(body) if scope["method"] == "POST" else []
        wanted, response = self._place(scope["path"], body), _Sent(send)
        gone = asyncio.create_task(_disconnected(receive))
        try:
            for _ in range(1 + RERUNS):
                replica = await self._choose(beginnings, wanted)
                request = ForwardedRequest(next(self._numbers), forwarded, body, identity.nonce, time=identity.time)
                self._remember(identity, replica)
                try:
                    await self._relay(replica, request, response, gone, scope=scope)
                except self.fleet.errors as error:
                    self.fleet.lose(replica, str(error))
                    if gone.done():
                        return
                    self.fleet.reruns += 1
                    response.again()
                    continue
                finally:
                    replica.load -= 1
                return
            raise ApiError(503, f"{1 + RERUNS} replicas were lost while answering this request", code="replica_lost")
        finally:
            gone.cancel()

    async def _choose(self, beginnings: Sequence[bytes], wanted: int | None) -> ReplicaHandle:
        """Return a replica for a request once one is available; raise a 503 error on timeout."""
        seconds = self._settings.request_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self.fleet.choose(beginnings, wanted)
        except TimeoutError:
            raise ApiError(503, f"no replica was ready within {seconds:g} seconds", code="no_replica") from None

    async def _relay(
        self, replica: ReplicaHandle, request: ForwardedRequest, response: _Sent, gone: asyncio.Task[None], scope: Scope
    ) -> None:
        """Relay a replica's response until it ends, or the client has disconnected."""
        stream = replica.actor.answer.options(num_returns="streaming").remote(request)
        batches, read, left = _batches(stream), 0, False
        while True:
            following = asyncio.ensure_future(anext(batches))
            await asyncio.wait({following, gone} if not left else {following}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done() and not left:
                left = True
                replica.actor.leave.remote(request.number)
            batch = await following
            if (read := read + 1) == UNREAD // 2:
                replica.actor.read.remote(request.number, read)
                read = 0
            for message in batch:
                if message["type"] == END:
                    _note(scope, message)
                    if message["broken"] and not left:
                        raise ConnectionError("the answer was cut off; the log of the replica has the reason")
                    response.check(left)
                    return
                if not left:
                    await response.send(message)

    def _place(self, path: str, body: bytes) -> int | None:
        """Return the replica that stores the receipt or earlier response that a request's identifier refers to."""
        if path.startswith(("/v1/receipts/", "/v1/responses/")):
            found = _IDENTIFIER.search(path.encode())
        elif path == "/v1/responses" and b"previous_response_id" in body:
            found = re.search(rb'"previous_response_id"\s*:\s*"resp_([0-9a-f]{32})"', body)
        else:
            return None
        return None if found is None else self._places.get(found[1][:TAG])

    def _remember(self, identity: RequestIdentity, replica: ReplicaHandle) -> None:
        self._places[identity.tag.encode()] = replica.number
        while len(self._places) > PLACES:
            self._places.popitem(last=False)


class _Sent:
    """A response in transit, with a record of the sent messages in case it is generated again.

    Parts of several completions may then arrive in a different order, but those of each completion keep theirs. So of
    each group of byte-identical parts, the number that was already sent is skipped.
    """

    def __init__(self, send: Send) -> None:
        self._send, self._begun, self._is_again = send, False, False
        self._parts, self._before = Counter[bytes](), Counter[bytes]()

    def again(self) -> None:
        """Expect the response to start over."""
        self._before, self._is_again = self._parts.copy(), True

    async def send(self, message: Message) -> None:
        """Send a message, unless it was already sent."""
        if message["type"] == "http.response.start":
            if self._begun:
                return
            self._begun = True
        elif (body := message.get("body")) and _PROGRESS not in body:
            part = hashlib.blake2b(body, digest_size=16).digest()
            if self._before[part] > 0:
                self._before[part] -= 1
                return
            self._parts[part] += 1
        await self._send(message)

    def check(self, left: bool) -> None:
        """Raise if something was sent that the repeated response does not contain."""
        if self._is_again and not left and self._before.total():
            raise ConnectionError("a repeated answer differs from what was already sent")


class GatewayMetrics(Metrics):
    """Metrics of the server, and of its replicas as last reported."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        super().__init__(None)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the replicas."""
        fleet = self._fleet
        yield GaugeMetricFamily("intact_replicas", "Replicas that answer.", len(fleet.ready))
        for name, text, value in (
            ("intact_replicas_lost", "Replicas that were lost.", fleet.lost),
            ("intact_requests_rerun", "Requests that were done again, as their replica was lost.", fleet.reruns),
            ("intact_requests_forwarded", "Requests that went to replicas.", fleet.forwarded),
            ("intact_requests_matched", "Requests whose replica knew their beginning.", fleet.matched),
        ):
            yield CounterMetricFamily(name, text, value)
        load = GaugeMetricFamily("intact_replica_requests", "Requests that a replica works on.", labels=("replica",))
        counters: dict[str, CounterMetricFamily] = {}
        for number, replica in fleet.ready.items():
            load.add_metric((str(number),), replica.load)
            for model, values in replica.report.get("engines", {}).items():
                for field, value in values.items():
                    text = f"The engine's counter {field} of a replica."
                    name, labels = f"intact_engine_{field}", ("replica", "model")
                    family = counters.setdefault(field, CounterMetricFamily(name, text, labels=labels))
                    family.add_metric((str(number), model), value)
        yield load
        yield from counters.values()


async def _batches(stream: Any) -> AsyncIterator[list[Message]]:
    async for reference in stream:
        yield await reference


def _note(scope: Scope, end: Message) -> None:
    """Record facts that a replica reported about a request for the access log."""
    scope["route"] = SimpleNamespace(path=end["route"])
    if end["error"] is not None:
        scope["state"]["error"] = ApiError(*end["error"])


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
