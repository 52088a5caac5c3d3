"""Shares one engine among threads and coroutines: each thread that waits for tokens runs steps, under a fair lock."""

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

from intact._base.errors import ModelError
from intact.engine.engine import Engine

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

_LOG = logging.getLogger("intact")
LINGER = 2.0  # seconds that the idle background thread waits for new work before it ends


class _Waiter:
    """A thread in the lock's queue; `granted` is released when the thread reaches the front."""

    def __init__(self) -> None:
        self.thread, self.granted = threading.get_ident(), threading.Lock()
        self.granted.acquire()


class FairLock:
    """A lock that serves threads in order of arrival; Python's own may go to the same thread again and again.

    The first thread in the queue holds it. Joining and leaving the queue are single operations, so no interrupt can
    leave them half done; granting the lock to the first thread is always right, so granting it twice is safe.

    Attributes
    ----------
    broken : bool
        If true, no thread can acquire it: the process was forked during a step.
    closed : str
        Message of the error that later callers get, once the engine has been closed.
    """

    def __init__(self) -> None:
        self._queue: deque[_Waiter] = deque()
        self._changing = set[int]()  # threads that are acquiring or releasing the lock
        self.broken = False
        self.closed = ""

    @property
    def owned(self) -> bool:
        """True if this thread holds the lock."""
        first = self._first
        return first is not None and first.thread == threading.get_ident()

    @property
    def unavailable(self) -> bool:
        """True if this thread cannot wait for the lock: it holds it, or is acquiring or releasing it.

        The garbage collector may run in either case and close a stream that needs the lock.
        """
        return self.owned or threading.get_ident() in self._changing

    @property
    def locked(self) -> bool:
        """True if any thread holds the lock."""
        return bool(self._queue)

    def check(self) -> None:
        """Raise if the engine was closed, or the process was forked during a step."""
        if self.closed:
            raise ModelError(self.closed)
        if self.broken:
            raise RuntimeError(
                "this process was forked while the model was running a step: load the model in this process, or fork "
                "while it is idle"
            )

    def __enter__(self) -> None:
        self.check()
        if self.owned:
            raise RuntimeError(
                "this thread already holds the engine (inside `exclusive` or a sink), so no other request can "
                "start: leave that block first"
            )
        waiter = _Waiter()
        try:
            try:
                self._changing.add(waiter.thread)
                self._queue.append(waiter)
                if self._first is not waiter:
                    waiter.granted.acquire()
            finally:
                self._changing.discard(waiter.thread)
        except BaseException:  # interrupted: leave the queue, or pass on the lock if it was just granted
            self._leave(waiter)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        waiter = self._queue[0]
        try:
            try:
                self._changing.add(waiter.thread)
                self._leave(waiter)
            finally:
                self._changing.discard(waiter.thread)
        except BaseException:  # interrupted: the next thread must still get the lock
            self._leave(waiter)
            raise

    def _leave(self, waiter: _Waiter) -> None:
        with suppress(ValueError):  # already removed
            self._queue.remove(waiter)
        first = self._first
        if first is not None:
            with suppress(RuntimeError):  # already granted
                first.granted.release()

    @property
    def _first(self) -> _Waiter | None:
        queue = self._queue
        if not queue:  # avoids an IndexError, which would become the context of errors raised by the garbage collector
            return None
        try:
            return queue[0]
        except IndexError:  # another thread has just left
            return None


class EngineDriver:
    """Shares one engine among threads and coroutines. All methods may be called from any of them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._notifications: dict[AbstractEventLoop, list[Callable[[], None]]] = {}
        self._set_up()
        # Not bound to `self`: an engine must not keep its driver alive.
        engine.after = partial(_deliver, self._notifications)
        _DRIVERS.add(self)

    def _set_up(self) -> None:
        self.lock = FairLock()
        self._posted: deque[tuple[Callable[[], None], bool]] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._requested = self._stopped = False

    def forked(self) -> None:
        """Continue in a forked process, where no other thread exists."""
        broken = self.lock.locked and self.engine.busy
        lasting = [(task, True) for task, stays in self._posted if stays]
        self._set_up()
        self._posted += lasting
        self._notifications.clear()
        self.lock.broken = broken

    def close(self, message: str) -> None:
        """End all requests and fail every later use with a ModelError. Waits for the current step."""
        with self.lock:
            with self._wake:  # tasks posted before run now; no more can be posted
                self.lock.closed = message
            self._drain()
            self.engine.close(ModelError(message))
        self.stop()

    def stop(self) -> None:
        """End the background thread after its current step, at interpreter exit."""
        with self._wake:
            self._stopped, thread = True, self._thread
            self._wake.notify()
        if thread is not None:
            thread.join(LINGER)

    def run(self, done: Callable[[], bool]) -> None:
        """Run steps until `done`, alternating with other threads."""
        while not done():
            with self.lock:
                self._drain()
                idle = not done() and not self.engine.step()
            if idle:
                time.sleep(0.001)  # let another thread act first

    def post(self, task: Callable[[], None], lasting: bool = False) -> None:
        """Run a task between steps in the background thread, which then runs steps for as long as the engine is busy.

        A `lasting` task also runs in a process that was forked before the task could run.
        """
        with self._wake:
            self.lock.check()
            self._posted.append((task, lasting))
            self._requested = True  # even if another thread runs the task
            if self._thread is None:
                self._thread = threading.Thread(target=self._work_until_closed, name="intact-engine", daemon=True)
                self._thread.start()
            self._wake.notify()

    def notify(self, loop: AbstractEventLoop, task: Callable[[], None]) -> None:
        """Run a task in an event loop after the current step; for sinks and other code that holds the lock.

        All notifications of a step wake the loop once, since each wake-up takes a system call, and takes the GIL from
        the stepping thread.
        """
        self._notifications.setdefault(loop, []).append(task)

    def _drain(self) -> None:
        while self._posted:
            try:
                self._posted.popleft()[0]()
            except Exception:  # another thread posted it
                _LOG.exception("a task for the engine failed")

    def _work_until_closed(self) -> None:
        with suppress(ModelError):  # from the lock; failing steps are handled inside
            self._work()

    def _work(self) -> None:
        while not self._stopped:
            self._requested = False
            with self.lock:
                if self._stopped:
                    return
                self._drain()
                try:
                    rows = self.engine.step()
                except Exception as error:  # waiting requests must get the error
                    _LOG.exception("a step failed")
                    self.engine.close(error)
                    rows = 0
            if rows:
                continue
            with self._wake:
                if self._requested or self._stopped:
                    continue
                if not self._wake.wait(LINGER) and not self._requested:
                    self._thread = None
                    return


def _deliver(notifications: dict[AbstractEventLoop, list[Callable[[], None]]]) -> None:
    while notifications:
        loop, tasks = notifications.popitem()
        with suppress(RuntimeError):  # the loop is closed
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
