"""State shared by all endpoints: settings, models, worker threads, receipts of recent answers."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

from fastapi import Depends, Request
from starlette.responses import Response

from intact._base.errors import IntactError
from intact.engine.completion import Completion
from intact.reason.problem import Result
from intact.serve import telemetry
from intact.serve.errors import ApiError, as_api_error, ending
from intact.serve.metrics import Metrics
from intact.serve.models import Models
from intact.serve.replies import encode
from intact.serve.settings import ServerSettings

if TYPE_CHECKING:
    from intact.evaluate.calibrated import CalibrationRun

T = TypeVar("T")

METHODS = 8
"""Number of reasoning methods that run concurrently."""
VERIFICATIONS = 4
"""Number of receipts verified concurrently."""
PULLS = 1
"""Number of models downloaded concurrently."""
RECEIPTS = 64 << 20
"""Maximum total bytes of receipts kept for fetching."""
LONG = 1 << 16
"""Number of characters from which an input counts as long."""
_LONG_TEXTS = ThreadPoolExecutor(1, "intact-long-texts")


async def in_thread(work: Callable[[], T], param: str | None = None, length: int = 0) -> T:
    """Run short work in a thread; errors of the library become client errors about the field `param`.

    Parameters
    ----------
    length : int
        Number of characters to process. Long inputs are processed one at a time, so that threads are left for other
        work; an input whose client disconnects before its turn is skipped.
    """
    pool, context = _LONG_TEXTS if length >= LONG else None, contextvars.copy_context()
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, partial(context.run, work))
    except IntactError as error:
        raise as_api_error(error, (), param) from error


def text_length(value: Any) -> int:
    """Return the total number of characters in all strings of a JSON value."""
    if isinstance(value, Mapping):
        return sum(text_length(item) for item in value.values())
    return len(value) if isinstance(value, str) else sum(map(text_length, value)) if isinstance(value, list) else 0


async def uninterrupted(work: Awaitable[T]) -> T:
    """Wait for work that cannot be interrupted; if the caller is cancelled meanwhile, raise that afterwards."""
    future, cancelled = asyncio.ensure_future(work), None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        with suppress(Exception):  # no caller waits for it any more
            future.result()
        raise cancelled
    return future.result()


class CancellableWork(ABC, Generic[T]):
    """Work done in one thread that another thread may cancel.

    Parameters
    ----------
    name : str
        Name in traces.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._cancelled = threading.Event()

    @abstractmethod
    def run(self) -> T:
        """Run the work, calling `check` regularly."""

    def cancel(self) -> None:
        """Stop the work, since no client waits for it any more."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise if the work was cancelled.

        Raises
        ------
        ApiError
            503; a client sees it only if the server is shutting down, since otherwise it has disconnected.
        """
        if self._cancelled.is_set():
            raise ending()


class WorkerPool:
    """Threads for one kind of work, at most `most` at a time; additional work waits for a thread."""

    def __init__(self, most: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(most, name)
        self._running: set[CancellableWork[Any]] = set()

    @asynccontextmanager
    async def running(self, work: CancellableWork[T]) -> AsyncIterator[asyncio.Future[T]]:
        """Run work until it or the block ends; afterwards no thread is still working on it."""
        with telemetry.span(work.name):
            begun = self._pool.submit(work.run)
            future = asyncio.wrap_future(begun)
            self._running.add(work)
            try:
                yield future
            finally:
                work.cancel()
                if not begun.cancel():  # it is running, or has run
                    with suppress(Exception):  # the block has seen it, if it was still waiting
                        await uninterrupted(asyncio.wrap_future(begun) if future.cancelled() else future)
                self._running.discard(work)

    async def close(self) -> None:
        """Cancel all work, and wait until it has ended."""
        for work in self._running:
            work.cancel()
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)


class ReceiptStore:
    """Receipts of recent answers by the answers' identifiers, each available only to the client that requested it.

    Parameters
    ----------
    most : int
        Maximum total bytes of all receipts; larger ones are not kept.
    """

    def __init__(self, most: int) -> None:
        self._most, self._bytes = most, 0
        self._stored: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def add(self, client: str, name: str, answers: Sequence[Completion | Result]) -> None:
        """Store the receipts of an answer, evicting the oldest if necessary."""
        content = encode([receipt_document(answer) for answer in answers])
        if len(content) > self._most:
            return
        self._stored[client, name] = content
        self._bytes += len(content)
        while self._bytes > self._most:
            self._bytes -= len(self._stored.popitem(last=False)[1])

    def find(self, client: str, name: str) -> bytes:
        """Return the receipts of an answer as a JSON list.

        Raises
        ------
        ApiError
            404, if there are none.
        """
        if (client, name) not in self._stored:
            message = f"there are no receipts of {name!r:.100}: request them with intact.receipt, and fetch them soon"
            raise ApiError(404, message, code="not_found")
        return self._stored[client, name]

    def response(self, client: str, name: str) -> Response:
        """Return the HTTP response with the receipts of an answer; errors as for `find`."""
        return Response(b'{"object":"list","data":%b}' % self.find(client, name), media_type="application/json")


def receipt_document(answer: Completion | Result) -> Any:
    """Return an answer's receipt as a JSON value."""
    return None if answer.receipt is None else answer.receipt.to_document()


@dataclass(eq=False)
class Service:
    """The state of a server.

    Attributes
    ----------
    tracing : Exporter or None
        Destination of traces, if requested.
    calibrations : tuple of CalibrationRun
        Graded runs that calibrate the answers of methods.
    methods, verifications, pulls : WorkerPool
        Threads for reasoning methods, verifications, and model downloads.
    ending : bool
        If true, the server is shutting down.
    cut : Event
        Set when running requests must end immediately.
    """

    settings: ServerSettings
    models: Models
    tracing: telemetry.Exporter | None = None
    calibrations: tuple[CalibrationRun, ...] = ()
    methods: WorkerPool = field(default_factory=lambda: WorkerPool(METHODS, "intact-method"))
    verifications: WorkerPool = field(default_factory=lambda: WorkerPool(VERIFICATIONS, "intact-verify"))
    pulls: WorkerPool = field(default_factory=lambda: WorkerPool(PULLS, "intact-pull"))
    receipts: ReceiptStore = field(default_factory=lambda: ReceiptStore(RECEIPTS))
    ending: bool = False
    cut: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.metrics = Metrics(self.models)

    def seconds(self, deadline: float | None = None) -> float:
        """Return the timeout of a request, given its own deadline, if any."""
        limit = self.settings.request_seconds
        return limit if deadline is None else min(limit, deadline)


async def _service(request: Request) -> Service:
    return request.app.state.service  # type: ignore[no-any-return]


async def _client(request: Request) -> str:
    return str(request.scope["intact.client"])


TheService = Annotated[Service, Depends(_service)]
"""Endpoint parameter: the server's state."""
Client = Annotated[str, Depends(_client)]
"""Endpoint parameter: the client's name, as determined by the middleware."""
