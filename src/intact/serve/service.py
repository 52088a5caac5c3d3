"""The state that all endpoints share: settings, models, worker threads, receipts of recent answers."""

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
"""Reasoning methods that run at a time."""
VERIFICATIONS = 4
"""Receipts that are verified at a time."""
PULLS = 1
"""Models that are downloaded at a time."""
RECEIPTS = 64 << 20
"""Bytes of receipts that are kept to be fetched."""
LONG = 1 << 16
"""Characters from which a text is long."""
_LONG_TEXTS = ThreadPoolExecutor(1, "intact-long-texts")


async def in_thread(work: Callable[[], T], param: str | None = None, length: int = 0) -> T:
    """Run short work in a thread; an error of the library is the client's, about the field `param`.

    Parameters
    ----------
    length : int
        Characters of the text that the work reads. Long texts are read one at a time, so that threads are left for
        everything else; one whose client leaves before its turn is not read at all.
    """
    pool, context = _LONG_TEXTS if length >= LONG else None, contextvars.copy_context()
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, partial(context.run, work))
    except IntactError as error:
        raise as_api_error(error, (), param) from error


def text_length(value: Any) -> int:
    """Return the number of characters of all texts in a JSON value."""
    if isinstance(value, Mapping):
        return sum(text_length(item) for item in value.values())
    return len(value) if isinstance(value, str) else sum(map(text_length, value)) if isinstance(value, list) else 0


async def uninterrupted(work: Awaitable[T]) -> T:
    """Wait for work that cannot be left midway; if the caller is cancelled meanwhile, raise that afterwards."""
    future, cancelled = asyncio.ensure_future(work), None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        with suppress(Exception):  # nobody waits for it any more
            future.result()
        raise cancelled
    return future.result()


class CancellableWork(ABC, Generic[T]):
    """Work that one thread does, and another may cancel.

    Parameters
    ----------
    name : str
        Its name in traces.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._cancelled = threading.Event()

    @abstractmethod
    def run(self) -> T:
        """Do the work, and call `check` again and again meanwhile."""

    def cancel(self) -> None:
        """End the work: nobody waits for it any more."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise if the work was cancelled.

        Raises
        ------
        ApiError
            503; only a server that ends cancels work whose client is still there to read it.
        """
        if self._cancelled.is_set():
            raise ending()


class WorkerPool:
    """Threads for one kind of work, of which `most` is done at a time; more waits for a thread."""

    def __init__(self, most: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(most, name)
        self._running: set[CancellableWork[Any]] = set()

    @asynccontextmanager
    async def running(self, work: CancellableWork[T]) -> AsyncIterator[asyncio.Future[T]]:
        """Have work done until it ends or the block does; afterwards no thread is at it."""
        with telemetry.span(work.name):
            begun = self._pool.submit(work.run)
            future = asyncio.wrap_future(begun)
            self._running.add(work)
            try:
                yield future
            finally:
                work.cancel()
                if not begun.cancel():  # it has a thread, or had one
                    with suppress(Exception):  # which the block has seen, if it still waited
                        await uninterrupted(asyncio.wrap_future(begun) if future.cancelled() else future)
                self._running.discard(work)

    async def close(self) -> None:
        """Cancel all work, and wait until it has ended."""
        for work in self._running:
            work.cancel()
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)


class ReceiptStore:
    """The receipts of the last answers by the answers' identifiers, each for the client that asked alone.

    Parameters
    ----------
    most : int
        Bytes that all may take together; larger ones are not kept.
    """

    def __init__(self, most: int) -> None:
        self._most, self._bytes = most, 0
        self._stored: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def add(self, client: str, name: str, answers: Sequence[Completion | Result]) -> None:
        """Keep the receipts of an answer, and drop the oldest for them."""
        content = encode([receipt_document(answer) for answer in answers])
        if len(content) > self._most:
            return
        self._stored[client, name] = content
        self._bytes += len(content)
        while self._bytes > self._most:
            self._bytes -= len(self._stored.popitem(last=False)[1])

    def find(self, client: str, name: str) -> bytes:
        """Return the receipts of an answer, as a JSON list.

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
        """Return the response with the receipts of an answer; errors as of `find`."""
        return Response(b'{"object":"list","data":%b}' % self.find(client, name), media_type="application/json")


def receipt_document(answer: Completion | Result) -> Any:
    """Return an answer's receipt as JSON has it."""
    return None if answer.receipt is None else answer.receipt.to_document()


@dataclass(eq=False)
class Service:
    """The state of a server.

    Attributes
    ----------
    tracing : Exporter or None
        Destination of traces, if requested.
    calibrations : tuple of CalibrationRun
        Graded runs by which answers of methods are calibrated.
    methods, verifications, pulls : WorkerPool
        Threads of reasoning methods, of verifications, and of downloads of models.
    ending : bool
        If true, the server is about to end.
    cut : Event
        Set when running requests have to end at once.
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
        """Return how long a request may take that has a deadline of its own."""
        limit = self.settings.request_seconds
        return limit if deadline is None else min(limit, deadline)


async def _service(request: Request) -> Service:
    return request.app.state.service  # type: ignore[no-any-return]


async def _client(request: Request) -> str:
    return str(request.scope["intact.client"])


TheService = Annotated[Service, Depends(_service)]
"""An endpoint's parameter: the server's state."""
Client = Annotated[str, Depends(_client)]
"""An endpoint's parameter: the client's name, as the middleware knows it."""
