"""Interfaces of a driver and of an execution, as far as the requests that they serve use them."""

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
    """The driver of executions (`intact.reason.driving.driver.Driver` says more)."""

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
        """Have a back end write texts, and call `done` with each that has ended."""

    def run_work(
        self,
        execution: ExecutionInterface,
        known: Any,
        work: Callable[[Event], Any],
        done: Callable[[Future[Any]], None],
    ) -> None:
        """Do work in a thread, unless its result is known."""

    def end_work(self, execution: ExecutionInterface) -> None:
        """End an execution's work in threads."""

    def needs_time(self, backend: Backend) -> bool:
        """Return whether a model's chat template is given the time."""

    def model(self, execution: ExecutionInterface, name: str) -> Backend:
        """Find the back end of a model by its name, and note that the execution has it."""

    def find_model(self, name: str) -> Backend:
        """Find the back end of a model by its name."""

    def capped(self, steps: Any, sampling: Mapping[str, Any]) -> Any:
        """Return the steps of a method, which keep the cap on thoughts if there is one."""


class ExecutionInterface(Protocol):
    """A method at work (`intact.reason.driving.execution.Execution` says more)."""

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
        """Whoever runs it."""

    def pump(self) -> None:
        """Advance as far as possible."""

    def time_out(self) -> None:
        """Cancel all that is under way."""

    def close(self) -> None:
        """Close the generator."""

    def writing(self, request: Extend) -> Writing:
        """Resolve what an extension leaves open."""

    def sharing(self, request: WriteTogether) -> tuple[SharingBackend, SharedRequest]:
        """Resolve what a text that workers write together leaves open."""

    def call(self, request: CallMethod | Score) -> tuple[str, ExecutionInterface]:
        """Begin what another method or a scorer does, by its name."""

    def note(self, key: bytes) -> None:
        """Note in the journal that a request has begun."""

    def recall(self, key: bytes, text: bool = False) -> Any:
        """Return what the journal knows of a request."""

    def keep(self, key: bytes, value: Any, cut: bool = False) -> None:
        """Have the journal keep a result."""

    def own(self, key: bytes) -> bytes:
        """Return the key of a request that only this very job shares."""
