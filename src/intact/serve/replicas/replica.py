"""A replica: an actor that runs the server's application without connections, and answers forwarded requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from starlette.types import Message

from intact._base.errors import WorkerError
from intact._base.system import processors
from intact.evaluate.cluster.models import Shipment, received
from intact.serve.app import create_app
from intact.serve.identity import REQUEST, RequestIdentity
from intact.serve.models import Loading, Models
from intact.serve.replies import logged
from intact.serve.service import Service
from intact.serve.settings import ServerSettings

END = "intact.end"
"""Type of the message after a response, with facts for the access log."""
UNREAD = 64
"""Maximum number of message batches buffered until the server reads them."""
COUNTERS = ("steps", "rows", "prefilled", "decoded", "cached_tokens", "preemptions", "drafted", "accepted", "saturated")
"""Engine counters that replicas report."""


@dataclass(frozen=True)
class ReplicaPlan:
    """The models and settings of replicas.

    Attributes
    ----------
    shipments : mapping of str to Shipment
        The models, by the names that clients use.
    created : mapping of str to int
        The timestamps of their files, as reported to clients.
    share : int
        Number of replicas that share a machine; unless `loading` sets the threads, each gets its share of the CPUs.
    """

    shipments: Mapping[str, Shipment]
    created: Mapping[str, int]
    loading: Loading
    settings: ServerSettings
    share: int = 1


class ForwardedRequest(NamedTuple):
    """A request as sent to a replica: the ASGI scope without its connection details, and the body."""

    number: int
    scope: dict[str, Any]
    body: bytes
    nonce: bytes
    time: float


@dataclass(eq=False)
class _Exchange:
    """A request being answered: its messages, and a signal that its client has disconnected."""

    messages: asyncio.Queue[Message]
    unread: asyncio.Semaphore
    gone: asyncio.Event


class Replica:
    """An actor with the models; call `start` first."""

    def __init__(self, plan: ReplicaPlan, files: Any) -> None:
        self._plan, self._files = plan, files
        self._exchanges: dict[int, _Exchange] = {}
        self._tasks = set[asyncio.Task[None]]()

    async def start(self) -> dict[str, Any]:
        """Load the first model, pulling it by digest if it is missing, and return its fingerprint and tier.

        Raises
        ------
        WorkerError
            If it cannot be loaded.
        """
        plan = self._plan
        paths = await asyncio.to_thread(received, plan.shipments, self._files)
        loading = plan.loading
        if loading.threads is None and plan.share > 1:
            loading = replace(loading, threads=max(1, processors() // plan.share))
        models = Models(paths, loading, plan.settings)
        for name, created in plan.created.items():
            models.served[name].created = created
        self._service = Service(plan.settings, models)
        self._app = create_app(self._service, is_replica=True)
        self._life = self._app.router.lifespan_context(self._app)
        await self._life.__aenter__()
        first = models.served[models.first]
        while not models.ready and not first.failure:
            await asyncio.sleep(0.02)
        if first.model is None:
            raise WorkerError(first.failure or f"{first.name} was unloaded at once")
        return {"fingerprint": first.fingerprint, "tier": first.model.executor.description["tier"]}

    async def answer(self, request: ForwardedRequest) -> AsyncIterator[list[Message]]:
        """Yield the messages of a response, several at a time if available; the last one is of type `END`."""
        exchange = _Exchange(asyncio.Queue(UNREAD), asyncio.Semaphore(UNREAD), asyncio.Event())
        self._exchanges[request.number] = exchange
        task = asyncio.create_task(self._respond(request, exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            while True:
                batch = [await exchange.messages.get()]
                while not exchange.messages.empty():
                    batch.append(exchange.messages.get_nowait())
                yield batch
                if batch[-1]["type"] == END:
                    return
                await exchange.unread.acquire()
        finally:
            exchange.gone.set()
            self._exchanges.pop(request.number, None)

    async def read(self, number: int, batches: int) -> None:
        """Record that the server has read the given number of batches of a response."""
        if (exchange := self._exchanges.get(number)) is not None:
            for _ in range(batches):
                exchange.unread.release()

    async def leave(self, number: int) -> None:
        """Record that a request's client has disconnected; its work ends within a step."""
        if (exchange := self._exchanges.get(number)) is not None:
            exchange.gone.set()
            await self.read(number, UNREAD)

    async def cut(self) -> None:
        """End running requests immediately with an error, since the server is shutting down."""
        self._service.cut.set()

    async def state(self) -> dict[str, Any]:
        """Return the counts of requests, and the engine counters by model."""
        served = self._service.models.served.values()
        engines = {one.name: one.model.engine.counters for one in served if one.model is not None}
        return {
            "running": sum(one.admission.running for one in served),
            "waiting": sum(one.admission.waiting for one in served),
            "busy": max(one.admission.busy for one in served),
            "engines": {name: {field: getattr(c, field) for field in COUNTERS} for name, c in engines.items()},
        }

    async def _respond(self, request: ForwardedRequest, exchange: _Exchange) -> None:
        """Run the application on a request."""
        scope: dict[str, Any] = {**request.scope, "state": {}}
        REQUEST.set(RequestIdentity(request.nonce, request.time))
        end: dict[str, Any] = {"type": END, "route": "other", "error": None, "broken": False}
        try:
            await self._app(scope, partial(_receive, exchange, [request.body]), partial(_send, exchange))
        except Exception as error:
            logged(error)
            end["broken"] = True
        finally:
            end["route"] = getattr(scope.get("route"), "path", "other")
            if (noted := scope["state"].get("error")) is not None:
                end["error"] = (noted.status, noted.message, noted.param, noted.code)
            with suppress(asyncio.QueueFull):
                if exchange.gone.is_set():
                    exchange.messages.put_nowait(end)
                else:
                    await exchange.messages.put(end)


async def _receive(exchange: _Exchange, bodies: list[bytes]) -> Message:
    if bodies:
        return {"type": "http.request", "body": bodies.pop(), "more_body": False}
    await exchange.gone.wait()
    return {"type": "http.disconnect"}


async def _send(exchange: _Exchange, message: Message) -> None:
    if not exchange.gone.is_set():
        await exchange.messages.put(message)
