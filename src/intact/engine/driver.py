"""Who steps the engine: threads that wait for their own requests, in turn, and one in the background for coroutines."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING
from weakref import WeakSet

from intact.engine.engine import Engine

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

_LOG = logging.getLogger("intact")
LINGER = 2.0  # seconds that the background thread waits for more to do before it ends


class _Place:
    """A thread's place in the line for a turn; its gate opens when it comes first."""

    def __init__(self) -> None:
        self.thread, self.gate = threading.get_ident(), threading.Lock()
        self.gate.acquire()


class Turn:
    """A lock that serves those who wait in the order of their coming; Python's own lets one thread take it for ever.

    Who is first in the line has it. To come and to go are one operation each, which no interrupt can tear, and to open
    the gate of who is first is always right, so that it may be done twice.
    """

    def __init__(self) -> None:
        self._line: deque[_Place] = deque()
        self._moving = set[int]()  # threads that are taking the turn, or giving it back
        self.torn = False  # whether nobody can have it: a fork caught the engine in a step

    @property
    def mine(self) -> bool:
        """Whether this very thread has the turn."""
        first = self._first
        return first is not None and first.thread == threading.get_ident()

    @property
    def barred(self) -> bool:
        """Whether this very thread cannot ask for the turn: it has it, or is taking it or giving it back.

        A collector may strike in the midst of either, and close what asks.
        """
        return self.mine or threading.get_ident() in self._moving

    @property
    def taken(self) -> bool:
        """Whether any thread has it."""
        return bool(self._line)

    def check(self) -> None:
        """Refuse the turn of an engine that a fork has caught in a step."""
        if self.torn:
            raise RuntimeError(
                "this process was forked while the model was at work: load it here, or fork when it has nothing to do"
            )

    def __enter__(self) -> None:
        self.check()
        if self.mine:
            raise RuntimeError(
                "the engine is in use by this very thread, inside `exclusive` or in a sink, which cannot start "
                "another request: leave it first"
            )
        place = _Place()
        try:
            try:
                self._moving.add(place.thread)
                self._line.append(place)
                if self._first is not place:
                    place.gate.acquire()
            finally:
                self._moving.discard(place.thread)
        except BaseException:  # interrupted: leave the line, or pass on a turn that has just come
            self._leave(place)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        place = self._line[0]
        try:
            try:
                self._moving.add(place.thread)
                self._leave(place)
            finally:
                self._moving.discard(place.thread)
        except BaseException:  # interrupted: the next must have its turn nevertheless
            self._leave(place)
            raise

    def _leave(self, place: _Place) -> None:
        with suppress(ValueError):  # it has left
            self._line.remove(place)
        first = self._first
        if first is not None:
            with suppress(RuntimeError):  # its gate is open
                first.gate.release()

    @property
    def _first(self) -> _Place | None:
        try:
            return self._line[0]
        except IndexError:
            return None


class EngineDriver:
    """Makes one engine serve many threads and coroutines. All its methods may be called from any of them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._news: dict[AbstractEventLoop, list[Callable[[], None]]] = {}
        self._set_up()
        engine.after = partial(_announce, self._news)  # not of `self`: an engine shall not keep its driver
        _DRIVERS.add(self)

    def _set_up(self) -> None:
        self.turn = Turn()
        self._posted: deque[tuple[Callable[[], None], bool]] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._asked = self._stopped = False

    def forked(self) -> None:
        """Go on in a process that was forked, where no other thread is."""
        torn = self.turn.taken and self.engine.busy
        lasting = [(task, True) for task, stays in self._posted if stays]
        self._set_up()
        self._posted += lasting
        self._news.clear()
        self.turn.torn = torn

    def stop(self) -> None:
        """End the background thread after its step: the interpreter is about to end."""
        with self._wake:
            self._stopped, thread = True, self._thread
            self._wake.notify()
        if thread is not None:
            thread.join(LINGER)

    def run(self, done: Callable[[], bool]) -> None:
        """Step, in turn with others, until `done`."""
        while not done():
            with self.turn:
                self._drain()
                idle = not done() and not self.engine.step()
            if idle:
                time.sleep(0.001)  # somebody else must act first

    def post(self, task: Callable[[], None], lasting: bool = False) -> None:
        """Have the background thread do something between steps, and then step as long as the engine is busy.

        What is `lasting` is also done in a process that is forked before.
        """
        self.turn.check()
        with self._wake:
            self._posted.append((task, lasting))
            self._asked = True  # still so when another thread has done it
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="intact-engine", daemon=True)
                self._thread.start()
            self._wake.notify()

    def tell(self, loop: AbstractEventLoop, task: Callable[[], None]) -> None:
        """Have an event loop do something once the step is over; for sinks, and whoever else has the turn.

        All that a step has to tell wakes the loop once. Each wake-up takes a system call, and Python's lock from the
        thread that steps.
        """
        self._news.setdefault(loop, []).append(task)

    def _drain(self) -> None:
        while self._posted:
            try:
                self._posted.popleft()[0]()
            except Exception:  # it was posted by somebody else than who comes along here
                _LOG.exception("a task for the engine failed")

    def _work(self) -> None:
        while not self._stopped:
            self._asked = False
            with self.turn:
                self._drain()
                try:
                    rows = self.engine.step()
                except Exception as error:  # whoever waits must hear of it
                    _LOG.exception("a step failed")
                    self.engine.close(error)
                    rows = 0
            if rows:
                continue
            with self._wake:
                if not self._asked and not self._stopped and not self._wake.wait(LINGER) and not self._asked:
                    self._thread = None
                    return


def _announce(news: dict[AbstractEventLoop, list[Callable[[], None]]]) -> None:
    while news:
        loop, tasks = news.popitem()
        with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
            loop.call_soon_threadsafe(_do, tasks)


def _do(tasks: list[Callable[[], None]]) -> None:
    for task in tasks:
        task()


_DRIVERS = WeakSet[EngineDriver]()


@atexit.register
def _stop() -> None:
    for driver in list(_DRIVERS):
        driver.stop()


def _forked() -> None:
    for driver in list(_DRIVERS):
        driver.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
