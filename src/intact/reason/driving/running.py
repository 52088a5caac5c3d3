"""Interfaces of the driver and of executions, as seen by the requests that they serve."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from threading import Event
from typing import Any, Protocol

from intact.engine.shared_cache.request import SharedRequest
from intact.reason.backends.base import Backend, Generation, SharingBackend
from intact.reason.budget import Ledger
from intact.reason.driving.journal import Journal
from intact.reason.driving.services import Root, Services
from intact.reason.driving.writing import ReadTexts, Writing
from intact.reason.problem import Conclusion, Problem
from intact.reason.requests import CallMethod, Extend, Score, WriteTogether
from intact.reason.thinking import ThinkingMode


class DriverInterface(Protocol):
    """Interface of the driver; see `intact.reason.driving.driver.Driver`."""

    journal: Journal | None
    services: Services
    now: datetime | None
    thinking: ThinkingMode | None
    ready: deque[ExecutionInterface]
    watch: Callable[[str, Mapping[str, Any]], None] | None
    written: int

    def start(
        self,
        execution: ExecutionInterface,
        backend: Backend,
        generations: Sequence[Generation],
        done: Callable[[Generation], None],
    ) -> None:
        """Have a back end write completions, and call `done` with each finished one."""

    def run_work(
        self,
        execution: ExecutionInterface,
        known: Any,
        work: Callable[[Event], Any],
        done: Callable[[Future[Any]], None],
    ) -> None:
        """Run work in a thread, unless its result is known."""

    def end_work(self, execution: ExecutionInterface) -> None:
        """Stop an execution's work in threads."""

    def needs_time(self, backend: Backend) -> bool:
        """Return true if a model's chat template is given the time."""

    def model(self, execution: ExecutionInterface, name: str) -> Backend:
        """Look up the back end of a model by name, and record that the execution uses it."""

    def find_model(self, name: str) -> Backend:
        """Look up the back end of a model by name."""

    def capped(self, steps: Any, sampling: Mapping[str, Any]) -> Any:
        """Wrap the steps of a method so that they respect the cap on thinking, if there is one."""


class ExecutionInterface(Protocol):
    """Interface of an execution; see `intact.reason.driving.execution.Execution`."""

    root: Root
    problem: Problem
    ledger: Ledger
    reader: ReadTexts
    journal: Journal | None
    conclusion: Conclusion | None
    value: Any
    error: Exception | None
    text_error: str
    prompt_error: str
    spent: bool
    nodes: list[dict[str, Any]]
    waiter: Callable[[], None] | None

    @property
    def driver(self) -> DriverInterface:
        """The driver that runs it."""

    def pump(self) -> None:
        """Advance as far as possible."""

    def time_out(self) -> None:
        """Cancel all requests in progress."""

    def close(self) -> None:
        """Close the generator."""

    def writing(self, request: Extend) -> Writing:
        """Resolve the defaults of an extension."""

    def sharing(self, request: WriteTogether) -> tuple[SharingBackend, SharedRequest]:
        """Resolve the defaults of a request to write together."""

    def call(self, request: CallMethod | Score) -> tuple[str, ExecutionInterface]:
        """Start another method, or a scorer that is a generator; also return its name."""

    def note(self, key: bytes) -> None:
        """Record in the journal that a request has begun."""

    def recall(self, key: bytes, text: bool = False) -> Any:
        """Return the journaled result of a request."""

    def keep(self, key: bytes, value: Any, cut: bool = False) -> None:
        """Record a result in the journal."""

    def own(self, key: bytes) -> bytes:
        """Return a key for the request that is specific to this job."""
